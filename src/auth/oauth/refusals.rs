//! What a login is told when there is no token for it. Never a wrong password: the client's own is right.

use super::AccessToken;
use crate::auth::token::{Ask, Ended};
use crate::causes::with_causes;
use crate::config::oauth::Grant;
use crate::proto::refusal::{Cause, Refusal};
use crate::store::StoreError;

/// The token, or why there is none.
pub(super) fn token_of(grant: &Grant, ask: Ask) -> Result<AccessToken, Refusal> {
    match ask {
        Ask::Use { token, generation } => Ok(AccessToken { token, generation }),
        Ask::SignIn(ended) => Err(sign_in_needed(grant, ended.as_ref())),
        Ask::Later(trouble) if trouble.of_client => {
            let text = format!(
                "{} does not give the proxy a token: {}",
                grant.issuer.title, trouble.why
            );
            Err(Refusal::new(Cause::ServerBug, PHASE, text))
        }
        Ask::Later(trouble) => Err(Refusal::new(Cause::Unavailable, PHASE, trouble.why)),
        Ask::Request => {
            let text = format!("{} is being asked; try again", grant.issuer.title);
            Err(Refusal::new(Cause::Unavailable, PHASE, text))
        }
    }
}

/// The command comes first: clients cut long lines.
fn sign_in_needed(grant: &Grant, ended: Option<&Ended>) -> Refusal {
    let mut text = format!("sign in with: mailsluice sign-in {}", grant.name);
    if let Some(ended) = ended {
        text.push_str(&format!(" ({})", ended.why));
    }
    Refusal::new(Cause::SignInNeeded, PHASE, text)
}

/// The service stops, or a bug.
pub(super) fn interrupted() -> Refusal {
    let text = "the token request was interrupted; try again";
    Refusal::new(Cause::Unavailable, PHASE, text)
}

/// The issuer, or another process, took too long.
pub(super) fn too_slow(grant: &Grant) -> Refusal {
    let text = format!("{} has not answered yet; try again", grant.issuer.title);
    Refusal::new(Cause::Unavailable, PHASE, text)
}

/// Not the client's fault, nor the issuer's.
pub(super) fn store(grant: &Grant, error: &StoreError) -> Refusal {
    tracing::error!(
        grant = grant.name,
        cause = with_causes(error),
        "cannot keep tokens"
    );
    let text = "the proxy cannot use its store; see its log";
    Refusal::new(Cause::ServerBug, PHASE, text)
}

const PHASE: &str = "token";
