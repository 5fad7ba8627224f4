//! One target with one scenario on it: how its clients connect, how long they work, and what the target uses meanwhile.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;

use crate::client::{BULK, Way};
use crate::error::BenchError;
use crate::mail::{GIB, Mail};
use crate::peers::{Login, Running};
use crate::process::Tree;
use crate::results::Metric;

/// What one round gave.
pub(crate) type Sample = Vec<(Metric, f64)>;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// How long one measurement takes.
    pub(crate) time: Duration,
    /// Everything tiny.
    pub(crate) quick: bool,
    /// Sessions a target can hold: each takes it two descriptors.
    pub(crate) sessions: usize,
}

impl Load {
    /// This, or a tiny number where everything is tiny.
    pub(crate) fn count(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// A pause of this length, or a short one.
    pub(crate) fn pause(&self, full: Duration) -> Duration {
        if self.quick { full / 20 } else { full }
    }
}

/// A target, ready.
pub(crate) struct Stage<'a> {
    /// The target.
    pub(crate) running: &'a Running,
    /// How much is done.
    pub(crate) load: Load,
    /// What is sent and expected.
    pub(crate) mail: &'a Mail,
    /// For clients of the direct baseline.
    pub(crate) connector: &'a TlsConnector,
}

/// A protocol a client may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// Submission.
    Smtp,
}

impl Stage<'_> {
    /// The target's port, if it has this protocol.
    pub(crate) fn port(&self, protocol: Protocol) -> Option<SocketAddr> {
        let ports = &self.running.ports;
        match protocol {
            Protocol::Imap => ports.imap,
            Protocol::Pop3 => ports.pop3,
            Protocol::Smtp => ports.smtp,
        }
    }

    /// How clients get there.
    pub(crate) fn way(&self, protocol: Protocol) -> Result<Way, BenchError> {
        let address = self
            .port(protocol)
            .ok_or_else(|| BenchError::start("client", "the target has not this protocol"))?;
        Ok(Way {
            address,
            tls: self.running.ports.tls.then(|| self.connector.clone()),
            buffer: BULK,
        })
    }

    /// What clients say.
    pub(crate) fn login(&self) -> Login {
        let ports = &self.running.ports;
        Login {
            user: ports.user.clone(),
            password: ports.password.clone(),
        }
    }

    /// Starts to look at what the target uses.
    pub(crate) fn meter(&self) -> Meter {
        let tree = self.running.tree();
        Meter {
            cpu: tree.cpu(),
            tree,
            started: Instant::now(),
        }
    }

    /// Runs clients in this thread.
    pub(crate) fn run<T>(
        &self,
        work: impl Future<Output = Result<T, BenchError>>,
    ) -> Result<T, BenchError> {
        finish(&runtime(&mut Builder::new_current_thread())?, work)
    }

    /// Runs clients in as many threads as there are processors: for many at once.
    pub(crate) fn run_parallel<T>(
        &self,
        work: impl Future<Output = Result<T, BenchError>>,
    ) -> Result<T, BenchError> {
        finish(&runtime(&mut Builder::new_multi_thread())?, work)
    }
}

/// What a target used since some moment.
#[derive(Debug)]
pub(crate) struct Meter {
    tree: Tree,
    cpu: Duration,
    started: Instant,
}

/// What was done in between: mail, or a number of things.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Done {
    /// Octets of mail.
    Octets(usize),
    /// Commands, messages, logins.
    Things(usize),
}

impl Meter {
    /// The rate of what was done, and its CPU time.
    pub(crate) fn sample(&self, done: Done) -> Sample {
        let elapsed = self.started.elapsed().as_secs_f64();
        let mut sample = Sample::new();
        let (rate, per, metric) = match done {
            Done::Octets(octets) => {
                let octets = octets as f64;
                let rate = (Metric::MbPerS, octets / 1e6 / elapsed);
                (rate, octets / GIB, Metric::CpuSPerGib)
            }
            Done::Things(count) => {
                let count = count as f64;
                let rate = (Metric::PerS, count / elapsed);
                (rate, count / 1000.0, Metric::CpuSPer1000)
            }
        };
        sample.push(rate);
        sample.extend(self.cpu().map(|cpu| (metric, cpu.as_secs_f64() / per)));
        sample
    }

    /// CPU time over time, in percent of one processor.
    pub(crate) fn cpu_percent(&self) -> Option<f64> {
        let elapsed = self.started.elapsed().as_secs_f64();
        Some(self.cpu()?.as_secs_f64() / elapsed * 100.0)
    }

    fn cpu(&self) -> Option<Duration> {
        (!self.tree.is_empty()).then(|| self.tree.cpu().saturating_sub(self.cpu))
    }
}

fn runtime(builder: &mut Builder) -> Result<Runtime, BenchError> {
    builder
        .enable_all()
        .build()
        .map_err(BenchError::io("a runtime"))
}

fn finish<T>(
    runtime: &Runtime,
    work: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    let limited = async { tokio::time::timeout(LIMIT, work).await };
    runtime
        .block_on(limited)
        .unwrap_or(Err(BenchError::Timeout {
            phase: "scenario",
            seconds: LIMIT.as_secs(),
        }))
}

/// No round takes longer: what hangs is given up.
const LIMIT: Duration = Duration::from_secs(180);
