//! The IMAP dialogue with the upstream up to "authenticated": we are the client.
//!
//! It deliberately follows nothing the upstream suggests: no referral, no downgrade, no PREAUTH.
//!
//! Where the upstream does not name its capabilities, those of an earlier login are assumed: that spares a round trip,
//! with STARTTLS two. If it then refuses the login and does not say that it was the credential, it is asked, and the
//! login is said once more if it would be said otherwise now.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `ExpectGreeting` | the greeting | `ExpectCapability`, `ExpectStartTls`, `ExpectLogin` |
//! | `ExpectCapability` | CAPABILITY, asked where the upstream has not told | `ExpectStartTls`, `ExpectLogin` |
//! | `ExpectStartTls` | OK to STARTTLS, and nothing behind it | `AwaitTls` |
//! | `AwaitTls` | the handshake | `ExpectCapability` |
//! | `ExpectLogin` | a `+` for each thing left to say, and the tagged OK | `Done`, `ExpectCapability` |
//! | `Done` | nothing | – |

mod credential;

use std::sync::Arc;

use self::credential::{Exchange, Way, write};
use super::codec::cause::cause;
use super::codec::response::{RespText, Response, Status, response};
use super::frame::announced;
use crate::proto::dialogue::{
    Abilities, Established, Upstream, UpstreamAction, UpstreamInput, UpstreamSettings,
};
use crate::proto::lines::{Line, Lines};
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::TlsMode;

/// See the module.
#[derive(Debug)]
pub struct ImapUpstream {
    settings: UpstreamSettings,
    state: State,
    lines: Lines,
    /// What the upstream named as its capabilities in its present state.
    capabilities: Option<Vec<String>>,
    /// What it named at an earlier login; taken away when it proves wrong.
    assumed: Option<Arc<Abilities>>,
    /// What it named when it was asked under TLS.
    learned: Option<Vec<String>>,
    /// A login that was said on an assumption, and how it was refused.
    doubt: Option<(Way, Refusal)>,
    /// Commands sent so far; makes the tags.
    commands: usize,
    /// Lines and octets seen so far.
    seen: Seen,
    /// Octets of a literal that are still to be skipped.
    skip: usize,
    /// Whether the line at hand goes on behind a literal.
    continued: bool,
}

#[derive(Debug)]
enum State {
    ExpectGreeting,
    ExpectCapability {
        tag: String,
    },
    ExpectStartTls {
        tag: String,
    },
    AwaitTls,
    ExpectLogin {
        tag: String,
        exchange: Exchange,
        /// How it was said, if that rests on an assumption.
        guessed: Option<Way>,
    },
    Done,
}

#[derive(Debug, Default)]
struct Seen {
    lines: usize,
    octets: usize,
}

impl ImapUpstream {
    /// A dialogue that waits for the connection.
    pub fn new(settings: UpstreamSettings) -> Self {
        Self {
            settings,
            state: State::ExpectGreeting,
            lines: Lines::default(),
            capabilities: None,
            assumed: None,
            learned: None,
            doubt: None,
            commands: 0,
            seen: Seen::default(),
            skip: 0,
            continued: false,
        }
    }
}

impl Upstream for ImapUpstream {
    fn step(&mut self, input: UpstreamInput<'_>, actions: &mut Vec<UpstreamAction>) {
        if matches!(self.state, State::Done) {
            return;
        }
        match input {
            UpstreamInput::Connected => self.check_credential(actions),
            UpstreamInput::Bytes(_) if matches!(self.state, State::AwaitTls) => {
                self.fail(Cause::Unavailable, BYTES_BEHIND_STARTTLS, b"", actions);
            }
            UpstreamInput::Bytes(bytes) => {
                self.lines.push(bytes);
                self.advance(actions);
            }
            UpstreamInput::Eof => {
                let words = "The mail provider closed the connection";
                self.fail(Cause::Unavailable, words, b"", actions);
            }
            UpstreamInput::TlsReady => {
                // RFC 3501 section 6.2.1: what was learned in the clear is worth nothing.
                self.capabilities = None;
                self.settings.tls = TlsMode::Implicit;
                self.proceed(actions);
            }
        }
    }

    fn assume(&mut self, abilities: Arc<Abilities>) {
        self.assumed = Some(abilities);
    }

    fn learned(&self) -> Option<Abilities> {
        let before_login = Some(self.learned.clone()?);
        Some(Abilities {
            before_login,
            after_login: None,
        })
    }

