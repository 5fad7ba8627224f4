//! One token request, however many tasks and processes want its result.
//!
//! Within the process all who wait share one [`Flight`], which is a task of its own: a client that goes away ends
//! nothing. Between processes a row of the store is leased; who waits for it reads the grant's row meanwhile, and takes
//! what the other one got. A holder that was killed loses the lease at once on this machine, by time elsewhere.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::AccessToken;
use super::error::OAuthError;
use super::refusals;
use super::slot::{Flight, Slot, locked};
use super::tokens::Core;
use crate::auth::token::{Ask, Attempt, Audience, Fault, Life, Outcome};
use crate::config::oauth::Grant;
use crate::proto::refusal::Refusal;
use crate::store::StoreError;

/// Who wants a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A login, which takes any that lasts.
    Login,
    /// The background, which renews early.
    Background,
}

/// The request for `audience` that is under way, or a new one.
pub(super) fn join(
    core: &Arc<Core>,
    slot: &Arc<Slot>,
    grant: &Arc<Grant>,
    audience: Audience,
    whom: For,
) -> Flight {
    let mut flights = locked(&slot.flights);
    if let Some(flight) = flights.get(audience) {
        return flight.clone();
    }
    let renewal = Renewal {
        core: Arc::clone(core),
        slot: Arc::clone(slot),
        grant: Arc::clone(grant),
        audience,
        whom,
    };
    let task = tokio::spawn(renewal.run());
    let (core, slot_of_task) = (Arc::clone(core), Arc::clone(slot));
    let flight = async move {
        match task.await {
            Ok(result) => result,
            Err(_) => {
                slot_of_task.life().given_up();
                locked(&slot_of_task.flights).remove(audience);
                drop(core);
                Err(refusals::interrupted())
            }
        }
    }
    .boxed()
    .shared();
    flights.insert(audience, flight.clone());
    flight
}

struct Renewal {
    core: Arc<Core>,
    slot: Arc<Slot>,
    grant: Arc<Grant>,
    audience: Audience,
    whom: For,
}

impl Renewal {
    async fn run(self) -> Result<AccessToken, Refusal> {
        let result = self.under_lease().await;
        // Those who come from now on find the result in the slot, or begin anew.
        locked(&self.slot.flights).remove(self.audience);
        match result {
            Ok(()) => self.settled(),
            Err(error) => Err(refusals::store(&self.grant, &error)),
        }
    }

