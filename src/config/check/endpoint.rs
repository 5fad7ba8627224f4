//! Where to connect: one endpoint for each protocol that is on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::accounts::CATCH_ALL;
use super::super::fault::Fault;
use super::super::file::{AccountEntry, EndpointTable, ProtocolEntry, UpstreamTls};
use super::super::key::KeyPath;
use super::super::names::Names;
use super::super::providers::{Provider, Server, UserForm};
use super::super::runtime::{Endpoint, Trust};
use super::Check;
use super::files::Holds;
use super::provider::{Preset, is_host, said, table};
use super::proxy::Chosen;
use crate::protocol::{Protocol, TlsMode};

/// What is said about one protocol of one account.
struct Asked<'a> {
    protocol: Protocol,
    at: KeyPath,
    entry: &'a AccountEntry,
    names: &'a Names<'a>,
    preset: &'a Preset<'a>,
    proxy: &'a Chosen,
    own: Option<&'a EndpointTable>,
    shared: Option<&'a EndpointTable>,
}

/// A server before trust and user are settled.
struct Address {
    host: String,
    port: u16,
    tls: TlsMode,
    user: UserForm,
    /// The provider whose server it is.
    owner: Option<Owner>,
}

/// Where an account's mail is.
#[derive(Default)]
pub(super) struct Servers {
    /// `None` after a report.
    pub(super) endpoints: Option<HashMap<Protocol, Endpoint>>,
    /// The providers whose servers they are.
    pub(super) owners: Vec<(Protocol, Owner)>,
}

/// What a provider says about proof.
pub(super) struct Owner {
    /// Its title.
    pub(super) title: String,
    /// The issuer of its tokens; empty: none known.
    pub(super) issuer: String,
    /// Whether it takes a password for this protocol.
    pub(super) takes_password: bool,
}

/// Where an account's mail is.
pub(super) fn servers(
    entry: &AccountEntry,
    at: &KeyPath,
    names: &Names<'_>,
    preset: &Preset<'_>,
    check: &mut Check<'_>,
) -> Servers {
    let proxy = &Chosen::of(entry, at, check);
    let mut endpoints = HashMap::new();
    let mut owners = Vec::new();
    let mut failed = false;
    for protocol in Protocol::ALL {
        if !is_on(entry, protocol, preset, check) {
            continue;
        }
        let asked = Asked {
            protocol,
            at: at.child(protocol.name()),
            entry,
            names,
            preset,
            proxy,
            own: table(said(entry, protocol)),
            shared: table(said(check.defaults, protocol)),
        };
        let Some(mut address) = asked.address(check) else {
            failed = true;
            continue;
        };
        owners.extend(address.owner.take().map(|owner| (protocol, owner)));
        match asked.endpoint(address, check) {
            Some(endpoint) => {
                asked.note_loopback(&endpoint, check);
                endpoints.insert(protocol, endpoint);
            }
            None => failed = true,
        }
    }
    if endpoints.is_empty() && !failed {
        check.report.add(at, Fault::NothingOn);
        failed = true;
    }
    Servers {
        endpoints: (!failed).then_some(endpoints),
        owners,
    }
}

/// What an account says about a protocol: on, off, or nothing.
pub(super) fn switch(said: Option<&ProtocolEntry>) -> Option<bool> {
    match said {
        Some(ProtocolEntry::Switch(on)) => Some(*on),
        Some(ProtocolEntry::Endpoint(_)) => Some(true),
        None => None,
    }
}

/// What is said decides, here before in `[defaults]`; else whatever the preset offers is on.
fn is_on(entry: &AccountEntry, protocol: Protocol, preset: &Preset<'_>, check: &Check<'_>) -> bool {
    let own = switch(said(entry, protocol));
    // A table in `[defaults]` says how, not whether: not every provider has every protocol.
    let shared = match said(check.defaults, protocol) {
        Some(ProtocolEntry::Endpoint(table)) if table.host.is_none() => None,
        shared => switch(shared),
    };
    own.or(shared).unwrap_or_else(|| match preset {
        Preset::Known { provider, .. } => !provider.servers(protocol).is_empty(),
        Preset::Custom { host } => host.is_some(),
    })
}

