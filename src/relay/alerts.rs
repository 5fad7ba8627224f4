//! ALERTs to IMAP clients: programs show them in a window of their own and try again every few minutes, so a person is
//! told about a mailbox once an hour.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When each account had its last ALERT. It holds no more accounts than had one within the hour.
#[derive(Debug, Default)]
pub(super) struct Alerts(Mutex<HashMap<String, Instant>>);

impl Alerts {
    /// Whether an ALERT about `account` is due; the one who is told so says it.
    pub(super) fn due(&self, account: &str, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, said| now.saturating_duration_since(*said) < PAUSE);
        if last.contains_key(account) {
            return false;
        }
        last.insert(account.to_owned(), now);
        true
    }
}

/// PROTOCOL B.6: one ALERT per account per hour.
const PAUSE: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_has_one_an_hour() {
        let (alerts, now) = (Alerts::default(), Instant::now());
        assert!(alerts.due("anna@x.org", now));
        assert!(!alerts.due("anna@x.org", now));
        assert!(alerts.due("bob@x.org", now + PAUSE / 2));
        let almost = now + PAUSE - Duration::from_secs(1);
        assert!(!alerts.due("anna@x.org", almost));
        assert!(alerts.due("anna@x.org", now + PAUSE));
        assert!(!alerts.due("bob@x.org", now + PAUSE));
        assert!(!alerts.due("anna@x.org", now + PAUSE));
    }

    #[test]
    fn accounts_of_more_than_an_hour_ago_are_forgotten() {
        let (alerts, now) = (Alerts::default(), Instant::now());
        for account in 0..100 {
            assert!(alerts.due(&account.to_string(), now));
        }
        assert!(alerts.due("anna@x.org", now + PAUSE));
        assert_eq!(alerts.0.lock().unwrap().len(), 1);
    }
}
