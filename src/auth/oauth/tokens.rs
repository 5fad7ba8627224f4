//! [`Tokens`]: access tokens on demand and in the background, one request however many wait.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use dashmap::DashMap;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::AccessToken;
use super::clock::{Clock, system_time};
use super::error::OAuthError;
use super::flight::{self, For};
use super::grants::Issuers;
use super::refusals;
use super::sign_in::SignIns;
use super::slot::{Flight, Slot, bound, locked};
use crate::auth::token::{ANY, Ask, Audience, Standing};
use crate::config::oauth::Grant;
use crate::proto::refusal::Refusal;
use crate::protocol::Protocol;
use crate::store::Store;

/// The tokens of all grants. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Tokens {
    core: Arc<Core>,
    sign_ins: Arc<SignIns>,
}

/// What requests and sign-ins share.
pub(super) struct Core {
    pub(super) store: Store,
    pub(super) issuers: Issuers,
    pub(super) clock: Clock,
    slots: DashMap<String, Arc<Slot>>,
    listener: Mutex<Option<Listener>>,
}

type Listener = Arc<dyn Fn(&Grant, &str) + Send + Sync>;

/// How a grant stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// Nothing has been obtained yet; for a flow with a person: nobody has signed in.
    Empty,
    /// A person is signing in.
    Pending,
    /// There is an access token until then; it is renewed before.
    Active {
        /// When the token ends that ends first.
        until: SystemTime,
    },
    /// A token request is under way.
    Refreshing,
    /// Token requests fail for a reason that no sign-in mends: the issuer is down, or refuses our client. Tried again.
    Failing {
        /// Since when.
        since: SystemTime,
        /// One sentence.
        why: String,
        /// When it is tried next.
        retry_at: SystemTime,
    },
    /// A person must sign in.
    NeedsSignIn {
        /// Since when.
        since: SystemTime,
        /// One sentence, with the issuer's own words.
        why: String,
    },
}

impl Tokens {
    /// Tokens kept in `store`, with an HTTP client of their own.
    pub fn new(store: Store) -> Result<Self, OAuthError> {
        let core = Arc::new(Core {
            issuers: Issuers::new(store.clone())?,
            store,
            clock: Clock::new(),
            slots: DashMap::new(),
            listener: Mutex::new(None),
        });
        Ok(Self {
            sign_ins: Arc::new(SignIns::new(Arc::clone(&core))),
            core,
        })
    }

    /// An access token of `grant` for `protocol`.
    ///
    /// From memory in microseconds; otherwise by one request to the issuer, however many tasks and processes ask, within
    /// 20 s.
    pub async fn access_token(
        &self,
        grant: &Arc<Grant>,
        protocol: Protocol,
    ) -> Result<AccessToken, Refusal> {
        let slot = self.core.slot(grant);
        let audience = audience(grant, protocol);
        let now = self.core.clock.now();
        slot.touch(audience, now);
        let mut ask = slot.life().ask(audience, now);
        if !slot.is_loaded() || matches!(ask, Ask::SignIn(_)) {
            // A person may have signed in by another process.
            let synced = slot.sync(&self.core.store).await;
            synced.map_err(|error| refusals::store(grant, &error))?;
            ask = slot.life().ask(audience, now);
        }
        if let Ask::SignIn(None) = ask {
            self.core.tell_empty(&slot, grant);
        }
        if !matches!(ask, Ask::Request) {
            return refusals::token_of(grant, ask);
        }
        let token = async {
            let join = || flight::join(&self.core, &slot, grant, audience, For::Login);
            let first = join().await;
            let ask = slot.life().ask(audience, self.core.clock.now());
            match (&first, ask) {
                // One that was under way had seen no need; meanwhile the token was refused upstream.
                (Err(_), Ask::Request) => join().await,
                _ => first,
            }
        };
        match tokio::time::timeout(LOGIN_WAIT, token).await {
            Ok(result) => result,
            Err(_) => Err(refusals::too_slow(grant)),
        }
    }

    /// The upstream refused the access token of that generation: the next [`Tokens::access_token`] gets a new one, once.
    pub fn rejected(&self, grant: &Grant, protocol: Protocol, generation: u64) {
        let slot = self.core.slot(grant);
        let now = self.core.clock.now();
        slot.life()
            .rejected(audience(grant, protocol), generation, now);
    }

    /// Renews tokens before they end, and keeps idle grants alive, until `stop`. `grants` is asked in each round.
    ///
    /// It looks at the clock every few seconds instead of sleeping until a token is due, so a suspend or a clock that is
    /// set makes nothing late. After `stop` it waits for the requests under way, some seconds at most: the store must
    /// not be closed between an answer and its commit.
    pub async fn keep_fresh(
        &self,
        grants: impl Fn() -> Vec<Arc<Grant>> + Send + Sync,
        stop: CancellationToken,
    ) {
        let rounds = self.renew_in_rounds(grants);
        tokio::select! {
            () = stop.cancelled() => {}
            () = rounds => {}
        }
        let flights = futures_util::future::join_all(self.core.flights());
        // Those that are not done by then are no worse off than under a kill.
        let _ = tokio::time::timeout(SETTLE, flights).await;
    }

    async fn renew_in_rounds(&self, grants: impl Fn() -> Vec<Arc<Grant>> + Send + Sync) {
        for round in 0u64.. {
            let sync = round % SYNC_EVERY == 0;
            futures_util::stream::iter(grants())
                .for_each_concurrent(AT_ONCE, |grant| self.freshen(grant, sync))
                .await;
            tokio::time::sleep(ROUND).await;
        }
    }

