//! SASL as client: by which mechanism a credential is said, and what is said to each challenge.
//!
//! | mechanism | what is said | to one challenge more, which is an error report |
//! |---|---|---|
//! | PLAIN (RFC 4616) | one message | `*`, which cancels |
//! | LOGIN | the name, then the password | `*` |
//! | XOAUTH2 (Google, Microsoft) | one message | an empty line |
//! | OAUTHBEARER (RFC 7628) | one message | `AQ==`, the single ^A of section 3.2.3 |
//!
//! A token is never said by PLAIN or LOGIN, nor a password as a token: who offers nothing fitting gets nothing.

use std::collections::VecDeque;

use base64::Engine;
use serde::Deserialize;

use super::{LENIENT, encode, encode_plain};
use crate::proto::dialogue::Credential;
use crate::secret::Secret;

/// One exchange, and how far it is.
#[derive(Debug)]
pub struct Exchange {
    mechanism: &'static str,
    /// Base64; said one by one.
    responses: VecDeque<Secret>,
    /// Said when a challenge comes and no response is left. Once: the next thing the server says is its verdict.
    last: Option<&'static str>,
    report: Report,
}

/// What the server said about a token, in a challenge that is none.
#[derive(Debug, Default)]
enum Report {
    #[default]
    None,
    /// There was one, and its status if it could be read.
    Said(Option<String>),
}

impl Exchange {
    /// The best exchange of those on offer. `None` where nothing fits.
    pub fn choose(credential: &Credential, offers: impl Fn(&str) -> bool) -> Option<Self> {
        match credential {
            Credential::Password { user, password } if offers("PLAIN") => {
                let message = encode_plain(user, password);
                Some(Self::new("PLAIN", [message], CANCEL))
            }
            // The challenges are not compared: servers word them as they like, and the order is fixed.
            Credential::Password { user, password } if offers("LOGIN") => {
                let parts = [encode(user.as_bytes()), encode(password.expose())];
                Some(Self::new("LOGIN", parts, CANCEL))
            }
            Credential::Password { .. } => None,
            Credential::Bearer {
                user,
                token,
                host,
                port,
                mechanisms,
            } => match bearer_mechanism(mechanisms, offers)? {
                XOAUTH2 => Some(Self::new(XOAUTH2, [xoauth2(user, token)], "")),
                _ => {
                    let message = oauthbearer(user, host, *port, token);
                    Some(Self::new(OAUTHBEARER, [message], "AQ=="))
                }
            },
        }
    }

    fn new<const N: usize>(
        mechanism: &'static str,
        responses: [Secret; N],
        last: &'static str,
    ) -> Self {
        Self {
            mechanism,
            responses: responses.into(),
            last: Some(last),
            report: Report::None,
        }
    }

    /// The name to put behind AUTH or AUTHENTICATE.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// The whole message, to go with the command, if it has no more than `octets_max`. LOGIN has none to give.
    pub fn initial_response(&mut self, octets_max: usize) -> Option<Secret> {
        match self.responses.front() {
            Some(message) if self.responses.len() == 1 && message.expose().len() <= octets_max => {
                self.responses.pop_front()
            }
            _ => None,
        }
    }

    /// What is said to a challenge, without the line end. `None` where nothing is left to say.
    pub fn answer(&mut self, challenge: &[u8]) -> Option<Secret> {
        self.responses.pop_front().or_else(|| {
            let last = self.last.take()?;
            self.report = Report::Said(status(challenge));
            Some(Secret::from(last))
        })
    }

    /// Whether the server reported an error before its verdict, so that it did look at the credential.
    pub fn was_judged(&self) -> bool {
        matches!(self.report, Report::Said(_))
    }

    /// The status of that report: `400`, `invalid_token`. A short word of harmless characters.
    pub fn status(&self) -> Option<&str> {
        match &self.report {
            Report::Said(status) => status.as_deref(),
            Report::None => None,
        }
    }

    /// Whether the report blames the server and not the token: `5xx`, as HTTP has it.
    pub fn blames_the_server(&self) -> bool {
        self.status()
            .is_some_and(|status| status.len() == 3 && status.starts_with('5'))
    }
}

/// The XOAUTH2 message, in base64: `"user=" user ^A "auth=Bearer " token ^A ^A`.
pub fn xoauth2(user: &str, token: &Secret) -> Secret {
    message(&[
        b"user=",
        user.as_bytes(),
        b"\x01auth=Bearer ",
        token.expose(),
        b"\x01\x01",
    ])
}

/// The OAUTHBEARER message, in base64: gs2-header and key-value pairs, RFC 7628 section 3.1.
pub fn oauthbearer(user: &str, host: &str, port: u16, token: &Secret) -> Secret {
    // saslname, RFC 5801 section 4.
    let user = user.replace('=', "=3D").replace(',', "=2C");
    let port = port.to_string();
    message(&[
        b"n,a=",
        user.as_bytes(),
        b",\x01host=",
        host.as_bytes(),
        b"\x01port=",
        port.as_bytes(),
        b"\x01auth=Bearer ",
        token.expose(),
        b"\x01\x01",
    ])
}

