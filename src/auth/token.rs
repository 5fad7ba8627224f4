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

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

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

/// What was granted. Stored whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    /// Absent where no person takes part, or the issuer gave none.
    #[serde(with = "as_text")]
    pub(super) refresh: Option<Secret>,
    /// The one before; kept until `refresh` has worked.
    #[serde(with = "as_text")]
    pub(super) previous: Option<Secret>,
    /// When `refresh` ends if it is not used, where the issuer says so.
    refresh_until: Option<Unix>,
    /// When it was last used or given.
    refresh_used: Unix,
    access: BTreeMap<String, Access>,
    /// Audiences for which the issuer wants to see the person.
    ended: BTreeMap<String, Ended>,
}

/// One access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Access {
    #[serde(with = "as_text")]
    token: Option<Secret>,
    generation: u64,
    issued: Unix,
    expires: Unix,
    /// From when on it is renewed in the background.
    due: Unix,
    /// Whether it took the place of a rejected one: when it is rejected too, the token is not what is wrong.
    forced: bool,
    /// The upstream refused it. Known to this process only.
    #[serde(skip)]
    rejected: bool,
}

/// Why a person must sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) since: Unix,
    pub(super) why: String,
    /// When the issuer was last asked all the same.
    asked: Unix,
}

/// Requests that failed since the last that did not. Of this process only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) since: Unix,
    pub(super) why: String,
    pub(super) retry_at: Unix,
    /// Whether our client was refused, and not just the moment wrong.
    pub(super) of_client: bool,
    failures: u32,
}

/// What is stored of a [`Life`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    held: Option<Held>,
    ended: Option<Ended>,
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

