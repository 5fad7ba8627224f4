//! Credentials that the upstream refused: stops trying before the provider locks the account.
//!
//! | refusals in a row of the same secret | what the next login does |
//! |---|---|
//! | 0 to 2 | tries; the secret's source is asked again first |
//! | 3 and more | is answered from memory for 5 min, doubled with each further refusal up to 4 h |
//! | wait over | one login tries; the others are answered from memory until it is decided |
//!
//! Another secret ends the wait at once. Counted for each protocol by itself: a provider that has POP3 switched off
//! refuses the right password there, and IMAP must go on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::Protocol;

/// What a refusal counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) account: String,
    pub(super) protocol: Protocol,
    /// The upstream identity: those of a catch-all entry differ.
    pub(super) user: String,
}

/// A keyed hash of a secret: tells whether it has changed.
pub(super) type Fingerprint = [u8; 32];

/// Which secrets were refused, and how often in a row.
#[derive(Default)]
pub(super) struct Rejections(Mutex<HashMap<Target, Rejected>>);

struct Rejected {
    secret: Fingerprint,
    count: u32,
    closed_until: Instant,
    /// One login is trying after a wait.
    on_trial: bool,
}

/// Not tried: the upstream refused this secret too often.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl Rejections {
    /// Whether anything was refused since the last success, so that the secret is worth asking for again.
    pub(super) fn suspects(&self, target: &Target) -> bool {
        self.lock().contains_key(target)
    }

    /// Whether `secret` may be tried now. After a wait the first to ask becomes the one that tries.
    pub(super) fn admit(
        &self,
        target: &Target,
        secret: &Fingerprint,
        now: Instant,
    ) -> Result<(), Closed> {
        let mut rejected = self.lock();
        let Some(entry) = rejected.get_mut(target) else {
            return Ok(());
        };
        if entry.secret != *secret {
            rejected.remove(target);
            return Ok(());
        }
        if entry.count < TOLERATED {
            return Ok(());
        }
        if now < entry.closed_until {
            return Err(Closed);
        }
        entry.on_trial = true;
        entry.closed_until = now + TRIAL;
        Ok(())
    }

    /// The upstream refused `secret`.
    pub(super) fn refused(&self, target: &Target, secret: &Fingerprint, now: Instant) {
        let mut rejected = self.lock();
        let entry = rejected.entry(target.clone()).or_insert(Rejected {
            secret: *secret,
            count: 0,
            closed_until: now,
            on_trial: false,
        });
        if entry.secret != *secret {
            // A login that began with the secret before; the one in use now is judged by its own.
            return;
        }
        if entry.count >= TOLERATED && now < entry.closed_until && !entry.on_trial {
            // One of several that were under way together.
            return;
        }
        entry.count = entry.count.saturating_add(1);
        entry.on_trial = false;
        if let Some(beyond) = entry.count.checked_sub(TOLERATED) {
            let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(beyond));
            entry.closed_until = now + wait.min(WAIT_MAX);
        }
    }

    /// The upstream took a secret.
    pub(super) fn taken(&self, target: &Target) {
        self.lock().remove(target);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Rejected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Providers lock accounts after five to ten failures; three leave room for a person who tries by hand.
const TOLERATED: u32 = 3;

/// A provider's own counter often runs for some minutes.
const FIRST_WAIT: Duration = Duration::from_secs(5 * 60);

/// Six tries a day: far from any lock-out, and a mailbox repaired at the provider works again the same morning.
const WAIT_MAX: Duration = Duration::from_secs(4 * 60 * 60);

/// How long the one that tries may take to be decided: the login budget of 25 s, twice.
const TRIAL: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Fingerprint = [1; 32];
    const NEW: Fingerprint = [2; 32];

    fn target(protocol: Protocol) -> Target {
        Target {
            account: "anna@x.org".into(),
            protocol,
            user: "anna@x.org".into(),
        }
    }

    fn after_three(now: Instant) -> (Rejections, Target) {
        let (rejections, target) = (Rejections::default(), target(Protocol::Imap));
        for _ in 0..3 {
            assert_eq!(rejections.admit(&target, &OLD, now), Ok(()));
            rejections.refused(&target, &OLD, now);
        }
        (rejections, target)
    }

    #[test]
    fn after_three_refusals_one_login_tries_in_each_growing_wait() {
        let mut now = Instant::now();
        let (rejections, target) = after_three(now);
        for minutes in [5, 10, 20, 40, 80, 160, 240, 240] {
            let over = now + Duration::from_secs(60 * minutes);
            assert_eq!(
                rejections.admit(&target, &OLD, over - TRIAL / 50),
                Err(Closed)
            );
            assert_eq!(rejections.admit(&target, &OLD, over), Ok(()));
            assert_eq!(rejections.admit(&target, &OLD, over), Err(Closed));
            rejections.refused(&target, &OLD, over);
            now = over;
        }
    }

    #[test]
    fn another_secret_or_a_success_ends_the_wait() {
        let now = Instant::now();
        let (rejections, target) = after_three(now);
        assert_eq!(rejections.admit(&target, &NEW, now), Ok(()));
        let (rejections, target) = after_three(now);
        rejections.taken(&target);
        assert_eq!(rejections.admit(&target, &OLD, now), Ok(()));
        assert!(!rejections.suspects(&target));
    }

    #[test]
    fn refusals_that_were_under_way_together_count_as_three() {
        let now = Instant::now();
        let (rejections, target) = after_three(now);
        for _ in 0..50 {
            rejections.refused(&target, &OLD, now);
        }
        assert_eq!(rejections.admit(&target, &OLD, now + FIRST_WAIT), Ok(()));
    }

    #[test]
    fn a_protocol_that_is_switched_off_does_not_close_the_others() {
        let now = Instant::now();
        let (rejections, _) = after_three(now);
        assert_eq!(rejections.admit(&target(Protocol::Smtp), &OLD, now), Ok(()));
    }

    #[test]
    fn a_trial_that_is_never_decided_is_given_to_another() {
        let now = Instant::now();
        let (rejections, target) = after_three(now);
        let over = now + FIRST_WAIT;
        assert_eq!(rejections.admit(&target, &OLD, over), Ok(()));
        assert_eq!(rejections.admit(&target, &OLD, over + TRIAL), Ok(()));
    }
}
