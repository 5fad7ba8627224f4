//! OAuth: how tokens are obtained, kept and renewed.
//!
//! | file | what it does |
//! |---|---|
//! | `http.rs` | the one HTTP client: 10 s deadlines, no redirects, proxy from the environment |
//! | `metadata.rs` | endpoints, given or discovered (RFC 8414) |
//! | `grants.rs` (and files beside it) | the requests of each flow |
//! | `outcome.rs` | what an answer of the issuer means: refreshed, transient, permanent, with the issuer's own words |
//! | `tokens.rs` | [`Tokens`]: access tokens on demand and in the background, single flight in and across processes |
//! | `sign_in.rs` | [`SignIns`]: sign-ins under way, matched by `state` |
//!
//! The life of one grant's tokens is the state machine in `super::token`.

mod error;
mod sign_in;
mod tokens;

pub use self::error::{OAuthError, SignInError};
pub use self::sign_in::{Begun, DeviceCode, SignIns};
pub use self::tokens::{GrantState, Tokens};

use crate::secret::Secret;

/// An access token, and which one it is: for [`Tokens::rejected`].
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// What goes upstream.
    pub token: Secret,
    /// Counts up with each refresh of the grant; a rejection of an older one is no news.
    pub generation: u64,
}
