//! The life of one grant's tokens: a pure state machine. Time and chance come in as arguments; nothing here waits, asks
//! or stores. Read this first; `oauth/tokens.rs` feeds it.
//!
//! | state | what is held | what a login gets |
//! |---|---|---|
//! | `Empty` | nothing | where a person must sign in: a refusal at once; otherwise a first request |
//! | `Pending` | a person is signing in | a refusal at once |
//! | `Active` | the refresh token, access tokens | the token; a request where it has ended or was rejected |
//! | `Refreshing` | the same, and which attempt is under way | the old token while it lasts; otherwise it waits |
//! | `NeedsSignIn` | since when, and why | a refusal at once |
//!
//! A request ends in one of the named outcomes ([`Outcome`]):
//!
//! - *Refreshed*: a new access token; perhaps a new refresh token. The one before is kept until the new one has worked,
//!   that is, until it has obtained a token itself.
//! - *Transient*: nothing changes but the time of the next try. Tokens that still last are still used.
//! - *Permanent*: what failed decides. `Grant`: the refresh token is dead, and where one before it is kept that is tried
//!   once; then a person must sign in. `Person`: the issuer wants to see the person for this audience; the refresh token
//!   stays, other audiences go on. `Client`: our registration, secret or password is refused; no person's sign-in helps,
//!   nothing is dropped, and it is tried again slowly.
//!
//! Each change that must survive has a new generation number. [`Life`] is a value: the caller computes the next one,
//! commits it, and only then puts it in place of the old, so that no token is used that is not on the disk.
//!
//! Every time is in Unix seconds, so that it means the same after a restart and in another process.

mod held;
mod standing;
mod trouble;

use std::time::Duration;

use self::held::Held;
use self::trouble::Backoff;
use crate::secret::Secret;

pub(super) use self::held::{Ended, Kept};
pub(super) use self::standing::Standing;
pub(super) use self::trouble::Trouble;

/// Unix seconds.
pub(super) type Unix = i64;

/// What an access token is for: a protocol's name where each has tokens of its own, otherwise [`ANY`].
pub(super) type Audience = &'static str;

/// One grant's tokens, at one moment.
#[derive(Clone, Debug)]
pub(super) struct Life {
    state: State,
    generation: u64,
    needs_person: bool,
    trouble: Option<Trouble>,
    /// The attempts begun by this process, for telling a late answer from the awaited one.
    attempts: u64,
}

#[derive(Clone, Debug)]
enum State {
    Empty,
    Pending { until: Unix, before: Option<Ended> },
    Active(Held),
    Refreshing { held: Held, attempt: u64 },
    NeedsSignIn(Ended),
}

/// What the issuer gave.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) access: Secret,
    /// `None` where the issuer did not say, or said nonsense.
    pub(super) lifetime: Option<Duration>,
    /// A rotated refresh token; without one the old stays (RFC 6749 section 6).
    pub(super) refresh: Option<Secret>,
    pub(super) refresh_lifetime: Option<Duration>,
}

/// How a token request ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// There is a new token.
    Refreshed(Given),
    /// Not now: network, 408, 429, 5xx, `temporarily_unavailable`, an answer that is none.
    Transient {
        why: String,
        /// What the issuer asked for.
        retry_after: Option<Duration>,
    },
    /// Not until somebody does something.
    Permanent {
        /// One sentence, with the issuer's own words.
        why: String,
        what: Fault,
    },
}

/// What a permanent refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The refresh token is dead: `invalid_grant`.
    Grant,
    /// The issuer wants to see the person: `interaction_required`, `consent_required`.
    Person,
    /// Our client is refused: `invalid_client`, `unauthorized_client`.
    Client,
}

/// What a login, or the background, is to do.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Use this token.
    Use { token: Secret, generation: u64 },
    /// Ask the issuer, or wait for who is asking.
    Request,
    /// Not before then; the sentence says why.
    Later(Trouble),
    /// A person must sign in; why, where it was said.
    SignIn(Option<Ended>),
}

/// A token request under way.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    number: u64,
    pub(super) audience: Audience,
    /// The refresh token to send; `None`: the flow obtains a token anew.
    pub(super) refresh: Option<Secret>,
    /// What to send once if that one is dead.
    pub(super) previous: Option<Secret>,
    forced: bool,
}

