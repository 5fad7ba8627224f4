//! One grant in this process: its life as last known, what the store has of it, and the requests under way for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, Shared};
use serde::{Deserialize, Serialize};

use super::AccessToken;
use crate::auth::token::{Audience, Kept, Life, Unix};
use crate::config::oauth::{Endpoints, Grant};
use crate::proto::refusal::Refusal;
use crate::secret::Secret;
use crate::store::{Store, StoreError, StoredGrant};

/// A request under way: all who want its result share it.
pub(super) type Flight = Shared<BoxFuture<'static, Result<AccessToken, Refusal>>>;

/// One grant.
pub(super) struct Slot {
    pub(super) name: String,
    /// Whose tokens these are: with another issuer or client id they are of no use.
    pub(super) bound: String,
    pub(super) flights: Mutex<HashMap<Audience, Flight>>,
    life: Mutex<Life>,
    /// Held from the row to the life made of it: what was read before a commit must not be taken over after it.
    row: tokio::sync::Mutex<()>,
    loaded: AtomicBool,
    /// When each audience was last asked for.
    used: Mutex<HashMap<Audience, Unix>>,
    since: Unix,
    /// Whether somebody was told that nobody has signed in yet.
    pub(super) told_empty: AtomicBool,
    /// A change that the store could not take: written before anything else is asked of the issuer.
    unsaved: Mutex<Option<Life>>,
}

/// The sealed content of a grant's row.
#[derive(Serialize, Deserialize)]
struct Content {
    bound: String,
    kept: Kept,
}

impl Slot {
    pub(super) fn new(grant: &Grant, now: Unix) -> Self {
        Self {
            name: grant.name.clone(),
            bound: bound(grant),
            flights: Mutex::default(),
            life: Mutex::new(Life::empty(grant.flow.needs_person())),
            row: tokio::sync::Mutex::default(),
            loaded: AtomicBool::new(false),
            used: Mutex::default(),
            since: now,
            told_empty: AtomicBool::new(false),
            unsaved: Mutex::new(None),
        }
    }

    /// Never held across an await.
    pub(super) fn life(&self) -> MutexGuard<'_, Life> {
        locked(&self.life)
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// `audience` is asked for at `now`.
    pub(super) fn touch(&self, audience: Audience, now: Unix) {
        locked(&self.used).insert(audience, now);
    }

    /// Whether logins use `audience`; at first it is believed.
    pub(super) fn in_use(&self, audience: Audience, now: Unix) -> bool {
        let used = locked(&self.used).get(audience).copied();
        now.saturating_sub(used.unwrap_or(self.since)) < IN_USE
    }