impl Owner {
    fn of(provider: &Provider, protocol: Protocol) -> Self {
        Self {
            title: provider.title.clone(),
            issuer: provider.oauth.clone(),
            takes_password: provider.takes_password(protocol),
        }
    }
}

impl Asked<'_> {
    /// A setting of the protocol's table: the account's own, or the shared one.
    fn setting<T: Clone>(&self, of: impl Fn(&EndpointTable) -> &Option<T>) -> Option<T> {
        let own = self.own.and_then(|t| of(t).clone());
        own.or_else(|| self.shared.and_then(|t| of(t).clone()))
    }

    fn address(&self, check: &mut Check<'_>) -> Option<Address> {
        let port = self.setting(|t| &t.port);
        if port == Some(0) {
            check.report.add(&self.at.child("port"), Fault::PortZero);
            return None;
        }
        let tls = self.setting(|t| &t.tls).map(mode);
        if let Some(host) = self.setting(|t| &t.host) {
            return self.spelled_out(host, port, tls, check);
        }
        match self.preset {
            Preset::Custom { host: Some(host) } => self.spelled_out(host.clone(), port, tls, check),
            Preset::Custom { host: None } => {
                check
                    .report
                    .add(&self.at.child("host"), Fault::Missing("host".to_owned()));
                None
            }
            Preset::Known {
                provider,
                host,
                account,
            } => {
                let server = self.server(provider, port, tls, check)?;
                let filled = server
                    .host
                    .replace("{host}", host.as_deref().unwrap_or_default())
                    .replace("{account}", account.as_deref().unwrap_or_default());
                Some(Address {
                    host: self.names.fill(&filled),
                    port: server.port,
                    tls: server.tls.mode()?,
                    user: server.user.unwrap_or(provider.user),
                    owner: Some(Owner::of(provider, self.protocol)),
                })
            }
        }
    }

    fn spelled_out(
        &self,
        host: String,
        port: Option<u16>,
        tls: Option<TlsMode>,
        check: &mut Check<'_>,
    ) -> Option<Address> {
        if !is_host(&host) {
            check
                .report
                .add(&self.at.child("host"), Fault::NotAHost(host));
            return None;
        }
        let starttls_port = port == Some(standard_port(self.protocol, TlsMode::StartTls));
        let tls = tls.unwrap_or(if starttls_port {
            TlsMode::StartTls
        } else {
            TlsMode::Implicit
        });
        let owner = check.catalogue.find_by_host(&host);
        Some(Address {
            port: port.unwrap_or_else(|| standard_port(self.protocol, tls)),
            host,
            tls,
            user: match self.preset {
                Preset::Known { provider, .. } => provider.user,
                Preset::Custom { .. } => UserForm::Address,
            },
            owner: owner.map(|p| Owner::of(p, self.protocol)),
        })
    }

    /// The preset's first server that agrees with what is said.
    fn server<'p>(
        &self,
        provider: &'p Provider,
        port: Option<u16>,
        tls: Option<TlsMode>,
        check: &mut Check<'_>,
    ) -> Option<&'p Server> {
        let servers = provider.servers(self.protocol);
        let agrees = |s: &&Server| {
            let mode = s.tls.mode();
            mode.is_some()
                && port.is_none_or(|p| p == s.port)
                && tls.is_none_or(|t| mode == Some(t))
        };
        let found = servers.iter().find(agrees);
        if found.is_none() {
            let title = provider.title.clone();
            let protocol = self.protocol.name();
            let fault = if servers.is_empty() {
                Fault::NotOffered { title, protocol }
            } else if servers.iter().all(|s| s.tls.mode().is_none()) {
                Fault::PlainUpstream { title, protocol }
            } else {
                Fault::NoSuchServer { title, protocol }
            };
            check.report.add(&self.at, fault);
        }
        found
    }

    fn endpoint(&self, address: Address, check: &mut Check<'_>) -> Option<Endpoint> {
        let user = self.user(address.user, check)?;
        let trust = self.trust(check)?;
        if let (Preset::Known { provider, .. }, Trust::Platform) = (self.preset, &trust)
            && provider.quirks.iter().any(|q| q == OWN_CERTIFICATE)
        {
            let fault = Fault::OwnCertificate(provider.title.clone(), self.protocol.name());
            check.report.add(&self.at, fault);
            return None;
        }
        let host = address.host.to_lowercase();
        Some(Endpoint {
            proxy: self.proxy.to(&host, check),
            host,
            port: address.port,
            tls: address.tls,
            trust,
            user,
        })
    }

    /// An upstream on this machine could be ourselves; whether it is shows once the listeners are known.
    fn note_loopback(&self, endpoint: &Endpoint, check: &mut Check<'_>) {
        let ip = endpoint.host.parse::<IpAddr>();
        if endpoint.host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback()) {
            check
                .loopback_upstreams
                .push((self.at.clone(), endpoint.port));
        }
    }

    /// The upstream identity. CR, LF and NUL would end the command it goes into (PROTOCOL C.2).
    fn user(&self, form: UserForm, check: &mut Check<'_>) -> Option<String> {
        let own = self.own.and_then(|t| t.user.clone());
        let shared = self.shared.and_then(|t| t.user.clone());
        let said = own
            .or_else(|| self.entry.user.clone())
            .or(shared)
            .or_else(|| check.defaults.user.clone());
        let template = said.unwrap_or_else(|| match form {
            UserForm::Localpart => "{localpart}".to_owned(),
            UserForm::Address | UserForm::Custom => "{address}".to_owned(),
        });
        if template.is_empty() || template.contains(char::is_control) {
            check.report.add(&self.at.child("user"), Fault::NotAUser);
            return None;
        }
        let waits = self.names.local_part() == CATCH_ALL;
        Some(if waits {
            template
        } else {
            self.names.fill(&template)
        })
    }

    /// One level decides as a whole: an account's own CA file is not joined by a shared pin.
    fn trust(&self, check: &mut Check<'_>) -> Option<Trust> {
        let says = |t: &&EndpointTable| t.ca_file.is_some() || t.public_key.is_some();
        let shared_at = || KeyPath::dotted("defaults").child(self.protocol.name());
        let own = self.own.filter(says).map(|t| (t, self.at.clone()));
        let shared = || self.shared.filter(says).map(|t| (t, shared_at()));
        let Some((table, at)) = own.or_else(shared) else {
            return Some(Trust::Platform);
        };
        match (&table.ca_file, &table.public_key) {
            (Some(_), Some(_)) => {
                check.report.add(&at.child("public_key"), Fault::TwoTrusts);
                None
            }
            (Some(file), None) => {
                certificates(file, &at.child("ca_file"), check).map(Trust::CaFile)
            }
            (None, pin) => {
                let parsed = pin.as_deref().and_then(parse_pin);
                if parsed.is_none() {
                    check.report.add(&at.child("public_key"), Fault::NotAPin);
                }
                parsed.map(Trust::PublicKey)
            }
        }
    }
}

