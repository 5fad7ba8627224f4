//! The operating system's keyring: the desktop's secret service, the macOS keychain, the Windows credential manager.
//!
//! Every call blocks, possibly until a person unlocks the keyring: call it off the runtime.

use crate::secret::Secret;

/// The service name of all our entries.
pub(super) const SERVICE: &str = "mailsluice";

/// Why the keyring gave nothing. Never holds what an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// This build has none.
    #[error("this build of mailsluice has no keyring support")]
    NotBuilt,
    /// No keyring is running, as on most servers.
    #[error("no keyring is running here")]
    NoneRunning,
    /// Locked, or access was refused.
    #[error("the keyring is locked or refused access")]
    Locked,
    /// The platform's keyring failed otherwise.
    #[error("the keyring failed")]
    Failed,
}

/// The secret of the entry for `user`, if there is one.
#[cfg(feature = "keyring")]
pub fn read(user: &str) -> Result<Option<Secret>, KeyringError> {
    match entry(user)?.get_secret() {
        Ok(bytes) => Ok(Some(Secret::new(bytes))),
        Err(keyring_core::Error::NoEntry) => Ok(None),
        Err(error) => Err(reason(&error)),
    }
}

/// Makes or replaces the entry for `user`.
#[cfg(feature = "keyring")]
pub(super) fn write(user: &str, secret: &Secret) -> Result<(), KeyringError> {
    entry(user)?
        .set_secret(secret.expose())
        .map_err(|error| reason(&error))
}

/// Goes to `keyring-core` itself, so that a store set before (a test's) is used; otherwise the platform's is set up.
#[cfg(feature = "keyring")]
fn entry(user: &str) -> Result<keyring_core::Entry, KeyringError> {
    if keyring_core::get_default_store().is_none()
        && let Err(error) = keyring::Entry::store_status()
    {
        tracing::debug!(cause = %reason(error), "no platform keyring");
        return Err(KeyringError::NoneRunning);
    }
    keyring_core::Entry::new(SERVICE, user).map_err(|error| reason(&error))
}

/// Only the kind: some of the errors carry the entry's bytes, and all of them derive `Debug`.
#[cfg(feature = "keyring")]
fn reason(error: &keyring_core::Error) -> KeyringError {
    match error {
        keyring_core::Error::NoStorageAccess(_) => KeyringError::Locked,
        keyring_core::Error::NoDefaultStore => KeyringError::NoneRunning,
        _ => KeyringError::Failed,
    }
}

/// The secret of the entry for `user`, if there is one.
#[cfg(not(feature = "keyring"))]
pub fn read(_user: &str) -> Result<Option<Secret>, KeyringError> {
    Err(KeyringError::NotBuilt)
}

/// Makes or replaces the entry for `user`.
#[cfg(not(feature = "keyring"))]
pub(super) fn write(_user: &str, _secret: &Secret) -> Result<(), KeyringError> {
    Err(KeyringError::NotBuilt)
}