/// Whether `credential` can be said at all: nothing in it could forge a line or a field of a message.
///
/// No control byte in a name, a host or a token, no NUL, CR or LF in a password; and a token is what RFC 6750 section
/// 2.1 lets it be, printable and without spaces.
pub fn sayable(credential: &Credential) -> bool {
    let clean = |text: &str| !text.bytes().any(|b| b.is_ascii_control());
    match credential {
        Credential::Password { user, password } => {
            let forges = |b: &u8| matches!(b, 0 | b'\r' | b'\n');
            clean(user) && !password.expose().iter().any(forges)
        }
        Credential::Bearer {
            user, token, host, ..
        } => {
            let printable = token.expose().iter().all(u8::is_ascii_graphic);
            clean(user) && clean(host) && printable && !token.is_empty()
        }
    }
}

/// The first of `wanted` that is offered; of those this program knows if none is named.
fn bearer_mechanism(wanted: &[String], offers: impl Fn(&str) -> bool) -> Option<&'static str> {
    let known = [XOAUTH2, OAUTHBEARER];
    let found = |name: &str| {
        known
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name) && offers(known))
    };
    if wanted.is_empty() {
        known.into_iter().find_map(found)
    } else {
        wanted.iter().find_map(|name| found(name))
    }
}

/// In one allocation: a vector that grows leaves copies behind.
fn message(parts: &[&[u8]]) -> Secret {
    let mut message = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        message.extend_from_slice(part);
    }
    encode(Secret::new(message).expose())
}

/// `{"status":"400","schemes":"Bearer","scope":"…"}` in base64 (RFC 7628 section 3.2.2). quirk: Google's XOAUTH2 has the
/// number of an HTTP status in it, others write it without quotes.
fn status(challenge: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        status: Status,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Status {
        Word(String),
        Number(u16),
    }
    let json = LENIENT.decode(challenge.trim_ascii()).ok()?;
    let said: Said = serde_json::from_slice(&json).ok()?;
    let status = match said.status {
        Status::Word(word) => word,
        Status::Number(number) => number.to_string(),
    };
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!status.is_empty() && status.len() <= STATUS_MAX && status.chars().all(harmless))
        .then_some(status)
}

const XOAUTH2: &str = "XOAUTH2";
const OAUTHBEARER: &str = "OAUTHBEARER";

/// RFC 3501 section 6.2.2, RFC 5034 section 4, RFC 4954 section 4.
const CANCEL: &str = "*";

