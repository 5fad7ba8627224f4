//! What an answer of the issuer means: refreshed, transient or permanent, with the issuer's own words.
//!
//! | answer | outcome |
//! |---|---|
//! | 200 with `access_token` | refreshed |
//! | no answer, 408, 425, 429, 5xx | transient |
//! | `temporarily_unavailable`, `server_error`, `slow_down` | transient |
//! | anything without an OAuth `error`: HTML, an empty body, a redirect | transient |
//! | `invalid_grant` | permanent, the grant; at Microsoft what its AADSTS code says |
//! | `interaction_required`, `consent_required`, `login_required` | permanent, the person |
//! | any other OAuth error: `invalid_client`, `unauthorized_client`, `invalid_scope`… | permanent, our client |
//!
//! quirk: some issuers give `expires_in` as a string, send a JSON body as text/html, or an error with status 200
//! (field reports of 2020 to 2026); all of these are read for what they say.

use std::time::Duration;

use serde::Deserialize;

use super::error::OAuthError;
use super::http::Answer;
use crate::auth::token::{Fault, Given, Outcome};
use crate::proto::text::sanitise;
use crate::secret::Secret;

/// What a token endpoint may say (RFC 6749 sections 5.1 and 5.2).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Lenient,
    refresh_token_expires_in: Lenient,
    refresh_expires_in: Lenient,
    error: Option<String>,
    error_description: Option<String>,
    suberror: Option<String>,
}

/// A number, whatever it is written as.
#[derive(Default)]
struct Lenient(Option<Duration>);

/// An OAuth error, in words that may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The error code: `invalid_grant`.
    pub(super) code: String,
    /// The sentence: the code, the issuer's words, and what is known about them.
    pub(super) why: String,
    fault: Option<Fault>,
}

/// The outcome of a token request in which `sent` were the secrets; none of them is quoted.
pub(super) fn of(answer: Result<Answer, OAuthError>, issuer: &str, sent: &[&Secret]) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return of_failure(&error),
    };
    let mut said = said(&answer);
    if answer.status == 200
        && let Some(given) = said.as_mut().and_then(given)
    {
        return Outcome::Refreshed(given);
    }
    let refused = said.and_then(|said| refused(said, sent));
    let busy = matches!(answer.status, 408 | 425 | 429) || answer.status >= 500;
    match refused {
        Some(Refused {
            why,
            fault: Some(what),
            ..
        }) if !busy => Outcome::Permanent { why, what },
        Some(Refused { why, .. }) => Outcome::Transient {
            why: format!("{issuer} is not available: {why}"),
            retry_after: answer.retry_after,
        },
        None => Outcome::Transient {
            why: format!(
                "{issuer} gave no usable answer (HTTP status {})",
                answer.status
            ),
            retry_after: answer.retry_after,
        },
    }
}

/// The outcome where no answer came, or no request could be made.
pub(super) fn of_failure(error: &OAuthError) -> Outcome {
    let why = crate::causes::with_causes(error);
    match error {
        OAuthError::Unavailable(_) | OAuthError::Interrupted | OAuthError::Store(_) => {
            Outcome::Transient {
                why,
                retry_after: None,
            }
        }
        _ => Outcome::Permanent {
            why,
            what: Fault::Client,
        },
    }
}

/// The OAuth error in `answer`, if that is what it is.
pub(super) fn error_in(answer: &Answer, sent: &[&Secret]) -> Option<Refused> {
    said(answer).and_then(|said| refused(said, sent))
}

/// An error code and its description as the authorization endpoint gives them (RFC 6749 section 4.1.2.1).
pub(super) fn words(code: &str, description: &str) -> String {
    let code = sanitise(code.as_bytes());
    let known = explained(&code, description);
    let theirs = sanitise(description.as_bytes());
    let mut why = match known {
        Some(known) => format!("{known} ({code}"),
        None => code,
    };
    if !theirs.is_empty() {
        why.push_str(": ");
        why.push_str(&theirs);
    }
    if known.is_some() {
        why.push(')');
    }
    why
}

fn said(answer: &Answer) -> Option<Said> {
    serde_json::from_slice(answer.body.expose()).ok()
}

fn given(said: &mut Said) -> Option<Given> {
    let access = token(said.access_token.take())?;
    Some(Given {
        access,
        lifetime: said.expires_in.0.filter(|lifetime| !lifetime.is_zero()),
        refresh: token(said.refresh_token.take()),
        refresh_lifetime: said
            .refresh_token_expires_in
            .0
            .or(said.refresh_expires_in.0)
            // Keycloak says 0 for one that never ends.
            .filter(|lifetime| !lifetime.is_zero()),
    })
}

/// A token is printable ASCII (RFC 6749 appendix A.12 and A.17), and goes into a SASL message between control bytes.
fn token(text: Option<String>) -> Option<Secret> {
    let token = Secret::from(text?);
    let bytes = token.expose();
    let printable = !bytes.is_empty() && bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
    printable.then_some(token)
}

fn refused(said: Said, sent: &[&Secret]) -> Option<Refused> {
    let code = said.error.filter(|code| !code.is_empty())?;
    let description = without(said.error_description.unwrap_or_default(), sent);
    let suberror = said.suberror.unwrap_or_default();
    Some(Refused {
        why: words(&code, &description),
        fault: fault(&code, &suberror, &description),
        code: sanitise(code.as_bytes()),
    })
}

/// Some issuers quote what they were sent.
fn without(mut text: String, sent: &[&Secret]) -> String {
    for secret in sent {
        match std::str::from_utf8(secret.expose()) {
            Ok(secret) if !secret.is_empty() => text = text.replace(secret, "[secret]"),
            _ => {}
        }
    }
    text
}

