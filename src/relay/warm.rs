//! Upstreams that outlive their client: after a LOGOUT or QUIT the authenticated session waits a little for the account's
//! next login. Scripts and polling programs log in for each message; this spares them the provider's TLS and login.
//!
//! What is shared is decided in two places. `proto` knows whether a client left anything behind (`Watch::remains`) and how
//! the rest is undone (`Reset`); here it is kept apart by account, protocol, server and credential ([`Place`]).
//!
//! | a waiting session ends | because |
//! |---|---|
//! | the account logs in with another credential, or to another server | it is not the same session any more |
//! | the configuration is read anew | the account may have changed |
//! | it says anything, or closes | what it says would be for nobody |
//! | nobody came in time, the service stops | so the provider is told goodbye |
//!
//! Each has a task of its own from the reset to its end, and that task alone owns the connection: whoever takes it asks
//! the task, which looks first whether the upstream has said something.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connect::Connected;
use crate::auth::Identity;
use crate::config::runtime::{Endpoint, WarmSettings};
use crate::net::Stream;
use crate::proto::dialogue::{Progress, Remains};
use crate::protocol::Protocol;

/// The sessions that wait. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Warm {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    /// Counts the configurations.
    epoch: AtomicU64,
    next: AtomicU64,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What a client left behind.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) connected: Connected,
    pub(super) remains: Remains,
}

/// What a limit is for: a protocol of an account.
type Key = (Protocol, String);

#[derive(Debug, Default)]
struct Waiting {
    slots: HashMap<Key, Vec<Slot>>,
    in_all: usize,
}

/// A session that waits; its task ends when this is dropped.
#[derive(Debug)]
struct Slot {
    id: u64,
    place: Place,
    claim: oneshot::Sender<Claim>,
}

/// To whom a session goes.
type Claim = oneshot::Sender<Connected>;

/// The other side of a [`Slot`].
struct Offer {
    id: u64,
    key: Key,
    claimed: oneshot::Receiver<Claim>,
}

/// How the waiting ended.
enum Fate {
    Claimed(Claim),
    /// Nobody came, or nobody may.
    Over,
    /// Something of the client before is left, or the upstream said something.
    Unfit,
}

/// Whose a session is. It serves a login of the same place and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) protocol: Protocol,
    /// The account's address.
    pub(super) account: String,
    pub(super) endpoint: Endpoint,
    pub(super) credential: Identity,
    /// The configuration it was opened under.
    epoch: u64,
}

impl Place {
    fn key(&self) -> Key {
        (self.protocol, self.account.clone())
    }
}

impl Warm {
    /// Where a session of `account` belongs, logged in at `endpoint` with `credential`.
    pub(super) fn place(
        &self,
        protocol: Protocol,
        account: &str,
        endpoint: &Endpoint,
        credential: Identity,
    ) -> Place {
        Place {
            protocol,
            account: account.to_owned(),
            endpoint: endpoint.clone(),
            credential,
            epoch: self.inner.epoch.load(Ordering::Acquire),
        }
    }

    /// A session that waits at `place`. Those of the account that wait elsewhere are sent home: its password, its token or
    /// its server is another now.
    pub(super) async fn take(&self, place: &Place) -> Option<Connected> {
        loop {
            let slot = self.inner.lock().pop(place)?;
            let (give, given) = oneshot::channel();
            if slot.claim.send(give).is_ok()
                && let Ok(connected) = given.await
                && let Ok(stream) = connected.stream.brought_here()
            {
                return Some(Connected {
                    stream,
                    ..connected
                });
            }
        }
    }

    /// Takes on what a client left behind: puts it right, and lets it wait as long as `settings` say. Whoever asks before
    /// it is right waits for that: it is one round trip, and a login would be several.
    pub(super) fn keep(&self, place: Place, left: Left, settings: &WarmSettings) {
        let inner = Arc::clone(&self.inner);
        let idle = settings.idle;
        let protocol = place.protocol;
        let offer = self.inner.offer(place, settings.sessions);
        self.inner.tasks.spawn(async move {
            match offer {
                Some(offer) => inner.serve(offer, left, idle).await,
                None => part(left.connected.stream, protocol).await,
            }
        });
    }

    /// The configuration was read anew: nobody waits on, and no session that began before will.
    pub(super) fn forget(&self) {
        self.inner.epoch.fetch_add(1, Ordering::AcqRel);
        *self.inner.lock() = Waiting::default();
    }

    /// The service stops: nobody waits on, and no further session will.
    pub(super) fn stop(&self) {
        self.inner.stop.cancel();
    }

