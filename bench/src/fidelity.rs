//! Before anything is measured: whether mail comes through unchanged, and who logged in upstream with what.
//!
//! A target that fails here gets no figure. A blind one is not asked to inject: its client says the upstream's password.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};

use aws_lc_rs::digest;

use crate::client::{Imap, Pop3, Smtp};
use crate::error::BenchError;
use crate::mail::{KIB, MIB, hex, sha256};
use crate::peers::Login;
use crate::scenarios::number;
use crate::stage::{Protocol, Stage};
use crate::upstream::{Counts, PASSWORD};

/// Checks every protocol the target has.
pub(crate) fn check(stage: &Stage<'_>, blind: bool, control: SocketAddr) -> Result<(), BenchError> {
    let login = stage.login();
    if !blind && login.password == PASSWORD {
        return Err(BenchError::Fidelity(
            "its client says the upstream's password".to_owned(),
        ));
    }
    let before = counts(control)?;
    let mut expected = Expected::default();
    if stage.port(Protocol::Imap).is_some() {
        stage.run(imap(stage, &login))?;
        expected.logins += 1;
        expected.messages += 2;
    }
    if stage.port(Protocol::Pop3).is_some() {
        stage.run(pop3(stage, &login))?;
        expected.logins += 1;
    }
    if stage.port(Protocol::Smtp).is_some() {
        stage.run(smtp(stage, &login))?;
        expected.logins += 1;
        expected.messages += 2;
    }
    expected.compare(before, counts(control)?)?;
    match stage.running.ports.oauth.clone() {
        Some(login) => oauth(stage, &login, control),
        None => Ok(()),
    }
}

/// The upstream's counters now.
pub(crate) fn counts(control: SocketAddr) -> Result<Counts, BenchError> {
    let mut text = Vec::new();
    TcpStream::connect(control)
        .and_then(|mut stream| stream.read_to_end(&mut text))
        .map_err(BenchError::io("asking the upstream what it saw"))?;
    serde_json::from_slice(&text)
        .map_err(|error| BenchError::start("upstream", format!("what it saw: {error}")))
}

/// What the upstream must have seen.
#[derive(Debug, Default)]
struct Expected {
    logins: u64,
    messages: u64,
}

impl Expected {
    fn compare(&self, before: Counts, after: Counts) -> Result<(), BenchError> {
        let logins = after.passwords + after.tokens - before.passwords - before.tokens;
        let messages = after.messages - before.messages;
        let fault = if after.refused > before.refused {
            "the upstream heard another password than its own".to_owned()
        } else if logins < self.logins {
            format!("the upstream saw {logins} logins of {}", self.logins)
        } else if after.altered > before.altered {
            "a message came to the upstream altered".to_owned()
        } else if messages != self.messages {
            format!("the upstream took {messages} messages of {}", self.messages)
        } else {
            return Ok(());
        };
        Err(BenchError::Fidelity(fault))
    }
}

async fn imap(stage: &Stage<'_>, login: &Login) -> Result<(), BenchError> {
    let mut client = Imap::selected(&stage.way(Protocol::Imap)?, login).await?;
    for size in [KIB, 10 * KIB, MIB] {
        let mut seen = digest::Context::new(&digest::SHA256);
        client
            .fetch(number(size), |piece| seen.update(piece))
            .await?;
        same("FETCH", seen, stage.mail.message(size))?;
    }
    for (size, waits) in [(10 * KIB, false), (MIB, true)] {
        client.append(stage.mail.message(size), waits).await?;
    }
    client.idle().await?;
    client.idle_done().await?;
    client.noop().await?;
    client.logout().await
}

async fn pop3(stage: &Stage<'_>, login: &Login) -> Result<(), BenchError> {
    let mut client = Pop3::open(&stage.way(Protocol::Pop3)?, login).await?;
    for size in [KIB, MIB] {
        let mut seen = digest::Context::new(&digest::SHA256);
        client
            .retrieve(number(size), |piece| seen.update(piece))
            .await?;
        same("RETR", seen, stage.mail.stuffed(size))?;
    }
    client.quit().await
}

async fn smtp(stage: &Stage<'_>, login: &Login) -> Result<(), BenchError> {
    let mut client = Smtp::open(&stage.way(Protocol::Smtp)?, login).await?;
    for size in [10 * KIB, MIB] {
        client.submit(stage.mail.stuffed(size)).await?;
    }
    client.quit().await
}

/// The upstream must hear its token, and neither the client's password nor its own.
fn oauth(stage: &Stage<'_>, login: &Login, control: SocketAddr) -> Result<(), BenchError> {
    let before = counts(control)?;
    let way = stage.way(Protocol::Imap)?;
    stage.run(async { Imap::open(&way, login).await?.logout().await })?;
    let after = counts(control)?;
    if after.tokens == before.tokens || after.refused > before.refused {
        return Err(BenchError::Fidelity(
            "the upstream did not hear its token".to_owned(),
        ));
    }
    Ok(())
}

fn same(phase: &str, seen: digest::Context, expected: &[u8]) -> Result<(), BenchError> {
    if hex(seen.finish().as_ref()) == sha256(&[expected]) {
        return Ok(());
    }
    Err(BenchError::Fidelity(format!("{phase} gave other octets")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_upstream_must_not_see_is_a_fault() {
        let expected = Expected {
            logins: 2,
            messages: 1,
        };
        let before = Counts {
            passwords: 5,
            messages: 7,
            ..Counts::default()
        };
        let good = Counts {
            passwords: 6,
            tokens: 1,
            messages: 8,
            ..before
        };
        assert!(expected.compare(before, good).is_ok());
        let faults = [
            Counts { refused: 1, ..good },
            Counts { tokens: 0, ..good },
            Counts { altered: 1, ..good },
            Counts {
                messages: 9,
                ..good
            },
        ];
        for fault in faults {
            assert!(expected.compare(before, fault).is_err(), "{fault:?}");
        }
    }
}
