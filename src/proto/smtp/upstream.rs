//! The SMTP dialogue with the upstream up to "authenticated": we are the client.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `ExpectGreeting` | 220 | EHLO, `ExpectEhlo` |
//! | `ExpectEhlo` | 250 and keywords | STARTTLS or AUTH |
//! | `ExpectStartTls` | 220 | `AwaitTls` |
//! | `AwaitTls` | the handshake | EHLO again, `ExpectEhlo` |
//! | `ExpectPlain`, `ExpectUser`, `ExpectPassword` | 334 | the next part of the credential |
//! | `ExpectVerdict` | 235 | established |
//!
//! EHLO always says our own name, whatever the client called itself, and is not said again after AUTH: RFC 4954 section 4
//! asks for that only behind a SASL security layer, and some servers answer 503. So the keywords that hold for the
//! session are those of the last EHLO before AUTH.

mod verdict;

use std::mem;

use bytes::{Bytes, BytesMut};

use self::verdict::{refused, unwilling};
use super::codec::Reply;
use super::frame;
use crate::proto::dialogue::{
    Credential, Established, Upstream, UpstreamAction, UpstreamInput, UpstreamSettings,
};
use crate::proto::refusal::{Cause, Refusal};
use crate::proto::sasl;
use crate::protocol::TlsMode;
use crate::secret::Secret;

/// The longest command line with its CRLF that every server takes, RFC 5321 section 4.5.3.1.4. RFC 4954 section 4 holds
/// AUTH with an initial response to it; what is longer follows the 334.
pub const AUTH_COMMAND_MAX: usize = 512;

/// The upstream-facing dialogue.
#[derive(Debug)]
pub struct SmtpUpstream {
    settings: UpstreamSettings,
    buffer: BytesMut,
    state: State,
    /// Whether TLS stands.
    secured: bool,
    /// The keyword lines of the last EHLO.
    keywords: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ExpectGreeting,
    ExpectEhlo,
    ExpectStartTls,
    AwaitTls,
    ExpectPlain,
    ExpectUser,
    ExpectPassword,
    ExpectVerdict,
    Done,
}

impl SmtpUpstream {
    /// A dialogue that waits for the upstream's greeting.
    pub fn new(settings: UpstreamSettings) -> Self {
        Self {
            secured: settings.tls == TlsMode::Implicit,
            settings,
            buffer: BytesMut::new(),
            state: State::ExpectGreeting,
            keywords: Vec::new(),
        }
    }
}

impl Upstream for SmtpUpstream {
    fn step(&mut self, input: UpstreamInput<'_>, actions: &mut Vec<UpstreamAction>) {
        match (input, self.state) {
            (_, State::Done) | (UpstreamInput::Connected, _) => {}
            (UpstreamInput::Bytes(_), State::AwaitTls) => self.bytes_behind_start_tls(actions),
            (UpstreamInput::Bytes(bytes), _) => {
                self.buffer.extend_from_slice(bytes);
                self.advance(actions);
            }
            (UpstreamInput::Eof, _) => {
                self.fail(
                    Cause::Unavailable,
                    "The provider closed the connection",
                    actions,
                );
            }
            (UpstreamInput::TlsReady, _) => {
                // RFC 3207 section 4.2: what was said in plain text does not count.
                self.secured = true;
                self.keywords.clear();
                self.ehlo(actions);
            }
        }
    }

    fn phase(&self) -> &'static str {
        match self.state {
            State::ExpectGreeting => "expect-greeting",
            State::ExpectEhlo => "expect-ehlo",
            State::ExpectStartTls => "expect-starttls",
            State::AwaitTls => "await-tls",
            State::ExpectPlain => "expect-plain",
            State::ExpectUser => "expect-user",
            State::ExpectPassword => "expect-password",
            State::ExpectVerdict => "expect-verdict",
            State::Done => "done",
        }
    }
}