    /// Waits until all providers have been told goodbye.
    pub(super) async fn stopped(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Inner {
    /// One session from its reset to its end.
    async fn serve(&self, offer: Offer, left: Left, idle: Duration) {
        let Offer {
            id,
            key,
            mut claimed,
        } = offer;
        let Left {
            mut connected,
            remains,
        } = left;
        let (protocol, _) = key;
        let fate = self.fate(&mut connected.stream, protocol, remains, &mut claimed, idle);
        let claim = match fate.await {
            Fate::Claimed(claim) => Some(claim),
            Fate::Over => None,
            Fate::Unfit => {
                self.lock().remove(&key, id);
                drop(claimed);
                return part(connected.stream, protocol).await;
            }
        };
        self.lock().remove(&key, id);
        // One who asked in the last moment is served.
        let unserved = match claim.or_else(|| claimed.try_recv().ok()) {
            Some(give) => give.send(connected).err(),
            None => Some(connected),
        };
        if let Some(connected) = unserved {
            part(connected.stream, protocol).await;
        }
    }

    async fn fate(
        &self,
        stream: &mut Stream,
        protocol: Protocol,
        remains: Remains,
        claimed: &mut oneshot::Receiver<Claim>,
        idle: Duration,
    ) -> Fate {
        let clean = timeout(RESET_TIME, reset(stream, protocol, remains)).await;
        if !matches!(clean, Ok(true)) {
            return Fate::Unfit;
        }
        let mut byte = [0];
        let fate = tokio::select! {
            _ = stream.read(&mut byte) => return Fate::Unfit,
            claim = claimed => claim.map_or(Fate::Over, Fate::Claimed),
            () = sleep(idle) => Fate::Over,
            () = self.stop.cancelled() => Fate::Over,
        };
        // What the upstream has said by now, if only its end, was not for whoever comes.
        if stream.is_silent() {
            fate
        } else {
            Fate::Unfit
        }
    }

    /// Lets a session wait; `None` where there is no room, or no wish any more.
    fn offer(&self, place: Place, room: usize) -> Option<Offer> {
        let mut waiting = self.lock();
        let wanted = self.epoch.load(Ordering::Acquire) == place.epoch;
        if !wanted || self.stop.is_cancelled() || waiting.in_all >= IN_ALL_MAX {
            return None;
        }
        let key = place.key();
        let slots = waiting.slots.entry(key.clone()).or_default();
        if slots.len() >= room {
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (claim, claimed) = oneshot::channel();
        slots.push(Slot { id, place, claim });
        waiting.in_all += 1;
        Some(Offer { id, key, claimed })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The one that came last: it is the least likely to have been closed by the provider.
    fn pop(&mut self, place: &Place) -> Option<Slot> {
        let key = place.key();
        let slots = self.slots.get_mut(&key)?;
        let before = slots.len();
        slots.retain(|slot| slot.place == *place);
        let popped = slots.pop();
        self.in_all -= before - slots.len();
        if slots.is_empty() {
            self.slots.remove(&key);
        }
        popped
    }

    /// Nothing where it has been taken.
    fn remove(&mut self, key: &Key, id: u64) {
        let Some(slots) = self.slots.get_mut(key) else {
            return;
        };
        let before = slots.len();
        slots.retain(|slot| slot.id != id);
        self.in_all -= before - slots.len();
        if slots.is_empty() {
            self.slots.remove(key);
        }
    }
}

/// Runs the dialogue between two clients. True if nothing of the first is left.
async fn reset(stream: &mut Stream, protocol: Protocol, remains: Remains) -> bool {
    let Some(mut machine) = crate::proto::reset(protocol, remains) else {
        return false;
    };
    if say(stream, &machine.begin()).await.is_err() {
        return false;
    }
    let mut buffer = [0; READ_SIZE];
    loop {
        let read = stream.read(&mut buffer).await.ok();
        let Some(bytes) = read.and_then(|n| buffer.get(..n).filter(|_| n > 0)) else {
            return false;
        };
        match machine.step(bytes) {
            Progress::Waits => {}
            Progress::Clean => return true,
            Progress::Unfit => return false,
        }
    }
}

/// Says goodbye as the protocol has it, and hears the answer, so that the provider's side ends well, too.
async fn part(mut stream: Stream, protocol: Protocol) {
    let farewell = async {
        if say(&mut stream, crate::proto::goodbye(protocol))
            .await
            .is_ok()
        {
            let mut rest = [0; READ_SIZE];
            while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
        }
        let _ = stream.shutdown().await;
    };
    let _ = timeout(FAREWELL_TIME, farewell).await;
}

async fn say(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// How long a session may serve one client after the other. What the provider revokes ends with the next login upstream,
/// and none should be put off for long.
pub(super) const AGE_MAX: Duration = Duration::from_secs(10 * 60);

/// All accounts together: each is a descriptor and some 30 KiB of TLS.
const IN_ALL_MAX: usize = 1_000;

/// A round trip, by satellite if need be. A next client may be waiting for it.
const RESET_TIME: Duration = Duration::from_secs(2);

/// How long goodbye may take; within the time that a service gets to stop.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// An answer is one line, as a rule.
const READ_SIZE: usize = 512;

#[cfg(test)]
mod tests;
