//! How a grant stands: the machine seen from outside.

use super::{Audience, Ended, Life, State, Trouble, Unix};
use crate::secret::Secret;

/// How a grant stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Standing {
    Empty,
    Pending,
    Active { until: Unix },
    Refreshing,
    Failing(Trouble),
    NeedsSignIn(Ended),
}

impl Life {
    /// How the grant stands at `now`, for people.
    pub(in crate::auth) fn standing(&self, now: Unix) -> Standing {
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

    /// Requests that failed, if the last one did.
    pub(in crate::auth) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Whether a request is under way.
    pub(in crate::auth) fn is_refreshing(&self) -> bool {
        matches!(self.state, State::Refreshing { .. })
    }

    /// Since when a person must sign in for `audience`.
    pub(in crate::auth) fn ended_since(&self, audience: Audience) -> Option<Unix> {
        match &self.state {
            State::NeedsSignIn(ended) => Some(ended.since),
            State::Active(held) | State::Refreshing { held, .. } => {
                held.ended.get(audience).map(|ended| ended.since)
            }
            State::Empty | State::Pending { .. } => None,
        }
    }

    /// The refresh token to revoke at a sign-out.
    pub(in crate::auth) fn refresh_token(&self) -> Option<&Secret> {
        match &self.state {
            State::Active(held) | State::Refreshing { held, .. } => held.refresh.as_ref(),
            _ => None,
        }
    }

    /// Whether nothing was obtained yet.
    pub(in crate::auth) fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }
}
