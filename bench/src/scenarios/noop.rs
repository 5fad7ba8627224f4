//! Round trips: what a command takes that the upstream answers at once.

use std::time::Instant;

use super::{Needs, Scenario};
use crate::client::{Imap, SMALL};
use crate::error::BenchError;
use crate::results::Metric;
use crate::stage::{Done, Protocol, Sample, Stage};
use crate::stats::percentile;

/// NOOP on so many connections at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noop {
    connections: usize,
}

/// One, and many.
pub(crate) fn all(quick: bool) -> Vec<Noop> {
    let many = if quick { 8 } else { 64 };
    [1, many].map(|connections| Noop { connections }).to_vec()
}

impl Scenario for Noop {
    fn name(&self) -> String {
        format!("noop-{}", self.connections)
    }

    fn about(&self) -> String {
        format!("IMAP NOOP round trips, connections: {}", self.connections)
    }

    fn needs(&self) -> Needs {
        Needs::of(Protocol::Imap)
    }

    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        stage.run(async {
            let way = stage.way(Protocol::Imap)?.with_buffer(SMALL);
            let mut clients = Vec::new();
            for _ in 0..self.connections {
                clients.push(Imap::open(&way, &stage.login()).await?);
            }
            let meter = stage.meter();
            let end = Instant::now() + stage.load.time;
            let tasks: Vec<_> = clients
                .into_iter()
                .map(|client| tokio::spawn(ask_until(client, end)))
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

async fn ask_until(mut client: Imap, end: Instant) -> Result<Vec<f64>, BenchError> {
    let mut times = Vec::new();
    while times.is_empty() || Instant::now() < end {
        let asked = Instant::now();
        client.noop().await?;
        times.push(micros(asked));
    }
    Ok(times)
}

/// Microseconds since then.
pub(crate) fn micros(then: Instant) -> f64 {
    then.elapsed().as_secs_f64() * 1e6
}

/// The half and the slowest hundredth of times in microseconds.
pub(super) fn latencies(times: &mut [f64]) -> Sample {
    let half = percentile(times, 50.0).map(|time| (Metric::P50Us, time));
    let slow = percentile(times, 99.0).map(|time| (Metric::P99Us, time));
    half.into_iter().chain(slow).collect()
}