impl Life {
    /// Nothing yet.
    pub(super) fn empty(needs_person: bool) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            needs_person,
            trouble: None,
            attempts: 0,
        }
    }

    /// This life with what the store holds: after a start, or when another process has changed it. Trouble of our own
    /// is over where the other one got through.
    pub(super) fn adopt(&self, generation: u64, mut kept: Kept) -> Self {
        if let (Some(held), State::Active(ours)) = (&mut kept.held, &self.state) {
            held.remember_rejections(ours);
        }
        let state = match kept {
            // Somebody is signing in here; only a grant that works ends that.
            Kept {
                held: None,
                ended: before,
            } if let State::Pending { until, .. } = self.state => State::Pending { until, before },
            Kept {
                ended: Some(ended), ..
            } => State::NeedsSignIn(ended),
            Kept {
                held: Some(held), ..
            } => State::Active(held),
            Kept { .. } => State::Empty,
        };
        Self {
            state,
            generation,
            trouble: None,
            ..self.clone()
        }
    }

    /// What must survive.
    pub(super) fn kept(&self) -> Kept {
        match &self.state {
            State::Active(held) | State::Refreshing { held, .. } => Kept {
                held: Some(held.clone()),
                ended: None,
            },
            State::NeedsSignIn(ended)
            | State::Pending {
                before: Some(ended),
                ..
            } => Kept {
                held: None,
                ended: Some(ended.clone()),
            },
            State::Empty | State::Pending { before: None, .. } => Kept::default(),
        }
    }

    /// Counts the changes that must survive.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What a login at `now` is to do.
    pub(super) fn ask(&self, audience: Audience, now: Unix) -> Ask {
        let held = match &self.state {
            State::Empty if self.needs_person => return Ask::SignIn(None),
            State::Empty => None,
            State::Pending { before, .. } => return Ask::SignIn(before.clone()),
            State::NeedsSignIn(ended) => return Ask::SignIn(Some(ended.clone())),
            State::Active(held) | State::Refreshing { held, .. } => Some(held),
        };
        if let Some(access) = held.and_then(|held| held.access.get(audience))
            && let Some(token) = access.usable(now)
        {
            let (token, generation) = (token.clone(), access.generation);
            return Ask::Use { token, generation };
        }
        if let Some(ended) = held.and_then(|held| held.ended.get(audience))
            && (0..ASK_AGAIN).contains(&now.saturating_sub(ended.asked))
        {
            return Ask::SignIn(Some(ended.clone()));
        }
        match &self.trouble {
            Some(trouble) if trouble.waits(now) => Ask::Later(trouble.clone()),
            _ => Ask::Request,
        }
    }

    /// Whether the background should ask the issuer at `now`. An audience `in_use` is renewed before its token ends; of
    /// an idle grant only the refresh token is kept alive.
    pub(super) fn due(&self, audience: Audience, in_use: bool, now: Unix) -> bool {
        let held = match &self.state {
            State::Active(held) => held,
            State::Empty if !self.needs_person && in_use => return self.may_try(now),
            _ => return false,
        };
        let ended = held.ended.get(audience);
        if ended.is_some_and(|e| (0..ASK_AGAIN).contains(&now.saturating_sub(e.asked))) {
            return false;
        }
        let renew = in_use
            && held
                .access
                .get(audience)
                .is_none_or(|a| a.rejected || a.due <= now || a.is_of_the_future(now));
        let keep_alive = held.refresh.is_some() && held.keep_alive_at() <= now;
        (renew || keep_alive) && self.may_try(now)
    }

    /// A request for `audience` begins; `None` where there is nothing to ask with until a person has signed in.
    pub(super) fn began(&self, audience: Audience) -> Option<(Self, Attempt)> {
        let mut next = self.clone();
        next.attempts = next.attempts.wrapping_add(1);
        let number = next.attempts;
        let held = match &self.state {
            State::Active(held) | State::Refreshing { held, .. } => held.clone(),
            State::Empty if !self.needs_person => Held::default(),
            State::Empty | State::Pending { .. } | State::NeedsSignIn(_) => return None,
        };
        let attempt = Attempt {
            number,
            audience,
            refresh: held.refresh.clone(),
            previous: held.previous.clone(),
            forced: held.access.get(audience).is_some_and(|a| a.rejected),
        };
        next.state = State::Refreshing {
            held,
            attempt: number,
        };
        Some((next, attempt))
    }

    /// `attempt` ended at `now`; `jitter` is 0 to 999 by chance. `None`: a late answer of an attempt given up, which
    /// changes nothing.
    pub(super) fn ended(
        &self,
        attempt: &Attempt,
        outcome: Outcome,
        now: Unix,
        jitter: u32,
    ) -> Option<Self> {
        let State::Refreshing { held, attempt: at } = &self.state else {
            return None;
        };
        if *at != attempt.number {
            return None;
        }
        let mut next = self.clone();
        let held = held.clone();
        next.state = match outcome {
            Outcome::Refreshed(given) => {
                next.generation = self.generation_after(now);
                next.trouble = None;
                State::Active(held.with(attempt, given, next.generation, now, jitter))
            }
            Outcome::Transient { why, retry_after } => {
                let backoff = Backoff::transient(retry_after);
                next.trouble = Some(self.trouble_after(why, backoff, now, jitter));
                held.state()
            }
            Outcome::Permanent { why, what } => {
                if self.needs_person && what != Fault::Client {
                    next.generation = self.generation_after(now);
                    next.trouble = None;
                    held.without_person(attempt.audience, what, why, now)
                } else {
                    // Nobody can sign in, or it would not help: our own settings are at fault.
                    next.trouble = Some(self.trouble_after(why, Backoff::CLIENT, now, jitter));
                    held.state()
                }
            }
        };
        Some(next)
    }

    /// A person has signed in; everything before is over.
    /// The access token that came along is for `audience`, or for none where each protocol has one of its own.
    pub(super) fn signed_in(
        &self,
        audience: Option<Audience>,
        given: Given,
        now: Unix,
        jitter: u32,
    ) -> Self {
        let mut next = self.clone();
        let attempt = Attempt {
            number: self.attempts,
            audience: audience.unwrap_or(ANY),
            refresh: None,
            previous: None,
            forced: false,
        };
        next.generation = self.generation_after(now);
        next.trouble = None;
        let mut held = Held::default().with(&attempt, given, next.generation, now, jitter);
        if audience.is_none() {
            held.access.clear();
        }
        next.state = State::Active(held);
        next
    }

    /// A person begins to sign in; tokens that are held stay in use meanwhile.
    pub(super) fn pending(&mut self, until: Unix) {
        let before = match &self.state {
            State::Empty => None,
            State::Pending { before, .. } => before.clone(),
            State::NeedsSignIn(ended) => Some(ended.clone()),
            State::Active(_) | State::Refreshing { .. } => return,
        };
        self.state = State::Pending { until, before };
    }

    /// The sign-in ended without success.
    pub(super) fn pending_over(&mut self) {
        if let State::Pending { before, .. } = &mut self.state {
            self.state = match before.take() {
                Some(ended) => State::NeedsSignIn(ended),
                None => State::Empty,
            };
        }
    }

    /// The upstream refused the token of `generation` for `audience`. No news where it has been renewed since; and a
    /// token that took the place of a rejected one is not replaced again for [`FORCE_AGAIN`].
    pub(super) fn rejected(&mut self, audience: Audience, generation: u64, now: Unix) {
        let (State::Active(held) | State::Refreshing { held, .. }) = &mut self.state else {
            return;
        };
        let Some(access) = held.access.get_mut(audience) else {
            return;
        };
        let age = now.saturating_sub(access.issued);
        let again = access.forced && (0..FORCE_AGAIN).contains(&age);
        if access.generation == generation && !again {
            access.rejected = true;
        }
    }

    /// The attempt under way ended without any answer: its task is gone.
    pub(super) fn given_up(&mut self) {
        if let State::Refreshing { held, .. } = &self.state {
            self.state = held.clone().state();
        }
    }

    fn may_try(&self, now: Unix) -> bool {
        !self.trouble.as_ref().is_some_and(|t| t.waits(now))
    }

    /// The first generation is the time, so that a grant signed out and in again never has an old number.
    fn generation_after(&self, now: Unix) -> u64 {
        match self.generation {
            0 => u64::try_from(now).unwrap_or(0).max(1),
            other => other.saturating_add(1),
        }
    }

    fn trouble_after(&self, why: String, backoff: Backoff, now: Unix, jitter: u32) -> Trouble {
        let (since, failures) = match &self.trouble {
            Some(before) => (before.since, before.failures.saturating_add(1)),
            None => (now, 1),
        };
        Trouble {
            since,
            why,
            retry_at: now.saturating_add(backoff.wait(failures, jitter)),
            of_client: backoff.of_client,
            failures,
        }
    }
}

fn seconds(duration: Duration) -> Unix {
    Unix::try_from(duration.as_secs()).unwrap_or(Unix::MAX)
}

/// The audience of a token that serves all protocols.
pub(super) const ANY: Audience = "any";

/// Where the issuer wants to see the person, it is asked again this often: some conditions (the network, the device)
/// mend themselves.
const ASK_AGAIN: Unix = 60 * 60;

/// How long a token that took the place of a rejected one is kept although it is rejected as well.
const FORCE_AGAIN: Unix = 5 * 60;

#[cfg(test)]
mod tests;
