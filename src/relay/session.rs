//! One session from accept to its one log line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::connect::{Connected, Connector};
use super::copy::{Copy, Leftovers};
use super::login::LoginLeg;
use super::registry::SessionRecord;
use crate::auth::Authenticator;
use crate::config::runtime::{Config, Listener, ListenerTls};
use crate::net::{Acceptor, Stream};
use crate::proto::dialogue::{ClientTls, LoginAttempt, LoginSettings, UpstreamSettings};
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Leg;

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) connector: Connector,
    /// The service stops: sessions say so and end where they may.
    pub(super) drain: CancellationToken,
    /// The time for that is over.
    pub(super) abort: CancellationToken,
}

/// One session. Its configuration is the one it began with, whatever is reloaded meanwhile.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) record: Arc<SessionRecord>,
    pub(super) shared: Arc<Shared>,
    pub(super) config: Arc<Config>,
    pub(super) listener: Arc<ListenerState>,
    /// It is one too many, and is only told so.
    pub(super) refused: bool,
}

/// A listener as its sessions see it.
#[derive(Debug)]
pub(super) struct ListenerState {
    pub(super) listener: Listener,
    pub(super) acceptor: Option<Acceptor>,
}

impl ListenerState {
    /// Whether this peer may connect at all.
    pub(super) fn admits(&self, peer: SocketAddr) -> bool {
        let ip = peer.ip().to_canonical();
        if self.listener.networks.is_empty() {
            return ip.is_loopback();
        }
        self.listener.networks.iter().any(|net| net.contains(&ip))
    }
}

/// Where and why a session ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) leg: Leg,
    pub(super) phase: &'static str,
    pub(super) cause: String,
}

impl End {
    pub(super) fn new(leg: Leg, phase: &'static str, cause: impl Into<String>) -> Self {
        Self {
            leg,
            phase,
            cause: cause.into(),
        }
    }
}

impl Session {
    /// Runs the session and writes its log line.
    pub(super) async fn run(self, tcp: TcpStream) {
        let end = tokio::select! {
            end = self.serve(tcp) => end,
            () = self.shared.abort.cancelled() => {
                End::new(Leg::Client, "drain", "still busy when the time to stop was over")
            }
        };
        let view = self.record.view();
        tracing::info!(
            conn = view.conn,
            proto = view.protocol,
            peer = view.peer,
            account = view.account,
            upstream = view.upstream,
            leg = %end.leg,
            phase = end.phase,
            bytes_up = view.bytes_up,
            bytes_down = view.bytes_down,
            elapsed_ms = self.record.started.elapsed().as_millis() as u64,
            cause = end.cause,
            "session ended"
        );
    }

