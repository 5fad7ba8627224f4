//! The same figures at 1 to 10 000 open sessions: what grows with them, and what does not.

use std::time::{Duration, Instant};

use super::bulk::number;
use super::idle::open;
use super::noop::{latencies, micros};
use super::{Needs, Scenario};
use crate::client::{Imap, SMALL};
use crate::error::BenchError;
use crate::mail::MIB;
use crate::results::Metric;
use crate::stage::{Done, Protocol, Sample, Stage};

/// What is looked at while so many sessions are open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    sessions: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// Every session asks, all at once, again and again.
    Noop,
    /// One more client logs in and out while the others are idle.
    Login,
    /// One more client fetches 1 MiB, again and again, while the others are idle.
    Fetch,
}

/// All steps.
pub(crate) fn all(quick: bool) -> Vec<Growth> {
    let steps: &[usize] = if quick {
        &[10]
    } else {
        &[1, 10, 100, 1_000, 10_000]
    };
    [What::Noop, What::Login, What::Fetch]
        .into_iter()
        .flat_map(|what| steps.iter().map(move |&sessions| Growth { sessions, what }))
        .collect()
}

impl Scenario for Growth {
    fn name(&self) -> String {
        let what = match self.what {
            What::Noop => "noop",
            What::Login => "login",
            What::Fetch => "fetch",
        };
        format!("growth-{what}-{}", self.sessions)
    }

    fn about(&self) -> String {
        match self.what {
            What::Noop => format!("IMAP NOOP on all of {} sessions at once", self.sessions),
            What::Login => format!(
                "IMAP login and logout beside {} open sessions",
                self.sessions
            ),
            What::Fetch => format!("IMAP FETCH of 1 MiB beside {} open sessions", self.sessions),
        }
    }

    fn needs(&self) -> Needs {
        Needs::of(Protocol::Imap).fresh()
    }

    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        stage.run(async {
            let way = stage.way(Protocol::Imap)?.with_buffer(SMALL);
            let login = stage.login();
            Imap::open(&way, &login).await?.logout().await?;
            tokio::time::sleep(stage.load.pause(SETTLE)).await;
            let before = stage.running.tree().memory();
            // Two places are for the client that logs in and the one that fetches.
            let wanted = self.sessions.min(stage.load.sessions - 2);
            let mut open = open(&way, &login, wanted).await?;
            tokio::time::sleep(stage.load.pause(SETTLE)).await;
            let more = stage.running.tree().memory().kib.saturating_sub(before.kib) as f64;
            let bulk = stage.way(Protocol::Imap)?;
            let mut reader = Imap::selected(&bulk, &login).await?;
            let meter = stage.meter();
            let end = Instant::now() + stage.load.time;
            let mut times = Vec::new();
            let mut octets = 0;
            while times.is_empty() || Instant::now() < end {
                match self.what {
                    What::Noop => ask_all(&mut open, &mut times).await?,
                    What::Login => {
                        let started = Instant::now();
                        let client = Imap::open(&way, &login).await?;
                        times.push(micros(started));
                        client.logout().await?;
                    }
                    What::Fetch => {
                        let started = Instant::now();
                        octets += reader.fetch(number(MIB), |_| {}).await?;
                        times.push(micros(started));
                    }
                }
            }
            let done = match self.what {
                What::Fetch => Done::Octets(octets),
                What::Noop | What::Login => Done::Things(times.len()),
            };
            let mut sample = meter.sample(done);
            sample.extend(latencies(&mut times));
            sample.push((Metric::Sessions, open.len() as f64));
            sample.push((Metric::RssKibPerSession, more / open.len() as f64));
            Ok(sample)
        })
    }
}

async fn ask_all(open: &mut [Imap], times: &mut Vec<f64>) -> Result<(), BenchError> {
    let started = Instant::now();
    for client in open.iter_mut() {
        client.send_noop().await?;
    }
    for client in open.iter_mut() {
        client.done("NOOP").await?;
        times.push(micros(started));
    }
    Ok(())
}

const SETTLE: Duration = Duration::from_secs(1);
