//! A provider inside the process: IMAP, POP3 and submission with TLS on loopback, over one mailbox in memory.
//!
//! For the demo and for tests. Its certificate is made at start, for `localhost`, by a CA of its own whose certificate
//! the [`Provider`] hands out; neither key touches a disk.

mod certificate;
mod seed;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::mailbox::{Mailbox, MailboxError};
use super::memory::MemoryMailbox;
use super::wire::{Stream, WireError};
use super::{Verifier, imap, pop3, submission};
use crate::proto::dialogue::LoginAttempt;
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Protocol;
use crate::secret::Secret;

pub use self::certificate::CertificateError;

/// A running provider. Dropping it stops it.
pub struct Provider {
    ports: [(Protocol, u16); 3],
    ca_pem: String,
    password: Secret,
    mailbox: Arc<MemoryMailbox>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No certificate.
    #[error("cannot make a certificate")]
    Certificate(#[from] CertificateError),
    /// No port.
    #[error("cannot listen on loopback")]
    Listen(#[source] std::io::Error),
    /// No randomness for the app password.
    #[error("the system gives no random numbers")]
    Random,
    /// The mailbox did not take its first messages.
    #[error("cannot fill the mailbox")]
    Seed(#[source] MailboxError),
}

impl Provider {
    /// The one user's address, which is also the login name.
    pub const USER: &str = "anna@example.org";

    /// The name in the certificate.
    pub const HOST: &str = "localhost";

    /// Fills a mailbox and listens on free ports of `127.0.0.1`.
    pub async fn start() -> Result<Self, ProviderError> {
        let identity = certificate::make(Self::HOST)?;
        let mailbox = Arc::new(seed::mailbox().await.map_err(ProviderError::Seed)?);
        let password = app_password()?;
        let door = Arc::new(Door::new(password.clone(), mailbox.clone()));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let mut ports = Protocol::ALL.map(|protocol| (protocol, 0));
        for (protocol, port) in &mut ports {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let listener = TcpListener::bind(address)
                .await
                .map_err(ProviderError::Listen)?;
            *port = listener.local_addr().map_err(ProviderError::Listen)?.port();
            let server = Server {
                protocol: *protocol,
                acceptor: identity.acceptor.clone(),
                door: door.clone(),
                stop: stop.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn(server.listen(listener));
        }
        Ok(Self {
            ports,
            ca_pem: identity.ca_pem,
            password,
            mailbox,
            stop,
            tasks,
        })
    }

    /// The port of a protocol, TLS from the first byte.
    pub fn port(&self, protocol: Protocol) -> u16 {
        self.ports
            .iter()
            .find(|(own, _)| *own == protocol)
            .map_or(0, |(_, port)| *port)
    }

    /// The certificate to trust, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What the provider takes from [`USER`](Self::USER).
    pub fn app_password(&self) -> &Secret {
        &self.password
    }

    /// The mailbox itself.
    pub fn mailbox(&self) -> Arc<MemoryMailbox> {
        self.mailbox.clone()
    }

    /// Ends all sessions with a word and waits until they are over.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One listener.
struct Server {
    protocol: Protocol,
    acceptor: TlsAcceptor,
    door: Arc<Door>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    async fn listen(self, listener: TcpListener) {
        let server = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = server.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    server.tasks.spawn(session(server.clone(), stream));
                }
                // Out of file descriptors: the ones in use come back.
                Err(error) => {
                    debug!(proto = %server.protocol, cause = %error, "embedded accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn session(server: Arc<Server>, stream: TcpStream) {
    // Small replies must not wait for each other; a stream without this option still works.
    let _ = stream.set_nodelay(true);
    let handshake = timeout(HANDSHAKE, server.acceptor.accept(stream));
    let tls = tokio::select! {
        () = server.stop.cancelled() => return,
        tls = handshake => tls,
    };
    let ended = match tls {
        Ok(Ok(tls)) => serve(server.protocol, tls, &*server.door, server.stop.clone()).await,
        Ok(Err(error)) => Err(WireError::Broken(error)),
        Err(_) => Err(WireError::Silent),
    };
    if let Err(error) = ended {
        debug!(proto = %server.protocol, cause = %error, "embedded session ended");
    }
}

/// Serves one client in `protocol`.
pub async fn serve<S: Stream>(
    protocol: Protocol,
    stream: S,
    verifier: &dyn Verifier,
    stop: CancellationToken,
) -> Result<(), WireError> {
    match protocol {
        Protocol::Imap => imap::serve(stream, verifier, stop).await,
        Protocol::Pop3 => pop3::serve(stream, verifier, stop).await,
        Protocol::Smtp => submission::serve(stream, Provider::HOST, verifier, stop).await,
    }
}

/// Lets in the one user, [`Provider::USER`].
pub struct Door {
    password: Secret,
    mailbox: Arc<MemoryMailbox>,
}

impl Door {
    /// To `mailbox` with `password`.
    pub fn new(password: Secret, mailbox: Arc<MemoryMailbox>) -> Self {
        Self { password, mailbox }
    }
}

impl Verifier for Door {
    fn verify<'a>(
        &'a self,
        attempt: &'a LoginAttempt,
    ) -> BoxFuture<'a, Result<Arc<dyn Mailbox>, Refusal>> {
        let name = attempt.name.eq_ignore_ascii_case(Provider::USER);
        let password = equal(attempt.password.expose(), self.password.expose());
        let verdict = if name & password {
            Ok(self.mailbox.clone() as Arc<dyn Mailbox>)
        } else {
            Err(Refusal::new(
                Cause::WrongPassword,
                "app-password",
                "Wrong name or app password",
            ))
        };
        std::future::ready(verdict).boxed()
    }
}

/// In a time that does not tell how much was right.
fn equal(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// 80 random bits as letters that are not mistaken for each other, in the groups providers show them in.
fn app_password() -> Result<Secret, ProviderError> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| ProviderError::Random)?;
    let mut password = String::with_capacity(19);
    for (i, byte) in random.iter().enumerate() {
        if i > 0 && i % 4 == 0 {
            password.push('-');
        }
        let letter = LETTERS.get(usize::from(byte % 32)).copied();
        password.push(char::from(letter.unwrap_or(b'a')));
    }
    Ok(Secret::from(password))
}

/// 32 of them, so that a byte's lower five bits choose one evenly.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// For TLS; as long as the whole time before login.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// Until the next try when accept fails.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
