//! One session from accept to its one log line.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::alerts::Alerts;
use super::allowances::Allowances;
use super::connect::{Connected, Connector};
use super::copy::{Copy, KeepAlive, Leftovers};
use super::login::LoginLeg;
use super::offers::ListenerOffer;
use super::registry::SessionRecord;
use super::submissions::{Submissions, terms};
use super::warm::{self, Left, Place, Warm};
use super::way::Way;
use crate::auth::{Authenticator, Granted};
use crate::config::Found;
use crate::config::runtime::{Config, Endpoint, Listener, ListenerTls};
use crate::net::{Acceptor, Socket, Stream};
use crate::peer::{Peer, Who};
use crate::profile::{Profile, Quirk};
use crate::proto::dialogue::{ClientTls, LoginAttempt, LoginSettings, Proof, UpstreamSettings};
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::{Leg, Protocol};

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) connector: Connector,
    pub(super) alerts: Alerts,
    pub(super) warm: Warm,
    pub(super) allowances: Allowances,
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
    pub(super) offer: ListenerOffer,
}

impl ListenerState {
    /// Whether this peer is in one of its networks. A user of this machine is in all.
    pub(super) fn admits(&self, peer: Peer) -> bool {
        let Who::Address(ip) = peer.who() else {
            return true;
        };
        if self.listener.networks.is_empty() {
            return ip.is_loopback();
        }
        self.listener.networks.iter().any(|net| net.contains(&ip))
    }
}

