//! How a password is said upstream: by the best way of those on offer.

use std::collections::VecDeque;

use crate::proto::dialogue::UpstreamAction;
use crate::proto::sasl;
use crate::secret::Secret;

/// One way to say it, in the order it is said.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Said on each `+` of the upstream.
    answers: VecDeque<UpstreamAction>,
    /// Said on one `+` more, where the exchange can be cancelled.
    cancel: Option<UpstreamAction>,
}

impl Exchange {
    /// Chooses a way and begins it. `None`, and nothing said, where no way is left.
    pub(super) fn begin(
        tag: &str,
        user: &str,
        password: &Secret,
        offers: impl Fn(&str) -> bool,
        actions: &mut Vec<UpstreamAction>,
    ) -> Option<Self> {
        if offers("AUTH=PLAIN") {
            let message = sasl::encode_plain(user, password);
            Some(plain(tag, &message, offers("SASL-IR"), actions))
        } else if offers("AUTH=LOGIN") {
            actions.push(write(format!("{tag} AUTHENTICATE LOGIN\r\n")));
            let user = sasl::encode(user.as_bytes());
            let password = sasl::encode(password.expose());
            Some(Self {
                answers: [secret(&[user.expose()]), secret(&[password.expose()])].into(),
                cancel: Some(write(CANCEL)),
            })
        } else if offers("LOGINDISABLED") {
            None
        } else {
            let longest = user.len().max(password.expose().len());
            // RFC 7888: LITERAL- has a limit, LITERAL+ has none.
            let at_once = offers("LITERAL+") || offers("LITERAL-") && longest <= LITERAL_MINUS_MAX;
            Some(login(tag, user, password, at_once, actions))
        }
    }

    /// What is said to a `+`. A challenge beyond what the mechanism has is an error report: it is cancelled, so that
    /// the tagged reply comes. `None` where that is not possible, or was done.
    pub(super) fn answer(&mut self) -> Option<UpstreamAction> {
        self.answers.pop_front().or_else(|| self.cancel.take())
    }
}

/// AUTHENTICATE PLAIN, with its message at once where SASL-IR allows (RFC 4959).
fn plain(
    tag: &str,
    message: &Secret,
    sasl_ir: bool,
    actions: &mut Vec<UpstreamAction>,
) -> Exchange {
    let mut answers = VecDeque::new();
    if sasl_ir && message.expose().len() <= INITIAL_RESPONSE_MAX {
        let command = format!("{tag} AUTHENTICATE PLAIN ");
        actions.push(secret(&[command.as_bytes(), message.expose()]));
    } else {
        actions.push(write(format!("{tag} AUTHENTICATE PLAIN\r\n")));
        answers.push_back(secret(&[message.expose()]));
    }
    Exchange {
        answers,
        cancel: Some(write(CANCEL)),
    }
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
    let mut answers = VecDeque::new();
    if at_once {
        let head = format!("{tag} LOGIN {{{octets}+}}\r\n{user} {{{password_octets}+}}\r\n");
        actions.push(secret(&[head.as_bytes(), password.expose()]));
    } else {
        actions.push(write(format!("{tag} LOGIN {{{octets}}}\r\n")));
        answers.push_back(write(format!("{user} {{{password_octets}}}\r\n")));
        answers.push_back(secret(&[password.expose()]));
    }
    Exchange {
        answers,
        cancel: None,
    }
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

/// RFC 3501 section 6.2.2.
const CANCEL: &str = "*\r\n";

/// The longest initial response: RFC 2683 section 3.2.1.5 tells clients to keep a line below some 1000 octets.
const INITIAL_RESPONSE_MAX: usize = 900;

/// RFC 7888 section 5.
const LITERAL_MINUS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said at once, and how many answers are kept for a `+`.
    fn said(password: &str, offers: &[&str]) -> (String, usize) {
        let password = Secret::from(password);
        let mut actions = Vec::new();
        let offered = |name: &str| offers.contains(&name);
        let exchange = Exchange::begin("m1", "anna", &password, offered, &mut actions).unwrap();
        let text = match actions.as_slice() {
            [UpstreamAction::Write(bytes)] => String::from_utf8(bytes.to_vec()).unwrap(),
            [UpstreamAction::WriteSecret(secret)] => {
                String::from_utf8(secret.expose().to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        };
        (text, exchange.answers.len())
    }

    #[test]
    fn a_long_initial_response_waits_for_its_challenge() {
        let offers = ["AUTH=PLAIN", "SASL-IR"];
        assert_eq!(said("x", &offers).1, 0);
        assert_eq!(
            said(&"x".repeat(900), &offers),
            ("m1 AUTHENTICATE PLAIN\r\n".into(), 1)
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
        let password = Secret::from("hunter2");
        let exchange = Exchange::begin("m1", "anna", &password, |_| false, &mut actions);
        assert!(!format!("{exchange:?} {actions:?}").contains("hunter2"));
    }
}