    fn phase(&self) -> &'static str {
        match &self.state {
            State::ExpectGreeting => "expect-greeting",
            State::ExpectCapability { .. } => "expect-capability",
            State::ExpectStartTls { .. } => "expect-starttls",
            State::AwaitTls => "await-tls",
            State::ExpectLogin { .. } => "expect-login",
            State::Done => "done",
        }
    }
}

impl ImapUpstream {
    fn check_credential(&mut self, actions: &mut Vec<UpstreamAction>) {
        if let Err(refusal) = self.settings.check_credential(self.phase()) {
            self.fail_with(refusal, actions);
        }
    }

    fn advance(&mut self, actions: &mut Vec<UpstreamAction>) {
        while !matches!(self.state, State::Done | State::AwaitTls) {
            if self.seen.lines > LINES_MAX || self.seen.octets > OCTETS_MAX {
                let words = "The mail provider sent too much before the login was done";
                return self.fail(Cause::Unavailable, words, b"", actions);
            }
            self.skip -= self.lines.discard(self.skip);
            if self.skip > 0 {
                return;
            }
            let Some(line) = self.lines.next(LINE_MAX) else {
                return;
            };
            let Line::Complete(line) = line else {
                let words = "The mail provider sent an over-long line";
                return self.fail(Cause::Unavailable, words, b"", actions);
            };
            let line = line.expose();
            self.seen.lines += 1;
            self.seen.octets = self.seen.octets.saturating_add(line.len());
            if std::mem::take(&mut self.continued) {
                self.on_data(line);
            } else {
                self.on_line(line, actions);
            }
        }
    }

    fn on_line(&mut self, line: &[u8], actions: &mut Vec<UpstreamAction>) {
        match response(line) {
            Some(Response::Continue(challenge)) => self.on_continue(challenge, actions),
            Some(Response::Capability(list)) => self.learn(Some(list)),
            Some(Response::Data) => self.on_data(line),
            Some(Response::Status { tag, status, text }) => {
                self.learn(text.capabilities());
                self.on_status(tag, status, text, actions);
            }
            None => self.fail(Cause::Unavailable, NOT_IMAP, line, actions),
        }
    }

    fn on_status(
        &mut self,
        tag: Option<&[u8]>,
        status: Status,
        text: RespText<'_>,
        actions: &mut Vec<UpstreamAction>,
    ) {
        match (&self.state, tag, status) {
            (_, None, Status::Bye) => self.refused(status, text, actions),
            (State::ExpectGreeting, None, Status::Ok) => self.proceed(actions),
            (State::ExpectGreeting, None, Status::Preauth) => {
                // NO STARTTLS: PREAUTH would skip both TLS and the login.
                let words = "The mail provider wants no login (PREAUTH)";
                self.fail(Cause::UpstreamPolicy, words, b"", actions);
            }
            (State::ExpectGreeting, ..) => {
                self.fail(Cause::Unavailable, NOT_IMAP, text.text, actions);
            }
            (_, None, _) => {}
            (State::ExpectCapability { tag: ours }, Some(tag), _) if tag == ours.as_bytes() => {
                if self.capabilities.is_some() {
                    if self.settings.tls == TlsMode::Implicit {
                        self.learned.clone_from(&self.capabilities);
                    }
                    return self.proceed(actions);
                }
                let words = "The mail provider does not say what it can do";
                self.fail(Cause::Unavailable, words, text.text, actions);
            }
            (State::ExpectStartTls { tag: ours }, Some(tag), _) if tag == ours.as_bytes() => {
                self.on_starttls(status, text, actions);
            }
            (State::ExpectLogin { tag: ours, .. }, Some(tag), _) if tag == ours.as_bytes() => {
                if status == Status::Ok {
                    self.established(actions);
                } else {
                    self.refused(status, text, actions);
                }
            }
            (_, Some(_), _) => self.fail(Cause::Unavailable, NOT_IMAP, text.text, actions),
        }
    }

    /// The next command: whatever is missing on the way to the login.
    fn proceed(&mut self, actions: &mut Vec<UpstreamAction>) {
        let guesses = self.capabilities.is_none() && self.assumed.is_some();
        if self.capabilities.is_none() && !guesses {
            let tag = self.tag();
            actions.push(write(format!("{tag} CAPABILITY\r\n")));
            self.state = State::ExpectCapability { tag };
        } else if self.settings.tls == TlsMode::Implicit {
            self.login(guesses, actions);
        } else if guesses || self.offers("STARTTLS") {
            let tag = self.tag();
            actions.push(write(format!("{tag} STARTTLS\r\n")));
            self.state = State::ExpectStartTls { tag };
        } else {
            self.fail(Cause::UpstreamPolicy, NO_STARTTLS, b"", actions);
        }
    }

