//! `[profile.NAME]`.

use serde::Deserialize;

/// How a kind of client is served; what is not said is that of the base.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct ProfileEntry {
    pub base: Option<String>,
    pub title: Option<String>,
    pub mechanisms: Option<Vec<String>>,
    pub quirks: Option<Vec<String>>,
    pub imap: ShownTable,
    pub pop3: ShownTable,
    pub smtp: ShownTable,
}

/// Which capabilities are shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct ShownTable {
    pub before_login: Option<Vec<String>>,
    pub only: Option<Vec<String>>,
    pub hidden: Option<Vec<String>>,
}
