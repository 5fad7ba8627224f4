//! Submission: one message after another in one session.

use std::time::Instant;

use super::{Needs, Scenario};
use crate::client::Smtp;
use crate::error::BenchError;
use crate::mail::{KIB, MIB};
use crate::stage::{Done, Protocol, Sample, Stage};

/// Messages of one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submit {
    name: &'static str,
    size: usize,
}

/// Small ones, which are counted, and large ones, which are weighed.
pub(crate) fn all(quick: bool) -> Vec<Submit> {
    let submit = |name, size| Submit { name, size };
    let large = if quick {
        submit("submit-1m", MIB)
    } else {
        submit("submit-10m", 10 * MIB)
    };
    vec![submit("submit-10k", 10 * KIB), large]
}

impl Scenario for Submit {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn about(&self) -> String {
        format!("SMTP messages of {} KiB, one connection", self.size / KIB)
    }

    fn needs(&self) -> Needs {
        Needs::of(Protocol::Smtp)
    }

    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        stage.run(async {
            let way = stage.way(Protocol::Smtp)?;
            let message = stage.mail.stuffed(self.size);
            let mut client = Smtp::open(&way, &stage.login()).await?;
            client.submit(message).await?;
            let meter = stage.meter();
            let end = Instant::now() + stage.load.time;
            let mut count = 0;
            while count == 0 || Instant::now() < end {
                client.submit(message).await?;
                count += 1;
            }
            let sample = meter.sample(if self.size < MIB {
                Done::Things(count)
            } else {
                Done::Octets(count * message.len())
            });
            client.quit().await?;
            Ok(sample)
        })
    }
}