impl SmtpUpstream {
    fn advance(&mut self, actions: &mut Vec<UpstreamAction>) {
        while !matches!(self.state, State::Done | State::AwaitTls) {
            match frame::reply(&self.buffer) {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    let bytes = self.buffer.split_to(frame.len).freeze();
                    self.reply(&Reply::new(frame.code, &bytes), actions);
                }
                Err(_) => {
                    let text = "The provider does not answer in SMTP";
                    self.fail(Cause::Unavailable, text, actions);
                }
            }
        }
    }

    fn reply(&mut self, reply: &Reply<'_>, actions: &mut Vec<UpstreamAction>) {
        match (self.state, reply.code) {
            (State::ExpectGreeting, 220) => self.ehlo(actions),
            (State::ExpectEhlo, 250) => self.greeted(reply, actions),
            (State::ExpectStartTls, 220) if self.buffer.is_empty() => {
                self.state = State::AwaitTls;
                actions.push(UpstreamAction::StartTls);
            }
            (State::ExpectStartTls, 220) => self.bytes_behind_start_tls(actions),
            (State::ExpectPlain, 334) => {
                let Credential::Password { user, password } = &self.settings.credential;
                let message = sasl::encode_plain(user, password);
                self.answer(&message, State::ExpectVerdict, actions);
            }
            (State::ExpectUser, 334) => {
                let Credential::Password { user, .. } = &self.settings.credential;
                let user = sasl::encode(user.as_bytes());
                self.answer(&user, State::ExpectPassword, actions);
            }
            (State::ExpectPassword, 334) => {
                let Credential::Password { password, .. } = &self.settings.credential;
                let password = sasl::encode(password.expose());
                self.answer(&password, State::ExpectVerdict, actions);
            }
            (State::ExpectVerdict, 235) => self.established(actions),
            (State::ExpectGreeting | State::ExpectEhlo | State::ExpectStartTls, _) => {
                let refusal = unwilling(reply, self.phase());
                self.fail_with(refusal, actions);
            }
            _ => {
                let refusal = refused(reply, self.phase(), &self.settings);
                self.fail_with(refusal, actions);
            }
        }
    }

    fn ehlo(&mut self, actions: &mut Vec<UpstreamAction>) {
        self.state = State::ExpectEhlo;
        write(actions, format!("EHLO {}\r\n", self.settings.ehlo_name));
    }

    /// The EHLO reply: its first line is a greeting, the others are keywords (RFC 5321 section 4.1.1.1).
    fn greeted(&mut self, reply: &Reply<'_>, actions: &mut Vec<UpstreamAction>) {
        let lines = reply.lines.iter().skip(1).map(|line| line.trim_ascii());
        self.keywords = lines
            .filter(|line| line.iter().all(|&b| b == b' ' || b.is_ascii_graphic()))
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        if self.secured {
            self.authenticate(actions);
        } else if self
            .keywords
            .iter()
            .any(|line| line.eq_ignore_ascii_case("STARTTLS"))
        {
            self.state = State::ExpectStartTls;
            write(actions, "STARTTLS\r\n");
        } else {
            // Missing, or taken out by somebody on the way. There is no going on without.
            let text = "The provider does not offer STARTTLS";
            self.fail(Cause::UpstreamPolicy, text, actions);
        }
    }

    fn authenticate(&mut self, actions: &mut Vec<UpstreamAction>) {
        let Credential::Password { user, password } = &self.settings.credential;
        if !sasl::sayable(user, password) {
            let (cause, text) = if self.settings.passthrough {
                (Cause::WrongPassword, "This password holds a line end")
            } else {
                (
                    Cause::ServerBug,
                    "The stored credential holds a control character",
                )
            };
            return self.fail(cause, text, actions);
        }
        if self.offers("PLAIN") {
            let message = sasl::encode_plain(user, password);
            let command = [b"AUTH PLAIN ", message.expose(), b"\r\n"].concat();
            if command.len() <= AUTH_COMMAND_MAX {
                self.state = State::ExpectVerdict;
                actions.push(UpstreamAction::WriteSecret(Secret::new(command)));
            } else {
                drop(Secret::new(command));
                self.state = State::ExpectPlain;
                write(actions, "AUTH PLAIN\r\n");
            }
        } else if self.offers("LOGIN") {
            self.state = State::ExpectUser;
            write(actions, "AUTH LOGIN\r\n");
        } else {
            let text = "The provider offers no password login";
            self.fail(Cause::UpstreamPolicy, text, actions);
        }
    }

    /// Whether a mechanism is among those offered. quirk: old servers write `AUTH=` for the sake of Outlook Express 4.
    fn offers(&self, mechanism: &str) -> bool {
        self.keywords
            .iter()
            .filter_map(|line| {
                let (keyword, rest) = line.split_at_checked(5)?;
                (keyword.eq_ignore_ascii_case("AUTH ") || keyword.eq_ignore_ascii_case("AUTH="))
                    .then_some(rest)
            })
            .flat_map(str::split_ascii_whitespace)
            .any(|offered| offered.eq_ignore_ascii_case(mechanism))
    }

    fn answer(&mut self, base64: &Secret, next: State, actions: &mut Vec<UpstreamAction>) {
        self.state = next;
        let line = [base64.expose(), b"\r\n"].concat();
        actions.push(UpstreamAction::WriteSecret(Secret::new(line)));
    }

    fn established(&mut self, actions: &mut Vec<UpstreamAction>) {
        self.state = State::Done;
        actions.push(UpstreamAction::Established(Box::new(Established {
            capabilities: Some(mem::take(&mut self.keywords)),
            leftover: mem::take(&mut self.buffer).freeze(),
        })));
    }

    /// Response injection: they came before TLS and would be read as if under it.
    fn bytes_behind_start_tls(&mut self, actions: &mut Vec<UpstreamAction>) {
        let text = "The provider sent plain text behind STARTTLS";
        self.fail(Cause::Unavailable, text, actions);
    }

    fn fail(&mut self, cause: Cause, text: &'static str, actions: &mut Vec<UpstreamAction>) {
        self.fail_with(Refusal::new(cause, self.phase(), text), actions);
    }

    fn fail_with(&mut self, refusal: Refusal, actions: &mut Vec<UpstreamAction>) {
        self.state = State::Done;
        actions.push(UpstreamAction::Fail(refusal));
    }
}