/// The file of a set of certificates; `None` after a report.
pub(super) fn certificates(file: &str, key: &KeyPath, check: &mut Check<'_>) -> Option<PathBuf> {
    let path = check.path(file);
    match check.files.check(&path, Holds::Certificates) {
        None => Some(path),
        Some(fault) => {
            check.report.add(key, fault);
            None
        }
    }
}

/// `sha256/` and 32 octets in base64, as curl and RFC 7469 write them.
fn parse_pin(pin: &str) -> Option<[u8; 32]> {
    let encoded = pin.strip_prefix("sha256/")?;
    STANDARD.decode(encoded).ok()?.try_into().ok()
}

fn mode(tls: UpstreamTls) -> TlsMode {
    match tls {
        UpstreamTls::Implicit => TlsMode::Implicit,
        UpstreamTls::Starttls => TlsMode::StartTls,
    }
}

/// RFC 8314 section 3 for implicit TLS; RFC 3501, 1939 and 6409 for STARTTLS.
fn standard_port(protocol: Protocol, tls: TlsMode) -> u16 {
    match (protocol, tls) {
        (Protocol::Imap, TlsMode::Implicit) => 993,
        (Protocol::Pop3, TlsMode::Implicit) => 995,
        (Protocol::Smtp, TlsMode::Implicit) => 465,
        (Protocol::Imap, TlsMode::StartTls) => 143,
        (Protocol::Pop3, TlsMode::StartTls) => 110,
        (Protocol::Smtp, TlsMode::StartTls) => 587,
    }
}

/// The quirk of a gateway that no authority signs for.
const OWN_CERTIFICATE: &str = "bridge-self-signed";
