//! Which provider an account belongs to: named, found by its domain, or spelled out.

use std::time::Duration;

use super::super::accounts::is_address;
use super::super::fault::Fault;
use super::super::file::{AccountEntry, EndpointTable, ProtocolEntry};
use super::super::key::KeyPath;
use super::super::names::Names;
use super::super::providers::Provider;
use super::super::runtime::IDLE_RENEWAL;
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

    /// How old an IDLE may grow there.
    pub(super) fn idle_renewal(&self) -> Duration {
        match self {
            Self::Known { provider, .. } if provider.idle_refresh > 0 => {
                let known = Duration::from_secs(provider.idle_refresh.saturating_mul(60));
                known.min(IDLE_RENEWAL)
            }
            Self::Known { .. } | Self::Custom { .. } => IDLE_RENEWAL,
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
    match named_or_by_domain(entry, at, names, check)? {
        Some(provider) => known(entry, at, provider, host, check),
        None => custom(entry, at, names, host, check),
    }
}

/// What a preset's host names hold must be said, and nothing besides. A shared host is for those that need one.
fn known<'a>(
    entry: &AccountEntry,
    at: &KeyPath,
    provider: &'a Provider,
    host: Option<String>,
    check: &mut Check<'a>,
) -> Option<Preset<'a>> {
    let title = || provider.title.clone();
    let takes = |placeholder| provider.needs(placeholder);
    let lacks = |placeholder| takes(placeholder) && !all_spelled_out(entry, provider, check);
    let account = entry.hosting_account.clone();
    let (key, fault) = if entry.host.is_some() && !takes("{host}") {
        ("host", Fault::HostNotNeeded(title()))
    } else if host.is_none() && lacks("{host}") {
        ("host", Fault::HostNeeded(title()))
    } else if account.is_some() && !takes("{account}") {
        ("hosting_account", Fault::HostingAccountNotNeeded(title()))
    } else if account.is_none() && lacks("{account}") {
        ("hosting_account", Fault::HostingAccountNeeded(title()))
    } else if account.as_deref().is_some_and(|account| !is_label(account)) {
        ("hosting_account", Fault::NotALabel)
    } else {
        return Some(Preset::Known {
            provider,
            host,
            account,
        });
    };
    check.report.add(&at.child(key), fault);
    None
}

/// One label of a host name (RFC 952, RFC 1123 section 2.1).
pub(super) fn is_label(text: &str) -> bool {
    let inner = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
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
    !text.is_empty() && !text.contains(odd) && !scheme_or_port && has_labels(text)
}

/// Labels that are not empty, unless it is an IPv6 address.
fn has_labels(text: &str) -> bool {
    text.contains(':') || is_address(&format!("x@{text}"))
}

/// `provider = "custom"`: no preset, whatever the domain.
const CUSTOM: &str = "custom";