/// `insufficient_scope` is the longest of RFC 6750 section 3.1.
const STATUS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(user: &str, token: &str, mechanisms: &[&str]) -> Credential {
        Credential::Bearer {
            user: user.into(),
            token: Secret::from(token),
            host: "imap.example.org".into(),
            port: 993,
            mechanisms: mechanisms.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn decoded(message: &Secret) -> String {
        String::from_utf8(LENIENT.decode(message.expose()).unwrap()).unwrap()
    }

    #[test]
    fn messages_are_those_of_the_specifications() {
        let token = Secret::from("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
        // Google's XOAUTH2 page and RFC 7628 section 4.1, with their own values.
        assert_eq!(
            xoauth2("someuser@example.com", &token).expose(),
            b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhk\
              SFJoZG1semRHRXVZMjl0Q2cBAQ=="
        );
        let token = Secret::from("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        assert_eq!(
            oauthbearer("user@example.com", "server.example.com", 143, &token).expose(),
            b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI\
              HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        );
    }

    #[test]
    fn a_name_with_commas_and_equals_signs_is_escaped_for_gs2_alone() {
        let token = Secret::from("t");
        let gs2 = decoded(&oauthbearer("a,b=c", "h", 1, &token));
        assert_eq!(
            gs2,
            "n,a=a=2Cb=3Dc,\x01host=h\x01port=1\x01auth=Bearer t\x01\x01"
        );
        let plain = decoded(&xoauth2("a,b=c", &token));
        assert_eq!(plain, "user=a,b=c\x01auth=Bearer t\x01\x01");
    }

    #[test]
    fn the_mechanism_is_the_first_wanted_of_those_offered() {
        let chosen = |wanted: &[&str], offered: &[&str]| {
            let offers = |name: &str| offered.contains(&name);
            Exchange::choose(&bearer("anna", "t", wanted), offers).map(|it| it.mechanism())
        };
        let both = ["PLAIN", "OAUTHBEARER", "XOAUTH2"];
        assert_eq!(chosen(&[], &both), Some("XOAUTH2"));
        assert_eq!(
            chosen(&["oauthbearer", "XOAUTH2"], &both),
            Some("OAUTHBEARER")
        );
        assert_eq!(
            chosen(&["OAUTHBEARER", "XOAUTH2"], &["XOAUTH2"]),
            Some("XOAUTH2")
        );
        assert_eq!(chosen(&[], &["OAUTHBEARER"]), Some("OAUTHBEARER"));
        assert_eq!(chosen(&["XOAUTH2"], &["OAUTHBEARER"]), None);
        assert_eq!(chosen(&["PLAIN"], &both), None);
        assert_eq!(chosen(&[], &["PLAIN", "LOGIN"]), None);
    }

    #[test]
    fn a_password_is_never_said_as_a_token() {
        let password = Credential::Password {
            user: "anna".into(),
            password: Secret::from("x"),
        };
        let chosen = |offered: &'static str| {
            Exchange::choose(&password, |name| name == offered).map(|it| it.mechanism())
        };
        assert_eq!(chosen("XOAUTH2"), None);
        assert_eq!(chosen("LOGIN"), Some("LOGIN"));
    }

    #[test]
    fn an_error_report_is_answered_once_and_read_for_its_status() {
        let report = |json: &str| {
            let mut exchange = Exchange::choose(&bearer("anna", "t", &[]), |_| true).unwrap();
            assert!(exchange.initial_response(1000).is_some() && !exchange.was_judged());
            let challenge = encode(json.as_bytes());
            assert_eq!(exchange.answer(challenge.expose()).unwrap().expose(), b"");
            assert!(exchange.answer(challenge.expose()).is_none() && exchange.was_judged());
            (
                exchange.status().map(str::to_owned),
                exchange.blames_the_server(),
            )
        };
        let said = |status: &str| Some(status.to_owned());
        assert_eq!(
            report(r#"{"status":"400","schemes":"Bearer"}"#),
            (said("400"), false)
        );
        assert_eq!(report(r#"{"status":503}"#), (said("503"), true));
        assert_eq!(
            report(r#"{"status":"invalid_token"}"#),
            (said("invalid_token"), false)
        );
        for unfit in ["", "{}", "[[", r#"{"status":"a\r\nb"}"#, r#"{"status":""}"#] {
            assert_eq!(report(unfit), (None, false), "{unfit}");
        }
        assert_eq!(
            report(&format!(r#"{{"status":"{}"}}"#, "x".repeat(33))),
            (None, false)
        );
    }

    #[test]
    fn a_message_over_the_limit_waits_for_its_challenge() {
        let mut exchange = Exchange::choose(&bearer("anna", "t", &[]), |_| true).unwrap();
        assert!(exchange.initial_response(30).is_none());
        assert_eq!(
            exchange.answer(b"").unwrap().expose(),
            xoauth2("anna", &Secret::from("t")).expose()
        );
    }

    #[test]
    fn what_could_forge_a_field_is_not_sayable() {
        assert!(sayable(&bearer(
            "anna@example.org",
            "ya29.a-b_c~d+e/f==",
            &[]
        )));
        for (user, token) in [
            ("a\x01b", "t"),
            ("a\n", "t"),
            ("a", "t\x01"),
            ("a", "t t"),
            ("a", ""),
        ] {
            assert!(!sayable(&bearer(user, token, &[])), "{user:?} {token:?}");
        }
        let password = |user: &str, password: &str| {
            sayable(&Credential::Password {
                user: user.into(),
                password: Secret::from(password),
            })
        };
        assert!(password("anna@example.org", "p\u{e4}ss word"));
        assert!(!password("a\u{1}b", "x") && !password("a", "x\r\nDELE 1"));
    }

    #[test]
    fn debug_shows_no_token() {
        let credential = bearer("anna", "hunter2", &[]);
        let exchange = Exchange::choose(&credential, |_| true);
        let shown = format!("{credential:?} {exchange:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("aHVudGVy"),
            "{shown}"
        );
    }

    proptest! {
        /// RFC 7628's fields are split at ^A, the gs2 header at commas: whatever the name, there are as many as we made.
        #[test]
        fn no_sayable_name_adds_a_field(user in "[ -~]{0,40}", token in "[!-~]{1,40}") {
            let credential = bearer(&user, &token, &[]);
            prop_assert!(sayable(&credential));
            let message = decoded(&oauthbearer(&user, "h", 1, &Secret::from(token.as_str())));
            prop_assert_eq!(message.split('\x01').count(), 6);
            let header = message.split('\x01').next().unwrap_or_default();
            prop_assert_eq!(header.split(',').count(), 3);
            prop_assert_eq!(decoded(&xoauth2(&user, &Secret::from(token.as_str()))).split('\x01').count(), 4);
        }

        #[test]
        fn no_challenge_makes_it_panic(challenge in proptest::collection::vec(any::<u8>(), 0..200)) {
            status(&challenge);
            status(encode(&challenge).expose());
        }
    }
}
