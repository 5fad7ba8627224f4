//! Mail programs that wait: sessions in IDLE.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Needs, Scenario};
use crate::client::{Imap, Way};
use crate::error::BenchError;
use crate::peers::Login;
use crate::results::Metric;
use crate::stage::{Protocol, Sample, Stage};

/// So many sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    sessions: usize,
}

/// A server's, and a provider's.
pub(crate) fn all(quick: bool) -> Vec<Idle> {
    let sessions: &[usize] = if quick { &[50] } else { &[1_000, 10_000] };
    sessions.iter().map(|&sessions| Idle { sessions }).collect()
}

impl Scenario for Idle {
    fn name(&self) -> String {
        format!("idle-{}", self.sessions)
    }

    fn about(&self) -> String {
        format!(
            "sessions in IMAP IDLE: {}, or as many as descriptors allow",
            self.sessions
        )
    }

    fn needs(&self) -> Needs {
        Needs::of(Protocol::Imap).fresh()
    }

    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        stage.run(async {
            let way = stage.way(Protocol::Imap)?.with_buffer(IDLE_BUFFER);
            let login = stage.login();
            // What the first session makes it load is not what a session costs.
            Imap::open(&way, &login).await?.logout().await?;
            tokio::time::sleep(stage.load.pause(SETTLE)).await;
            let before = stage.running.tree().memory();
            let wanted = self.sessions.min(stage.load.sessions);
            let mut open = open(&way, &login, wanted).await?;
            for client in &mut open {
                client.idle().await?;
            }
            tokio::time::sleep(stage.load.pause(SETTLE)).await;
            let after = stage.running.tree().memory();
            let meter = stage.meter();
            tokio::time::sleep(stage.load.pause(WATCH)).await;
            let mut sample = vec![
                (Metric::Sessions, open.len() as f64),
                (Metric::Lost, (wanted - open.len()) as f64),
            ];
            let more = after.kib.saturating_sub(before.kib) as f64;
            sample.push((Metric::RssKibPerSession, more / open.len().max(1) as f64));
            sample.extend(meter.cpu_percent().map(|cpu| (Metric::CpuPercent, cpu)));
            Ok(sample)
        })
    }
}

/// Opens as many sessions as the target takes. After some that failed, or after a long time, no more are tried.
pub(super) async fn open(way: &Way, login: &Login, wanted: usize) -> Result<Vec<Imap>, BenchError> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for number in 0..wanted {
        let (way, login, places) = (way.clone(), login.clone(), places.clone());
        tasks.spawn(async move {
            let _place = places.acquire().await;
            let opened = async {
                let mut client = Imap::connect_from(&way, number).await?;
                client.login(&login).await?;
                Ok::<_, BenchError>(client)
            };
            timeout(PATIENCE, opened).await.ok()?.ok()
        });
    }
    let mut open = Vec::new();
    let mut failed = 0;
    let end = Instant::now() + OPENING;
    while let Some(done) = tasks.join_next().await {
        match done.ok().flatten() {
            Some(client) => open.push(client),
            None => failed += 1,
        }
        if failed > ENOUGH || Instant::now() > end {
            tasks.abort_all();
        }
    }
    if open.is_empty() {
        return Err(BenchError::start("sessions", "not one could be opened"));
    }
    Ok(open)
}

const IDLE_BUFFER: usize = 1024;
/// Logins under way at once.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(10);
const ENOUGH: usize = 50;
/// Some targets would take half an hour for ten thousand logins.
const OPENING: Duration = Duration::from_secs(90);
/// Until memory is given back that is given back at all.
const SETTLE: Duration = Duration::from_secs(2);
const WATCH: Duration = Duration::from_secs(10);
