//! The sentences of refusals that are ours, and what the log says where a client may not know.

use std::error::Error;

use super::error::SecretError;
use crate::causes::with_causes;
use crate::config::runtime::Proxy;
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Protocol;

pub(super) fn wrong_password() -> Refusal {
    let text = "wrong name or local password";
    Refusal::new(Cause::WrongPassword, LOCAL_PASSWORD, text)
}

pub(super) fn too_many_guesses() -> Refusal {
    let text = "too many wrong passwords; try again in a few minutes";
    Refusal::new(Cause::LimitReached, LOCAL_PASSWORD, text)
}

/// Not the client's fault, whatever its password was.
pub(super) fn store_unreadable(account: &str, error: &(dyn Error + 'static)) -> Refusal {
    let cause = with_causes(error);
    tracing::error!(account, cause, "cannot check local passwords");
    let text = "the proxy cannot read its store; see its log";
    Refusal::new(Cause::ServerBug, LOCAL_PASSWORD, text)
}

pub(super) fn protocol_off(protocol: Protocol) -> Refusal {
    let text = format!("{protocol} is not switched on for this account");
    Refusal::new(Cause::ProtocolOff, "routing", text)
}

pub(super) fn refused_too_often(provider: &str) -> Refusal {
    let text = format!(
        "{provider} refused the stored password several times; it is not tried for a while, so that the account is not \
         locked. Correct the password"
    );
    Refusal::new(Cause::CredentialRejected, "credential", text)
}

/// A fresh access token was refused as well.
pub(super) fn token_refused(provider: &str) -> Refusal {
    let text = format!(
        "{provider} refused a fresh access token too; see whether this protocol is switched on for the mailbox, and \
         whether the sign-in was for it"
    );
    Refusal::new(Cause::TokenRejected, "credential", text)
}

/// The client hears that it is not its fault; the log has the reason.
pub(super) fn no_secret(account: &str, error: &SecretError) -> Refusal {
    tracing::error!(account, cause = with_causes(error), "no provider password");
    let text = "the proxy cannot get the provider's password; see its log";
    Refusal::new(Cause::ServerBug, "credential", text)
}

/// The same for the proxy before the provider.
pub(super) fn no_proxy_password(proxy: &Proxy, error: &SecretError) -> Refusal {
    let name = proxy.to_string();
    tracing::error!(
        proxy = name,
        cause = with_causes(error),
        "no proxy password"
    );
    let text = format!("mailsluice cannot get its password for {name}; see its log");
    Refusal::new(Cause::ServerBug, "credential", text)
}

/// The phase of refusals for the client's own fault.
const LOCAL_PASSWORD: &str = "local-password";
