//! What upstreams can do, as they answered when they were last asked, so that a login need not ask again.
//!
//! A guess and never a promise: the dialogues believe what an upstream says by itself first, and ask where a login that
//! rests on a guess is refused. A login that fails takes the guess along.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::runtime::{Endpoint, Trust};
use crate::proto::dialogue::Abilities;
use crate::protocol::{Protocol, TlsMode};

/// Shared by all sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownAbilities(Arc<Mutex<HashMap<Server, Known>>>);

/// A server; all accounts there are told the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Server {
    protocol: Protocol,
    host: String,
    port: u16,
    tls: TlsMode,
    trust: Trust,
}

#[derive(Debug)]
struct Known {
    abilities: Arc<Abilities>,
    since: Instant,
}

impl KnownAbilities {
    /// What the server at `endpoint` said lately.
    pub(super) fn of(&self, protocol: Protocol, endpoint: &Endpoint) -> Option<Arc<Abilities>> {
        let known = self.lock();
        let known = known.get(&server(protocol, endpoint))?;
        (known.since.elapsed() < AGE_MAX).then(|| Arc::clone(&known.abilities))
    }

    pub(super) fn learn(&self, protocol: Protocol, endpoint: &Endpoint, abilities: Abilities) {
        let mut all = self.lock();
        if all.len() >= SERVERS_MAX {
            all.clear();
        }
        let known = Known {
            abilities: Arc::new(abilities),
            since: Instant::now(),
        };
        all.insert(server(protocol, endpoint), known);
    }

    pub(super) fn forget(&self, protocol: Protocol, endpoint: &Endpoint) {
        self.lock().remove(&server(protocol, endpoint));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Server, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn server(protocol: Protocol, endpoint: &Endpoint) -> Server {
    Server {
        protocol,
        host: endpoint.host.clone(),
        port: endpoint.port,
        tls: endpoint.tls,
        trust: endpoint.trust.clone(),
    }
}

/// A server that learns something new is heard of within the hour.
const AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// More servers than there are providers; each has some hundred octets.
const SERVERS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str) -> Endpoint {
        Endpoint {
            host: host.into(),
            port: 993,
            tls: TlsMode::Implicit,
            trust: Trust::Platform,
            user: "anna".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_learned_holds_an_hour_for_this_server_and_protocol() {
        let abilities = KnownAbilities::default();
        let here = endpoint("a.test");
        assert_eq!(abilities.of(Protocol::Imap, &here), None);
        abilities.learn(Protocol::Imap, &here, Abilities::default());
        assert!(abilities.of(Protocol::Imap, &here).is_some());
        let starttls = Endpoint {
            tls: TlsMode::StartTls,
            ..here.clone()
        };
        for (protocol, endpoint) in [
            (Protocol::Pop3, &here),
            (Protocol::Imap, &endpoint("b.test")),
            (Protocol::Imap, &starttls),
        ] {
            assert_eq!(abilities.of(protocol, endpoint), None);
        }
        tokio::time::advance(AGE_MAX).await;
        assert_eq!(abilities.of(Protocol::Imap, &here), None);
    }

    #[tokio::test]
    async fn it_is_forgotten_on_demand_and_bounded() {
        let abilities = KnownAbilities::default();
        for number in 0..SERVERS_MAX + 5 {
            let endpoint = endpoint(&format!("{number}.test"));
            abilities.learn(Protocol::Imap, &endpoint, Abilities::default());
        }
        assert_eq!(abilities.lock().len(), 5);
        let last = endpoint(&format!("{}.test", SERVERS_MAX + 4));
        abilities.forget(Protocol::Imap, &last);
        assert_eq!(abilities.of(Protocol::Imap, &last), None);
    }
}
