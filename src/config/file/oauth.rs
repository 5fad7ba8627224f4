//! What may be written about OAuth: `[issuer.NAME]`, `oauth = { … }` and `[sign_in]`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor, value};

use super::super::issuers::FlowName;
use super::PasswordTable;

/// `[issuer.NAME]`: over a preset, or an issuer of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct IssuerEntry {
    pub title: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<ClientSecretEntry>,
    pub certificate: Option<String>,
    pub key: Option<String>,
    pub redirect_uri: Option<String>,
    pub tenant: Option<String>,
    pub discover: Option<String>,
    pub authorize_url: Option<String>,
    pub token_url: Option<String>,
    pub device_url: Option<String>,
    pub revoke_url: Option<String>,
    pub ca_file: Option<String>,
    pub scopes: Option<ScopesEntry>,
    pub sasl: Option<Vec<SaslWord>>,
    pub authorize_parameters: Option<BTreeMap<String, String>>,
    pub token_parameters: Option<BTreeMap<String, String>>,
}

/// `oauth = { … }` of an account, and of `[defaults]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct OAuthEntry {
    pub issuer: Option<String>,
    pub flow: Option<FlowName>,
    pub grant: Option<String>,
    pub tenant: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<ClientSecretEntry>,
    pub certificate: Option<String>,
    pub key: Option<String>,
    pub subject: Option<String>,
    pub redirect_uri: Option<String>,
    pub scopes: Option<ScopesEntry>,
    pub authorize_parameters: Option<BTreeMap<String, String>>,
    pub token_parameters: Option<BTreeMap<String, String>>,
}

/// `[sign_in]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct SignInTable {
    pub port: u16,
    pub on_needed: Option<String>,
}

/// `client_secret = { command = "…" }`.
#[derive(Debug)]
pub(in super::super) struct ClientSecretEntry(pub PasswordTable);

/// `scopes = ["…"]`, these and no others; or a table that replaces some of the issuer's.
#[derive(Debug)]
pub(in super::super) enum ScopesEntry {
    Exactly(Vec<String>),
    Over(ScopesTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct ScopesTable {
    pub common: Option<Vec<String>>,
    pub imap: Option<Vec<String>>,
    pub pop3: Option<Vec<String>>,
    pub smtp: Option<Vec<String>>,
    pub separate: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(in super::super) enum SaslWord {
    Xoauth2,
    OauthBearer,
}

impl SaslWord {
    /// The mechanism's name.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Xoauth2 => "XOAUTH2",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

impl<'de> Deserialize<'de> for ClientSecretEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClientSecretVisitor)
    }
}

struct ClientSecretVisitor;

impl<'de> Visitor<'de> for ClientSecretVisitor {
    type Value = ClientSecretEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table such as { file = \"client-secret.txt\" }")
    }

    /// Any text is taken for the secret itself, so it is not repeated.
    fn visit_str<E: de::Error>(self, _: &str) -> Result<ClientSecretEntry, E> {
        Err(E::custom(
            "a client secret does not belong in this file: say where it is: { file = \"…\" }, { command = \"…\" }, \
             { env = \"…\" }, { systemd = \"…\" } or { keyring = \"…\" }",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ClientSecretEntry, A::Error> {
        let table = value::MapAccessDeserializer::new(map);
        PasswordTable::deserialize(table).map(ClientSecretEntry)
    }
}

impl<'de> Deserialize<'de> for ScopesEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScopesVisitor)
    }
}

struct ScopesVisitor;

impl<'de> Visitor<'de> for ScopesVisitor {
    type Value = ScopesEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list such as [\"mail\"], or a table such as { imap = [\"mail\"] }")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ScopesEntry, A::Error> {
        let list = value::SeqAccessDeserializer::new(list);
        Vec::deserialize(list).map(ScopesEntry::Exactly)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ScopesEntry, A::Error> {
        let table = value::MapAccessDeserializer::new(map);
        ScopesTable::deserialize(table).map(ScopesEntry::Over)
    }
}
