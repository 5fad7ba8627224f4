//! Between accept and session: who may come in, and where there is room for them.
//!
//! A listener that asks more of a connection than its address (whose program it is, or whom a load balancer connects for)
//! has it asked in a task of its own, so that the accept loop only accepts. Nothing is said to who is turned away there.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::registry::Registry;
use super::session::{ListenerState, Session, Shared};
use super::workers::Workers;
use crate::config::runtime::{Config, Door};
use crate::net::{Socket, announced, owner};
use crate::peer::{Peer, Who};

/// What stands between the accept loop of one listener and its sessions.
pub(super) struct Gate {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) state: Arc<ArcSwap<ListenerState>>,
    pub(super) registry: Arc<Registry>,
    pub(super) workers: Arc<Workers>,
    pub(super) sessions: TaskTracker,
    /// Those that are over the limit and are told so.
    pub(super) turning_away: Arc<Semaphore>,
    /// Those of whom more is asked.
    pub(super) at_the_door: Arc<Semaphore>,
    pub(super) shared: Arc<Shared>,
}

impl Gate {
    /// Starts a session for `socket`, or turns it away. Does no IO: the accept loop only accepts.
    pub(super) fn enter(self: &Arc<Self>, socket: Socket, peer: Peer) {
        let listener = self.state.load_full();
        if listener.asks_nothing() {
            if listener.admits(peer) {
                self.admit(listener, socket, peer);
            } else {
                close(&listener, peer, "network not allowed");
            }
        } else if !listener.may_knock(peer) {
            close(&listener, peer, "no load balancer of this listener");
        } else if let Ok(permit) = Arc::clone(&self.at_the_door).try_acquire_owned() {
            let gate = Arc::clone(self);
            let asking = async move {
                gate.ask(listener, socket, peer).await;
                drop(permit);
            };
            let until = self.shared.drain.clone();
            self.sessions.spawn(until.run_until_cancelled_owned(asking));
        } else {
            close(&listener, peer, "too many connections at the door");
        }
    }

    async fn ask(&self, listener: Arc<ListenerState>, mut socket: Socket, peer: Peer) {
        let asked = match listener.user_may_enter(&socket, peer) {
            Ok(()) => client(&listener.listener.door, &mut socket, peer).await,
            Err(cause) => Err(cause),
        };
        match asked {
            // Who is listed as a load balancer may also come for itself, to see whether we are well.
            Ok(client) if client == peer && !listener.listener.door.balancers.is_empty() => {
                self.admit(listener, socket, client);
            }
            Ok(client) if listener.admits(client) => self.admit(listener, socket, client),
            Ok(client) => close(&listener, client, "network not allowed"),
            Err(cause) => close(&listener, peer, &cause),
        }
    }

    /// Gives it a place, or tells it that there is none.
    fn admit(&self, listener: Arc<ListenerState>, socket: Socket, peer: Peer) {
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
        let serve = move |socket| async move {
            if AssertUnwindSafe(session.run(socket))
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
        self.workers.spawn(&self.sessions, socket, serve);
    }
}

impl ListenerState {
    fn asks_nothing(&self) -> bool {
        let door = &self.listener.door;
        door.balancers.is_empty() && door.users.is_none()
    }

    /// Whether it is worth to ask more of `peer`: where there are load balancers, it has to be one.
    fn may_knock(&self, peer: Peer) -> bool {
        let balancers = &self.listener.door.balancers;
        let listed = |ip| balancers.iter().any(|network| network.contains(&ip));
        balancers.is_empty() || matches!(peer.who(), Who::Address(ip) if listed(ip))
    }

    /// Whether the program at the other end is of a user who may connect; if not, why.
    fn user_may_enter(&self, socket: &Socket, peer: Peer) -> Result<(), String> {
        let Some(users) = &self.listener.door.users else {
            return Ok(());
        };
        let user = match peer {
            Peer::User(uid) => Ok(Some(uid)),
            Peer::Address(_) => owner(socket),
        };
        match user {
            Ok(Some(uid)) if users.contains(&uid) => Ok(()),
            Ok(Some(uid)) => Err(format!("user {uid} not allowed")),
            Ok(None) => Err("nobody knows whose program it is".to_owned()),
            Err(error) => Err(format!("nobody knows whose program it is: {error}")),
        }
    }
}

/// Who is served: `peer`, or whom it connects for.
async fn client(door: &Door, socket: &mut Socket, peer: Peer) -> Result<Peer, String> {
    if door.balancers.is_empty() {
        return Ok(peer);
    }
    match timeout(HEADER_TIME, announced(socket)).await {
        Ok(Ok(Some(address))) => Ok(address.into()),
        Ok(Ok(None)) => Ok(peer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the PROXY header took too long".to_owned()),
    }
}

fn close(listener: &ListenerState, peer: Peer, cause: &str) {
    tracing::warn!(%peer, address = %listener.listener.address, cause, "closed");
}

/// A balancer sends the header with the connection; this leaves room for one packet to be lost (section 2 of the protocol).
const HEADER_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Time goes on by itself where nothing else does.
    #[tokio::test(start_paused = true)]
    async fn a_balancer_that_says_nothing_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (balancer, accepted) = tokio::join!(connect, listener.accept());
        let (socket, peer) = accepted.unwrap();
        let door = Door {
            balancers: vec!["127.0.0.1/32".parse().unwrap()],
            ..Door::default()
        };
        let told = client(&door, &mut socket.into(), peer.into()).await;
        assert_eq!(told, Err("the PROXY header took too long".to_owned()));
        drop(balancer);
    }
}
