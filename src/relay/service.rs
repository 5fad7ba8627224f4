//! The running service: its listeners, the admission of sessions, reload and drain.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::alerts::Alerts;
use super::allowances::Allowances;
use super::connect::Connector;
use super::offers::ListenerOffer;
use super::registry::Registry;
use super::session::{ListenerState, Session, Shared};
use super::warm::Warm;
use super::workers::Workers;
use crate::auth::Authenticator;
use crate::config::runtime::{Config, Listener};
use crate::net::{Bound, Certificates, NetError, bind};
use crate::protocol::Protocol;

/// A listener that could not be opened. All of them are reported, not only the first.
#[derive(Debug, thiserror::Error)]
#[error("the {} listener on {} cannot be opened", listener.protocol, listener.address)]
pub struct ServiceError {
    /// Which one.
    pub listener: Listener,
    /// Why.
    #[source]
    pub source: NetError,
}

/// mailsluice at work. Dropping it stops the listeners; [`Service::drain`] ends it properly.
#[derive(Debug)]
pub struct Service {
    overview: Overview,
    shared: Arc<Shared>,
    listening: HashMap<SocketAddr, Listening>,
    certificates: Arc<Certificates>,
    /// Ends the task that renews them.
    _renewing: DropGuard,
    workers: Arc<Workers>,
    sessions: TaskTracker,
    turning_away: Arc<Semaphore>,
}

/// A view of the running service that follows its changes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Overview {
    config: Arc<ArcSwap<Config>>,
    addresses: Arc<ArcSwap<Vec<(Protocol, SocketAddr)>>>,
    registry: Arc<Registry>,
}

impl Overview {
    /// Where it listens: what was asked for, with free ports filled in.
    pub fn addresses(&self) -> Vec<(Protocol, SocketAddr)> {
        self.addresses.load().to_vec()
    }

    /// The configuration it works by.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// How many accounts are configured.
    pub fn accounts(&self) -> usize {
        self.config.load().accounts.all.len()
    }

    /// The open sessions.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// One open port.
#[derive(Debug)]
struct Listening {
    state: Arc<ArcSwap<ListenerState>>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Service {
    /// Opens every listener of `config` and serves, or opens none and says which could not be. Sessions run where `workers`
    /// has them.
    pub fn start(
        config: Arc<Config>,
        authenticator: Arc<Authenticator>,
        workers: Workers,
    ) -> Result<Self, Vec<ServiceError>> {
        let certificates = Arc::new(Certificates::new(&config));
        let mut service = Self {
            overview: Overview {
                config: Arc::new(ArcSwap::new(Arc::clone(&config))),
                addresses: Arc::default(),
                registry: Arc::default(),
            },
            shared: Arc::new(Shared {
                authenticator,
                connector: Connector::default(),
                alerts: Alerts::default(),
                warm: Warm::default(),
                allowances: Allowances::default(),
                drain: CancellationToken::new(),
                abort: CancellationToken::new(),
            }),
            listening: HashMap::new(),
            _renewing: keep_renewing(&certificates),
            certificates,
            workers: Arc::new(workers),
            sessions: TaskTracker::new(),
            turning_away: Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE)),
        };
        service.listen(&config)?;
        Ok(service)
    }

    /// What its listeners present.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// What others may see of it, now and later.
    pub fn overview(&self) -> Overview {
        self.overview.clone()
    }

    /// Takes on a new configuration. Listeners that are in both stay open, sessions under way are not touched. Where
    /// something cannot be opened, all stays as it was.
    pub fn reload(&mut self, config: Arc<Config>) -> Result<(), Vec<ServiceError>> {
        if let Err(errors) = self.listen(&config) {
            let old = self.overview.config();
            self.certificates.take_up(&old, SystemTime::now());
            self.certificates.forget_others(&old);
            return Err(errors);
        }
        self.certificates.forget_others(&config);
        self.shared.connector.tls.forget_files();
        self.shared.connector.abilities.forget_named();
        self.overview.config.store(config);
        self.shared.warm.forget();
        Ok(())
    }

    /// Stops accepting, lets every session end where its protocol has a place for it, and after the configured time
    /// ends the rest. True if all went by themselves.
    pub async fn drain(mut self) -> bool {
        let time = self.overview.config.load().limits.drain;
        self.listening.clear();
        self.shared.drain.cancel();
        self.shared.warm.stop();
        self.sessions.close();
        let in_time = timeout(time, self.sessions.wait()).await.is_ok();
        self.shared.abort.cancel();
        let _ = timeout(ABORT_TIME, self.sessions.wait()).await;
        let _ = timeout(ABORT_TIME, self.shared.warm.stopped()).await;
        in_time
    }