    async fn under_lease(&self) -> Result<(), StoreError> {
        let store = &self.core.store;
        let holder = self.core.random_id();
        let deadline = Instant::now() + LEASE_WAIT;
        loop {
            self.slot.sync(store).await?;
            if !self.is_wanted() {
                return Ok(());
            }
            if store.take_lease(&self.slot.name, &holder, LEASE).await? {
                break;
            }
            if Instant::now() >= deadline {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        // Between the look and the lease another process may have been and gone.
        let done = match self.slot.sync(store).await {
            Ok(()) if self.is_wanted() => self.request(&holder).await,
            other => other,
        };
        store.give_lease_back(&self.slot.name, &holder).await?;
        done
    }

    async fn request(&self, holder: &str) -> Result<(), StoreError> {
        let (mut attempt, after) = {
            let mut life = self.slot.life();
            let Some((next, attempt)) = life.began(self.audience) else {
                return Ok(());
            };
            *life = next;
            (attempt, life.generation())
        };
        let outcome = self.ask_issuer(&mut attempt, holder).await?;
        let now = self.core.clock.now();
        let before = self.slot.life().clone();
        let Some(next) = before.ended(&attempt, outcome, now, self.core.jitter()) else {
            return Ok(());
        };
        self.say(&before, &next);
        if next.generation() == after {
            *self.slot.life() = next;
            return Ok(());
        }
        let needed = next.ended_since(self.audience);
        let news = needed.is_some() && needed != before.ended_since(self.audience);
        let committed = self.slot.commit(&self.core.store, after, next).await?;
        if committed && news {
            self.core.tell(&self.grant, &self.why());
        }
        Ok(())
    }

    /// Asks with the refresh token; where that is dead, once with the one before it: the answer that brought the dead
    /// one may never have been finished at the issuer's end.
    async fn ask_issuer(&self, attempt: &mut Attempt, holder: &str) -> Result<Outcome, StoreError> {
        if self.grant.flow.needs_person() && attempt.refresh.is_none() {
            return Ok(Outcome::Permanent {
                why: NO_REFRESH_TOKEN.to_owned(),
                what: Fault::Grant,
            });
        }
        let issuers = &self.core.issuers;
        let refresh = attempt.refresh.as_ref();
        let outcome = issuers.token(&self.grant, self.audience, refresh).await;
        let dead = matches!(
            outcome,
            Outcome::Permanent {
                what: Fault::Grant,
                ..
            }
        );
        let Some(previous) = attempt.previous.take().filter(|_| dead) else {
            return Ok(outcome);
        };
        let name = &self.slot.name;
        self.core.store.take_lease(name, holder, LEASE).await?;
        let with_previous = issuers
            .token(&self.grant, self.audience, Some(&previous))
            .await;
        attempt.refresh = Some(previous);
        Ok(match with_previous {
            // The words for the newer one say what happened.
            Outcome::Permanent { .. } => outcome,
            other => other,
        })
    }

    fn is_wanted(&self) -> bool {
        let now = self.core.clock.now();
        let life = self.slot.life();
        let request = matches!(life.ask(self.audience, now), Ask::Request);
        let in_use = self.slot.in_use(self.audience, now);
        request || self.whom == For::Background && life.due(self.audience, in_use, now)
    }

    fn settled(&self) -> Result<AccessToken, Refusal> {
        let ask = self.slot.life().ask(self.audience, self.core.clock.now());
        refusals::token_of(&self.grant, ask)
    }

    fn why(&self) -> String {
        match self.slot.life().ask(self.audience, self.core.clock.now()) {
            Ask::SignIn(Some(ended)) => ended.why,
            _ => String::new(),
        }
    }

    fn say(&self, before: &Life, next: &Life) {
        let (grant, audience) = (&self.grant.name, self.audience);
        match next.ask(audience, self.core.clock.now()) {
            Ask::Use { generation, .. } if next.generation() != before.generation() => {
                tracing::debug!(%grant, audience, generation, "token renewed");
            }
            Ask::SignIn(Some(ended)) => {
                tracing::error!(%grant, audience, cause = ended.why, "a sign-in is needed");
            }
            Ask::Later(trouble) if trouble.of_client => {
                tracing::error!(%grant, audience, cause = trouble.why, "the issuer refuses our client");
            }
            _ => {
                if let Some(trouble) = next.trouble() {
                    tracing::warn!(%grant, audience, cause = trouble.why, "no new token yet");
                }
            }
        }
    }
}

impl Core {
    /// Commits a sign-in, whatever else is under way: what is held by then is over.
    pub(super) async fn signed_in(
        &self,
        slot: &Slot,
        next_of: impl Fn(&Life) -> Life,
    ) -> Result<(), OAuthError> {
        loop {
            slot.sync(&self.store).await?;
            let (after, next) = {
                let life = slot.life();
                (life.generation(), next_of(&life))
            };
            if slot.commit(&self.store, after, next).await? {
                return Ok(());
            }
        }
    }
}

/// How long one that asks an issuer keeps the others from it: one request of 10 s, and as much again for what is around it.
/// It is taken anew before a second request.
const LEASE: Duration = Duration::from_secs(20);

/// A login has 25 s; who has waited so long for another process is told to come back.
const LEASE_WAIT: Duration = Duration::from_secs(22);

/// How often who waits for another process looks: a read of the store, and a token request takes some tenths of a second.
const POLL: Duration = Duration::from_millis(100);

const NO_REFRESH_TOKEN: &str = "the issuer gave no refresh token, so the sign-in has ended with its access token; a scope \
     such as offline_access may be missing";
