//! File types → runtime types. Every check reports and goes on, so that one run shows everything.

mod account;
mod endpoint;
mod files;
mod listener;
mod no_login;
mod oauth;
mod ports;
mod profile;
mod provider;
mod proxy;
mod reach;
mod secret;
mod settings;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use self::account::accounts;
pub(super) use self::files::Files;
pub(super) use self::listener::listeners;
pub(super) use self::oauth::issuers;
pub use self::ports::PortProbe;
pub(super) use self::ports::{Written, callback_port, ports};
pub(super) use self::profile::profiles;
pub(super) use self::provider::is_host;
pub(super) use self::proxy::OfEnvironment;
pub(super) use self::settings::{certificates, host, limits, log, sign_in, store, warm};
use super::fault::Fault;
use super::file::{AccountEntry, IssuerEntry};
use super::key::KeyPath;
use super::nearest::nearest;
use super::oauth::Grant;
use super::providers::{Catalogue, Provider};
use super::read::Report;
use crate::profile::Profile;

/// What the checks stand on, and what they found.
pub(super) struct Check<'a> {
    /// The providers, the user's own among them.
    pub(super) catalogue: &'a Catalogue,
    /// What all accounts share.
    pub(super) defaults: &'a AccountEntry,
    /// The issuers that the file speaks of.
    pub(super) issuers: &'a BTreeMap<String, IssuerEntry>,
    /// The profiles by name.
    pub(super) profiles: HashMap<String, Arc<Profile>>,
    /// What the environment says about proxies.
    pub(super) proxy: OfEnvironment,
    /// The port that sign-ins come back to.
    pub(super) sign_in_port: u16,
    /// Relative paths start here: the folder of the configuration file.
    pub(super) base: &'a Path,
    /// The process environment.
    pub(super) environment: &'a HashMap<String, String>,
    /// Whether secrets must be within reach now: `run` and `check`.
    pub(super) for_service: bool,
    /// The addresses of all accounts, in lower case, those with problems too.
    pub(super) addresses: HashSet<String>,
    /// The grants so far by name, each with the account that had it first.
    pub(super) grants: BTreeMap<String, (String, Grant)>,
    /// Upstreams on this machine: where they are written, and their port.
    pub(super) loopback_upstreams: Vec<(KeyPath, u16)>,
    /// The files looked at.
    pub(super) files: Files,
    /// The problems found.
    pub(super) report: Report<'a>,
}

impl<'a> Check<'a> {
    /// A path of the configuration, see [`absolute`].
    pub(super) fn path(&self, text: &str) -> PathBuf {
        absolute(text, self.base, self.environment)
    }

    /// The provider called `name` at `key`, or a report.
    fn find_provider(&mut self, name: &str, key: &KeyPath) -> Option<&'a Provider> {
        let provider = self.catalogue.find_by_name(name);
        if provider.is_none() {
            let known = self.catalogue.all().iter().map(|p| p.name.as_str());
            let fault = Fault::UnknownProvider {
                name: name.to_owned(),
                nearest: nearest(&name.to_lowercase(), known).map(str::to_owned),
            };
            self.report.add(key, fault);
        }
        provider
    }
}

/// A path as written → where it leads: `~/` is the home folder, anything relative starts at `base`.
pub(super) fn absolute(text: &str, base: &Path, environment: &HashMap<String, String>) -> PathBuf {
    match (text.strip_prefix("~/"), environment.get("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => base.join(text),
    }
}