    fn on_starttls(
        &mut self,
        status: Status,
        text: RespText<'_>,
        actions: &mut Vec<UpstreamAction>,
    ) {
        if status != Status::Ok {
            self.fail(Cause::UpstreamPolicy, NO_STARTTLS, text.text, actions);
        } else if self.lines.is_empty() {
            actions.push(UpstreamAction::StartTls);
            self.state = State::AwaitTls;
        } else {
            // Response injection: they would be read as if they had come through TLS.
            self.fail(Cause::Unavailable, BYTES_BEHIND_STARTTLS, b"", actions);
        }
    }

    /// Says the credential in the best way on offer.
    fn login(&mut self, guesses: bool, actions: &mut Vec<UpstreamAction>) {
        let tag = self.tag();
        let credential = &self.settings.credential;
        let offers = |name: &str| self.offers(name);
        let way = (guesses || self.doubt.is_some()).then(|| Way::of(credential, offers));
        match self.doubt.take() {
            // It would be said as it was, and was refused: that was no misunderstanding.
            Some((refused, refusal)) if way == Some(refused) => {
                return self.fail_with(refusal, actions);
            }
            _ => {}
        }
        let guessed = way.filter(|_| guesses);
        let credential = &self.settings.credential;
        let offers = |name: &str| self.offers(name);
        let Some(exchange) = Exchange::begin(&tag, credential, offers, actions) else {
            let words = credential.no_way();
            return self.fail(Cause::UpstreamPolicy, words, b"", actions);
        };
        // What it names from now on holds for the authenticated state.
        self.capabilities = None;
        self.state = State::ExpectLogin {
            tag,
            exchange,
            guessed,
        };
    }

    fn on_continue(&mut self, challenge: &[u8], actions: &mut Vec<UpstreamAction>) {
        let State::ExpectLogin { exchange, .. } = &mut self.state else {
            return self.fail(Cause::Unavailable, NOT_IMAP, b"", actions);
        };
        match exchange.answer(challenge) {
            Some(answer) => actions.push(answer),
            None => {
                let words = "The mail provider asked for more than there is to say";
                self.fail(Cause::Unavailable, words, b"", actions);
            }
        }
    }

    fn established(&mut self, actions: &mut Vec<UpstreamAction>) {
        self.state = State::Done;
        actions.push(UpstreamAction::Established(Box::new(Established {
            capabilities: self.capabilities.take(),
            leftover: std::mem::take(&mut self.lines).into_leftover(),
        })));
    }

    /// NO or BAD to the login, or BYE at any time.
    fn refused(&mut self, status: Status, text: RespText<'_>, actions: &mut Vec<UpstreamAction>) {
        let State::ExpectLogin {
            exchange, guessed, ..
        } = &self.state
        else {
            let cause = cause(status, text, Cause::Unavailable);
            let words = "The mail provider turned us away";
            return self.fail(cause, words, text.text, actions);
        };
        let report = exchange.report();
        let cause = cause(status, text, self.settings.rejected(report));
        let words = self.settings.refused(cause, report);
        let judged = report.is_some_and(|report| report.was_judged())
            || text
                .code_name()
                .eq_ignore_ascii_case(b"AUTHENTICATIONFAILED");
        if let (Some(way), Status::No | Status::Bad, false) = (*guessed, status, judged) {
            let theirs = self.settings.quotable(text.text);
            let refusal = Refusal::quoting(cause, self.phase(), &words, theirs);
            self.doubt = Some((way, refusal));
            self.assumed = None;
            self.capabilities = None;
            return self.proceed(actions);
        }
        self.fail(cause, &words, text.text, actions);
    }

    /// An untagged line that is none of our business; what it ends in may be a literal.
    fn on_data(&mut self, line: &[u8]) {
        if let Some(literal) = announced(line) {
            self.skip = usize::try_from(literal.size).unwrap_or(usize::MAX);
            self.seen.octets = self.seen.octets.saturating_add(self.skip);
            self.continued = true;
        }
    }

    fn learn(&mut self, list: Option<&[u8]>) {
        if let Some(list) = list {
            let list = String::from_utf8_lossy(list);
            self.capabilities = Some(list.split_ascii_whitespace().map(str::to_owned).collect());
        }
    }

    fn offers(&self, capability: &str) -> bool {
        let assumed = || self.assumed.as_ref()?.before_login.as_deref();
        let named = self.capabilities.as_deref().or_else(assumed);
        let named = named.unwrap_or_default();
        named.iter().any(|c| c.eq_ignore_ascii_case(capability))
    }

    fn tag(&mut self) -> String {
        self.commands += 1;
        format!("m{}", self.commands)
    }

