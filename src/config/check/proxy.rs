//! Which proxy leads to an account's servers: its own, that of `[defaults]`, or that of the environment.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::fault::Fault;
use super::super::file::{AccountEntry, ProxyEntry};
use super::super::key::KeyPath;
use super::super::problem::{Place, Problem};
use super::super::proxy::{ProxyUrl, is_excepted, is_loopback, with_scheme};
use super::super::runtime::{Proxy, ProxyKind, ProxyLogin, ProxyPassword};
use super::{Check, secret};
use crate::secret::Secret;

/// What stands between an account and its servers.
pub(super) enum Chosen {
    /// Nothing.
    Direct,
    /// This, whatever the host.
    Always(Arc<Proxy>),
    /// What the environment says, with its exceptions.
    Environment,
}

/// What `ALL_PROXY` says.
#[derive(Default)]
pub(in super::super) enum OfEnvironment {
    #[default]
    Nothing,
    Proxy {
        proxy: Arc<Proxy>,
        /// The hosts that are reached without it.
        exceptions: String,
    },
    /// Something that cannot be used. Reported once, by the first account that would.
    Odd { variable: String },
}

impl OfEnvironment {
    /// The names and their order are those of curl and of reqwest, which asks issuers.
    pub(in super::super) fn of(environment: &HashMap<String, String>) -> Self {
        let first = |names: [&'static str; 2]| {
            let mut found = names
                .into_iter()
                .filter_map(|name| Some((name, environment.get(name)?)));
            found.find(|(_, value)| !value.trim().is_empty())
        };
        let Some((variable, url)) = first(["ALL_PROXY", "all_proxy"]) else {
            return Self::Nothing;
        };
        let variable = variable.to_owned();
        let url = ProxyUrl::parse(&with_scheme(&Secret::from(url.as_str())));
        let Some(url) = url.filter(is_sayable) else {
            return Self::Odd { variable };
        };
        let login = url.user.map(|user| ProxyLogin {
            user,
            password: ProxyPassword::InUrlOf(variable),
        });
        Self::Proxy {
            proxy: Arc::new(Proxy {
                kind: url.kind,
                host: url.host,
                port: url.port,
                login,
            }),
            exceptions: first(["NO_PROXY", "no_proxy"])
                .map(|(_, list)| list.clone())
                .unwrap_or_default(),
        }
    }
}

impl Chosen {
    /// What an account says, or `[defaults]`; a report for what cannot be used.
    pub(super) fn of(entry: &AccountEntry, at: &KeyPath, check: &mut Check<'_>) -> Self {
        let own = entry.proxy.as_ref().map(|it| (it, at.child("proxy")));
        let shared = || {
            let said = check.defaults.proxy.as_ref();
            said.map(|it| (it, KeyPath::dotted("defaults.proxy")))
        };
        match own.or_else(shared) {
            None => Self::Environment,
            Some((ProxyEntry::Url(word), _)) if word.expose() == NONE => Self::Direct,
            // After a report nothing is connected to.
            Some((said, key)) => proxy(said, &key, check).map_or(Self::Direct, Self::Always),
        }
    }

    /// What leads to `host`. A server on this machine is never behind a proxy.
    pub(super) fn to(&self, host: &str, check: &mut Check<'_>) -> Option<Arc<Proxy>> {
        if is_loopback(host) {
            return None;
        }
        match self {
            Self::Direct => None,
            Self::Always(proxy) => Some(Arc::clone(proxy)),
            Self::Environment => of_environment(host, check),
        }
    }
}

fn of_environment(host: &str, check: &mut Check<'_>) -> Option<Arc<Proxy>> {
    match &check.proxy {
        OfEnvironment::Nothing => None,
        OfEnvironment::Proxy { proxy, exceptions } => {
            (!is_excepted(exceptions, host)).then(|| Arc::clone(proxy))
        }
        OfEnvironment::Odd { variable } => {
            // Another command may run in another environment than the service.
            if check.for_service {
                let place = Place::Environment(variable.clone());
                let problem = Problem::new(place, &KeyPath::root(), Fault::NotAProxyVariable);
                check.report.extend([problem]);
            }
            check.proxy = OfEnvironment::Nothing;
            None
        }
    }
}

fn proxy(said: &ProxyEntry, key: &KeyPath, check: &mut Check<'_>) -> Option<Arc<Proxy>> {
    let (url, password) = match said {
        ProxyEntry::Url(url) => (Some(url), None),
        ProxyEntry::Table(table) => (table.url.as_ref(), table.password.as_ref()),
    };
    let url_key = match said {
        ProxyEntry::Url(_) => key.clone(),
        ProxyEntry::Table(_) => key.child("url"),
    };
    let Some(url) = url else {
        if !check.report.refused_below(key) {
            check.report.add(&url_key, Fault::NotAProxy);
        }
        return None;
    };
    let Some(url) = ProxyUrl::parse(url) else {
        check.report.add(&url_key, Fault::NotAProxy);
        return None;
    };
    let misspelt = check.report.refused_below(key);
    let fault = match (&url, &url.user, password) {
        (
            ProxyUrl {
                password: Some(_), ..
            },
            ..,
        ) => Fault::ProxyPasswordInFile,
        (_, None, Some(_)) => Fault::ProxyUserNeeded,
        (_, Some(_), None) if misspelt => return None,
        (_, Some(_), None) => Fault::ProxyPasswordNeeded,
        (url, ..) if !is_sayable(url) => Fault::NotAProxyUser,
        _ => {
            let login = match (url.user, password) {
                (Some(user), Some(table)) => {
                    let source = secret::client_secret(table, &key.child("password"), check)?;
                    let password = ProxyPassword::From(source);
                    Some(ProxyLogin { user, password })
                }
                _ => None,
            };
            return Some(Arc::new(Proxy {
                kind: url.kind,
                host: url.host,
                port: url.port,
                login,
            }));
        }
    };
    check.report.add(&url_key, fault);
    None
}

/// RFC 1929 section 2: up to 255 octets. RFC 7617 section 2: no colon.
fn is_sayable(url: &ProxyUrl) -> bool {
    url.user.as_ref().is_none_or(|user| match url.kind {
        ProxyKind::Socks5 => user.len() <= usize::from(u8::MAX),
        ProxyKind::Http => !user.contains(':'),
    })
}

/// `proxy = "none"`: not even that of the environment.
const NONE: &[u8] = b"none";
