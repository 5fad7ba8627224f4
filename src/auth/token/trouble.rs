//! Requests that fail: how long until the next try.

use std::time::Duration;

use super::{Unix, seconds};

/// Requests that failed since the last that did not. Of this process only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::auth) struct Trouble {
    pub(in crate::auth) since: Unix,
    pub(in crate::auth) why: String,
    pub(in crate::auth) retry_at: Unix,
    /// Whether our client was refused, and not just the moment wrong.
    pub(in crate::auth) of_client: bool,
    pub(super) failures: u32,
}

impl Trouble {
    pub(super) fn waits(&self, now: Unix) -> bool {
        // A clock set back does not make the wait longer than it ever was.
        now < self.retry_at && self.retry_at.saturating_sub(now) <= RETRY_AFTER_MAX
    }
}

/// How long to wait after the nth failure in a row.
#[derive(Clone, Copy)]
pub(super) struct Backoff {
    first: Unix,
    max: Unix,
    pub(super) of_client: bool,
}

impl Backoff {
    pub(super) const CLIENT: Self = Self {
        first: 60,
        max: 60 * 60,
        of_client: true,
    };

    pub(super) fn transient(retry_after: Option<Duration>) -> Self {
        let asked = retry_after.map_or(0, seconds).clamp(0, RETRY_AFTER_MAX);
        Self {
            first: asked.max(RETRY_FIRST),
            max: asked.max(RETRY_MAX),
            of_client: false,
        }
    }

    /// Doubled each time; up to a quarter more by chance, so that many accounts do not come back together. Never less
    /// than what the issuer asked for, never more than [`RETRY_AFTER_MAX`].
    pub(super) fn wait(self, failures: u32, jitter: u32) -> Unix {
        let doublings = failures.saturating_sub(1).min(30);
        let wait = self.first.saturating_mul(1_i64 << doublings).min(self.max);
        let spread = wait / 4 * i64::from(jitter.min(999)) / 1_000;
        wait.saturating_add(spread).min(RETRY_AFTER_MAX)
    }
}

/// The first wait after a transient failure; logins that come meanwhile are answered from memory.
const RETRY_FIRST: Unix = 2;

/// The longest wait after transient failures: mail flows again five minutes after the issuer does.
const RETRY_MAX: Unix = 5 * 60;

/// No issuer may put us off for longer.
pub(super) const RETRY_AFTER_MAX: Unix = 2 * 60 * 60;
