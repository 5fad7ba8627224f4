//! Everybody comes at once, as after a network came back.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::noop::{latencies, micros};
use super::{Needs, Scenario};
use crate::client::{Imap, SMALL};
use crate::error::BenchError;
use crate::results::Metric;
use crate::stage::{Protocol, Sample, Stage};

/// Connections in the same moment; each waits for its greeting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Burst {
    clients: usize,
}

/// As many as a server has users.
pub(crate) fn all(quick: bool) -> Vec<Burst> {
    let clients = if quick { 50 } else { 1_000 };
    vec![Burst { clients }]
}

impl Scenario for Burst {
    fn name(&self) -> String {
        format!("burst-{}", self.clients)
    }

    fn about(&self) -> String {
        let Self { clients } = self;
        format!("{clients} connects at once; lost is who has no greeting within 30 s")
    }

    fn needs(&self) -> Needs {
        Needs {
            processes: false,
            ..Needs::of(Protocol::Imap).fresh()
        }
    }

    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        stage.run(async {
            let way = stage.way(Protocol::Imap)?.with_buffer(SMALL);
            let started = Instant::now();
            let mut tasks = JoinSet::new();
            for _ in 0..self.clients {
                let way = way.clone();
                tasks.spawn(async move {
                    let client = timeout(PATIENCE, Imap::connect(&way)).await.ok()?.ok()?;
                    Some((micros(started), client))
                });
            }
            let mut times = Vec::new();
            let mut open = Vec::new();
            while let Some(done) = tasks.join_next().await {
                if let Some((time, client)) = done.ok().flatten() {
                    times.push(time);
                    open.push(client);
                }
            }
            let mut sample = vec![(Metric::Lost, (self.clients - open.len()) as f64)];
            sample.extend(latencies(&mut times));
            Ok(sample)
        })
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