/// A login that the upstream took, too.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) connected: Connected,
    /// How the client is served from now on.
    pub(super) profile: Arc<Profile>,
    /// What SCRAM is to be answered.
    pub(super) server_final: Option<String>,
    /// How idling legs are kept alive.
    pub(super) keep_alive: KeepAlive,
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
    pub(super) async fn run(self, socket: Socket) {
        let end = tokio::select! {
            end = self.serve(socket) => end,
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

    async fn serve(&self, socket: Socket) -> End {
        match self.greet_and_relay(socket).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn greet_and_relay(&self, socket: Socket) -> Result<End, End> {
        let client = self.open(socket).await?;
        let settings = self.login_settings(&client).await?;
        let leg = LoginLeg {
            settings: settings.clone(),
            client,
            acceptor: self.listener.acceptor.as_ref(),
            shutdown: &self.shared.drain,
            budget: self.config.limits.before_login,
            refused: self.refused,
        };
        // Boxed: the state of a login is many times that of the relay, which would carry its room for hours.
        let logged_in = Box::pin(self.login(leg)).await?;
        self.log_login();
        // The client may have started TLS meanwhile (REQUIRETLS asks for it).
        let settings = LoginSettings {
            tls: self.client_tls(&logged_in.client),
            ..settings
        };
        let Connected {
            stream,
            mut established,
            since,
            place,
        } = logged_in.upstream;
        let protocol = self.record.protocol;
        let mut watch = crate::proto::watch(protocol, &settings, logged_in.profile, &established);
        let place = place.filter(|_| since.elapsed() < warm::AGE_MAX);
        if place.is_some() {
            watch.keep_upstream();
        }
        let leftovers = Leftovers {
            client: logged_in.leftover,
            upstream: std::mem::take(&mut established.leftover),
        };
        let copy = Copy::new(&self.record, watch, logged_in.client, stream, leftovers)
            .kept_alive(logged_in.keep_alive)
            .with(self.submissions());
        let (end, kept) = copy.run(&self.shared.drain).await;
        if let (Some(kept), Some(place)) = (kept, place) {
            let connected = Connected {
                stream: kept.stream,
                established,
                since,
                place: None,
            };
            let remains = kept.remains;
            let left = Left { connected, remains };
            self.shared.warm.keep(place, left, &self.config.warm);
        }
        Ok(end)
    }

    /// The client leg, with its implicit TLS if the listener has it.
    async fn open(&self, socket: Socket) -> Result<Stream, End> {
        let (ListenerTls::Implicit(_), Some(acceptor)) =
            (&self.listener.listener.tls, &self.listener.acceptor)
        else {
            return Ok(Stream::Plain(socket));
        };
        self.record.set_phase("tls");
        // Boxed, as the login is.
        match timeout(HANDSHAKE_TIME, Box::pin(acceptor.accept(socket))).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(error)) => Err(End::new(Leg::Client, "tls", error.to_string())),
            Err(_) => Err(End::new(Leg::Client, "tls", "the handshake took too long")),
        }
    }

    async fn login_settings(&self, client: &Stream) -> Result<LoginSettings, End> {
        let Shared {
            authenticator,
            connector,
            ..
        } = &*self.shared;
        let listener = &self.listener;
        let offer = listener
            .offer
            .of(
                &listener.listener,
                &self.config,
                authenticator,
                &connector.abilities,
            )
            .await;
        let challenges = authenticator.challenges();
        let no_login = listener.listener.no_login.as_ref();
        Ok(LoginSettings {
            host: self.config.host.clone(),
            tls: self.client_tls(client),
            max_message_size: no_login.map_or(0, |it| it.size),
            terms: no_login.map(|it| Arc::new(terms(it))),
            offer,
            challenges: challenges
                .ok_or_else(|| End::new(Leg::Client, "greeting", "the system has no randomness"))?,
        })
    }

    /// What this session's messages need besides, where nobody logs in.
    fn submissions(&self) -> Option<Submissions<'_>> {
        let Shared { allowances, .. } = &*self.shared;
        Submissions::of(&self.listener.listener, &self.record, allowances)
    }

    fn client_tls(&self, client: &Stream) -> ClientTls {
        match (client.is_tls(), &self.listener.acceptor) {
            (true, _) => ClientTls::Active,
            (false, Some(_)) => ClientTls::Offered,
            (false, None) => ClientTls::Off,
        }
    }

    /// From a login attempt to an authenticated upstream, or a refusal in the table's words.
    pub(super) async fn authenticate(
        &self,
        attempt: LoginAttempt,
        encrypted: bool,
    ) -> Result<Admission, Refusal> {
        let name = attempt.name.clone();
        let mechanism = attempt.mechanism;
        self.record.set_phase("authenticating");
        let may_be_plain = || self.listener.listener.takes_plain_login(self.record.peer);
        let mut outcome = if encrypted || may_be_plain() {
            self.check_and_connect(attempt).await
        } else {
            let text = "a login is taken here only after STARTTLS";
            Err(Refusal::new(Cause::PrivacyRequired, "listener", text))
        };
        if let Err(refusal) = &mut outcome {
            refusal.alert = refusal.alert && self.alert_is_due(&name);
            self.log_refusal(&name, mechanism, refusal);
        }
        outcome
    }

    async fn check_and_connect(&self, attempt: LoginAttempt) -> Result<Admission, Refusal> {
        let peer = self.record.peer.who();
        let pin = self.listener.listener.pin.as_ref();
        let authenticator = &self.shared.authenticator;
        let mut granted = match (&self.listener.listener.no_login, &attempt.proof) {
            // The listener's word, not the client's.
            (Some(terms), Proof::Network) => {
                if self.submissions().is_some_and(|it| !it.has_room()) {
                    let text = "Too many messages from here; try again later";
                    return Err(Refusal::new(Cause::LimitReached, "listener", text));
                }
                authenticator.without_login(&self.config, terms).await?
            }
            _ => {
                authenticator
                    .check(&self.config, pin, self.record.protocol, peer, attempt)
                    .await?
            }
        };
        self.record.set_account(&granted.account.address);
        let profile = self.profile(&granted);
        let idle_renewal = granted.account.idle_renewal;
        let server_final = granted.local.as_mut().and_then(|it| it.server_final.take());
        let deadline = Instant::now() + self.config.limits.login;
        let connected = match self.connect(&granted, deadline).await {
            // Ended early, or revoked: a fresh token may do, and the client need not know.
            Err(refusal) if refusal.cause == Cause::TokenRejected => {
                tracing::debug!(conn = self.record.conn, cause = %refusal, "trying with a fresh token");
                let granted = self.renew(granted, deadline).await?;
                self.connect(&granted, deadline).await
            }
            outcome => outcome,
        }?;
        Ok(Admission {
            keep_alive: KeepAlive {
                renew: idle_renewal,
                still_here: profile.has(Quirk::StillHere),
            },
            connected,
            profile,
            server_final,
        })
    }

    /// How the client is served from its login on.
    fn profile(&self, granted: &Granted) -> Arc<Profile> {
        let of_password = granted.local.as_ref().and_then(|local| {
            let name = local.profile.as_ref()?;
            let profile = self.config.profiles.get(name);
            if profile.is_none() {
                tracing::warn!(
                    conn = self.record.conn,
                    account = granted.account.address,
                    cause = "its profile is not configured any more",
                    "the local password \"{}\" is served as others are",
                    local.name
                );
            }
            profile
        });
        let chosen = of_password.or(granted.account.profile.as_ref());
        Arc::clone(chosen.unwrap_or(&self.listener.listener.profile))
    }

    /// Logs in upstream with what was granted, and tells what the upstream thinks of it.
    async fn connect(&self, granted: &Granted, deadline: Instant) -> Result<Connected, Refusal> {
        let protocol = self.record.protocol;
        let Some(endpoint) = granted.account.endpoints.get(&protocol) else {
            let text = format!("{protocol} is not switched on for this account");
            return Err(Refusal::new(Cause::ProtocolOff, "routing", text));
        };
        self.record.set_upstream(endpoint.authority());
        let place = self.place(granted, endpoint);
        if let Some(place) = &place
            && let Some(mut warm) = self.shared.warm.take(place).await
        {
            tracing::debug!(
                conn = self.record.conn,
                "took over a session that was logged in"
            );
            warm.place = Some(place.clone());
            return Ok(warm);
        }
        let settings = UpstreamSettings {
            tls: endpoint.tls,
            ehlo_name: self.config.host.clone(),
            credential: granted.credential.clone(),
            passthrough: granted.passthrough,
        };
        let connector = &self.shared.connector;
        let authenticator = &self.shared.authenticator;
        let way = Way::to(endpoint, authenticator, deadline).await?;
        let mut connected = connector.connect(protocol, &way, settings, deadline).await;
        match &connected {
            Ok(_) => authenticator.accepted(&granted.receipt),
            Err(refusal) if is_about_the_credential(refusal.cause) => {
                authenticator.rejected(&granted.receipt);
            }
            Err(refusal) => way.learn(refusal, authenticator),
        }
        if let Ok(connected) = &mut connected {
            connected.place = place;
        }
        connected
    }

    /// Where the upstream session may wait for the account's next login; `None` where it is not to. POP3 deletes what
    /// was marked at QUIT, and under pass-through only the upstream can tell whether the next password is right.
    fn place(&self, granted: &Granted, endpoint: &Endpoint) -> Option<Place> {
        let protocol = self.record.protocol;
        if self.config.warm.sessions == 0 || protocol == Protocol::Pop3 {
            return None;
        }
        let credential = granted.receipt.identity()?;
        let account = &granted.account.address;
        let warm = &self.shared.warm;
        Some(warm.place(protocol, account, endpoint, credential))
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

    /// A fresh token in the time that is left of the login.
    async fn renew(&self, granted: Granted, deadline: Instant) -> Result<Granted, Refusal> {
        match timeout_at(deadline, self.shared.authenticator.renew(granted)).await {
            Ok(renewed) => renewed,
            Err(_) => {
                let text = "there was no fresh access token in time";
                Err(Refusal::new(Cause::Unavailable, "token", text))
            }
        }
    }

    /// Whether this session is the one to show an ALERT about the account. Only IMAP has them.
    fn alert_is_due(&self, name: &str) -> bool {
        let pin = self.listener.listener.pin.as_ref();
        let protocol = self.record.protocol;
        match self.config.accounts.find(protocol, name, pin) {
            Found::Account(account) if protocol == Protocol::Imap => {
                self.shared.alerts.due(&account.address, Instant::now())
            }
            Found::Account(_) | Found::ProtocolOff(_) | Found::Unknown => false,
        }
    }

    /// The account that `name` means here, whether or not who says it may log in.
    fn account_of(&self, name: &str) -> Option<String> {
        let pin = self.listener.listener.pin.as_ref();
        match self.config.accounts.find(self.record.protocol, name, pin) {
            Found::Account(account) | Found::ProtocolOff(account) => Some(account.address.clone()),
            Found::Unknown => None,
        }
    }

    fn log_refusal(&self, name: &str, mechanism: &str, refusal: &Refusal) {
        let view = self.record.view();
        // A name that matched no account may be a password typed into the wrong field.
        let account = view.account.or_else(|| self.account_of(name));
        let account = account.as_deref().unwrap_or("unknown");
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
            | Cause::TokenRejected
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
        Cause::CredentialRejected
            | Cause::TokenRejected
            | Cause::PasswordExpired
            | Cause::WrongPassword
    )
}

/// A TLS handshake is two round trips; an old device on a slow line takes seconds.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);
