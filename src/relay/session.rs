//! One session from accept to its one log line.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::alerts::Alerts;
use super::allowances::Allowances;
use super::connect::{Connected, Connector};
use super::copy::{Copy, Leftovers};
use super::login::LoginLeg;
use super::offers::ListenerOffer;
use super::registry::SessionRecord;
use super::submissions::{Submissions, terms};
use super::warm::{self, Left, Warm};
use crate::auth::Authenticator;
use crate::config::runtime::{Config, Listener, ListenerTls};
use crate::net::{Acceptor, Socket, Stream};
use crate::peer::{Peer, Who};
use crate::proto::dialogue::{ClientTls, LoginSettings};
use crate::protocol::Leg;

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
    pub(super) fn submissions(&self) -> Option<Submissions<'_>> {
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
}

/// A TLS handshake is two round trips; an old device on a slow line takes seconds.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);
