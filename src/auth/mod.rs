//! Who may, and with which credential. Only the seam the relay stands on; the checks follow.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::runtime::{Account, Config, Pin};
use crate::proto::dialogue::{Credential, LoginAttempt};
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Protocol;

/// A login attempt that may go on, and with what.
#[derive(Debug)]
pub struct Granted {
    /// Whose mailbox.
    pub account: Arc<Account>,
    /// What the upstream takes.
    pub credential: Credential,
    /// Which local password was used.
    pub password_name: Option<String>,
    /// Whether the credential is the client's own.
    pub passthrough: bool,
}

/// Decides on login attempts.
#[derive(Debug)]
pub struct Authenticator;

impl Authenticator {
    /// Refuses everybody: no account has a local password yet.
    pub async fn check(
        &self,
        _config: &Config,
        _pin: Option<&Pin>,
        _protocol: Protocol,
        _peer: IpAddr,
        _attempt: LoginAttempt,
    ) -> Result<Granted, Refusal> {
        let text = "no local passwords yet";
        Err(Refusal::new(Cause::ServerBug, "local-password", text))
    }

    /// The upstream refused the account's credential.
    pub fn rejected(&self, _account: &Account) {}

    /// The upstream took the account's credential.
    pub fn accepted(&self, _account: &Account) {}
}
