//! Small messages, asked for in a pipeline, as a program does that fills its cache.

use std::time::Instant;

use super::bulk::number;
use super::{Needs, Scenario};
use crate::client::Imap;
use crate::error::BenchError;
use crate::mail::KIB;
use crate::stage::{Done, Protocol, Sample, Stage};

/// FETCH of 1 KiB, many under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipelined;

impl Scenario for Pipelined {
    fn name(&self) -> String {
        "fetch-1k-pipelined".to_owned()
    }

    fn about(&self) -> String {
        format!("IMAP FETCH of 1 KiB, one connection, {BATCH} commands at once")
    }

    fn needs(&self) -> Needs {
        Needs::of(Protocol::Imap)
    }

    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        stage.run(async {
            let way = stage.way(Protocol::Imap)?;
            let mut client = Imap::selected(&way, &stage.login()).await?;
            let meter = stage.meter();
            let end = Instant::now() + stage.load.time;
            let mut count = 0;
            while count == 0 || Instant::now() < end {
                client.send_fetches(number(KIB), BATCH).await?;
                for _ in 0..BATCH {
                    client.fetched(|_| {}).await?;
                    client.done("FETCH").await?;
                }
                count += BATCH;
            }
            let sample = meter.sample(Done::Things(count));
            client.logout().await?;
            Ok(sample)
        })
    }
}

const BATCH: usize = 200;
