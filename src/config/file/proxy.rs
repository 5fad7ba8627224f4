//! `proxy = "…"` of an account and of `[defaults]`.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value};

use super::PasswordTable;
use crate::secret::Secret;

/// `proxy = "none"`, `proxy = "socks5://host:1080"`, or `proxy = { url = "…", password = { file = "…" } }`.
///
/// A URL may hold a password, though it must not here: it is a secret until `check` has looked.
#[derive(Debug)]
pub(in super::super) enum ProxyEntry {
    Url(Secret),
    Table(ProxyTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct ProxyTable {
    #[serde(deserialize_with = "secret")]
    pub url: Option<Secret>,
    pub password: Option<PasswordTable>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(Secret::from))
}

impl<'de> Deserialize<'de> for ProxyEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProxyVisitor)
    }
}

struct ProxyVisitor;

impl<'de> Visitor<'de> for ProxyVisitor {
    type Value = ProxyEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\"socks5://host:1080\", \"http://host:3128\", \"none\", or a table such as \
             { url = \"socks5://anna@host:1080\", password = { file = \"…\" } }",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ProxyEntry, E> {
        Ok(ProxyEntry::Url(Secret::from(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ProxyEntry, A::Error> {
        let table = value::MapAccessDeserializer::new(map);
        ProxyTable::deserialize(table).map(ProxyEntry::Table)
    }
}
