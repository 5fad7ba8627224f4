//! Device authorization (RFC 8628): the person types a code into another machine's browser.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::time::Instant;

use super::error::{OAuthError, SignInError};
use super::grants::{Issuers, no_endpoint, scopes, text};
use super::http::Answer;
use super::outcome;
use super::sign_in::{SignIns, commit, other_flow};
use crate::auth::token::{ANY, Outcome};
use crate::config::oauth::{Flow, Grant};
use crate::proto::text::sanitise;
use crate::secret::Secret;

/// A device authorization: what the person types, and where.
pub struct DeviceCode {
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it, where the issuer has that.
    pub verification_uri_complete: Option<String>,
    /// When it is too late.
    pub expires: SystemTime,
    device_code: Secret,
    interval: Duration,
    expires_at: Instant,
}

/// RFC 8628 section 3.2. quirk: Google calls the address `verification_url` (2026).
#[derive(Deserialize)]
struct Document {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

/// What one look for the person's decision brought.
enum Look {
    Pending,
    SlowDown,
    Over(Result<Outcome, SignInError>),
}

impl SignIns {
    /// Begins a sign-in by device code.
    pub async fn device(&self, grant: Arc<Grant>) -> Result<DeviceCode, OAuthError> {
        // Also for a grant of the browser flow: where its issuer has the endpoint, it is the way for a machine without.
        if !matches!(grant.flow, Flow::Device | Flow::AuthorizationCode) {
            return Err(other_flow(&grant, "a device code"));
        }
        let answer = self.core.issuers.device_code(&grant).await?;
        let code = device_code(&grant, &answer)?;
        self.pending(&grant, code.expires_at.duration_since(Instant::now()));
        Ok(code)
    }

    /// Waits until the person has decided, or the code has expired. Where this is dropped, the sign-in is.
    pub async fn wait_device(
        &self,
        grant: Arc<Grant>,
        code: DeviceCode,
    ) -> Result<(), SignInError> {
        let decided = self.decision(&grant, &code).await;
        let result = match decided {
            Ok(answer) => commit(&self.core, &grant, answer).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            self.core.slot(&grant).life().pending_over();
        }
        result
    }

    /// Looks once in each interval (RFC 8628 section 3.5). No answer is no decision: it is looked again, more slowly.
    async fn decision(&self, grant: &Grant, code: &DeviceCode) -> Result<Outcome, SignInError> {
        let mut interval = code.interval;
        loop {
            let next = Instant::now() + interval;
            if next >= code.expires_at {
                tokio::time::sleep_until(code.expires_at).await;
                return Err(SignInError::Expired);
            }
            tokio::time::sleep_until(next).await;
            match self.core.issuers.look(grant, &code.device_code).await {
                Look::Pending => {}
                Look::SlowDown => interval = (interval + SLOWER).min(INTERVAL_MAX),
                Look::Over(result) => return result,
            }
        }
    }
}

impl Issuers {
    async fn device_code(&self, grant: &Grant) -> Result<Answer, OAuthError> {
        let identity = self.identity(grant).await?;
        let Some(url) = identity.known.device.clone() else {
            return Err(no_endpoint(grant, "device authorization endpoint"));
        };
        let scope = scopes(grant, ANY).join(" ");
        let form = [("scope", scope.as_str())];
        self.post(grant, &identity, &url, &form).await
    }

    async fn look(&self, grant: &Grant, device_code: &Secret) -> Look {
        let identity = match self.identity(grant).await {
            Ok(identity) => identity,
            Err(OAuthError::Unavailable(_)) => return Look::SlowDown,
            Err(error) => return Look::Over(Err(error.into())),
        };
        let code = text(device_code);
        let form = [("grant_type", GRANT_TYPE), ("device_code", code.as_str())];
        let url = identity.known.token.clone();
        let answer = self.post(grant, &identity, &url, &form).await;
        if let Ok(answer) = &answer
            && let Some(refused) = outcome::error_in(answer, &[device_code])
        {
            match refused.code.as_str() {
                "authorization_pending" => return Look::Pending,
                "slow_down" => return Look::SlowDown,
                "expired_token" => return Look::Over(Err(SignInError::Expired)),
                "access_denied" => return Look::Over(Err(SignInError::Denied(refused.why))),
                _ => {}
            }
        }
        match outcome::of(answer, &grant.issuer.title, &[device_code]) {
            Outcome::Transient { .. } => Look::SlowDown,
            decided => Look::Over(Ok(decided)),
        }
    }
}

fn device_code(grant: &Grant, answer: &Answer) -> Result<DeviceCode, OAuthError> {
    if let Some(refused) = outcome::error_in(answer, &[]) {
        return Err(OAuthError::Refused(refused.why));
    }
    let Ok(document) = serde_json::from_slice::<Document>(answer.body.expose()) else {
        let title = &grant.issuer.title;
        let status = answer.status;
        let what = format!("{title} gave no device code (HTTP status {status})");
        return Err(OAuthError::Unavailable(what));
    };
    let lasts = Duration::from_secs(document.expires_in.min(LASTS_MAX));
    let interval = document.interval.unwrap_or(INTERVAL_UNSAID).max(1);
    Ok(DeviceCode {
        user_code: sanitise(document.user_code.as_bytes()),
        verification_uri: sanitise(document.verification_uri.as_bytes()),
        verification_uri_complete: document
            .verification_uri_complete
            .map(|uri| sanitise(uri.as_bytes())),
        expires: SystemTime::now() + lasts,
        device_code: Secret::from(document.device_code),
        interval: Duration::from_secs(interval).min(INTERVAL_MAX),
        expires_at: Instant::now() + lasts,
    })
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCode")
            .field("verification_uri", &self.verification_uri)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// RFC 8628 section 3.4.
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// RFC 8628 section 3.2: 5 s where the issuer does not say.
const INTERVAL_UNSAID: u64 = 5;

/// RFC 8628 section 3.5: 5 s more after each `slow_down`.
const SLOWER: Duration = Duration::from_secs(5);

/// A person who has typed the code does not wait longer than this.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Codes last 15 minutes at Microsoft, 30 at Google; nobody waits longer than an hour.
const LASTS_MAX: u64 = 60 * 60;