/// `None`: transient.
fn fault(code: &str, suberror: &str, description: &str) -> Option<Fault> {
    match code {
        "temporarily_unavailable" | "server_error" | "slow_down" => None,
        "interaction_required"
        | "consent_required"
        | "login_required"
        | "account_selection_required" => Some(Fault::Person),
        "invalid_grant" => {
            // Microsoft says invalid_grant also where the refresh token would still do if the person showed up.
            let wants_person = matches!(
                suberror,
                "basic_action" | "additional_action" | "consent_required"
            ) || KNOWN
                .iter()
                .any(|known| known.fault == Fault::Person && mentions(description, known.needle));
            Some(if wants_person {
                Fault::Person
            } else {
                Fault::Grant
            })
        }
        _ => Some(Fault::Client),
    }
}

fn explained(code: &str, description: &str) -> Option<&'static str> {
    let known = KNOWN
        .iter()
        .find(|known| mentions(description, known.needle));
    match (known, code) {
        (Some(known), _) => Some(known.sentence),
        (None, "invalid_client") => Some("the issuer does not accept the client id or its secret"),
        (None, "unauthorized_client") => {
            Some("the issuer does not allow this client what it asks for")
        }
        _ => None,
    }
}

/// Whether `needle` is in the text and no digit follows: AADSTS7000 is not AADSTS700082.
fn mentions(description: &str, needle: &str) -> bool {
    description.match_indices(needle).any(|(at, _)| {
        let after = description.get(at + needle.len()..).unwrap_or_default();
        !after.starts_with(|next: char| next.is_ascii_digit())
    })
}

/// A cause that people meet, by what the issuer's words hold.
struct Known {
    needle: &'static str,
    fault: Fault,
    sentence: &'static str,
}

const fn known(needle: &'static str, fault: Fault, sentence: &'static str) -> Known {
    Known {
        needle,
        fault,
        sentence,
    }
}

/// From Microsoft's "AADSTS error codes" and Google's "Using OAuth 2.0 to access Google APIs", 2026-11.
const KNOWN: &[Known] = &[
    known(
        "AADSTS70043",
        Fault::Grant,
        "the sign-in has reached the age that the organisation allows",
    ),
    known(
        "AADSTS700082",
        Fault::Grant,
        "the sign-in was not used for 90 days and has ended",
    ),
    known("AADSTS70008", Fault::Grant, "the sign-in has ended"),
    known(
        "AADSTS700084",
        Fault::Grant,
        "sign-ins of this kind of client end after 24 hours",
    ),
    known(
        "AADSTS50173",
        Fault::Grant,
        "the password was changed or sign-ins were revoked",
    ),
    known("AADSTS50057", Fault::Grant, "the account is disabled"),
    known(
        "AADSTS50076",
        Fault::Person,
        "the organisation asks for a second factor",
    ),
    known(
        "AADSTS50079",
        Fault::Person,
        "a second factor has to be set up first",
    ),
    known(
        "AADSTS50158",
        Fault::Person,
        "the organisation asks for a further check",
    ),
    known(
        "AADSTS53000",
        Fault::Person,
        "the organisation asks for a managed device",
    ),
    known(
        "AADSTS53003",
        Fault::Person,
        "a rule of the organisation (Conditional Access) blocks this sign-in",
    ),
    known(
        "AADSTS65001",
        Fault::Person,
        "the person or the administrator has not consented to what is asked for",
    ),
    known(
        "AADSTS7000222",
        Fault::Client,
        "the client secret has expired; make a new one in the app registration",
    ),
    known(
        "AADSTS7000215",
        Fault::Client,
        "the client secret is wrong; use its value, not its id",
    ),
    known(
        "AADSTS700016",
        Fault::Client,
        "the client id is not known in this tenant",
    ),
    known(
        "AADSTS7000218",
        Fault::Client,
        "the client counts as confidential: give its secret, or allow public client flows in the app registration",
    ),
    known(
        "AADSTS700027",
        Fault::Client,
        "the certificate is not the one in the app registration",
    ),
    known(
        "AADSTS700024",
        Fault::Client,
        "the clock of this machine is wrong by minutes",
    ),
    known(
        "AADSTS50194",
        Fault::Client,
        "the client is for one directory alone; write its tenant",
    ),
    known(
        "AADSTS50020",
        Fault::Client,
        "the account is of another directory than the client; write its tenant, or open the client to others",
    ),
    known(
        "AADSTS90094",
        Fault::Person,
        "an administrator has to consent to what is asked for",
    ),
    known("AADSTS50126", Fault::Grant, "wrong user name or password"),
    known(
        "Token has been expired or revoked",
        Fault::Grant,
        "Google has ended the sign-in: it does so after 7 days while the app is in testing, after a password change, or \
         when access was removed",
    ),
    known(
        "invalid_rapt",
        Fault::Grant,
        "the administrator of the Google Workspace lets sign-ins end after some hours",
    ),
    known(
        "Client is unauthorized to retrieve access tokens using this method",
        Fault::Client,
        "the administrator of the Google Workspace has not delegated this scope to the service account",
    ),
    known(
        "Invalid email or User ID",
        Fault::Client,
        "the service account's subject is no user of the Google Workspace",
    ),
    known(
        "Token must be a short-lived token",
        Fault::Client,
        "the clock of this machine is wrong by minutes",
    ),
];

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let seconds = match serde_json::Value::deserialize(from)? {
            serde_json::Value::Number(number) => number.as_f64(),
            serde_json::Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Self(duration))
    }
}

#[cfg(test)]
mod tests;
