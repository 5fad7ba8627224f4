//! What is held of a grant: its refresh tokens, its access tokens, and when each is due.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Attempt, Audience, Fault, Given, State, Unix, seconds};
use crate::secret::Secret;

/// What was granted. Stored whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::auth) struct Held {
    /// Absent where no person takes part, or the issuer gave none.
    #[serde(with = "as_text")]
    pub(in crate::auth) refresh: Option<Secret>,
    /// The one before; kept until `refresh` has worked.
    #[serde(with = "as_text")]
    pub(in crate::auth) previous: Option<Secret>,
    /// When `refresh` ends if it is not used, where the issuer says so.
    pub(super) refresh_until: Option<Unix>,
    /// When it was last used or given.
    pub(super) refresh_used: Unix,
    pub(super) access: BTreeMap<String, Access>,
    /// Audiences for which the issuer wants to see the person.
    pub(super) ended: BTreeMap<String, Ended>,
}

/// One access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Access {
    #[serde(with = "as_text")]
    pub(super) token: Option<Secret>,
    pub(super) generation: u64,
    pub(super) issued: Unix,
    pub(super) expires: Unix,
    /// From when on it is renewed in the background.
    pub(super) due: Unix,
    /// Whether it took the place of a rejected one: when it is rejected too, the token is not what is wrong.
    pub(super) forced: bool,
    /// The upstream refused it. Known to this process only.
    #[serde(skip)]
    pub(super) rejected: bool,
}

/// Why a person must sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::auth) struct Ended {
    pub(in crate::auth) since: Unix,
    pub(in crate::auth) why: String,
    /// When the issuer was last asked all the same.
    pub(super) asked: Unix,
}

/// What is stored of a [`Life`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::auth) struct Kept {
    pub(super) held: Option<Held>,
    pub(super) ended: Option<Ended>,
}

impl Held {
    /// Takes over what only this process knows: which of the same tokens were rejected.
    pub(super) fn remember_rejections(&mut self, ours: &Self) {
        for (audience, access) in &mut self.access {
            let before = ours.access.get(audience);
            access.rejected =
                before.is_some_and(|b| b.generation == access.generation && b.rejected);
        }
    }

    pub(super) fn state(self) -> State {
        if self.refresh.is_none() && self.access.is_empty() && self.ended.is_empty() {
            State::Empty
        } else {
            State::Active(self)
        }
    }

    pub(super) fn with(
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
    pub(super) fn without_person(
        mut self,
        audience: Audience,
        what: Fault,
        why: String,
        now: Unix,
    ) -> State {
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

    pub(super) fn keep_alive_at(&self) -> Unix {
        let every = match self.refresh_until {
            Some(until) => (until.saturating_sub(self.refresh_used) / 2).clamp(1, KEEP_ALIVE),
            None => KEEP_ALIVE,
        };
        self.refresh_used.saturating_add(every)
    }
}

impl Access {
    pub(super) fn new(
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

    pub(super) fn usable(&self, now: Unix) -> Option<&Secret> {
        let lifetime = self.expires.saturating_sub(self.issued);
        let margin = (lifetime / 10).min(LOGIN_MARGIN);
        let lasts = now < self.expires.saturating_sub(margin) && !self.is_of_the_future(now);
        self.token.as_ref().filter(|_| lasts && !self.rejected)
    }

    /// The clock has been set back since; how long the token lasts is not known any more.
    pub(super) fn is_of_the_future(&self, now: Unix) -> bool {
        self.issued > now.saturating_add(CLOCK_SLACK)
    }
}

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
pub(super) const KEEP_ALIVE: Unix = 24 * 60 * 60;

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