    /// How `grant` stands.
    pub async fn state(&self, grant: &Grant) -> GrantState {
        let slot = self.core.slot(grant);
        if let Err(error) = slot.sync(&self.core.store).await {
            let now = SystemTime::now();
            return GrantState::Failing {
                since: now,
                why: crate::causes::with_causes(&error),
                retry_at: now,
            };
        }
        let standing = slot.life().standing(self.core.clock.now());
        standing.into()
    }

    /// Revokes what was granted (RFC 7009) where the issuer can, then forgets it. It is forgotten also where the issuer
    /// could not be told; the error says so then.
    pub async fn sign_out(&self, grant: &Arc<Grant>) -> Result<(), OAuthError> {
        let slot = self.core.slot(grant);
        // A row that does not open can still be deleted.
        let synced = slot.sync(&self.core.store).await;
        let refresh = slot.life().refresh_token().cloned();
        let revoked = match (&synced, refresh) {
            (Ok(()), Some(refresh)) => self.core.issuers.revoke(grant, &refresh).await,
            _ => Ok(false),
        };
        slot.forget(&self.core.store).await?;
        revoked.map(|_| ())
    }

    /// The sign-ins under way.
    pub fn sign_ins(&self) -> &SignIns {
        &self.sign_ins
    }

    /// `listener` is told the grant and why, once for each time that a sign-in becomes necessary. It must not block.
    pub fn on_needed(&self, listener: impl Fn(&Grant, &str) + Send + Sync + 'static) {
        *locked(&self.core.listener) = Some(Arc::new(listener));
    }

    async fn freshen(&self, grant: Arc<Grant>, sync: bool) {
        let slot = self.core.slot(&grant);
        if (sync || !slot.is_loaded())
            && let Err(error) = slot.sync(&self.core.store).await
        {
            let cause = crate::causes::with_causes(&error);
            tracing::error!(grant = grant.name, cause, "cannot read tokens");
            return;
        }
        if grant.flow.needs_person() && slot.life().is_empty() {
            self.core.tell_empty(&slot, &grant);
        }
        for audience in audiences(&grant) {
            let now = self.core.clock.now();
            if slot.life().due(audience, slot.in_use(audience, now), now) {
                // What comes of it is logged where it is known.
                let flight = flight::join(&self.core, &slot, &grant, audience, For::Background);
                let _ = flight.await;
            }
        }
    }

    /// Lets time pass in tests.
    #[cfg(test)]
    pub(super) fn advance(&self, seconds: i64) {
        self.core.clock.advance(seconds);
    }
}

impl Core {
    /// The slot of `grant`; a new one where the settings lead to another issuer or client now.
    pub(super) fn slot(&self, grant: &Grant) -> Arc<Slot> {
        let bound = bound(grant);
        if let Some(slot) = self.slots.get(&grant.name)
            && slot.bound == bound
        {
            return Arc::clone(&slot);
        }
        let slot = Arc::new(Slot::new(grant, self.clock.now()));
        self.slots.insert(grant.name.clone(), Arc::clone(&slot));
        slot
    }

    /// The requests under way.
    fn flights(&self) -> Vec<Flight> {
        let of = |slot: &Slot| locked(&slot.flights).values().cloned().collect::<Vec<_>>();
        self.slots.iter().flat_map(|slot| of(&slot)).collect()
    }

    /// Tells the listener that a sign-in is needed.
    pub(super) fn tell(&self, grant: &Grant, why: &str) {
        let listener = locked(&self.listener).clone();
        if let Some(listener) = listener {
            listener(grant, why);
        }
    }

    fn tell_empty(&self, slot: &Slot, grant: &Grant) {
        if slot.life().is_empty() && !slot.told_empty.swap(true, Ordering::Relaxed) {
            self.tell(grant, "nobody has signed in yet");
        }
    }

    /// 128 random bits in hexadecimal: names a holder of a lease.
    pub(super) fn random_id(&self) -> String {
        let mut bytes = [0; 16];
        // Without random bytes TLS has failed long before.
        let _ = rand::fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// 0 to 999.
    pub(super) fn jitter(&self) -> u32 {
        let mut bytes = [0; 4];
        let _ = rand::fill(&mut bytes);
        u32::from_be_bytes(bytes) % 1_000
    }
}

impl From<Standing> for GrantState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Empty => Self::Empty,
            Standing::Pending => Self::Pending,
            Standing::Active { until } => Self::Active {
                until: system_time(until),
            },
            Standing::Refreshing => Self::Refreshing,
            Standing::Failing(trouble) => Self::Failing {
                since: system_time(trouble.since),
                why: trouble.why,
                retry_at: system_time(trouble.retry_at),
            },
            Standing::NeedsSignIn(ended) => Self::NeedsSignIn {
                since: system_time(ended.since),
                why: ended.why,
            },
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// What a token for `protocol` is kept under.
pub(super) fn audience(grant: &Grant, protocol: Protocol) -> Audience {
    match grant.scopes.separate {
        true => protocol.name(),
        false => ANY,
    }
}

fn audiences(grant: &Grant) -> Vec<Audience> {
    if !grant.scopes.separate {
        return vec![ANY];
    }
    let protocols = grant.scopes.by_protocol.keys();
    protocols.map(|protocol| protocol.name()).collect()
}

/// How long a stop waits for requests under way: the deadline of one, and its commit.
const SETTLE: Duration = Duration::from_secs(12);

/// How long a login waits for a token; it has 25 s in all.
const LOGIN_WAIT: Duration = Duration::from_secs(20);

/// How often the background looks at the clock: a sixth of the shortest lead worth having.
const ROUND: Duration = Duration::from_secs(5);

/// Every so many rounds it looks at what other processes have stored: once a minute.
const SYNC_EVERY: u64 = 12;

/// Requests of the background at once: after a start with many accounts issuers see no burst.
const AT_ONCE: usize = 8;
