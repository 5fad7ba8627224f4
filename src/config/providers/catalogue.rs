//! A set of providers, found by name, mail domain, MX host or host name.

use std::collections::{HashMap, HashSet};

use super::ProviderFile;
use super::provider::Provider;
use crate::protocol::Protocol;

/// Providers and the ways to find one.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    providers: Vec<Provider>,
    by_name: HashMap<String, usize>,
    by_domain: HashMap<String, usize>,
    /// Of `*.example.com`: `example.com`.
    by_parent_domain: HashMap<String, usize>,
    by_host: HashMap<String, usize>,
    no_standard_access: HashSet<String>,
}

impl Catalogue {
    /// Of two providers with the same name, domain or host the first one is found.
    pub(in super::super) fn new(
        providers: Vec<Provider>,
        no_standard_access: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut catalogue = Self {
            no_standard_access: no_standard_access.into_iter().collect(),
            ..Self::default()
        };
        for (index, provider) in providers.iter().enumerate() {
            catalogue.index(index, provider);
        }
        catalogue.providers = providers;
        catalogue
    }

    fn index(&mut self, index: usize, provider: &Provider) {
        let lower = |text: &String| text.to_lowercase();
        self.by_name.entry(lower(&provider.name)).or_insert(index);
        for domain in &provider.domains {
            let domain = domain.to_lowercase();
            let exact = match domain.strip_prefix("*.") {
                Some(parent) => {
                    let parent = parent.to_owned();
                    self.by_parent_domain.entry(parent.clone()).or_insert(index);
                    parent
                }
                None => domain,
            };
            self.by_domain.entry(exact).or_insert(index);
        }
        let servers = Protocol::ALL.map(|p| provider.servers(p));
        let hosts = servers.iter().flat_map(|s| s.iter()).map(|s| &s.host);
        for host in hosts.chain(&provider.old_hosts) {
            self.by_host.entry(lower(host)).or_insert(index);
        }
    }

    /// This catalogue with `providers` in front: one of the same name replaces, and domains go to the newcomer.
    pub(in super::super) fn overridden_by(&self, file: ProviderFile) -> Self {
        let providers = file.providers;
        let names: HashSet<String> = providers.iter().map(|p| p.name.to_lowercase()).collect();
        let kept = |p: &&Provider| !names.contains(&p.name.to_lowercase());
        let rest = self.providers.iter().filter(kept).cloned();
        let all = providers.iter().cloned().chain(rest).collect();
        let closed = self.no_standard_access.iter().cloned();
        Self::new(all, closed.chain(file.no_standard_access))
    }

    /// All of them.
    pub fn all(&self) -> &[Provider] {
        &self.providers
    }

    /// The provider of this name.
    pub fn find_by_name(&self, name: &str) -> Option<&Provider> {
        self.at(self.by_name.get(&name.to_lowercase()))
    }

    /// The provider that serves this mail domain.
    pub fn find_by_domain(&self, domain: &str) -> Option<&Provider> {
        let domain = domain.to_lowercase();
        let exact = self.by_domain.get(&domain);
        let parent = || {
            let suffix = |(at, _)| domain.get(at + 1..);
            let mut parents = domain.match_indices('.').filter_map(suffix);
            parents.find_map(|parent| self.by_parent_domain.get(parent))
        };
        self.at(exact.or_else(parent))
    }

    /// The provider with the longest suffix of this MX host.
    pub fn find_by_mx(&self, host: &str) -> Option<&Provider> {
        let host = host.trim_end_matches('.').to_lowercase();
        let matches = |suffix: &str| {
            let suffix = suffix.to_lowercase();
            let rest = host.strip_suffix(&suffix);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.providers
            .iter()
            .flat_map(|p| p.mx_suffixes.iter().map(move |suffix| (suffix, p)))
            .filter(|(suffix, _)| matches(suffix))
            .max_by_key(|(suffix, _)| suffix.len())
            .map(|(_, provider)| provider)
    }

    /// The provider one of whose servers has, or had, this host name.
    pub fn find_by_host(&self, host: &str) -> Option<&Provider> {
        self.at(self.by_host.get(&host.to_lowercase()))
    }

    /// Whether this mail domain offers no IMAP, POP3 or SMTP to mail programs.
    pub fn has_no_standard_access(&self, domain: &str) -> bool {
        self.no_standard_access.contains(&domain.to_lowercase())
    }

    /// Those whose name, title, domains or hosts hold `text`.
    pub fn search(&self, text: &str) -> Vec<&Provider> {
        let text = text.to_lowercase();
        let holds = |field: &String| field.to_lowercase().contains(&text);
        let matches = |p: &&Provider| {
            let servers = Protocol::ALL.map(|protocol| p.servers(protocol));
            let mut hosts = servers.iter().flat_map(|s| s.iter()).map(|s| &s.host);
            holds(&p.name)
                || holds(&p.title)
                || p.domains.iter().any(holds)
                || p.old_hosts.iter().any(holds)
                || hosts.any(holds)
        };
        self.providers.iter().filter(matches).collect()
    }

    fn at(&self, index: Option<&usize>) -> Option<&Provider> {
        self.providers.get(*index?)
    }
}
