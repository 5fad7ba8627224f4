//! What is said over the control socket: one JSON line each way, several in a row on one connection.
//!
//! The first request of a connection may come from another version, so every line says which version of this protocol it
//! is. Nobody but the two ends of the socket sees these lines; a pasted address holds an authorization code, so requests
//! have no `Debug`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Status;
use crate::auth::oauth::GrantState;

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Envelope<T> {
    /// [`VERSION`] of who says it.
    pub(super) v: u32,
    /// What is said.
    pub(super) say: T,
}

/// What can be asked for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The service at this moment.
    Status,
    /// How the OAuth grants stand.
    Grants,
    /// Begin a sign-in. A further one on the same connection takes its place.
    SignIn {
        /// The account's address, or the grant's name.
        account: String,
        /// By which flow.
        way: Way,
    },
    /// The address that the browser ended at.
    Paste {
        /// As it was pasted.
        address: String,
    },
    /// Wait for the end of the sign-in that this connection began.
    Wait,
    /// Revoke and forget.
    SignOut {
        /// The account's address, or the grant's name.
        account: String,
    },
}

/// How a person signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// As the account's settings say.
    Configured,
    /// By device code.
    Device,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`]; boxed, as it is by far the largest.
    Status(Box<Status>),
    /// To [`Request::Grants`].
    Grants(Vec<GrantView>),
    /// The person opens this in a browser.
    Open {
        /// Where.
        url: String,
        /// For so many seconds.
        expires_s: u64,
    },
    /// The person types this code.
    Code {
        /// The code.
        user_code: String,
        /// Where to type it.
        url: String,
        /// The same with the code in it.
        url_with_code: Option<String>,
        /// For so many seconds.
        expires_s: u64,
    },
    /// It is done.
    Done {
        /// For which grant.
        grant: String,
    },
    /// It is not done.
    Failed {
        /// What kind of trouble.
        kind: Failure,
        /// A sentence for the person.
        why: String,
    },
}

/// What kind of trouble a request met, as far as an exit code depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// There is no such account, or none that signs in.
    NoAccount,
    /// The person or the issuer said no, or it took too long.
    Refused,
    /// The issuer, the store or the callback listener is not there. Trying again may help.
    Unavailable,
    /// The request makes no sense: another version, or nothing to wait for.
    NotUnderstood,
}

/// A grant at one moment, for people and scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// Its name; by default the account's address.
    pub name: String,
    /// The accounts it serves.
    pub accounts: Vec<String>,
    /// `empty`, `pending`, `active`, `refreshing`, `failing`, `needs-sign-in`.
    pub state: String,
    /// Why it is failing or needs a sign-in.
    pub why: Option<String>,
    /// Since when (seconds since 1970) it is failing or needs a sign-in.
    pub since: Option<u64>,
    /// Until when (seconds since 1970) there is an access token; it is renewed before.
    pub until: Option<u64>,
}

impl GrantView {
    /// What `state` looks like.
    pub fn new(name: String, accounts: Vec<String>, state: GrantState) -> Self {
        let mut view = Self {
            name,
            accounts,
            state: String::new(),
            why: None,
            since: None,
            until: None,
        };
        view.state = match state {
            GrantState::Empty => "empty",
            GrantState::Pending => "pending",
            GrantState::Active { until } => {
                view.until = Some(unix(until));
                "active"
            }
            GrantState::Refreshing => "refreshing",
            GrantState::Failing { since, why, .. } => {
                (view.since, view.why) = (Some(unix(since)), Some(why));
                "failing"
            }
            GrantState::NeedsSignIn { since, why } => {
                (view.since, view.why) = (Some(unix(since)), Some(why));
                "needs-sign-in"
            }
        }
        .to_owned();
        view
    }
}

/// Seconds since 1970.
fn unix(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Of this protocol. The program and the service are one binary, so other versions are told apart and not served.
pub(super) const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_state_has_a_name_and_what_a_person_wants_to_know() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        let view = |state| GrantView::new("anna@x.org".into(), Vec::new(), state);
        let needed = view(GrantState::NeedsSignIn {
            since: at,
            why: "revoked".into(),
        });
        assert_eq!(
            (needed.state.as_str(), needed.since),
            ("needs-sign-in", Some(7))
        );
        assert_eq!(needed.why.as_deref(), Some("revoked"));
        let active = view(GrantState::Active { until: at });
        assert_eq!(
            (active.state.as_str(), active.until, active.why),
            ("active", Some(7), None)
        );
    }

    #[test]
    fn a_line_of_another_shape_is_not_taken() {
        for line in [
            "",
            "{}",
            r#"{"v":1}"#,
            r#"{"v":1,"say":"stop"}"#,
            r#"{"v":1,"say":{"sign-out":{"account":"a","x":1}}}"#,
        ] {
            assert!(
                serde_json::from_str::<Envelope<Request>>(line).is_err(),
                "{line}"
            );
        }
        let taken = serde_json::from_str::<Envelope<Request>>(r#"{"v":1,"say":"status"}"#);
        assert!(matches!(taken.map(|e| e.say), Ok(Request::Status)));
    }
}
