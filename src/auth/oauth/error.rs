//! What can go wrong with OAuth. No variant holds a token, a code, a verifier or a client secret; what an issuer said is
//! stripped of control characters and cut.

use std::path::PathBuf;
use std::sync::Arc;

use crate::auth::SecretError;
use crate::store::StoreError;

/// Why a request to an issuer, or what belongs to it, failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OAuthError {
    /// The HTTP client could not be made.
    #[error("cannot set up HTTPS towards the issuer")]
    Setup(#[source] Arc<reqwest::Error>),
    /// A file of the configuration could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// A key, certificate or key file of a kind that cannot be used.
    #[error("{} is no {expected}", path.display())]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// Signing failed; not known to happen with a key that was read.
    #[error("the cryptography library failed")]
    Cryptography,
    /// A secret of the client or of the mailbox could not be had.
    #[error("cannot get a secret for the issuer")]
    Secret(#[from] SecretError),
    /// The issuer does not have what the flow needs.
    #[error("{issuer} has no {what}")]
    NoEndpoint {
        /// Whose endpoint is missing.
        issuer: String,
        /// Which.
        what: &'static str,
    },
    /// An endpoint that is no URL, or not HTTPS.
    #[error("{url} is no https URL")]
    NotHttps {
        /// What was configured or discovered.
        url: String,
    },
    /// The metadata speak of another issuer (RFC 8414 section 3.3).
    #[error("the metadata at {expected} are those of another issuer")]
    OtherIssuer {
        /// The issuer that was asked for.
        expected: String,
    },
    /// The issuer could not be reached, or gave no usable answer.
    #[error("{0}")]
    Unavailable(String),
    /// The issuer said no, in its own words.
    #[error("{0}")]
    Refused(String),
    /// The flow is one that no person takes part in, or another one than was asked for.
    #[error("{grant} is not obtained by {what}")]
    OtherFlow {
        /// The grant's name.
        grant: String,
        /// What was tried.
        what: &'static str,
    },
    /// Too many sign-ins are under way.
    #[error("too many sign-ins are under way; finish or wait")]
    TooMany,
    /// The store.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
    /// Our own task ended before it was done: the service stops, or a bug.
    #[error("the request was interrupted")]
    Interrupted,
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// Why a sign-in did not come to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignInError {
    /// No sign-in of that `state` is under way: forged, used before, expired, or of an earlier start of the service.
    #[error("this sign-in is not under way: it has expired, or was finished before; begin anew")]
    Unknown,
    /// The person took too long.
    #[error("the sign-in has expired; begin anew")]
    Expired,
    /// The redirect is not one of this protocol: no `state`, or neither code nor error, or a parameter twice.
    #[error("this is not the address that the sign-in leads to")]
    Malformed,
    /// The answer is from another issuer than the one that was asked (RFC 9207).
    #[error("the answer came from another issuer; nothing was accepted")]
    OtherIssuer,
    /// The issuer or the person said no.
    #[error("the sign-in was refused: {0}")]
    Denied(String),
    /// The code or device code could not be exchanged.
    #[error("the sign-in could not be completed")]
    Exchange(#[from] OAuthError),
}