fn write(actions: &mut Vec<UpstreamAction>, line: impl Into<Bytes>) {
    actions.push(UpstreamAction::Write(line.into()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything the dialogue does, secrets exposed; neighbouring writes are one.
    fn play(pieces: &[&[u8]]) -> String {
        let settings = UpstreamSettings {
            tls: TlsMode::Implicit,
            ehlo_name: "h".into(),
            credential: Credential::Password {
                user: "anna".into(),
                password: Secret::from("secret"),
            },
            passthrough: false,
        };
        let mut upstream = SmtpUpstream::new(settings);
        let mut actions = Vec::new();
        upstream.step(UpstreamInput::Connected, &mut actions);
        for piece in pieces {
            upstream.step(UpstreamInput::Bytes(piece), &mut actions);
        }
        let mut shown = String::new();
        for action in actions {
            match action {
                UpstreamAction::Write(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
                UpstreamAction::WriteSecret(secret) => {
                    shown.push_str(&String::from_utf8_lossy(secret.expose()));
                }
                // What follows the verdict stays with the relay, so it differs by split.
                UpstreamAction::Established(it) => {
                    shown.push_str(&format!("<{:?}>", it.capabilities));
                }
                other => shown.push_str(&format!("<{other:?}>")),
            }
        }
        shown
    }

    const SCRIPT: &[u8] =
        b"220-x\r\n220 y\r\n250-x\r\n250-AUTH LOGIN\r\n250 SIZE\r\n334 a\r\n334 b\n235 OK\r\nmore";

    proptest! {
        #[test]
        fn no_split_changes_what_is_done(cuts in prop::collection::vec(0..SCRIPT.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, SCRIPT.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &SCRIPT[cut[0]..cut[1]]).collect();
            let expected = "EHLO h\r\nAUTH LOGIN\r\nYW5uYQ==\r\nc2VjcmV0\r\n<Some([\"AUTH LOGIN\", \"SIZE\"])>";
            prop_assert_eq!(play(&pieces), expected);
        }

        #[test]
        fn nothing_an_upstream_sends_panics(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8),
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert!(!play(&pieces).contains("c2VjcmV0"));
        }
    }
}