    /// Opens what is new, updates what stays, closes what is gone.
    fn listen(&mut self, config: &Config) -> Result<(), Vec<ServiceError>> {
        let mut opened = Vec::new();
        let mut updated = Vec::new();
        let mut errors = Vec::new();
        let failed = self.certificates.take_up(config, SystemTime::now());
        let mut failed: HashMap<_, _> = failed.into_iter().map(|(s, e)| (s, Some(e))).collect();
        for listener in &config.listeners {
            let known = self.listening.contains_key(&listener.address);
            let without = listener.tls.certificate().and_then(|s| failed.get_mut(s));
            if let Some(why) = without {
                // Said once, however many listeners would present it.
                errors.extend(why.take().map(|error| ServiceError {
                    listener: listener.clone(),
                    source: error.into(),
                }));
                continue;
            }
            match prepare(listener, config, &self.certificates, known) {
                Ok((state, Some(bound))) => opened.push((listener.address, state, bound)),
                Ok((state, None)) => updated.push((listener.address, state)),
                Err(source) => errors.push(ServiceError {
                    listener: listener.clone(),
                    source,
                }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let wanted = |address: &SocketAddr| config.listeners.iter().any(|l| l.address == *address);
        self.listening.retain(|address, _| wanted(address));
        for (address, state) in updated {
            if let Some(listening) = self.listening.get(&address) {
                listening.state.store(state);
            }
        }
        for (address, state, bound) in opened {
            self.serve(address, state, bound);
        }
        self.publish();
        Ok(())
    }

    /// Tells what changed to those who look on, and to the dialler, which must not dial ourselves.
    fn publish(&self) {
        let mut addresses: Vec<_> = self
            .listening
            .values()
            .map(|listening| (listening.state.load().listener.protocol, listening.address))
            .collect();
        addresses.sort();
        let own = addresses.iter().map(|(_, address)| *address).collect();
        self.shared.connector.dialler.own.store(Arc::new(own));
        self.overview.addresses.store(Arc::new(addresses));
    }

    fn serve(&mut self, asked: SocketAddr, state: Arc<ListenerState>, bound: Bound) {
        let address = bound.address();
        let listening = Listening {
            state: Arc::new(ArcSwap::new(state)),
            address,
            stop: self.shared.drain.child_token(),
        };
        let protocol = listening.state.load().listener.protocol;
        tracing::info!(%address, proto = %protocol, "listening");
        let gate = Gate {
            config: Arc::clone(&self.overview.config),
            state: Arc::clone(&listening.state),
            registry: Arc::clone(&self.overview.registry),
            workers: Arc::clone(&self.workers),
            sessions: self.sessions.clone(),
            turning_away: Arc::clone(&self.turning_away),
            shared: Arc::clone(&self.shared),
        };
        let stop = listening.stop.clone();
        // Port 0 may be asked for more than once: what was opened is the key then.
        let key = if asked.port() == 0 { address } else { asked };
        self.listening.insert(key, listening);
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                let (stream, peer) = bound.accept().await;
                gate.enter(stream, peer);
            }
        }));
    }
}

/// The state of `listener`, and its socket unless it is open already.
fn prepare(
    listener: &Listener,
    config: &Config,
    certificates: &Certificates,
    is_open: bool,
) -> Result<(Arc<ListenerState>, Option<Bound>), NetError> {
    let acceptor = match listener.tls.certificate() {
        None => None,
        Some(source) => Some(certificates.acceptor(source, listener.protocol)?),
    };
    let state = Arc::new(ListenerState {
        listener: listener.clone(),
        acceptor,
        offer: ListenerOffer::new(listener, config),
    });
    let bound = if is_open {
        None
    } else {
        Some(bind(listener.address)?)
    };
    Ok((state, bound))
}

/// Looks after the certificates for as long as the guard is there.
fn keep_renewing(certificates: &Arc<Certificates>) -> DropGuard {
    let certificates = Arc::clone(certificates);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(stopped.run_until_cancelled_owned(async move {
        let mut looks = interval_at(tokio::time::Instant::now() + RENEW_EVERY, RENEW_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let certificates = Arc::clone(&certificates);
            let look = move || certificates.renew(SystemTime::now());
            // It panics or not; the next one is tried in any case.
            let _ = tokio::task::spawn_blocking(look).await;
        }
    }));
    stop.drop_guard()
}

/// Between accept and session.
struct Gate {
    config: Arc<ArcSwap<Config>>,
    state: Arc<ArcSwap<ListenerState>>,
    registry: Arc<Registry>,
    workers: Arc<Workers>,
    sessions: TaskTracker,
    turning_away: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl Gate {
    /// Starts a session for `stream`, or turns it away. Does no IO: the accept loop only accepts.
    fn enter(&self, stream: TcpStream, peer: SocketAddr) {
        let listener = self.state.load_full();
        if !listener.admits(peer) {
            tracing::warn!(%peer, address = %listener.listener.address, cause = "network not allowed", "closed");
            return;
        }
        let config = self.config.load_full();
        let limits = &config.limits;
        let protocol = listener.listener.protocol;
        let admitted =
            self.registry
                .admit(protocol, peer, limits.sessions, limits.sessions_per_peer);
        let (record, place) = match admitted {
            Some(admitted) => (Arc::clone(&admitted.record), Ok(admitted)),
            None => {
                tracing::warn!(%peer, proto = %protocol, open = self.registry.open(), cause = "too many sessions", "turned away");
                // A polite answer costs a task; a flood gets none.
                let Ok(permit) = Arc::clone(&self.turning_away).try_acquire_owned() else {
                    return;
                };
                (self.registry.outside(protocol, peer), Err(permit))
            }
        };
        let conn = record.conn;
        let session = Session {
            record,
            shared: Arc::clone(&self.shared),
            config,
            listener,
            refused: place.is_err(),
        };
        let serve = move |stream| async move {
            if AssertUnwindSafe(session.run(stream))
                .catch_unwind()
                .await
                .is_err()
            {
                tracing::error!(
                    conn,
                    cause = "panic",
                    "session ended by an internal error; please report it"
                );
            }
            drop(place);
        };
        self.workers.spawn(&self.sessions, stream, serve);
    }
}

/// How soon a certificate file that somebody has renewed is noticed: soon enough for who waits and watches, and six system
/// calls.
const RENEW_EVERY: Duration = Duration::from_secs(5 * 60);

/// Connections over the limit that are told so at once; more are closed without a word.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// How long sessions that are told to end at once may take.
const ABORT_TIME: Duration = Duration::from_secs(2);
