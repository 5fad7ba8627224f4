//! The OAuth issuers we know: `config/issuers.toml`, compiled in. What a user's file says about an issuer is laid over
//! it by `check/oauth/`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use figment::value::Value;
use serde::Deserialize;

use super::fault::Fault;
use super::key::KeyPath;
use super::problem::Problem;
use super::read::{Report, read};
use super::source::{Sources, TomlFile};
use crate::protocol::Protocol;

/// A preset. The keys are explained at the top of `config/issuers.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerPreset {
    /// What `issuer = "…"` says.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The page that tells how to register a client.
    pub guide: String,
    /// Authorization endpoint; may hold `{tenant}`, as the others may.
    pub authorize_url: String,
    /// Token endpoint.
    pub token_url: String,
    /// Device authorization endpoint.
    pub device_url: Option<String>,
    /// Revocation endpoint.
    pub revoke_url: Option<String>,
    /// Whose accounts may sign in, where nothing else is said.
    pub tenant: Option<String>,
    /// The issuer identifier.
    pub identifier: Option<String>,
    /// What is asked for.
    pub scopes: PresetScopes,
    /// Protocols whose servers take no token.
    pub not_for: Vec<String>,
    /// What it supports for mail.
    pub flows: Vec<FlowName>,
    /// Whether a client needs a secret.
    pub client_secret: SecretNeed,
    /// Where sign-ins may lead back to.
    pub redirect: String,
    /// SASL mechanisms, preferred first.
    pub sasl: Vec<String>,
    /// Further parameters of the authorization request.
    pub authorize_parameters: BTreeMap<String, String>,
    /// What a registration takes: a sentence for people.
    pub registration: String,
    /// Sentences for people.
    pub notes: Vec<String>,
}

/// The scopes of a preset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PresetScopes {
    /// Asked for in every request.
    pub common: Vec<String>,
    /// What IMAP needs.
    pub imap: Vec<String>,
    /// What POP3 needs.
    pub pop3: Vec<String>,
    /// What submission needs.
    pub smtp: Vec<String>,
    /// Asked for instead where the program acts for itself.
    pub app: Vec<String>,
}

/// A way to obtain a grant, as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowName {
    /// Authorization code.
    #[default]
    Code,
    /// Device authorization.
    Device,
    /// Client credentials.
    ClientCredentials,
    /// Resource owner password.
    Password,
    /// Google service account.
    ServiceAccount,
}

/// Whether a client needs a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretNeed {
    /// Always.
    Required,
    /// There are clients with and without.
    #[default]
    Either,
    /// Never.
    None,
}

impl IssuerPreset {
    /// What `protocol` needs.
    pub fn scopes(&self, protocol: Protocol) -> &[String] {
        match protocol {
            Protocol::Imap => &self.scopes.imap,
            Protocol::Pop3 => &self.scopes.pop3,
            Protocol::Smtp => &self.scopes.smtp,
        }
    }

    /// Whether its servers take a token for `protocol`.
    pub fn serves(&self, protocol: Protocol) -> bool {
        !self.not_for.iter().any(|name| name == protocol.name())
    }
}

impl FlowName {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Device => "device",
            Self::ClientCredentials => "client-credentials",
            Self::Password => "password",
            Self::ServiceAccount => "service-account",
        }
    }
}

/// All compiled-in issuers, in the order of the file. Parsed on first use.
///
/// Empty only if the file compiled in were broken, which a test rules out.
pub fn all() -> &'static [IssuerPreset] {
    static BUILTIN: OnceLock<Vec<IssuerPreset>> = OnceLock::new();
    BUILTIN.get_or_init(|| parse(BUILTIN_TEXT.to_owned()).unwrap_or_default())
}

/// The compiled-in issuer of this name.
pub fn find(name: &str) -> Option<&'static IssuerPreset> {
    all().iter().find(|issuer| issuer.name == name)
}

fn parse(text: String) -> Result<Vec<IssuerPreset>, Vec<Problem>> {
    let path = std::path::Path::new("config/issuers.toml");
    let file = TomlFile::parse(path, text).map_err(|problem| vec![problem])?;
    let mut dict = file.dict();
    let sources = Sources::file_alone(file);
    let mut report = Report::new(&sources);
    let at = KeyPath::root().child("issuer");
    let entries = match dict.remove("issuer") {
        Some(Value::Array(_, entries)) => entries,
        _ => {
            report.add(&at, Fault::NeedsDoubleBrackets("issuer"));
            Vec::new()
        }
    };
    let issuers = entries
        .into_iter()
        .enumerate()
        .filter_map(|(index, entry)| read(entry, &at.child(index), &mut report))
        .collect();
    let problems = report.into_problems();
    if problems.is_empty() {
        Ok(issuers)
    } else {
        Err(problems)
    }
}

const BUILTIN_TEXT: &str = include_str!("../../config/issuers.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::providers;

    #[test]
    fn the_compiled_in_file_has_no_problem() {
        let issuers = parse(BUILTIN_TEXT.to_owned()).unwrap();
        assert!(issuers.len() >= 12);
        assert_eq!(find("google").map(|i| i.title.as_str()), Some("Google"));
    }

    #[test]
    fn every_provider_with_an_issuer_finds_it() {
        let named: Vec<_> = providers::all()
            .iter()
            .map(|p| p.oauth.as_str())
            .filter(|name| !name.is_empty())
            .collect();
        assert!(named.len() > 10);
        for name in named {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_a_preset_says_agrees_with_itself() {
        for issuer in all() {
            let name = &issuer.name;
            let endpoints = [Some(&issuer.authorize_url), Some(&issuer.token_url)];
            let further = [issuer.device_url.as_ref(), issuer.revoke_url.as_ref()];
            for url in endpoints.into_iter().chain(further).flatten() {
                assert!(url.starts_with("https://"), "{name}: {url}");
                let tenant = url.contains("{tenant}");
                assert_eq!(tenant, issuer.tenant.is_some(), "{name}: {url}");
            }
            let device = issuer.flows.contains(&FlowName::Device);
            assert!(!device || issuer.device_url.is_some(), "{name}");
            for protocol in Protocol::ALL {
                let scopes = [issuer.scopes(protocol), &issuer.scopes.common].concat();
                assert_eq!(
                    issuer.serves(protocol) || !issuer.scopes(protocol).is_empty(),
                    !scopes.is_empty() && issuer.serves(protocol),
                    "{name} {protocol}"
                );
            }
            let guide = std::fs::metadata(&issuer.guide);
            assert!(guide.is_ok_and(|file| file.is_file()), "{name}");
        }
    }
}
