//! A client that asks for much and does not read: it must cost nothing.

use std::time::Duration;

use super::bulk::number;
use super::{Needs, Scenario};
use crate::client::{Imap, SMALL};
use crate::error::BenchError;
use crate::mail::{MIB, SIZES};
use crate::results::Metric;
use crate::stage::{Protocol, Sample, Stage};

/// 200 MiB asked for, nothing read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalled;

impl Scenario for Stalled {
    fn name(&self) -> String {
        "stalled".to_owned()
    }

    fn about(&self) -> String {
        "IMAP FETCH of 200 MiB by a client that does not read".to_owned()
    }

    fn needs(&self) -> Needs {
        Needs::of(Protocol::Imap).fresh()
    }

    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        stage.run(async {
            let way = stage.way(Protocol::Imap)?.with_buffer(SMALL);
            let login = stage.login();
            // Buffers that all sessions share, and code not yet loaded, are not what a stalled reader costs.
            let mut clients = Vec::new();
            for _ in 0..WARM {
                let mut client = Imap::selected(&way, &login).await?;
                client.fetch(number(MIB), |_| {}).await?;
                clients.push(client);
            }
            for client in clients {
                client.logout().await?;
            }
            let mut client = Imap::selected(&way, &login).await?;
            let before = stage.running.tree().memory();
            let size = SIZES[SIZES.len() - 1].min(stage.load.count(25 * MIB, MIB));
            client.send_fetches(number(size), ASKED / size).await?;
            tokio::time::sleep(stage.load.pause(SETTLE)).await;
            let meter = stage.meter();
            tokio::time::sleep(stage.load.pause(WATCH)).await;
            let cpu = meter.cpu_percent();
            let after = stage.running.tree().memory();
            let more = after.kib.saturating_sub(before.kib) as f64;
            let mut sample = vec![(Metric::ExtraRssKib, more)];
            sample.extend(cpu.map(|cpu| (Metric::CpuPercent, cpu)));
            Ok(sample)
        })
    }
}

/// Sessions before, open at once, for every thread to have one.
const WARM: usize = 8;
const ASKED: usize = 200 * MIB;
const SETTLE: Duration = Duration::from_secs(2);
const WATCH: Duration = Duration::from_secs(5);
