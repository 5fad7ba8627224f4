//! A provider inside the process: IMAP, POP3 and submission with TLS on loopback, over two mailboxes in memory. One is
//! opened by an app password, the other by tokens of the provider's own authorization server ([`Issuer`]).
//!
//! For the demo and for tests. Its certificate is made at start, for `localhost`, by a CA of its own whose certificate
//! the [`Provider`] hands out; neither key touches a disk.

mod certificate;
mod issuer;
mod seed;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::mailbox::{Mailbox, MailboxError};
use super::memory::MemoryMailbox;
use super::wire::{Stream, WireError};
use super::{Verifier, bearer, imap, pop3, submission};
use crate::proto::dialogue::LoginAttempt;
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Protocol;
use crate::secret::Secret;

pub use self::certificate::CertificateError;
pub use self::issuer::Issuer;

/// A running provider. Dropping it stops it.
pub struct Provider {
    ports: [(Protocol, u16); 3],
    sign_in_port: u16,
    issuer: Arc<Issuer>,
    ca_pem: String,
    password: Secret,
    mailbox: Arc<MemoryMailbox>,
    token_mailbox: Arc<MemoryMailbox>,
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
    /// The address of the user with an app password, which is also the login name.
    pub const USER: &str = "anna@example.org";

    /// The same for the user who signs in.
    pub const TOKEN_USER: &str = "ole@example.org";

    /// The name in the certificate.
    pub const HOST: &str = "localhost";

