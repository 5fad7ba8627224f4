//! How a credential is said upstream: by the best way of those on offer.

use std::collections::VecDeque;

use crate::proto::dialogue::{Credential, UpstreamAction};
use crate::proto::sasl;
use crate::secret::Secret;

/// What of an upstream's capabilities decides how a credential is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// `None` is the command LOGIN.
    mechanism: Option<&'static str>,
    at_once: bool,
    login_disabled: bool,
}

impl Way {
    /// The way that [`Exchange::begin`] takes.
    pub(super) fn of(credential: &Credential, offers: impl Fn(&str) -> bool) -> Self {
        let offers_sasl = |mechanism: &str| offers(&format!("AUTH={mechanism}"));
        let exchange = sasl::Exchange::choose(credential, offers_sasl);
        let mechanism = exchange.map(|exchange| exchange.mechanism());
        Self {
            mechanism,
            at_once: match mechanism {
                Some(_) => offers("SASL-IR"),
                None => offers("LITERAL+") || offers("LITERAL-"),
            },
            login_disabled: mechanism.is_none() && offers("LOGINDISABLED"),
        }
    }
}

/// One way to say it, and what is left to say.
#[derive(Debug)]
pub(super) enum Exchange {
    /// AUTHENTICATE.
    Sasl(sasl::Exchange),
    /// LOGIN: the literals that wait for their `+`.
    Login(VecDeque<UpstreamAction>),
}

impl Exchange {
    /// Chooses a way and begins it. `None`, and nothing said, where no way is left.
    pub(super) fn begin(
        tag: &str,
        credential: &Credential,
        offers: impl Fn(&str) -> bool,
        actions: &mut Vec<UpstreamAction>,
    ) -> Option<Self> {
        let offers_sasl = |mechanism: &str| offers(&format!("AUTH={mechanism}"));
        if let Some(exchange) = sasl::Exchange::choose(credential, offers_sasl) {
            return Some(authenticate(tag, exchange, offers("SASL-IR"), actions));
        }
        match credential {
            Credential::Password { user, password } if !offers("LOGINDISABLED") => {
                let longest = user.len().max(password.expose().len());
                // RFC 7888: LITERAL- has a limit, LITERAL+ has none.
                let at_once =
                    offers("LITERAL+") || offers("LITERAL-") && longest <= LITERAL_MINUS_MAX;
                Some(login(tag, user, password, at_once, actions))
            }
            Credential::Password { .. } | Credential::Bearer { .. } => None,
        }
    }

    /// What is said to a `+`. `None` where nothing can be said any more.
    pub(super) fn answer(&mut self, challenge: &[u8]) -> Option<UpstreamAction> {
        match self {
            Self::Sasl(exchange) => Some(secret(&[exchange.answer(challenge)?.expose()])),
            Self::Login(literals) => literals.pop_front(),
        }
    }

    /// What the upstream reported before its verdict, if this way knows reports.
    pub(super) fn report(&self) -> Option<&sasl::Exchange> {
        match self {
            Self::Sasl(exchange) => Some(exchange),
            Self::Login(_) => None,
        }
    }
}

/// AUTHENTICATE, with its message at once where SASL-IR allows (RFC 4959).
fn authenticate(
    tag: &str,
    mut exchange: sasl::Exchange,
    sasl_ir: bool,
    actions: &mut Vec<UpstreamAction>,
) -> Exchange {
    let command = format!("{tag} AUTHENTICATE {}", exchange.mechanism());
    let limit = if sasl_ir { INITIAL_RESPONSE_MAX } else { 0 };
    actions.push(match exchange.initial_response(limit) {
        Some(message) => secret(&[command.as_bytes(), b" ", message.expose()]),
        None => write(format!("{command}\r\n")),
    });
    Exchange::Sasl(exchange)
}

/// LOGIN with both arguments as literals: nothing needs escaping, so nothing can be escaped wrongly.
fn login(
    tag: &str,
    user: &str,
    password: &Secret,
    at_once: bool,
    actions: &mut Vec<UpstreamAction>,
) -> Exchange {
    let (octets, password_octets) = (user.len(), password.expose().len());
    let mut literals = VecDeque::new();
    if at_once {
        let head = format!("{tag} LOGIN {{{octets}+}}\r\n{user} {{{password_octets}+}}\r\n");
        actions.push(secret(&[head.as_bytes(), password.expose()]));
    } else {
        actions.push(write(format!("{tag} LOGIN {{{octets}}}\r\n")));
        literals.push_back(write(format!("{user} {{{password_octets}}}\r\n")));
        literals.push_back(secret(&[password.expose()]));
    }
    Exchange::Login(literals)
}

/// A line without a secret.
pub(super) fn write(text: impl Into<bytes::Bytes>) -> UpstreamAction {
    UpstreamAction::Write(text.into())
}

/// A line that carries a credential.
fn secret(parts: &[&[u8]]) -> UpstreamAction {
    // In one allocation: a vector that grows leaves copies behind.
    let mut line = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 2);
    for part in parts {
        line.extend_from_slice(part);
    }
    line.extend_from_slice(b"\r\n");
    UpstreamAction::WriteSecret(Secret::new(line))
}

/// The longest initial response: RFC 2683 section 3.2.1.5 tells clients to keep a line below some 1000 octets, and
/// Microsoft's tokens alone have twice as many.
const INITIAL_RESPONSE_MAX: usize = 900;

/// RFC 7888 section 5.
const LITERAL_MINUS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(password: &str) -> Credential {
        Credential::Password {
            user: "anna".into(),
            password: Secret::from(password),
        }
    }

    /// What is said at once, and how many answers follow, each to a `+`.
    fn said(password: &str, offers: &[&str]) -> (String, usize) {
        let mut actions = Vec::new();
        let offered = |name: &str| offers.contains(&name);
        let begun = Exchange::begin("m1", &credential(password), offered, &mut actions);
        let text = match actions.as_slice() {
            [UpstreamAction::Write(bytes)] => String::from_utf8(bytes.to_vec()).unwrap(),
            [UpstreamAction::WriteSecret(secret)] => {
                String::from_utf8(secret.expose().to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        };
        let mut exchange = begun.unwrap();
        let answers = std::iter::from_fn(|| exchange.answer(b""));
        (text, answers.count())
    }

    #[test]
    fn a_long_initial_response_waits_for_its_challenge() {
        let offers = ["AUTH=PLAIN", "SASL-IR"];
        // The cancellation is one more.
        assert_eq!(said("x", &offers).1, 1);
        assert_eq!(
            said(&"x".repeat(900), &offers),
            ("m1 AUTHENTICATE PLAIN\r\n".into(), 2)
        );
    }

    #[test]
    fn a_literal_over_the_limit_of_literal_minus_waits() {
        assert_eq!(
            said("x", &["LITERAL-"]).0,
            "m1 LOGIN {4+}\r\nanna {1+}\r\nx\r\n"
        );
        let long = "x".repeat(4097);
        assert_eq!(said(&long, &["LITERAL-"]), ("m1 LOGIN {4}\r\n".into(), 2));
        assert_eq!(said(&long, &["LITERAL+"]).1, 0);
    }

    #[test]
    fn debug_shows_no_password() {
        let mut actions = Vec::new();
        let exchange = Exchange::begin("m1", &credential("hunter2"), |_| false, &mut actions);
        assert!(!format!("{exchange:?} {actions:?}").contains("hunter2"));
    }
}
