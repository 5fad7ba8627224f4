//! Which provider an account belongs to: named, found by its domain, or spelled out.

use super::super::accounts::is_address;
use super::super::fault::Fault;
use super::super::file::{AccountEntry, EndpointTable, ProtocolEntry};
use super::super::key::KeyPath;
use super::super::names::Names;
use super::super::providers::Provider;
use super::Check;
use crate::protocol::Protocol;

/// Where an account's servers come from.
pub(super) enum Preset<'a> {
    /// A provider of the catalogue, its placeholders filled from these.
    Known {
        provider: &'a Provider,
        host: Option<String>,
        account: Option<String>,
    },
    /// No preset. One host for all protocols, if there is one.
    Custom { host: Option<String> },
}

impl Preset<'_> {
    /// The preset's name, or `custom`.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Known { provider, .. } => &provider.name,
            Self::Custom { .. } => CUSTOM,
        }
    }
}

/// The preset of this account; `None` after a report.
pub(super) fn provider<'a>(
    entry: &AccountEntry,
    at: &KeyPath,
    names: &Names<'_>,
    check: &mut Check<'a>,
) -> Option<Preset<'a>> {
    let (host, host_key) = match (&entry.host, &check.defaults.host) {
        (Some(host), _) => (Some(host.clone()), at.child("host")),
        (None, shared) => (shared.clone(), KeyPath::dotted("defaults.host")),
    };
    if let Some(host) = host.as_deref().filter(|host| !is_host(host)) {
        check
            .report
            .add(&host_key, Fault::NotAHost(host.to_owned()));
        return None;
    }
    let Some(provider) = named_or_by_domain(entry, at, names, check)? else {
        return custom(entry, at, names, host, check);
    };
    if host.is_some() && !provider.needs("{host}") {
        let title = provider.title.clone();
        check.report.add(&host_key, Fault::HostNotNeeded(title));
        return None;
    }
    if host.is_none() && provider.needs("{host}") && !all_spelled_out(entry, provider, check) {
        check
            .report
            .add(&at.child("host"), Fault::HostNeeded(provider.title.clone()));
        return None;
    }
    let account = entry.hosting_account.clone();
    let account_key = at.child("hosting_account");
    if account.is_some() && !provider.needs("{account}") {
        check.report.add(
            &account_key,
            Fault::HostingAccountNotNeeded(provider.title.clone()),
        );
    }
    if account.is_none() && provider.needs("{account}") && !all_spelled_out(entry, provider, check)
    {
        check.report.add(
            &account_key,
            Fault::HostingAccountNeeded(provider.title.clone()),
        );
        return None;
    }
    Some(Preset::Known {
        provider,
        host,
        account,
    })
}

/// The outer `None` comes after a report; the inner one means: no preset.
fn named_or_by_domain<'a>(
    entry: &AccountEntry,
    at: &KeyPath,
    names: &Names<'_>,
    check: &mut Check<'a>,
) -> Option<Option<&'a Provider>> {
    let (name, key) = match (&entry.provider, &check.defaults.provider) {
        (Some(name), _) => (Some(name), at.child("provider")),
        (None, shared) => (shared.as_ref(), KeyPath::dotted("defaults.provider")),
    };
    let Some(name) = name else {
        return Some(check.catalogue.find_by_domain(names.domain()));
    };
    if name == CUSTOM {
        return Some(None);
    }
    check.find_provider(name, &key).map(Some)
}

fn custom<'a>(
    entry: &AccountEntry,
    at: &KeyPath,
    names: &Names<'_>,
    host: Option<String>,
    check: &mut Check<'a>,
) -> Option<Preset<'a>> {
    let spelled = Protocol::ALL.iter().any(|p| spells_host(entry, *p, check));
    if host.is_some() || spelled {
        return Some(Preset::Custom { host });
    }
    let domain = names.domain().to_owned();
    let fault = if check.catalogue.has_no_standard_access(&domain) {
        Fault::NoStandardAccess(domain)
    } else {
        Fault::UnknownDomain(domain)
    };
    check.report.add(&at.child("address"), fault);
    None
}

/// Whether every server the preset would fill in is spelled out or off.
fn all_spelled_out(entry: &AccountEntry, provider: &Provider, check: &Check<'_>) -> bool {
    let filled = |p: &&Protocol| !provider.servers(**p).is_empty();
    let off = |p: Protocol| matches!(said(entry, p), Some(ProtocolEntry::Switch(false)));
    let mut protocols = Protocol::ALL.iter().filter(filled);
    protocols.all(|p| off(*p) || spells_host(entry, *p, check))
}

fn spells_host(entry: &AccountEntry, protocol: Protocol, check: &Check<'_>) -> bool {
    let host = |entry| table(said(entry, protocol)).is_some_and(|t| t.host.is_some());
    host(entry) || host(check.defaults)
}

/// What an entry says about a protocol.
pub(super) fn said(entry: &AccountEntry, protocol: Protocol) -> Option<&ProtocolEntry> {
    match protocol {
        Protocol::Imap => entry.imap.as_ref(),
        Protocol::Pop3 => entry.pop3.as_ref(),
        Protocol::Smtp => entry.smtp.as_ref(),
    }
}

/// Its table, if it is one.
pub(super) fn table(entry: Option<&ProtocolEntry>) -> Option<&EndpointTable> {
    match entry {
        Some(ProtocolEntry::Endpoint(table)) => Some(table),
        _ => None,
    }
}

/// A host name or an address, as far as its characters go.
pub(super) fn is_host(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/@{}".contains(c);
    let scheme_or_port = text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_err();
    !text.is_empty() && !text.contains(odd) && !scheme_or_port && is_address_like(text)
}

/// Labels that are not empty, unless it is an IPv6 address.
fn is_address_like(text: &str) -> bool {
    text.contains(':') || is_address(&format!("x@{text}"))
}

/// `provider = "custom"`: no preset, whatever the domain.
const CUSTOM: &str = "custom";
