//! Listeners where nobody logs in, as `check` tells them: who may send as whom.

use std::fmt;

use serde_json::json;

use crate::config::runtime::{Config, Listener, NoLogin};

/// One of them.
pub(super) struct Unlocked<'a> {
    listener: &'a Listener,
    terms: &'a NoLogin,
}

/// All of them.
pub(super) fn unlocked(config: &Config) -> Vec<Unlocked<'_>> {
    let listeners = config.listeners.iter();
    let unlocked = listeners.filter_map(|listener| {
        let terms = listener.no_login.as_ref()?;
        Some(Unlocked { listener, terms })
    });
    unlocked.collect()
}

impl Unlocked<'_> {
    pub(super) fn document(&self) -> serde_json::Value {
        json!({
            "listener": self.listener.address.to_string(),
            "account": self.terms.account,
            "networks": self.networks(),
            "messages_per_hour": self.terms.messages_per_hour,
        })
    }

    /// One host without its prefix length, as people write it.
    fn networks(&self) -> Vec<String> {
        let networks = self.listener.networks.iter().map(|network| {
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            }
        });
        networks.collect()
    }
}

impl fmt::Display for Unlocked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks();
        let who = if networks.is_empty() {
            "every program of this machine".to_owned()
        } else {
            networks.join(", ")
        };
        write!(
            f,
            "smtp on {}: without a login, {who} may send as {}",
            self.listener.address, self.terms.account
        )
    }
}
