//! The time, for what is kept in Unix seconds: follows the wall clock, but never backwards.
//!
//! After a suspend, or when a clock is put right, the wall clock jumps ahead and is believed. When it is set back,
//! the monotonic clock carries on from before, so that an ended token does not become young again.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::auth::token::Unix;

/// One clock for the whole service.
pub(super) struct Clock {
    /// The latest time, and when it was that.
    latest: Mutex<(Unix, Instant)>,
    #[cfg(test)]
    ahead: std::sync::atomic::AtomicI64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            latest: Mutex::new((wall(), Instant::now())),
            #[cfg(test)]
            ahead: std::sync::atomic::AtomicI64::new(0),
        }
    }

    pub(super) fn now(&self) -> Unix {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = later(*latest, wall(), Instant::now());
        #[cfg(test)]
        return latest.0 + self.ahead.load(std::sync::atomic::Ordering::Relaxed);
        #[cfg(not(test))]
        latest.0
    }

    /// Lets time pass in tests.
    #[cfg(test)]
    pub(super) fn advance(&self, seconds: i64) {
        self.ahead
            .fetch_add(seconds, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The time at `now`, when the wall says `wall` and it was `latest` before. The wall's seconds are cut off, so a
/// carried-on time keeps the moment it counts from.
fn later(latest: (Unix, Instant), wall: Unix, now: Instant) -> (Unix, Instant) {
    let elapsed = now.saturating_duration_since(latest.1).as_secs();
    let carried = latest
        .0
        .saturating_add(Unix::try_from(elapsed).unwrap_or(Unix::MAX));
    if wall >= carried {
        (wall, now)
    } else {
        (carried, latest.1 + std::time::Duration::from_secs(elapsed))
    }
}

pub(super) fn wall() -> Unix {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| Unix::try_from(since.as_secs()).unwrap_or(0))
}

pub(super) fn system_time(at: Unix) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(at).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_jump_ahead_is_believed_and_a_jump_back_is_not() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut latest = (1_000, start);
        latest = later(latest, 1_005, after(5));
        assert_eq!(latest.0, 1_005);
        // A suspend: the monotonic clock of some systems stands still.
        latest = later(latest, 9_000, after(6));
        assert_eq!(latest.0, 9_000);
        latest = later(latest, 1_000, after(10));
        assert_eq!(latest.0, 9_004);
        for tenth in 100..=200 {
            latest = later(latest, 1_000, start + Duration::from_millis(tenth * 100));
        }
        assert_eq!(latest.0, 9_014, "time passes in steps below a second too");
    }
}