/// How a grant stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Empty,
    Pending,
    Active { until: Unix },
    Refreshing,
    Failing(Trouble),
    NeedsSignIn(Ended),
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

    /// A request for `audience` begins.
    pub(super) fn began(&self, audience: Audience) -> (Self, Attempt) {
        let mut next = self.clone();
        next.attempts = next.attempts.wrapping_add(1);
        let number = next.attempts;
        let held = match &self.state {
            State::Active(held) | State::Refreshing { held, .. } => held.clone(),
            _ => Held::default(),
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
        (next, attempt)
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
        let (_, attempt) = Self::empty(true).began(audience.unwrap_or(ANY));
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

    /// Requests that failed, if the last one did.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Whether a request is under way.
    pub(super) fn is_refreshing(&self) -> bool {
        matches!(self.state, State::Refreshing { .. })
    }

    /// Since when a person must sign in for `audience`.
    pub(super) fn ended_since(&self, audience: Audience) -> Option<Unix> {
        match &self.state {
            State::NeedsSignIn(ended) => Some(ended.since),
            State::Active(held) | State::Refreshing { held, .. } => {
                held.ended.get(audience).map(|ended| ended.since)
            }
            State::Empty | State::Pending { .. } => None,
        }
    }

    /// The refresh token to revoke at a sign-out.
    pub(super) fn refresh_token(&self) -> Option<&Secret> {
        match &self.state {
            State::Active(held) | State::Refreshing { held, .. } => held.refresh.as_ref(),
            _ => None,
        }
    }

    /// Whether nothing was obtained yet.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    /// How the grant stands at `now`, for people.
    pub(super) fn standing(&self, now: Unix) -> Standing {
        match &self.state {
            State::Pending { until, .. } if *until > now => Standing::Pending,
            State::NeedsSignIn(ended)
            | State::Pending {
                before: Some(ended),
                ..
            } => Standing::NeedsSignIn(ended.clone()),
            State::Refreshing { .. } => Standing::Refreshing,
            State::Active(held) if !held.ended.is_empty() => {
                let first = held.ended.values().min_by_key(|ended| ended.since);
                first.map_or(Standing::Empty, |ended| {
                    Standing::NeedsSignIn(ended.clone())
                })
            }
            _ if self.trouble.is_some() => match &self.trouble {
                Some(trouble) => Standing::Failing(trouble.clone()),
                None => Standing::Empty,
            },
            State::Active(held) => {
                let until = held.access.values().map(|access| access.expires).min();
                Standing::Active {
                    until: until.unwrap_or(now),
                }
            }
            State::Empty | State::Pending { .. } => Standing::Empty,
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

impl Held {
    /// Takes over what only this process knows: which of the same tokens were rejected.
    fn remember_rejections(&mut self, ours: &Self) {
        for (audience, access) in &mut self.access {
            let before = ours.access.get(audience);
            access.rejected =
                before.is_some_and(|b| b.generation == access.generation && b.rejected);
        }
    }

    fn state(self) -> State {
        if self.refresh.is_none() && self.access.is_empty() && self.ended.is_empty() {
            State::Empty
        } else {
            State::Active(self)
        }
    }

    fn with(
        mut self,
        attempt: &Attempt,
        given: Given,
        generation: u64,
        now: Unix,
        jitter: u32,
    ) -> Self {
        if let Some(rotated) = given.refresh {
            // What was sent worked, or it was the sign-in's; what was before that one is of no use any more.
            self.previous = attempt.refresh.clone();
            self.refresh = Some(rotated);
        } else if attempt.refresh.is_some() {
            self.refresh = attempt.refresh.clone();
            self.previous = None;
        }
        self.refresh_used = now;
        if let Some(lifetime) = given.refresh_lifetime {
            self.refresh_until = Some(now.saturating_add(seconds(lifetime)));
        }
        self.ended.remove(attempt.audience);
        let access = Access::new(
            given.access,
            given.lifetime,
            generation,
            attempt.forced,
            now,
            jitter,
        );
        self.access.insert(attempt.audience.to_owned(), access);
        self
    }

    /// After a permanent refusal that a person can mend.
    fn without_person(mut self, audience: Audience, what: Fault, why: String, now: Unix) -> State {
        let since = match self.ended.get(audience) {
            Some(before) => before.since,
            None => now,
        };
        let ended = Ended {
            since,
            why,
            asked: now,
        };
        if what == Fault::Grant {
            return State::NeedsSignIn(ended);
        }
        self.ended.insert(audience.to_owned(), ended);
        State::Active(self)
    }

    fn keep_alive_at(&self) -> Unix {
        let every = match self.refresh_until {
            Some(until) => (until.saturating_sub(self.refresh_used) / 2).clamp(1, KEEP_ALIVE),
            None => KEEP_ALIVE,
        };
        self.refresh_used.saturating_add(every)
    }
}

impl Access {
    fn new(
        token: Secret,
        lifetime: Option<Duration>,
        generation: u64,
        forced: bool,
        now: Unix,
        jitter: u32,
    ) -> Self {
        let lifetime = lifetime
            .map_or(LIFETIME_UNSAID, seconds)
            .clamp(1, LIFETIME_MAX);
        let expires = now.saturating_add(lifetime);
        let lead = (lifetime / 4).min(LEAD_MAX);
        let spread = lead / 2 * i64::from(jitter.min(999)) / 1_000;
        Self {
            token: Some(token),
            generation,
            issued: now,
            expires,
            due: expires - lead - spread,
            forced,
            rejected: false,
        }
    }

    fn usable(&self, now: Unix) -> Option<&Secret> {
        let lifetime = self.expires.saturating_sub(self.issued);
        let margin = (lifetime / 10).min(LOGIN_MARGIN);
        let lasts = now < self.expires.saturating_sub(margin) && !self.is_of_the_future(now);
        self.token.as_ref().filter(|_| lasts && !self.rejected)
    }

    /// The clock has been set back since; how long the token lasts is not known any more.
    fn is_of_the_future(&self, now: Unix) -> bool {
        self.issued > now.saturating_add(CLOCK_SLACK)
    }
}

impl Trouble {
    fn waits(&self, now: Unix) -> bool {
        // A clock set back does not make the wait longer than it ever was.
        now < self.retry_at && self.retry_at.saturating_sub(now) <= RETRY_AFTER_MAX
    }
}

/// How long to wait after the nth failure in a row.
#[derive(Clone, Copy)]
struct Backoff {
    first: Unix,
    max: Unix,
    of_client: bool,
}

impl Backoff {
    const CLIENT: Self = Self {
        first: 60,
        max: 60 * 60,
        of_client: true,
    };

    fn transient(retry_after: Option<Duration>) -> Self {
        let asked = retry_after.map_or(0, seconds).clamp(0, RETRY_AFTER_MAX);
        Self {
            first: asked.max(RETRY_FIRST),
            max: asked.max(RETRY_MAX),
            of_client: false,
        }
    }

    /// Doubled each time; up to a quarter more by chance, so that many accounts do not come back together. Never less
    /// than what the issuer asked for, never more than [`RETRY_AFTER_MAX`].
    fn wait(self, failures: u32, jitter: u32) -> Unix {
        let doublings = failures.saturating_sub(1).min(30);
        let wait = self.first.saturating_mul(1_i64 << doublings).min(self.max);
        let spread = wait / 4 * i64::from(jitter.min(999)) / 1_000;
        wait.saturating_add(spread).min(RETRY_AFTER_MAX)
    }
}

fn seconds(duration: Duration) -> Unix {
    Unix::try_from(duration.as_secs()).unwrap_or(Unix::MAX)
}

/// The audience of a token that serves all protocols.
pub(super) const ANY: Audience = "any";

/// What is assumed where the issuer does not say how long a token lasts: the value of RFC 6749's own example, and of
/// Google, Microsoft and Yahoo. A token that ends before is rejected upstream and renewed then.
const LIFETIME_UNSAID: Unix = 3_600;

/// A year. A token said to last longer is renewed all the same.
const LIFETIME_MAX: Unix = 365 * 24 * 60 * 60;

/// How long a token must still last for a login: the login's own 25 s, and clocks that differ by half a minute. A tenth
/// of the lifetime where that is less.
const LOGIN_MARGIN: Unix = 60;

/// How long before its end a token is renewed in the background: time for some tries while the issuer is down. A quarter
/// of the lifetime where that is less; up to half as much again by chance.
const LEAD_MAX: Unix = 10 * 60;

/// Clocks of machines that share a store differ by no more.
const CLOCK_SLACK: Unix = 60;

/// An idle grant's refresh token is used once a day: those of Google end after six months without use, Microsoft's after
/// 90 days, others' after some days.
const KEEP_ALIVE: Unix = 24 * 60 * 60;

/// The first wait after a transient failure; logins that come meanwhile are answered from memory.
const RETRY_FIRST: Unix = 2;

/// The longest wait after transient failures: mail flows again five minutes after the issuer does.
const RETRY_MAX: Unix = 5 * 60;

/// No issuer may put us off for longer.
const RETRY_AFTER_MAX: Unix = 2 * 60 * 60;

/// Where the issuer wants to see the person, it is asked again this often: some conditions (the network, the device)
/// mend themselves.
const ASK_AGAIN: Unix = 60 * 60;

/// How long a token that took the place of a rejected one is kept although it is rejected as well.
const FORCE_AGAIN: Unix = 5 * 60;

/// Tokens are printable ASCII (RFC 6749 appendix A.12 and A.17), so JSON text holds them.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match secret {
            None => to.serialize_none(),
            Some(secret) => match std::str::from_utf8(secret.expose()) {
                Ok(text) => to.serialize_some(text),
                Err(_) => Err(ser::Error::custom("a token is no text")),
            },
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Secret>, D::Error> {
        let text = Option::<String>::deserialize(from);
        // Serde's own words could quote what it found.
        let text = text.map_err(|_| de::Error::custom("a token is no text"))?;
        Ok(text.map(Secret::from))
    }
}

#[cfg(test)]
mod tests;