    /// Takes over what the store has, where another process has changed it.
    pub(super) async fn sync(&self, store: &Store) -> Result<(), StoreError> {
        self.save_unsaved(store).await?;
        let _row = self.row.lock().await;
        let row = store.grant(&self.name).await?;
        let (generation, kept) = match &row {
            Some(row) => (row.generation, self.decode(row)?),
            None => (0, Kept::default()),
        };
        let mut life = self.life();
        let news = generation != life.generation() || !self.is_loaded();
        if news && !life.is_refreshing() {
            *life = life.adopt(generation, kept);
            self.told_empty.store(false, Ordering::Relaxed);
        }
        self.loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Commits `next` in the place of generation `after`, then puts it in force. False where another writer was first;
    /// then the store's is in force.
    pub(super) async fn commit(
        &self,
        store: &Store,
        after: u64,
        next: Life,
    ) -> Result<bool, StoreError> {
        let row = StoredGrant {
            generation: next.generation(),
            content: self.encode(next.kept())?,
        };
        let held = self.row.lock().await;
        match store.put_grant(&self.name, after, &row).await {
            Ok(true) => {
                let mut life = self.life();
                if life.generation() <= next.generation() {
                    *life = next;
                }
                Ok(true)
            }
            Ok(false) => {
                drop(held);
                self.life().given_up();
                self.sync(store).await?;
                Ok(false)
            }
            Err(error) => {
                // A rotated refresh token may be all that is left of the grant: it is kept, but not used.
                self.life().given_up();
                *locked(&self.unsaved) = Some(next);
                Err(error)
            }
        }
    }

    /// Deletes the row and all that is known of it.
    pub(super) async fn forget(&self, store: &Store) -> Result<(), StoreError> {
        let _row = self.row.lock().await;
        store.delete_grant(&self.name).await?;
        let mut life = self.life();
        *life = life.adopt(0, Kept::default());
        Ok(())
    }

    async fn save_unsaved(&self, store: &Store) -> Result<(), StoreError> {
        let Some(next) = locked(&self.unsaved).take() else {
            return Ok(());
        };
        let after = self.life().generation();
        Box::pin(self.commit(store, after, next)).await.map(|_| ())
    }

    fn encode(&self, kept: Kept) -> Result<Secret, StoreError> {
        let content = Content {
            bound: self.bound.clone(),
            kept,
        };
        // One allocation: a growing buffer would leave copies of tokens behind.
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(CONTENT_ROOM));
        let written = serde_json::to_writer(&mut *bytes, &content);
        written.map_err(|_| StoreError::Cryptography)?;
        Ok(Secret::new(std::mem::take(&mut *bytes)))
    }

    fn decode(&self, row: &StoredGrant) -> Result<Kept, StoreError> {
        let content: Content =
            serde_json::from_slice(row.content.expose()).map_err(|_| StoreError::Tampered {
                what: "sign-in".to_owned(),
                account: self.name.clone(),
            })?;
        Ok(match content.bound == self.bound {
            true => content.kept,
            false => Kept::default(),
        })
    }
}

/// The issuer, the client and the flow.
pub(super) fn bound(grant: &Grant) -> String {
    let issuer = match &grant.issuer.endpoints {
        Endpoints::Given { token, .. } => token,
        Endpoints::Discovered => grant
            .issuer
            .identifier
            .as_ref()
            .unwrap_or(&grant.issuer.name),
    };
    let person = grant.flow.needs_person();
    format!("{issuer} {} {person}", grant.client.id)
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An audience that no login has asked for in a day is idle.
const IN_USE: Unix = 24 * 60 * 60;

/// Tokens of Microsoft have about 2 KiB, its refresh tokens somewhat less.
const CONTENT_ROOM: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::runtime::{KeySource, StoreSettings};

    /// Another login looks at the store at any moment. What it read before a commit is older than what is known then.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_read_before_a_commit_is_not_taken_over_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings {
            url: format!("sqlite:{}", folder.path().join("state/store.db").display()),
            key: KeySource::File(folder.path().join("state/store.key")),
        };
        let store = Store::open(&settings).await.unwrap();
        let slot = Arc::new(Slot {
            name: "anna@x.org".to_owned(),
            bound: String::new(),
            flights: Mutex::default(),
            life: Mutex::new(Life::empty(true)),
            row: tokio::sync::Mutex::default(),
            loaded: AtomicBool::new(false),
            used: Mutex::default(),
            since: 0,
            told_empty: AtomicBool::new(false),
            unsaved: Mutex::new(None),
        });
        let lookers: Vec<_> = (0..4)
            .map(|_| {
                let (slot, store) = (Arc::clone(&slot), store.clone());
                tokio::spawn(async move {
                    loop {
                        slot.sync(&store).await.unwrap();
                    }
                })
            })
            .collect();
        for after in 0..100 {
            let next = slot.life().adopt(after + 1, Kept::default());
            assert!(slot.commit(&store, after, next).await.unwrap());
            tokio::task::yield_now().await;
            assert_eq!(slot.life().generation(), after + 1);
        }
        for looker in lookers {
            looker.abort();
        }
    }
}
