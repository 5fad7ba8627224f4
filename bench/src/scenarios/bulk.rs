//! Mail in bulk: FETCH, APPEND and RETR of the same message again and again.

use std::time::Instant;

use super::{Needs, Scenario};
use crate::client::{Imap, Pop3, Way};
use crate::error::BenchError;
use crate::mail::{KIB, MIB, SIZES};
use crate::peers::Login;
use crate::stage::{Done, Protocol, Sample, Stage};

/// One size, one way, so many connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk {
    what: What,
    size: usize,
    connections: usize,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Fetch,
    Append,
    Retrieve,
}

/// All of them.
pub(crate) fn all(quick: bool) -> Vec<Bulk> {
    let large = if quick { MIB } else { 25 * MIB };
    let appended = if quick { MIB } else { 10 * MIB };
    let bulk = |what, size, connections| Bulk {
        what,
        size,
        connections,
    };
    let mut all = vec![
        bulk(What::Fetch, large, 1),
        bulk(What::Fetch, MIB, 1),
        bulk(What::Fetch, MIB, 8),
        bulk(What::Append, appended, 1),
        bulk(What::Retrieve, large, 1),
    ];
    if quick {
        all.remove(0);
    }
    all
}

impl Scenario for Bulk {
    fn name(&self) -> String {
        let what = match self.what {
            What::Fetch => "fetch",
            What::Append => "append",
            What::Retrieve => "retr",
        };
        let many = match self.connections {
            1 => String::new(),
            many => format!("-x{many}"),
        };
        format!("{what}-{}{many}", short(self.size))
    }

    fn about(&self) -> String {
        let what = match self.what {
            What::Fetch => "IMAP FETCH",
            What::Append => "IMAP APPEND",
            What::Retrieve => "POP3 RETR",
        };
        let Self {
            size, connections, ..
        } = self;
        format!("{what} of {}, connections: {connections}", long(*size))
    }

    fn needs(&self) -> Needs {
        Needs::of(match self.what {
            What::Retrieve => Protocol::Pop3,
            What::Fetch | What::Append => Protocol::Imap,
        })
    }

    fn measure(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        if self.connections > 1 {
            stage.run_parallel(self.parallel(stage))
        } else {
            stage.run(self.alone(stage))
        }
    }
}

impl Bulk {
    async fn alone(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        let way = stage.way(self.needs().protocol)?;
        let login = stage.login();
        let message = stage.mail.message(self.size);
        let mut client = Client::open(self.what, &way, &login).await?;
        // Once for the buffers to grow.
        client.once(self.what, self.size, message).await?;
        let meter = stage.meter();
        let end = Instant::now() + stage.load.time;
        let mut octets = 0;
        while octets == 0 || Instant::now() < end {
            octets += client.once(self.what, self.size, message).await?;
        }
        let sample = meter.sample(Done::Octets(octets));
        client.close().await?;
        Ok(sample)
    }

    async fn parallel(&self, stage: &Stage<'_>) -> Result<Sample, BenchError> {
        let way = stage.way(Protocol::Imap)?;
        let number = number(self.size);
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            clients.push(Imap::selected(&way, &stage.login()).await?);
        }
        let meter = stage.meter();
        let end = Instant::now() + stage.load.time;
        let tasks: Vec<_> = clients
            .into_iter()
            .map(|client| tokio::spawn(fetch_until(client, number, end)))
            .collect();
        let mut octets = 0;
        for task in tasks {
            octets += task.await.unwrap_or_else(|_| Err(ended()))?;
        }
        Ok(meter.sample(Done::Octets(octets)))
    }
}

enum Client {
    Imap(Box<Imap>),
    Pop3(Pop3),
}

impl Client {
    async fn open(what: What, way: &Way, login: &Login) -> Result<Self, BenchError> {
        Ok(match what {
            What::Retrieve => Self::Pop3(Pop3::open(way, login).await?),
            What::Fetch | What::Append => Self::Imap(Box::new(Imap::selected(way, login).await?)),
        })
    }

    async fn once(&mut self, what: What, size: usize, text: &[u8]) -> Result<usize, BenchError> {
        match (self, what) {
            (Self::Imap(client), What::Append) => {
                client.append(text, true).await?;
                Ok(size)
            }
            (Self::Imap(client), _) => client.fetch(number(size), |_| {}).await,
            (Self::Pop3(client), _) => client.retrieve(number(size), |_| {}).await,
        }
    }

    async fn close(self) -> Result<(), BenchError> {
        match self {
            Self::Imap(client) => client.logout().await,
            Self::Pop3(client) => client.quit().await,
        }
    }
}

async fn fetch_until(mut client: Imap, number: usize, end: Instant) -> Result<usize, BenchError> {
    let mut octets = 0;
    while octets == 0 || Instant::now() < end {
        octets += client.fetch(number, |_| {}).await?;
    }
    Ok(octets)
}

/// The message of this size.
pub(crate) fn number(size: usize) -> usize {
    1 + SIZES.iter().position(|it| *it == size).unwrap_or_default()
}

fn ended() -> BenchError {
    BenchError::start("client", "it panicked")
}

fn short(size: usize) -> String {
    if size >= MIB {
        format!("{}m", size / MIB)
    } else {
        format!("{}k", size / KIB)
    }
}

fn long(size: usize) -> String {
    if size >= MIB {
        format!("{} MiB", size / MIB)
    } else {
        format!("{} KiB", size / KIB)
    }
}
