//! OAuth: how tokens are obtained, kept and renewed.
//!
//! | file | what it does |
//! |---|---|
//! | `http.rs` | the one HTTP client: 10 s deadlines, no redirects, proxy from the environment |
//! | `metadata.rs` | endpoints, given or discovered (RFC 8414) |
//! | `grants.rs` | the requests of each flow |
//! | `device.rs` | device authorization (RFC 8628) |
//! | `assertion.rs` | signed JWTs (RFC 7523) |
//! | `outcome.rs` | what an answer of the issuer means: refreshed, transient, permanent, with the issuer's own words |
//! | `tokens.rs` | [`Tokens`]: access tokens on demand and in the background |
//! | `flight.rs` | one request, however many tasks and processes want its result |
//! | `slot.rs` | one grant in this process, and its row in the store |
//! | `clock.rs` | the time, which never runs backwards |
//! | `sign_in.rs` | [`SignIns`]: sign-ins under way, matched by `state` |
//!
//! The life of one grant's tokens is the state machine in `super::token`.

mod assertion;
mod clock;
mod device;
mod error;
mod flight;
mod grants;
mod http;
mod metadata;
mod outcome;
mod refusals;
mod sign_in;
mod slot;
mod tokens;

pub use self::device::DeviceCode;
pub use self::error::{OAuthError, SignInError};
pub use self::sign_in::{Begun, SignIns};
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

#[cfg(test)]
mod tests;
