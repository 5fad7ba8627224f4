//! The running service: its listeners, the admission of sessions, reload and drain.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::alerts::Alerts;
use super::allowances::Allowances;
use super::connect::Connector;
use super::gate::Gate;
use super::offers::ListenerOffer;
use super::registry::Registry;
use super::session::{ListenerState, Shared};
use super::warm::Warm;
use super::workers::Workers;
use crate::auth::Authenticator;
use crate::config::runtime::{Config, ListenAddress, Listener};
use crate::net::{Bound, Certificates, Inherited, NetError, adjust, bind};
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
    /// What systemd opened for us.
    inherited: Inherited,
    listening: HashMap<ListenAddress, Listening>,
    certificates: Arc<Certificates>,
    /// Ends the task that renews them.
    _renewing: DropGuard,
    workers: Arc<Workers>,
    sessions: TaskTracker,
    turning_away: Arc<Semaphore>,
    at_the_door: Arc<Semaphore>,
}

/// A view of the running service that follows its changes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Overview {
    config: Arc<ArcSwap<Config>>,
    places: Arc<ArcSwap<Vec<(Protocol, ListenAddress)>>>,
    registry: Arc<Registry>,
}

impl Overview {
    /// Where it listens: ports and paths, with free ports filled in and names of systemd's replaced.
    pub fn places(&self) -> Vec<(Protocol, ListenAddress)> {
        self.places.load().to_vec()
    }

    /// The ports among them.
    pub fn addresses(&self) -> Vec<(Protocol, SocketAddr)> {
        let places = self.places.load();
        let ports = places.iter().filter_map(|(p, it)| Some((*p, it.tcp()?)));
        ports.collect()
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

/// One open listener; of systemd's it may have several sockets.
#[derive(Debug)]
struct Listening {
    state: Arc<ArcSwap<ListenerState>>,
    places: Vec<ListenAddress>,
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
        Self::start_with(config, authenticator, workers, Inherited::default())
    }

    /// The same, with the sockets that this process was started with.
    pub fn start_with(
        config: Arc<Config>,
        authenticator: Arc<Authenticator>,
        workers: Workers,
        inherited: Inherited,
    ) -> Result<Self, Vec<ServiceError>> {
        let certificates = Arc::new(Certificates::new(&config));
        let mut service = Self {
            overview: Overview {
                config: Arc::new(ArcSwap::new(Arc::clone(&config))),
                places: Arc::default(),
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
            inherited,
            listening: HashMap::new(),
            _renewing: keep_renewing(&certificates),
            certificates,
            workers: Arc::new(workers),
            sessions: TaskTracker::new(),
            turning_away: Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE)),
            at_the_door: Arc::new(Semaphore::new(AT_THE_DOOR_AT_ONCE)),
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
            match self.prepare(listener, config, known) {
                Ok((state, Some(bound))) => opened.push((listener.address.clone(), state, bound)),
                Ok((state, None)) => updated.push((listener.address.clone(), state)),
                Err(source) => errors.push(ServiceError {
                    listener: listener.clone(),
                    source,
                }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let wanted =
            |address: &ListenAddress| config.listeners.iter().any(|l| l.address == *address);
        self.listening.retain(|address, _| wanted(address));
        for (address, state) in updated {
            if let Some(listening) = self.listening.get(&address) {
                if let Err(error) = adjust(&address, &state.listener.door) {
                    tracing::warn!(%address, cause = %error, "its mode stays as it was");
                }
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
        let mut places = Vec::new();
        for listening in self.listening.values() {
            let protocol = listening.state.load().listener.protocol;
            places.extend(listening.places.iter().map(|it| (protocol, it.clone())));
        }
        places.sort();
        let own = places.iter().filter_map(|(_, place)| place.tcp()).collect();
        self.shared.connector.dialler.own.store(Arc::new(own));
        self.overview.places.store(Arc::new(places));
    }

    fn serve(&mut self, asked: ListenAddress, state: Arc<ListenerState>, bound: Vec<Bound>) {
        let listening = Listening {
            state: Arc::new(ArcSwap::new(state)),
            places: bound.iter().map(|it| it.address().clone()).collect(),
            stop: self.shared.drain.child_token(),
        };
        let protocol = listening.state.load().listener.protocol;
        let gate = Arc::new(self.gate(Arc::clone(&listening.state)));
        for bound in bound {
            let gate = Arc::clone(&gate);
            tracing::info!(address = %bound.address(), proto = %protocol, "listening");
            let stop = listening.stop.clone();
            tokio::spawn(stop.run_until_cancelled_owned(async move {
                loop {
                    let (socket, peer) = bound.accept().await;
                    gate.enter(socket, peer);
                }
            }));
        }
        // Port 0 may be asked for more than once: what was opened is the key then.
        let key = match listening.places.first() {
            Some(opened) if asked.is_any_port() => opened.clone(),
            _ => asked,
        };
        self.listening.insert(key, listening);
    }

    fn gate(&self, state: Arc<ArcSwap<ListenerState>>) -> Gate {
        Gate {
            config: Arc::clone(&self.overview.config),
            state,
            registry: Arc::clone(&self.overview.registry),
            workers: Arc::clone(&self.workers),
            sessions: self.sessions.clone(),
            turning_away: Arc::clone(&self.turning_away),
            at_the_door: Arc::clone(&self.at_the_door),
            shared: Arc::clone(&self.shared),
        }
    }

    /// The state of `listener`, and its sockets unless they are open already.
    fn prepare(
        &self,
        listener: &Listener,
        config: &Config,
        is_open: bool,
    ) -> Result<(Arc<ListenerState>, Option<Vec<Bound>>), NetError> {
        let acceptor = match listener.tls.certificate() {
            None => None,
            Some(source) => Some(self.certificates.acceptor(source, listener.protocol)?),
        };
        let state = Arc::new(ListenerState {
            listener: listener.clone(),
            acceptor,
            offer: ListenerOffer::new(listener, config),
        });
        let bound = if is_open {
            None
        } else {
            let (address, door) = (&listener.address, &listener.door);
            Some(bind(address, door, &self.inherited)?)
        };
        Ok((state, bound))
    }
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

/// How soon a certificate file that somebody has renewed is noticed: soon enough for who waits and watches, and six system
/// calls.
const RENEW_EVERY: Duration = Duration::from_secs(5 * 60);

/// Connections over the limit that are told so at once; more are closed without a word.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// Connections that wait for a load balancer's header, which comes with the connection, or for the system to tell whose
/// they are. A burst has room; who only connects and waits takes no more.
const AT_THE_DOOR_AT_ONCE: usize = 1024;

/// How long sessions that are told to end at once may take.
const ABORT_TIME: Duration = Duration::from_secs(2);
