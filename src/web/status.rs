//! What the running service tells about itself.

use serde::{Deserialize, Serialize};

use super::GrantView;
use crate::relay::SessionView;

/// The service at one moment. Holds no secret and nothing of any mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub up_s: u64,
    /// Where it listens.
    pub listeners: Vec<ListenerView>,
    /// How many accounts are configured.
    pub accounts: usize,
    /// How the OAuth grants stand.
    pub grants: Vec<GrantView>,
    /// How many connections there have been.
    pub connections: u64,
    /// The open sessions, oldest first.
    pub sessions: Vec<SessionView>,
}

/// One open port.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ListenerView {
    /// `imap`, `pop3` or `smtp`.
    pub protocol: String,
    /// `address:port`.
    pub address: String,
}
