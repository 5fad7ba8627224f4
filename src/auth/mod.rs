//! Who may, and with which credential.
//!
//! [`Authenticator::check`] takes a login attempt through these steps; the first that fails answers:
//!
//! 1. The account the name leads to. An unknown name goes on like a known one, to the same end.
//! 2. `throttle`: those who guess wait.
//! 3. `local_check` and `verifier`: the local passwords of the account as they are in the store now, so that one
//!    revoked by another process is refused at once. Each failure is answered a second after its check began.
//! 4. `secrets`: the provider's password, from memory or its source. Nothing touches it before step 3 has passed.
//!    For an OAuth account [`oauth::Tokens`] instead: an access token; its life is the state machine in `token`.
//! 5. `rejections`: a password that the upstream keeps refusing is not tried.
//!
//! [`Authenticator::without_login`] is for listeners where nobody logs in. It begins at step 4 with the account that the
//! listener is bound to; nothing that a client says leads there.
//!
//! A pass-through account has no local password: its client's own goes upstream, and the upstream decides.
//! What the upstream said comes back by [`Authenticator::accepted`] and [`Authenticator::rejected`].

mod authenticator;
mod error;
mod generated;
mod local_check;
mod local_passwords;
pub mod oauth;
mod refusals;
mod rejections;
mod secrets;
mod source;
mod throttle;
mod token;
mod verifier;

pub use self::authenticator::{Authenticator, Granted, Identity, Receipt};
pub use self::error::{PasswordError, SecretError};
pub use self::local_passwords::{Making, add_chosen, add_generated};
pub use self::source::ask;

#[cfg(test)]
mod tests;