    fn fail(&mut self, cause: Cause, ours: &str, theirs: &[u8], actions: &mut Vec<UpstreamAction>) {
        let theirs = self.settings.quotable(theirs);
        self.fail_with(Refusal::quoting(cause, self.phase(), ours, theirs), actions);
    }

    fn fail_with(&mut self, refusal: Refusal, actions: &mut Vec<UpstreamAction>) {
        self.state = State::Done;
        // A login was refused, and what came of the question is no better answer.
        let refusal = self.doubt.take().map_or(refusal, |(_, refused)| refused);
        actions.push(UpstreamAction::Fail(refusal));
    }
}

const NOT_IMAP: &str = "The mail provider does not answer in IMAP";
const NO_STARTTLS: &str = "The mail provider does not offer STARTTLS, which is required";
const BYTES_BEHIND_STARTTLS: &str = "The mail provider sent plain bytes where TLS was due";

/// The longest capability lists in the field have some 700 octets.
const LINE_MAX: usize = 8192;

/// Lines before the login is done; Dovecot's proxy allows as many.
const LINES_MAX: usize = 128;

/// Octets before the login is done, literals included. Bounds an upstream that never comes to its point.
const OCTETS_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::dialogue::Credential;
    use crate::secret::Secret;

    /// Every action as text.
    fn said<'a>(tls: TlsMode, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        let mut upstream = dialogue(tls, "app-secret", false);
        let mut actions = Vec::new();
        for chunk in chunks {
            upstream.step(UpstreamInput::Bytes(chunk), &mut actions);
        }
        // What is unread when a login succeeds depends on the split; the relay joins it with what comes next.
        actions
            .iter()
            .map(|action| match action {
                UpstreamAction::Established(it) => format!("{:?}", it.capabilities),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn dialogue(tls: TlsMode, password: &str, passthrough: bool) -> ImapUpstream {
        ImapUpstream::new(UpstreamSettings {
            tls,
            ehlo_name: "sluice.test".into(),
            credential: Credential::Password {
                user: "anna".into(),
                password: Secret::from(password),
            },
            passthrough,
        })
    }

    #[test]
    fn what_cannot_be_said_is_not_said() {
        for (passthrough, cause) in [(false, Cause::ServerBug), (true, Cause::WrongPassword)] {
            let mut upstream = dialogue(TlsMode::Implicit, "x\r\nm2 LOGOUT", passthrough);
            let mut actions = Vec::new();
            upstream.step(UpstreamInput::Connected, &mut actions);
            upstream.step(
                UpstreamInput::Bytes(b"* OK [CAPABILITY X] up\r\n"),
                &mut actions,
            );
            assert!(
                matches!(actions.as_slice(), [UpstreamAction::Fail(it)] if it.cause == cause),
                "{actions:?}"
            );
        }
    }

    #[test]
    fn bytes_before_the_handshake_are_not_read() {
        let mut upstream = dialogue(TlsMode::StartTls, "app-secret", false);
        let mut actions = Vec::new();
        for line in [
            "* OK [CAPABILITY STARTTLS] up\r\n",
            "m1 OK go\r\n",
            "* OK forged\r\n",
        ] {
            upstream.step(UpstreamInput::Bytes(line.as_bytes()), &mut actions);
        }
        assert!(
            matches!(
                actions.as_slice(),
                [UpstreamAction::Write(_), UpstreamAction::StartTls, UpstreamAction::Fail(it)]
                    if it.phase == "await-tls"
            ),
            "{actions:?}"
        );
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_actions(
            parts in prop::collection::vec(prop_oneof![
                Just("* OK up\r\n"), Just("* OK [CAPABILITY AUTH=PLAIN] up\r\n"), Just("* CAPABILITY AUTH=LOGIN\r\n"),
                Just("* CAPABILITY IMAP4rev1\n"), Just("m1 OK x\r\n"), Just("m2 OK [CAPABILITY IDLE] x\r\n"),
                Just("m1 NO [LIMIT] x\r\n"), Just("+ \r\n"), Just("+\r\n"), Just("* 1 X {3}\r\n"), Just("abc"),
                Just("* BYE\r\n"), Just("* PREAUTH\r\n"), Just("\0\u{e4}\r\n"), Just("* X {99999}\r\n"),
            ], 0..10),
            size in 1_usize..12,
        ) {
            let text = format!("* OK hello\r\n{}", parts.concat());
            let whole = said(TlsMode::Implicit, std::iter::once(text.as_bytes()));
            prop_assert_eq!(said(TlsMode::Implicit, text.as_bytes().chunks(size)), whole);
        }
    }
}
