//! Who issues the tokens, and at which endpoints.

use std::collections::BTreeMap;

use super::super::super::fault::Fault;
use super::super::super::file::IssuerEntry;
use super::super::super::issuers::{self, FlowName, IssuerPreset};
use super::super::super::key::KeyPath;
use super::super::super::nearest::nearest;
use super::super::super::oauth::{Endpoints, Issuer};
use super::super::Check;
use super::super::endpoint::certificates;
use super::address::{endpoint_fault, identifier_fault};
use super::{Asked, Level, ask, client};

/// An issuer by name: the preset, and what the file says about it.
pub(super) struct Known<'a> {
    pub(super) name: &'a str,
    pub(super) preset: Option<&'static IssuerPreset>,
    pub(super) entry: Option<&'a IssuerEntry>,
    pub(super) at: KeyPath,
}

/// Checks every `[issuer.NAME]`, also those that no account names.
pub(in super::super::super) fn issuers(
    entries: &BTreeMap<String, IssuerEntry>,
    check: &mut Check<'_>,
) {
    for (name, entry) in entries {
        let known = Known::new(name, Some(entry));
        if known.preset.is_none() && !defines(entry) && !check.report.refused_below(&known.at) {
            check.report.add(&known.at, unknown(name, check));
        }
        urls(entry, &known.at, check);
        client::check_entry(&known, check);
        ask::check_entry(&known, check);
        if let Some(file) = &entry.ca_file {
            certificates(file, &known.at.child("ca_file"), check);
        }
        if entry.tenant.as_deref().is_some_and(|t| !is_tenant(t)) {
            check
                .report
                .add(&known.at.child("tenant"), Fault::NotATenant);
        }
    }
}

/// The issuer this account names, or else its provider's.
pub(super) fn find<'k, 'c: 'k>(
    asked: &'k Asked<'_>,
    levels: &'k [Level<'_>],
    check: &mut Check<'c>,
) -> Option<Known<'k>> {
    let said = levels
        .iter()
        .find_map(|l| Some((l.said.issuer.as_deref()?, &l.at)));
    let (name, key) = match said {
        Some((name, at)) => (name, at.child("issuer")),
        None => (asked.provider_issuer, asked.at.child("oauth")),
    };
    if name.is_empty() {
        let presets = issuers::all().iter().map(|i| i.name.as_str());
        let known = presets.collect::<Vec<_>>().join(", ");
        check.report.add(&key, Fault::IssuerNeeded(known));
        return None;
    }
    let known = Known::new(name, check.issuers.get(name));
    if known.preset.is_some() || known.entry.is_some_and(defines) {
        return Some(known);
    }
    // A table that defines nothing has been reported where it stands.
    if known.entry.is_none() {
        check.report.add(&key, unknown(name, check));
    }
    None
}

/// What the grant keeps of it.
pub(super) fn issuer(
    known: &Known<'_>,
    flow: FlowName,
    asked: &Asked<'_>,
    levels: &[Level<'_>],
    check: &mut Check<'_>,
) -> Option<Issuer> {
    let tenant = tenant(known, flow, asked, levels, check)?;
    let entry = known.entry;
    let discover = entry.and_then(|e| e.discover.clone());
    let own = entry.is_some_and(|e| e.authorize_url.is_some() || e.token_url.is_some());
    let preset_identifier = || known.preset.filter(|_| !own)?.identifier.clone();
    Some(Issuer {
        name: known.name.to_owned(),
        title: known.title().to_owned(),
        endpoints: if discover.is_some() {
            Endpoints::Discovered
        } else {
            known.endpoints(flow, &tenant, check)?
        },
        identifier: discover.or_else(preset_identifier),
        ca_file: entry.and_then(|e| Some(check.path(e.ca_file.as_deref()?))),
        sasl: known.sasl(),
    })
}

/// The page about the issuer of this name.
pub(in super::super) fn guide(issuer: &str) -> Option<&'static str> {
    issuers::find(issuer).map(|preset| preset.guide.as_str())
}

impl<'a> Known<'a> {
    fn new(name: &'a str, entry: Option<&'a IssuerEntry>) -> Self {
        Self {
            name,
            preset: issuers::find(name),
            entry,
            at: KeyPath::root().child("issuer").child(name),
        }
    }

    /// What people call it.
    pub(super) fn title(&self) -> &str {
        let said = self.entry.and_then(|e| e.title.as_deref());
        let preset = || self.preset.map(|p| p.title.as_str());
        said.or_else(preset).unwrap_or(self.name)
    }

    /// The page that tells how to register a client.
    pub(super) fn guide(&self) -> String {
        let guide = self.preset.map(|p| p.guide.as_str());
        guide.unwrap_or(GUIDE).to_owned()
    }

    fn sasl(&self) -> Vec<String> {
        let said = self.entry.and_then(|e| e.sasl.as_ref());
        match (said, self.preset) {
            (Some(words), _) => words.iter().map(|w| w.name().to_owned()).collect(),
            (None, Some(preset)) => preset.sasl.clone(),
            (None, None) => Vec::new(),
        }
    }

    /// One endpoint: the file's, or the preset's.
    fn url(
        &self,
        said: fn(&IssuerEntry) -> Option<&String>,
        preset: fn(&IssuerPreset) -> Option<&String>,
    ) -> Option<&str> {
        let own = self.entry.and_then(said);
        let url = own.or_else(|| self.preset.and_then(preset));
        url.map(String::as_str)
    }