    /// Fills the mailboxes and listens on free ports of `127.0.0.1`.
    pub async fn start() -> Result<Self, ProviderError> {
        let identity = certificate::make(Self::HOST)?;
        let mailbox = Arc::new(seed::mailbox().await.map_err(ProviderError::Seed)?);
        let token_mailbox = Arc::new(seed::mailbox().await.map_err(ProviderError::Seed)?);
        let password = app_password()?;
        let (tokens_at, sign_in_at) = (listener().await?, listener().await?);
        let sign_in_port = port(&sign_in_at)?;
        let identifier = format!("https://{}:{}", Self::HOST, port(&tokens_at)?);
        let issuer = Arc::new(Issuer::new(identifier, Self::TOKEN_USER));
        let door = Door::new(password.clone(), mailbox.clone());
        let server = Arc::new(Server {
            door: door.with_tokens(issuer.clone(), token_mailbox.clone()),
            issuer: issuer.clone(),
            acceptor: identity.acceptor,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let (stop, tasks) = (server.stop.clone(), server.tasks.clone());
        let mut ports = Protocol::ALL.map(|protocol| (protocol, 0));
        for (protocol, free) in &mut ports {
            let listener = listener().await?;
            *free = port(&listener)?;
            tasks.spawn(server.clone().listen(Service::Mail(*protocol), listener));
        }
        tasks.spawn(server.clone().listen(Service::Tokens, tokens_at));
        tasks.spawn(server.listen(Service::SignIn, sign_in_at));
        Ok(Self {
            ports,
            sign_in_port,
            issuer,
            ca_pem: identity.ca_pem,
            password,
            mailbox,
            token_mailbox,
            stop,
            tasks,
        })
    }

    /// The authorization server.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Where a person signs in. Plain HTTP on loopback, since no browser trusts a certificate made a second ago.
    pub fn authorize_url(&self) -> String {
        format!("http://127.0.0.1:{}/authorize", self.sign_in_port)
    }

    /// Where tokens are asked for.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.issuer.identifier())
    }

    /// Where tokens are given back.
    pub fn revoke_url(&self) -> String {
        format!("{}/revoke", self.issuer.identifier())
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

    /// The mailbox of [`TOKEN_USER`](Self::TOKEN_USER).
    pub fn token_mailbox(&self) -> Arc<MemoryMailbox> {
        self.token_mailbox.clone()
    }

    /// The mailbox of [`USER`](Self::USER).
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

async fn listener() -> Result<TcpListener, ProviderError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(address)
        .await
        .map_err(ProviderError::Listen)
}

fn port(listener: &TcpListener) -> Result<u16, ProviderError> {
    let address = listener.local_addr().map_err(ProviderError::Listen)?;
    Ok(address.port())
}

/// What is behind a port.
#[derive(Clone, Copy, Debug)]
enum Service {
    Mail(Protocol),
    /// The issuer with TLS.
    Tokens,
    /// The issuer without.
    SignIn,
}

/// What all listeners share.
struct Server {
    door: Door,
    issuer: Arc<Issuer>,
    acceptor: TlsAcceptor,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    async fn listen(self: Arc<Self>, service: Service, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    self.tasks.spawn(session(self.clone(), service, stream));
                }
                // Out of file descriptors: the ones in use come back.
                Err(error) => {
                    debug!(?service, cause = %error, "embedded accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn session(server: Arc<Server>, service: Service, stream: TcpStream) {
    // Small replies must not wait for each other; a stream without this option still works.
    let _ = stream.set_nodelay(true);
    let stop = server.stop.clone();
    let ended = match service {
        Service::SignIn => issuer::serve(stream, &server.issuer, stop).await,
        _ => match secured(&server, stream).await {
            Ok(tls) => match service {
                Service::Mail(protocol) => serve(protocol, tls, &server.door, stop).await,
                _ => issuer::serve(tls, &server.issuer, stop).await,
            },
            Err(error) => Err(error),
        },
    };
    if let Err(error) = ended {
        debug!(?service, cause = %error, "embedded session ended");
    }
}

async fn secured(server: &Server, stream: TcpStream) -> Result<TlsStream<TcpStream>, WireError> {
    let handshake = timeout(HANDSHAKE, server.acceptor.accept(stream));
    tokio::select! {
        () = server.stop.cancelled() => Err(WireError::Stopped),
        tls = handshake => tls.map_err(|_| WireError::Silent)?.map_err(WireError::Broken),
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

/// Lets in [`Provider::USER`] by password, and [`Provider::TOKEN_USER`] by token where there are tokens.
#[derive(Clone)]
pub struct Door {
    password: Secret,
    mailbox: Arc<MemoryMailbox>,
    tokens: Option<(Arc<Issuer>, Arc<MemoryMailbox>)>,
}

impl Door {
    /// To `mailbox` with `password`.
    pub fn new(password: Secret, mailbox: Arc<MemoryMailbox>) -> Self {
        Self {
            password,
            mailbox,
            tokens: None,
        }
    }

    /// The same, and to another mailbox with tokens of `issuer`.
    pub fn with_tokens(mut self, issuer: Arc<Issuer>, mailbox: Arc<MemoryMailbox>) -> Self {
        self.tokens = Some((issuer, mailbox));
        self
    }

    fn by_password(&self, attempt: &LoginAttempt) -> Option<Arc<MemoryMailbox>> {
        let name = attempt.name.eq_ignore_ascii_case(Provider::USER);
        let sent = attempt.proof.password();
        let password = sent.is_some_and(|sent| equal(sent.expose(), self.password.expose()));
        (name & password).then(|| self.mailbox.clone())
    }

    fn by_token(&self, attempt: &LoginAttempt) -> Option<Arc<MemoryMailbox>> {
        let (issuer, mailbox) = self.tokens.as_ref()?;
        let name = attempt.name.eq_ignore_ascii_case(Provider::TOKEN_USER);
        let token = attempt.proof.password();
        (name & token.is_some_and(|token| issuer.takes(token.expose()))).then(|| mailbox.clone())
    }
}

impl Verifier for Door {
    fn verify<'a>(
        &'a self,
        attempt: &'a LoginAttempt,
    ) -> BoxFuture<'a, Result<Arc<dyn Mailbox>, Refusal>> {
        let mailbox = if bearer::is_bearer(attempt) {
            self.by_token(attempt)
        } else {
            self.by_password(attempt)
        };
        let verdict = match mailbox {
            Some(mailbox) => Ok(mailbox as Arc<dyn Mailbox>),
            None => Err(Refusal::new(
                Cause::WrongPassword,
                "app-password",
                "Wrong name, app password or token",
            )),
        };
        std::future::ready(verdict).boxed()
    }

    fn takes_tokens(&self) -> bool {
        self.tokens.is_some()
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
