//! The file mirror: what may be written, and nothing about what it means. Everything is optional here; `check` says
//! what is missing.

mod no_login;
mod oauth;
mod profile;
mod proxy;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor, value};

pub(super) use self::no_login::{FromEntry, LoginWord, SenderWord, SendingTable};
pub(super) use self::oauth::{
    ClientSecretEntry, IssuerEntry, OAuthEntry, ScopesEntry, ScopesTable, SignInTable,
};
pub(super) use self::profile::{ProfileEntry, ShownTable};
pub(super) use self::proxy::ProxyEntry;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub host: Option<String>,
    pub state_dir: Option<String>,
    pub providers: Vec<String>,
    pub store: StoreTable,
    pub limits: LimitsTable,
    pub warm: WarmTable,
    pub log: LogTable,
    pub sign_in: SignInTable,
    pub certificates: CertificatesTable,
    pub issuer: BTreeMap<String, IssuerEntry>,
    pub profile: BTreeMap<String, ProfileEntry>,
    /// What all accounts share.
    pub defaults: AccountEntry,
    /// Read one by one, so that an error in one costs no second look at the others.
    pub account: Option<IgnoredAny>,
    /// The same.
    pub listener: Option<IgnoredAny>,
}

/// `[[account]]`, and `[defaults]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AccountEntry {
    pub address: Option<String>,
    pub login_names: Option<Vec<String>>,
    pub provider: Option<String>,
    pub host: Option<String>,
    pub hosting_account: Option<String>,
    pub user: Option<String>,
    pub auth: Option<AuthWord>,
    pub password: Option<PasswordEntry>,
    pub oauth: Option<OAuthEntry>,
    pub profile: Option<String>,
    pub proxy: Option<ProxyEntry>,
    pub imap: Option<ProtocolEntry>,
    pub pop3: Option<ProtocolEntry>,
    pub smtp: Option<ProtocolEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AuthWord {
    Password,
    Passthrough,
    OAuth,
}

/// `password = "stored"` or `password = { command = "…" }`.
#[derive(Debug)]
pub(super) enum PasswordEntry {
    Stored,
    From(PasswordTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PasswordTable {
    pub command: Option<String>,
    pub file: Option<String>,
    pub env: Option<String>,
    pub systemd: Option<String>,
    pub keyring: Option<String>,
}

/// `imap = false`, or `imap = { host = "…" }`.
#[derive(Debug)]
pub(super) enum ProtocolEntry {
    Switch(bool),
    Endpoint(EndpointTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EndpointTable {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub tls: Option<UpstreamTls>,
    pub ca_file: Option<String>,
    pub public_key: Option<String>,
    pub user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum UpstreamTls {
    Implicit,
    Starttls,
}

/// `[[listener]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListenerEntry {
    pub protocol: Option<ProtocolWord>,
    pub port: Option<u16>,
    pub address: Option<OneOrMany>,
    pub tls: Option<ClientTlsWord>,
    pub certificate: Option<String>,
    pub key: Option<String>,
    pub networks: Option<Vec<String>>,
    pub mode: Option<String>,
    pub allow_uids: Option<Vec<UserEntry>>,
    pub proxy_protocol: Option<Vec<String>>,
    pub allow_plain_from_network: Option<bool>,
    pub account: Option<String>,
    pub provider: Option<String>,
    pub profile: Option<String>,
    pub login: Option<LoginWord>,
    pub from: Option<FromEntry>,
    pub limits: Option<SendingTable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProtocolWord {
    Imap,
    Pop3,
    Smtp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ClientTlsWord {
    #[default]
    Off,
    Starttls,
    Implicit,
}

/// A user's number or name.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "write a user's number from 0 to 4294967295, or a name: 1000 or \"anna\""
)]
pub(super) enum UserEntry {
    Number(u32),
    Name(String),
}

/// `"127.0.0.1:1143"` or a list of them.
#[derive(Debug)]
pub(super) struct OneOrMany(pub Vec<String>);

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StoreTable {
    pub url: Option<String>,
    pub key: Option<KeyEntry>,
}

/// `key = "keyring"`, or `key = { file = "…" }`.
#[derive(Debug)]
pub(super) enum KeyEntry {
    Keyring,
    From(KeyTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KeyTable {
    pub file: Option<String>,
    pub systemd: Option<String>,
}

/// Times in seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsTable {
    pub sessions: u64,
    pub sessions_per_peer: u64,
    pub before_login: u64,
    pub login: u64,
    pub drain: u64,
}

/// Times in seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WarmTable {
    pub sessions: u64,
    pub idle: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CertificatesTable {
    pub names: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogTable {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}

impl<'de> Deserialize<'de> for PasswordEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PasswordVisitor)
    }
}

struct PasswordVisitor;

impl<'de> Visitor<'de> for PasswordVisitor {
    type Value = PasswordEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"stored\" or a table such as { command = \"pass show mail\" }")
    }

    /// Any other text is taken for the password itself, so it is not repeated.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<PasswordEntry, E> {
        if text == "stored" {
            return Ok(PasswordEntry::Stored);
        }
        Err(E::custom(
            "a password does not belong in this file: write password = \"stored\" and run `mailsluice account set-password`, \
             or say where it is: { command = \"…\" }, { file = \"…\" }, { env = \"…\" }, { systemd = \"…\" } or \
             { keyring = \"…\" }",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PasswordEntry, A::Error> {
        let table = value::MapAccessDeserializer::new(map);
        PasswordTable::deserialize(table).map(PasswordEntry::From)
    }
}

impl<'de> Deserialize<'de> for ProtocolEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProtocolVisitor)
    }
}

struct ProtocolVisitor;

impl<'de> Visitor<'de> for ProtocolVisitor {
    type Value = ProtocolEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or a table such as { host = \"mail.example.com\" }")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<ProtocolEntry, E> {
        Ok(ProtocolEntry::Switch(on))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ProtocolEntry, A::Error> {
        let table = value::MapAccessDeserializer::new(map);
        EndpointTable::deserialize(table).map(ProtocolEntry::Endpoint)
    }
}

impl<'de> Deserialize<'de> for KeyEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = KeyEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"keyring\" or a table such as { file = \"…\" }")
    }

    /// Any other text is taken for the key itself, so it is not repeated.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<KeyEntry, E> {
        if text == "keyring" {
            return Ok(KeyEntry::Keyring);
        }
        Err(E::custom(
            "write \"keyring\", { file = \"…\" } or { systemd = \"…\" }; the key itself does not belong in this file",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeyEntry, A::Error> {
        let table = value::MapAccessDeserializer::new(map);
        KeyTable::deserialize(table).map(KeyEntry::From)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as \"127.0.0.1:1143\", or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
        let list = value::SeqAccessDeserializer::new(list);
        Vec::deserialize(list).map(OneOrMany)
    }
}