    fn authorize_url(&self) -> Option<&str> {
        self.url(|e| e.authorize_url.as_ref(), |p| Some(&p.authorize_url))
    }

    fn token_url(&self) -> Option<&str> {
        self.url(|e| e.token_url.as_ref(), |p| Some(&p.token_url))
    }

    fn device_url(&self) -> Option<&str> {
        self.url(|e| e.device_url.as_ref(), |p| p.device_url.as_ref())
    }

    fn revoke_url(&self) -> Option<&str> {
        self.url(|e| e.revoke_url.as_ref(), |p| p.revoke_url.as_ref())
    }

    fn has_tenant(&self) -> bool {
        let urls = [self.authorize_url(), self.token_url(), self.device_url()];
        urls.into_iter().flatten().any(|url| url.contains(TENANT))
    }

    fn endpoints(&self, flow: FlowName, tenant: &str, check: &mut Check<'_>) -> Option<Endpoints> {
        let needed = [
            (
                "authorize_url",
                self.authorize_url(),
                flow == FlowName::Code,
            ),
            ("token_url", self.token_url(), true),
            ("device_url", self.device_url(), flow == FlowName::Device),
        ];
        let missing = needed.iter().find(|(_, url, is)| *is && url.is_none());
        if let Some((key, ..)) = missing {
            let fault = Fault::EndpointNeeded {
                issuer: self.name.to_owned(),
                key,
                flow: flow.name(),
            };
            check.report.add(&self.at.child(key), fault);
            return None;
        }
        let filled = |url: Option<&str>| url.map(|url| url.replace(TENANT, tenant));
        Some(Endpoints::Given {
            authorize: filled(self.authorize_url()).unwrap_or_default(),
            token: filled(self.token_url())?,
            device: filled(self.device_url()),
            revoke: filled(self.revoke_url()),
        })
    }
}

/// Whether a table is an issuer by itself.
fn defines(entry: &IssuerEntry) -> bool {
    entry.discover.is_some() || entry.token_url.is_some()
}

fn unknown(name: &str, check: &Check<'_>) -> Fault {
    let defined = check.issuers.iter().filter(|(_, entry)| defines(entry));
    let own = defined.map(|(name, _)| name.as_str());
    let known = issuers::all().iter().map(|i| i.name.as_str()).chain(own);
    Fault::UnknownIssuer {
        name: name.to_owned(),
        nearest: nearest(&name.to_lowercase(), known).map(str::to_owned),
    }
}

fn urls(entry: &IssuerEntry, at: &KeyPath, check: &mut Check<'_>) {
    let given = [
        ("authorize_url", &entry.authorize_url),
        ("token_url", &entry.token_url),
        ("device_url", &entry.device_url),
        ("revoke_url", &entry.revoke_url),
    ];
    for (name, url) in given {
        let Some(url) = url else { continue };
        let fault = if entry.discover.is_some() {
            Some(Fault::EndpointBesideDiscovery(name))
        } else {
            endpoint_fault(&url.replace(TENANT, "tenant"))
        };
        if let Some(fault) = fault {
            check.report.add(&at.child(name), fault);
        }
    }
    if let Some(fault) = entry.discover.as_deref().and_then(identifier_fault) {
        check.report.add(&at.child("discover"), fault);
    }
}

/// What goes into `{tenant}`; empty where nothing does.
fn tenant(
    known: &Known<'_>,
    flow: FlowName,
    asked: &Asked<'_>,
    levels: &[Level<'_>],
    check: &mut Check<'_>,
) -> Option<String> {
    let of_levels = levels
        .iter()
        .find_map(|l| Some((l.said.tenant.clone()?, l.at.child("tenant"))));
    let of_issuer = || {
        let said = known.entry.and_then(|e| e.tenant.clone());
        said.map(|tenant| (tenant, known.at.child("tenant")))
    };
    let said = of_levels.or_else(of_issuer);
    if let Some((_, key)) = said.as_ref().filter(|(tenant, _)| !is_tenant(tenant)) {
        check.report.add(key, Fault::NotATenant);
        return None;
    }
    if known.entry.is_some_and(|e| e.discover.is_some()) || !known.has_tenant() {
        return Some(String::new());
    }
    let preset = || {
        let tenant = known.preset.and_then(|p| p.tenant.clone());
        (tenant.unwrap_or_default(), asked.key("tenant"))
    };
    let (tenant, key) = said.unwrap_or_else(preset);
    if tenant.is_empty() || not_alone(flow).contains(&tenant.as_str()) {
        let fault = Fault::TenantNeeded {
            flow: flow.name(),
            guide: known.guide(),
        };
        check.report.add(&key, fault);
        return None;
    }
    Some(tenant)
}

/// The words that stand for many tenants and are no answer where nobody picks an account in a browser.
fn not_alone(flow: FlowName) -> &'static [&'static str] {
    match flow {
        FlowName::ClientCredentials => &["common", "organizations", "consumers"],
        FlowName::Password => &["common", "consumers"],
        FlowName::Code | FlowName::Device | FlowName::ServiceAccount => &[],
    }
}

/// It becomes part of a URL.
fn is_tenant(text: &str) -> bool {
    let inert = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    !text.is_empty() && text.chars().all(inert) && !text.starts_with('.')
}

const TENANT: &str = "{tenant}";

/// Where an issuer has no page of its own.
const GUIDE: &str = "docs/oauth/other.md";
