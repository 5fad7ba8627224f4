//! What `login = "none"` goes with in a `[[listener]]`.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value};

/// `login = "none"`: whoever may connect may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum LoginWord {
    #[default]
    Required,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum SenderWord {
    Pin,
    Rewrite,
}

/// `from = "pin"`, or `from = { envelope = "pin", header = "rewrite" }`.
#[derive(Debug)]
pub(in super::super) enum FromEntry {
    Both(SenderWord),
    Each(FromTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct FromTable {
    pub envelope: Option<SenderWord>,
    pub header: Option<SenderWord>,
}

/// Bounds for one peer, and for one message.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct SendingTable {
    pub messages_per_hour: Option<u64>,
    pub recipients: Option<u64>,
    pub size: Option<u64>,
}

impl<'de> Deserialize<'de> for FromEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FromVisitor)
    }
}

struct FromVisitor;

impl<'de> Visitor<'de> for FromVisitor {
    type Value = FromEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\"pin\", \"rewrite\" or a table such as { envelope = \"rewrite\", header = \"pin\" }",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<FromEntry, E> {
        let word = SenderWord::deserialize(value::StrDeserializer::new(text))?;
        Ok(FromEntry::Both(word))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FromEntry, A::Error> {
        let table = value::MapAccessDeserializer::new(map);
        FromTable::deserialize(table).map(FromEntry::Each)
    }
}
