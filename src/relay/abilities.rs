//! What upstreams can do, as they answered when they were last asked, so that a login need not ask again.
//!
//! A guess and never a promise: the dialogues believe what an upstream says by itself first, and ask where a login that
//! rests on a guess is refused. A login that fails takes the guess along.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::runtime::{Endpoint, Proxy, Trust};
use crate::proto::dialogue::Abilities;
use crate::protocol::{Protocol, TlsMode};

/// Shared by all sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownAbilities {
    asked: Arc<Mutex<HashMap<Server, Known>>>,
    named: Arc<Mutex<HashMap<Server, Vec<String>>>>,
    /// Counts the changes of `named`.
    changes: Arc<AtomicU64>,
}

/// A server; all accounts there are told the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    protocol: Protocol,
    host: String,
    port: u16,
    tls: TlsMode,
    trust: Trust,
    proxy: Option<Arc<Proxy>>,
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
        let known = known.get(&Server::of(protocol, endpoint))?;
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
        all.insert(Server::of(protocol, endpoint), known);
    }

    pub(super) fn forget(&self, protocol: Protocol, endpoint: &Endpoint) {
        self.lock().remove(&Server::of(protocol, endpoint));
    }

    /// After a login the server named `capabilities`. What it does not name to everybody is forgotten: another account may
    /// have less, and what was promised before login is believed to the end.
    pub(super) fn name(&self, protocol: Protocol, endpoint: &Endpoint, capabilities: &[String]) {
        let mut all = self.lock_named();
        let server = Server::of(protocol, endpoint);
        let room = all.len() < SERVERS_MAX;
        match all.get_mut(&server) {
            Some(known) => {
                let before = known.len();
                known.retain(|it| contains(capabilities, it));
                if known.len() == before {
                    return;
                }
            }
            None if !room => return,
            None => {
                all.insert(server, capabilities.to_vec());
            }
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Another number wherever [`Self::in_common`] may say something else.
    pub(super) fn named(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What all of `servers` are known to name; nothing where one of them is not known.
    pub(super) fn in_common(&self, servers: &[Server]) -> Vec<String> {
        let all = self.lock_named();
        let Some((first, others)) = servers.split_first() else {
            return Vec::new();
        };
        let mut common = all.get(first).cloned().unwrap_or_default();
        for server in others {
            let named = all.get(server).map(Vec::as_slice).unwrap_or_default();
            common.retain(|it| contains(named, it));
        }
        common
    }

    /// The configuration was read anew: what an upstream names may be asked again.
    pub(super) fn forget_named(&self) {
        self.lock_named().clear();
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn lock_named(&self) -> MutexGuard<'_, HashMap<Server, Vec<String>>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Server, Known>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn contains(list: &[String], capability: &str) -> bool {
    list.iter().any(|it| it.eq_ignore_ascii_case(capability))
}

impl Server {
    pub(super) fn of(protocol: Protocol, endpoint: &Endpoint) -> Self {
        Self {
            protocol,
            host: endpoint.host.clone(),
            port: endpoint.port,
            tls: endpoint.tls,
            trust: endpoint.trust.clone(),
            proxy: endpoint.proxy.clone(),
        }
    }
}

/// A server that learns something new is heard of within the hour.
const AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// More servers than there are providers; each has some hundred octets.
const SERVERS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::runtime::ProxyKind;

    fn endpoint(host: &str) -> Endpoint {
        Endpoint {
            proxy: None,
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
        let behind = Endpoint {
            proxy: Some(Arc::new(Proxy {
                kind: ProxyKind::Http,
                host: "proxy.test".into(),
                port: 3128,
                login: None,
            })),
            ..here.clone()
        };
        for (protocol, endpoint) in [
            (Protocol::Pop3, &here),
            (Protocol::Imap, &endpoint("b.test")),
            (Protocol::Imap, &starttls),
            (Protocol::Imap, &behind),
        ] {
            assert_eq!(abilities.of(protocol, endpoint), None);
        }
        tokio::time::advance(AGE_MAX).await;
        assert_eq!(abilities.of(Protocol::Imap, &here), None);
    }

    #[test]
    fn what_is_promised_is_what_every_server_names_to_everybody() {
        let abilities = KnownAbilities::default();
        let [a, b] = ["a.test", "b.test"].map(endpoint);
        let servers = [&a, &b].map(|it| Server::of(Protocol::Imap, it));
        let name = |at, list: &str| {
            let list: Vec<String> = list.split(' ').map(str::to_owned).collect();
            abilities.name(Protocol::Imap, at, &list);
        };
        assert!(abilities.in_common(&[]).is_empty());
        name(&a, "IDLE UIDPLUS MOVE");
        assert!(abilities.in_common(&servers).is_empty());
        name(&b, "uidplus IDLE");
        assert_eq!(abilities.in_common(&servers), ["IDLE", "UIDPLUS"]);
        let before = abilities.named();
        name(&a, "MOVE IDLE UIDPLUS NEW");
        assert_eq!(abilities.named(), before);
        name(&a, "IDLE");
        assert_ne!(abilities.named(), before);
        assert_eq!(abilities.in_common(&servers), ["IDLE"]);
        abilities.forget_named();
        assert!(abilities.in_common(&servers).is_empty());
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
