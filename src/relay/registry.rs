//! The open sessions: what `status` shows and what the closing log line says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dashmap::DashMap;
use serde::{Deserialize, Serialize};

use crate::peer::{Peer, Who};
use crate::protocol::{Leg, Protocol};

/// All sessions that are open now, and how many there have been.
#[derive(Debug, Default)]
pub struct Registry {
    open: DashMap<u64, Arc<SessionRecord>>,
    by_peer: DashMap<Who, usize>,
    next: AtomicU64,
}

/// One session, as far as others may see it. Counters are written by the session's task alone.
#[derive(Debug)]
pub struct SessionRecord {
    /// A number that no other session of this process has.
    pub conn: u64,
    /// What the client speaks.
    pub protocol: Protocol,
    /// Where or who the client is.
    pub peer: Peer,
    /// When it was accepted.
    pub started: Instant,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    known: Mutex<Known>,
}

/// What is learned about a session as it goes.
#[derive(Clone, Debug, Default)]
struct Known {
    account: Option<String>,
    upstream: Option<String>,
    phase: &'static str,
}

/// A session at one moment, for people and scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its number, the same as in the log.
    pub conn: u64,
    /// `imap`, `pop3` or `smtp`.
    pub protocol: String,
    /// The client's address, or its user at a Unix socket.
    pub peer: String,
    /// The account, once a login succeeded.
    pub account: Option<String>,
    /// `host:port` of the upstream, once connected.
    pub upstream: Option<String>,
    /// What it is doing.
    pub phase: String,
    /// Bytes passed from the client to the upstream since the login.
    pub bytes_up: u64,
    /// Bytes passed from the upstream to the client since the login.
    pub bytes_down: u64,
    /// Seconds since it was accepted.
    pub age_s: u64,
}

impl Registry {
    /// Admits a session, unless there are `max` already or its peer has `max_per_peer`. Loopback peers count only
    /// towards the first: all programs of a machine share that address.
    pub fn admit(
        self: &Arc<Self>,
        protocol: Protocol,
        peer: Peer,
        max: usize,
        max_per_peer: usize,
    ) -> Option<Admitted> {
        let who = peer.who();
        if self.open.len() >= max {
            return None;
        }
        {
            let mut count = self.by_peer.entry(who).or_insert(0);
            if !who.is_anybody_here() && *count >= max_per_peer {
                return None;
            }
            *count += 1;
        }
        let record = self.outside(protocol, peer);
        self.open.insert(record.conn, Arc::clone(&record));
        Some(Admitted {
            record,
            registry: Arc::clone(self),
        })
    }

    /// A record for a connection that is turned away: it has a number for the log and no place.
    pub(super) fn outside(&self, protocol: Protocol, peer: Peer) -> Arc<SessionRecord> {
        Arc::new(SessionRecord {
            conn: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            protocol,
            peer,
            started: Instant::now(),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            known: Mutex::default(),
        })
    }

    /// How many sessions are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// How many connections there have been, those turned away included.
    pub fn total(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// The open sessions, oldest first.
    pub fn view(&self) -> Vec<SessionView> {
        let mut sessions: Vec<_> = self.open.iter().map(|entry| entry.view()).collect();
        sessions.sort_by_key(|session| session.conn);
        sessions
    }

    fn leave(&self, record: &SessionRecord) {
        self.open.remove(&record.conn);
        let who = record.peer.who();
        if let dashmap::Entry::Occupied(mut count) = self.by_peer.entry(who) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A session's place in the registry; given back when dropped, also when the session panics.
#[derive(Debug)]
pub struct Admitted {
    /// What others see of it.
    pub record: Arc<SessionRecord>,
    registry: Arc<Registry>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.registry.leave(&self.record);
    }
}

impl SessionRecord {
    /// Counts bytes that were read from `leg` and passed on.
    pub(super) fn count(&self, leg: Leg, bytes: usize) {
        let counter = match leg {
            Leg::Client => &self.bytes_up,
            Leg::Upstream => &self.bytes_down,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn set_account(&self, account: &str) {
        self.known().account = Some(account.to_owned());
    }

    pub(super) fn set_upstream(&self, authority: String) {
        self.known().upstream = Some(authority);
    }

    pub(super) fn set_phase(&self, phase: &'static str) {
        self.known().phase = phase;
    }

    /// The session as it is now.
    pub fn view(&self) -> SessionView {
        let known = self.known().clone();
        SessionView {
            conn: self.conn,
            protocol: self.protocol.name().to_owned(),
            peer: self.peer.to_string(),
            account: known.account,
            upstream: known.upstream,
            phase: known.phase.to_owned(),
            bytes_up: self.bytes_up.load(Ordering::Relaxed),
            bytes_down: self.bytes_down.load(Ordering::Relaxed),
            age_s: self.started.elapsed().as_secs(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        let address: std::net::SocketAddr = address.parse().unwrap();
        address.into()
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let registry = Arc::new(Registry::default());
        let admit = |address| registry.admit(Protocol::Imap, peer(address), 3, 1);
        let first = admit("192.0.2.1:1").unwrap();
        assert!(admit("192.0.2.1:2").is_none(), "one from this peer");
        let _local = [admit("127.0.0.1:1").unwrap(), admit("127.0.0.1:2").unwrap()];
        assert!(admit("192.0.2.2:1").is_none(), "three in all");
        drop(first);
        assert!(admit("192.0.2.1:3").is_some());
        assert_eq!((registry.open(), registry.total()), (2, 4));
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let registry = Arc::new(Registry::default());
        let admit = |address| registry.admit(Protocol::Imap, peer(address), 9, 1);
        let first = admit("[2001:db8::1]:1").unwrap();
        assert!(admit("[2001:db8::2]:1").is_none());
        let _others = ["[2001:db8:0:1::1]:1", "[::ffff:192.0.2.1]:1"].map(|it| admit(it).unwrap());
        assert!(
            admit("192.0.2.1:1").is_none(),
            "the same as a mapped address"
        );
        drop(first);
        assert!(admit("[2001:db8::2]:1").is_some());
    }

    #[test]
    fn a_user_is_one_peer_and_not_the_whole_machine() {
        let registry = Arc::new(Registry::default());
        let admit = |uid| registry.admit(Protocol::Imap, Peer::User(uid), 9, 1);
        let _first = admit(1000).unwrap();
        assert!(admit(1000).is_none());
        assert!(admit(1001).is_some());
    }
}
