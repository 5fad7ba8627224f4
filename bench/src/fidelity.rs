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
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::mail::Mail;
    use crate::peers::{Ports, Running};
    use crate::stage::Load;
    use crate::upstream::{Addresses, USER};
    use crate::{splice, tls, upstream};

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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_faithful_splice_passes_and_one_that_changes_an_octet_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let upstream = upstream::within_a_test(folder.path()).await;
        let config = tls::client(&folder.path().join(tls::CA_FILE)).unwrap();
        let mut ports = Vec::new();
        for near in upstream.near {
            ports.push(splice::listen(near, config.clone(), false).unwrap());
        }
        let connector = TlsConnector::from(config);
        let ports: [SocketAddr; 3] = ports.try_into().unwrap();
        let checked = checked(ports, &upstream, connector.clone(), true).await;
        checked.unwrap();
        for altered in 0..ports.len() {
            let mut ports = ports;
            ports[altered] = altering(ports[altered]).await;
            let error = self::checked(ports, &upstream, connector.clone(), true)
                .await
                .unwrap_err();
            assert!(matches!(error, BenchError::Fidelity(_)), "{error:?}");
        }
        // One that claims to inject, and has its client say the upstream's password.
        let error = self::checked(ports, &upstream, connector, false).await;
        assert!(matches!(error, Err(BenchError::Fidelity(_))), "{error:?}");
    }

    async fn checked(
        [imap, pop3, smtp]: [SocketAddr; 3],
        upstream: &Addresses,
        connector: TlsConnector,
        blind: bool,
    ) -> Result<(), BenchError> {
        let control = upstream.control;
        let running = Running {
            children: Vec::new(),
            roots: Vec::new(),
            ports: Ports {
                imap: Some(imap),
                pop3: Some(pop3),
                smtp: Some(smtp),
                user: USER.to_owned(),
                password: PASSWORD.to_owned(),
                ..Ports::default()
            },
        };
        let check = move || {
            let stage = Stage {
                running: &running,
                load: Load {
                    time: Duration::ZERO,
                    quick: true,
                    sessions: 1,
                },
                mail: &Mail::new(MIB),
                connector: &connector,
            };
            check(&stage, blind, control)
        };
        tokio::task::spawn_blocking(check).await.unwrap()
    }

    /// Passes everything but for one octet each way, in the middle of a large message.
    async fn altering(target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(target).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(alter(from_client, to_server));
                tokio::spawn(alter(from_server, to_client));
            }
        });
        address
    }

    async fn alter(
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
    ) {
        let mut passed = 0;
        let mut piece = vec![0; 4096];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            if let Some(octet) = piece[..count].get_mut(ALTERED.wrapping_sub(passed)) {
                // Letters stay letters: no line ends differently.
                *octet = if *octet == b'A' { b'B' } else { b'A' };
            }
            passed += count;
            if to.write_all(&piece[..count]).await.is_err() {
                break;
            }
        }
    }

    const ALTERED: usize = 300 * KIB + 7;
}
