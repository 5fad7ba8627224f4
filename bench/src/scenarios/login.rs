//! Logins: connect, log in, log out, as scripts, web mailers and polling programs do all day.

use std::time::{Duration, Instant};

use super::noop::{latencies, micros};
use super::{Needs, Scenario};
use crate::client::{Imap, SMALL, Way};
use crate::error::BenchError;
use crate::peers::Login;
use crate::stage::{Done, Protocol, Sample, Stage};

/// So many clients, each logging in again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logins {
    clients: usize,
    far: bool,
    oauth: bool,
    /// How long a client waits after a logout: one that polls does not come again in the same moment.
    pause: Duration,
}

/// Every combination, and a client that polls.
pub(crate) fn all(quick: bool) -> Vec<Logins> {
    let mut all = Vec::new();
    for oauth in [false, true] {
        for far in [false, true] {
            for clients in [1, 16] {
                let logins = Logins {
                    clients,
                    far,
                    oauth,
                    pause: Duration::ZERO,
                };
                if !quick || (!far && clients == 1) || (far && !oauth && clients == 16) {
                    all.push(logins);
                }
            }
        }
    }
    if !quick {
        all.push(Logins {
            clients: 1,
            far: true,
            oauth: false,
            pause: POLL,
        });
    }
    all
}

impl Scenario for Logins {
    fn name(&self) -> String {
        let oauth = if self.oauth { "-oauth" } else { "" };
        let far = if self.far { "-far" } else { "" };
        let poll = if self.pause.is_zero() { "" } else { "-poll" };
        format!("login{oauth}{far}{poll}-{}", self.clients)
    }

    fn about(&self) -> String {
        let account = if self.oauth { "OAuth" } else { "password" };
        let away = if self.far { 30 } else { 0 };
        format!(
            "IMAP login and logout, {account} account, upstream {away} ms away, clients: {}, pause: {} ms",
            self.clients,
            self.pause.as_millis()
        )
    }

    fn needs(&self) -> Needs {
        Needs {
            far: self.far,
            oauth: self.oauth,
            ..Needs::of(Protocol::Imap)
        }
    }

    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        let login = if self.oauth {
            stage.running.ports.oauth.clone()
        } else {
            None
        };
        let login = login.unwrap_or_else(|| stage.login());
        stage.run(async {
            let way = stage.way(Protocol::Imap)?.with_buffer(SMALL);
            // The first one fills caches: TLS sessions, tokens, what a proxy remembers.
            Imap::open(&way, &login).await?.logout().await?;
            let meter = stage.meter();
            // Far away, a login takes a dozen times as long.
            let time = if self.far && !stage.load.quick {
                stage.load.time * 3
            } else {
                stage.load.time
            };
            let end = Instant::now() + time;
            let tasks: Vec<_> = (0..self.clients)
                .map(|_| tokio::spawn(log_in_until(way.clone(), login.clone(), end, self.pause)))
                .collect();
            let mut times = Vec::new();
            for task in tasks {
                times.extend(task.await.unwrap_or_else(|_| Ok(Vec::new()))?);
            }
            let mut sample = meter.sample(Done::Things(times.len()));
            sample.extend(latencies(&mut times));
            Ok(sample)
        })
    }
}

async fn log_in_until(
    way: Way,
    login: Login,
    end: Instant,
    pause: Duration,
) -> Result<Vec<f64>, BenchError> {
    let mut times = Vec::new();
    while times.is_empty() || Instant::now() < end {
        let started = Instant::now();
        let client = Imap::open(&way, &login).await?;
        times.push(micros(started));
        client.logout().await?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(times)
}

/// Longer than a round trip, so that what is done behind a logout is over.
const POLL: Duration = Duration::from_millis(100);