    async fn serve(&self, tcp: TcpStream) -> End {
        match self.greet_and_relay(tcp).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn greet_and_relay(&self, tcp: TcpStream) -> Result<End, End> {
        let client = self.open(tcp).await?;
        let settings = self.login_settings(&client);
        let logged_in = self
            .login(LoginLeg {
                client,
                settings: settings.clone(),
                acceptor: self.listener.acceptor.as_ref(),
                shutdown: &self.shared.drain,
                budget: self.config.limits.before_login,
                refused: self.refused,
            })
            .await?;
        self.log_login();
        let Connected {
            stream,
            established,
        } = logged_in.upstream;
        let watch = crate::proto::watch(self.record.protocol, &settings, &established);
        let leftovers = Leftovers {
            client: logged_in.leftover,
            upstream: established.leftover,
        };
        Ok(
            Copy::new(&self.record, watch, logged_in.client, stream, leftovers)
                .run(&self.shared.drain)
                .await,
        )
    }

    /// The client leg, with its implicit TLS if the listener has it.
    async fn open(&self, tcp: TcpStream) -> Result<Stream, End> {
        let (ListenerTls::Implicit(_), Some(acceptor)) =
            (&self.listener.listener.tls, &self.listener.acceptor)
        else {
            return Ok(Stream::Plain(tcp));
        };
        self.record.set_phase("tls");
        match timeout(HANDSHAKE_TIME, acceptor.accept(tcp)).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(error)) => Err(End::new(Leg::Client, "tls", error.to_string())),
            Err(_) => Err(End::new(Leg::Client, "tls", "the handshake took too long")),
        }
    }

    fn login_settings(&self, client: &Stream) -> LoginSettings {
        LoginSettings {
            host: self.config.host.clone(),
            tls: match (client.is_tls(), &self.listener.acceptor) {
                (true, _) => ClientTls::Active,
                (false, Some(_)) => ClientTls::Offered,
                (false, None) => ClientTls::Off,
            },
            max_message_size: 0,
        }
    }

    /// From a login attempt to an authenticated upstream, or a refusal in the table's words.
    pub(super) async fn authenticate(
        &self,
        attempt: LoginAttempt,
        encrypted: bool,
    ) -> Result<Connected, Refusal> {
        let name = attempt.name.clone();
        let mechanism = attempt.mechanism;
        self.record.set_phase("authenticating");
        let outcome = if encrypted || self.listener.listener.takes_plain_login() {
            self.check_and_connect(attempt).await
        } else {
            let text = "a login is taken here only after STARTTLS";
            Err(Refusal::new(Cause::PrivacyRequired, "listener", text))
        };
        if let Err(refusal) = &outcome {
            self.log_refusal(&name, mechanism, refusal);
        }
        outcome
    }

    async fn check_and_connect(&self, attempt: LoginAttempt) -> Result<Connected, Refusal> {
        let protocol = self.record.protocol;
        let peer = self.record.peer.ip().to_canonical();
        let pin = self.listener.listener.pin.as_ref();
        let authenticator = &self.shared.authenticator;
        let granted = authenticator
            .check(&self.config, pin, protocol, peer, attempt)
            .await?;
        let account = &granted.account;
        self.record.set_account(&account.address);
        let Some(endpoint) = account.endpoints.get(&protocol) else {
            let text = format!("{protocol} is not switched on for this account");
            return Err(Refusal::new(Cause::ProtocolOff, "routing", text));
        };
        self.record.set_upstream(&endpoint.host, endpoint.port);
        let settings = UpstreamSettings {
            tls: endpoint.tls,
            ehlo_name: self.config.host.clone(),
            credential: granted.credential,
            passthrough: granted.passthrough,
        };
        let deadline = Instant::now() + self.config.limits.login;
        let connected = self
            .shared
            .connector
            .connect(protocol, endpoint, settings, deadline)
            .await;
        match &connected {
            Ok(_) => authenticator.accepted(&granted.receipt),
            Err(refusal) if is_about_the_credential(refusal.cause) => {
                authenticator.rejected(&granted.receipt);
            }
            Err(_) => {}
        }
        connected
    }

    fn log_login(&self) {
        let view = self.record.view();
        tracing::debug!(
            conn = view.conn,
            proto = view.protocol,
            peer = view.peer,
            account = view.account,
            upstream = view.upstream,
            elapsed_ms = self.record.started.elapsed().as_millis() as u64,
            "logged in"
        );
    }

    fn log_refusal(&self, name: &str, mechanism: &str, refusal: &Refusal) {
        let view = self.record.view();
        // A name that matched no account may be a password typed into the wrong field.
        let account = view.account.as_deref().unwrap_or("unknown");
        let name_length = name.len();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    conn = view.conn,
                    proto = view.protocol,
                    peer = view.peer,
                    account,
                    upstream = view.upstream,
                    phase = refusal.phase,
                    cmd = mechanism,
                    name_length,
                    cause = %refusal.cause,
                    "login refused: {}",
                    refusal.text
                )
            };
        }
        match refusal.cause {
            Cause::UntrustedUpstream
            | Cause::CredentialRejected
            | Cause::SignInNeeded
            | Cause::ContactAdmin
            | Cause::PasswordExpired
            | Cause::ServerBug => line!(error),
            Cause::WrongPassword
            | Cause::Unavailable
            | Cause::UpstreamPolicy
            | Cause::LimitReached
            | Cause::InUse
            | Cause::ProtocolOff
            | Cause::PrivacyRequired => line!(warn),
            Cause::Shutdown => line!(info),
        }
    }
}

/// Whether the upstream judged the credential itself, and not the moment or the way.
fn is_about_the_credential(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::CredentialRejected | Cause::PasswordExpired | Cause::WrongPassword
    )
}

/// A TLS handshake is two round trips; an old device on a slow line takes seconds.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);
