//! Sign-ins under way, matched by `state`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::{OAuthError, SignInError};
use crate::config::oauth::Grant;
use crate::secret::Secret;

/// The sign-ins under way, of all grants.
#[derive(Default)]
pub struct SignIns {}

/// A sign-in that has begun: where the person goes.
pub struct Begun {
    /// What the browser opens.
    pub url: String,
    /// What the redirect is matched by.
    pub state: String,
    /// When it is too late.
    pub expires: SystemTime,
}

/// A device authorization (RFC 8628): what the person types, and where.
pub struct DeviceCode {
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it, where the issuer has that.
    pub verification_uri_complete: Option<String>,
    /// When it is too late.
    pub expires: SystemTime,
    pub(super) device_code: Secret,
    pub(super) interval: Duration,
}

impl SignIns {
    /// Begins a sign-in by authorization code and PKCE; the issuer sends the person back to `redirect_uri`.
    pub async fn begin(&self, grant: Arc<Grant>, _redirect_uri: &str) -> Result<Begun, OAuthError> {
        Err(not_yet(&grant))
    }

    /// Finishes the sign-in that `query`, the raw query of the redirect or the whole pasted URL, belongs to.
    pub async fn finish(&self, _query: &str) -> Result<Arc<Grant>, SignInError> {
        Err(SignInError::Unknown)
    }

    /// Begins a sign-in by device code.
    pub async fn device(&self, grant: Arc<Grant>) -> Result<DeviceCode, OAuthError> {
        Err(not_yet(&grant))
    }

    /// Waits until the person has entered the code, or it has expired.
    pub async fn wait_device(
        &self,
        grant: Arc<Grant>,
        _code: DeviceCode,
    ) -> Result<(), SignInError> {
        Err(not_yet(&grant).into())
    }

    /// Waits until the sign-in of `state` ends.
    pub async fn wait(&self, _state: &str) -> Result<(), SignInError> {
        Err(SignInError::Unknown)
    }
}

fn not_yet(grant: &Grant) -> OAuthError {
    OAuthError::NoEndpoint {
        issuer: grant.issuer.name.clone(),
        what: "sign-in yet",
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCode")
            .field("verification_uri", &self.verification_uri)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
