//! The POP3 dialogue with the client before authentication: we are the server (RFC 1939 section 4, AUTHORIZATION).
//!
//! Everything said here is our own; nothing is filtered from an upstream. It does not know accounts: `USER` is always
//! `+OK`, so that names cannot be probed. APOP is offered, by the timestamp in the banner, where passwords can be recovered.
//!
//! | state | waits for |
//! |---|---|
//! | `Connecting` | the connection |
//! | `ExpectCommand` | a command; the name of the last USER, if any |
//! | `ExpectResponse` | the answer to a SASL challenge |
//! | `AwaitDecision` | accepted or refused; the client is not read |
//! | `ExpectLast` | the empty answer to SCRAM's last message |
//! | `AwaitTls` | the handshake after STLS |
//! | `Over` | nothing: handed over or closed |

use bytes::Bytes;

use super::codec::{self, Command, Verb, auth_argument};
use super::frame::COMMAND_MAX;
use crate::profile::{Mechanism, Quirk};
use crate::proto::dialogue::{
    ClientTls, CloseReason, Login, LoginAction, LoginAttempt, LoginInput, LoginSettings,
};
use crate::proto::lines::{Line, Lines};
use crate::proto::refusal::Cause;
use crate::proto::sasl::{self, Next, SASL_LINE_MAX, SaslError, Server};
use crate::protocol::Protocol;
use crate::secret::Secret;

/// The client-facing dialogue.
#[derive(Debug)]
pub struct Pop3Login {
    settings: LoginSettings,
    /// What APOP digests, if it is offered.
    timestamp: Option<String>,
    lines: Lines,
    state: State,
    mistakes: usize,
    /// Octets of an over-long line that were thrown away.
    skipped: usize,
}

#[derive(Debug)]
enum State {
    Connecting,
    ExpectCommand { user: Option<Bytes> },
    ExpectResponse { server: Server },
    AwaitDecision,
    ExpectLast,
    AwaitTls,
    Over,
}

impl Pop3Login {
    /// A dialogue that waits for its connection.
    pub fn new(settings: LoginSettings) -> Self {
        Self {
            lines: Lines::new(!settings.offer.profile.has(Quirk::Lenient)),
            settings,
            timestamp: None,
            state: State::Connecting,
            mistakes: 0,
            skipped: 0,
        }
    }
}

impl Login for Pop3Login {
    fn step(&mut self, input: LoginInput<'_>, actions: &mut Vec<LoginAction>) {
        match (std::mem::replace(&mut self.state, State::Over), input) {
            (State::Over, _) => {}
            (State::Connecting, LoginInput::Connected) => {
                say(actions, self.banner());
                self.state = State::READY;
            }
            (State::AwaitTls, LoginInput::TlsReady) => {
                self.settings.tls = ClientTls::Active;
                self.state = State::READY;
            }
            (State::AwaitDecision, LoginInput::Accepted(welcome)) => match welcome.server_final {
                None => self.hand_over(actions),
                Some(last) => {
                    let last = sasl::encode(last.as_bytes());
                    say(actions, [b"+ ", last.expose(), b"\r\n"].concat());
                    self.state = State::ExpectLast;
                    self.advance(actions);
                }
            },
            (State::AwaitDecision, LoginInput::Refused(refusal)) => {
                self.state = State::READY;
                self.mistake(codec::refusal(refusal.cause, &refusal.text), actions);
                self.advance(actions);
            }
            (state, LoginInput::Bytes(bytes)) => {
                self.state = state;
                self.push(bytes, actions);
            }
            (_, LoginInput::Eof) => close(actions, CloseReason::Eof),
            (state, LoginInput::Deadline) => {
                // RFC 1939 section 3: the autologout timer closes without a response. One that is owed is given.
                if state.owes_an_answer() {
                    let text = "Took too long, try again later";
                    say(actions, codec::refusal(Cause::Unavailable, text));
                }
                close(actions, CloseReason::Deadline);
            }
            (state, LoginInput::Shutdown) => {
                if !matches!(state, State::AwaitTls) {
                    let text = "Shutting down, try again later";
                    say(actions, codec::refusal(Cause::Shutdown, text));
                }
                close(actions, CloseReason::Shutdown);
            }
            (state, _) => self.state = state,
        }
    }

    fn reads(&self) -> bool {
        !matches!(
            self.state,
            State::Connecting | State::AwaitDecision | State::AwaitTls | State::Over
        )
    }

    fn phase(&self) -> &'static str {
        match self.state {
            State::Connecting => "connecting",
            State::ExpectCommand { user: None } => "authorization",
            State::ExpectCommand { user: Some(_) } => "user",
            State::ExpectResponse { .. } => "response",
            State::AwaitDecision => "decision",
            State::ExpectLast => "last",
            State::AwaitTls => "stls",
            State::Over => "over",
        }
    }
}

impl State {
    const READY: Self = Self::ExpectCommand { user: None };

    /// The longest line that may come now.
    fn line_max(&self) -> usize {
        match self {
            Self::ExpectResponse { .. } | Self::ExpectLast => SASL_LINE_MAX,
            _ => COMMAND_MAX,
        }
    }

    /// Whether a command was sent that has not got its last response.
    fn owes_an_answer(&self) -> bool {
        match self {
            Self::ExpectResponse { .. } | Self::AwaitDecision | Self::ExpectLast => true,
            Self::Connecting | Self::ExpectCommand { .. } | Self::AwaitTls | Self::Over => false,
        }
    }
}

impl Pop3Login {
    /// A timestamp in angle brackets offers APOP (RFC 1939 section 7); there is none where it cannot be completed.
    fn banner(&mut self) -> String {
        let host = &self.settings.host;
        if !self.settings.offer.completes(Mechanism::Apop) {
            return format!("+OK {host} ready\r\n");
        }
        let timestamp = self.settings.challenges.message_id(host);
        let banner = format!("+OK {host} ready {timestamp}\r\n");
        self.timestamp = Some(timestamp);
        banner
    }

    fn hand_over(&mut self, actions: &mut Vec<LoginAction>) {
        self.state = State::Over;
        say(actions, "+OK Logged in\r\n");
        let leftover = std::mem::take(&mut self.lines).into_leftover();
        actions.push(LoginAction::HandOver { leftover });
    }

    fn push(&mut self, bytes: &[u8], actions: &mut Vec<LoginAction>) {
        self.lines.push(bytes);
        self.advance(actions);
        self.skipped = if self.lines.is_discarding() {
            self.skipped + bytes.len()
        } else {
            0
        };
        if self.skipped > SKIP_MAX {
            self.end(CloseReason::TooLong, actions);
        }
    }

    /// Takes lines as long as there are any and the state wants them.
    fn advance(&mut self, actions: &mut Vec<LoginAction>) {
        while self.reads() {
            if self.speaks_tls() {
                return self.end(CloseReason::NotThisProtocol, actions);
            }
            match self.lines.next(self.state.line_max()) {
                None => return,
                Some(Line::TooLong) => {
                    self.state = State::READY;
                    self.mistake("-ERR Line too long\r\n", actions);
                }
                Some(Line::Complete(line)) => {
                    let line = line.expose();
                    match std::mem::replace(&mut self.state, State::READY) {
                        State::ExpectCommand { user } => self.command(line, user, actions),
                        State::ExpectResponse { server } => {
                            let next = server.answer(line, &mut self.settings.challenges);
                            self.proceed(next, actions);
                        }
                        // Whatever it says: it has proved itself, and RFC 5802 has nothing more to hear.
                        State::ExpectLast => return self.hand_over(actions),
                        waiting => self.state = waiting,
                    }
                }
            }
        }
    }

    /// Whether TLS begins where a command is due.
    fn speaks_tls(&self) -> bool {
        matches!(self.state, State::ExpectCommand { .. })
            && !self.lines.is_discarding()
            && begins_tls(self.lines.peek())
    }

    fn command(&mut self, line: &[u8], user: Option<Bytes>, actions: &mut Vec<LoginAction>) {
        if begins_tls(line) {
            return self.end(CloseReason::NotThisProtocol, actions);
        }
        let command = Command::parse(line);
        match command.verb {
            Verb::Capa => {
                say(
                    actions,
                    codec::capa(self.settings.offer.list(self.settings.tls)),
                );
                self.state = State::ExpectCommand { user };
            }
            Verb::Noop => {
                say(actions, "+OK\r\n");
                self.state = State::ExpectCommand { user };
            }
            Verb::User if command.trimmed().is_empty() => {
                self.mistake("-ERR USER needs a name\r\n", actions);
            }
            Verb::User => {
                say(actions, "+OK\r\n");
                let user = Some(Bytes::copy_from_slice(command.trimmed()));
                self.state = State::ExpectCommand { user };
            }
            Verb::Pass => self.pass(user, command.argument, actions),
            Verb::Auth => self.auth(command.trimmed(), actions),
            Verb::Stls => self.stls(actions),
            Verb::Quit => {
                say(actions, "+OK Bye\r\n");
                self.end(CloseReason::Quit, actions);
            }
            Verb::Apop => self.apop(command.trimmed(), actions),
            Verb::Http => self.end(CloseReason::NotThisProtocol, actions),
            Verb::Unknown => self.mistake("-ERR Unknown command\r\n", actions),
            Verb::Dele
            | Verb::Last
            | Verb::List
            | Verb::Retr
            | Verb::Rset
            | Verb::Stat
            | Verb::Top
            | Verb::Uidl => self.mistake("-ERR Log in first\r\n", actions),
        }
    }

    fn pass(
        &mut self,
        user: Option<Bytes>,
        password: Option<&[u8]>,
        actions: &mut Vec<LoginAction>,
    ) {
        match (user, password) {
            (Some(name), Some(password)) => {
                let password = Secret::new(password.to_vec());
                self.attempt(sasl::attempt(&name, password, "USER/PASS"), actions);
            }
            (None, _) => self.mistake("-ERR USER first\r\n", actions),
            (_, None) => self.mistake("-ERR PASS needs a password\r\n", actions),
        }
    }

    /// RFC 5034 section 4; alone it asks for the list of mechanisms.
    fn auth(&mut self, argument: &[u8], actions: &mut Vec<LoginAction>) {
        let (mechanism, initial) = auth_argument(argument);
        let offer = &self.settings.offer;
        if mechanism.is_empty() {
            let mechanisms = offer.mechanisms(Protocol::Pop3, self.settings.tls);
            return say(actions, codec::auth_list(&mechanisms));
        }
        let known = std::str::from_utf8(mechanism)
            .ok()
            .and_then(|it| it.parse().ok());
        let Some(mechanism) = known.filter(|it: &Mechanism| it.is_sasl() && offer.completes(*it))
        else {
            return self.mistake("-ERR Unknown authentication mechanism\r\n", actions);
        };
        // RFC 5034 section 4: `=` is an empty one. A client that sends it for PLAIN waits to be asked.
        let initial = initial.filter(|initial| *initial != b"=");
        let settings = &mut self.settings;
        let next = Server::begin(mechanism, initial, &mut settings.challenges, &settings.host);
        self.proceed(next, actions);
    }

    fn proceed(&mut self, next: Result<Next, SaslError>, actions: &mut Vec<LoginAction>) {
        match next {
            Ok(Next::Challenge(challenge, server)) => {
                say(actions, format!("+ {challenge}\r\n"));
                self.state = State::ExpectResponse { server };
            }
            Ok(Next::Attempt(attempt)) => self.attempt(Ok(attempt), actions),
            Err(error) => self.attempt(Err(error), actions),
        }
    }

    /// RFC 1939 section 7: `APOP name digest`. quirk: names may hold spaces, the digest does not.
    fn apop(&mut self, argument: &[u8], actions: &mut Vec<LoginAction>) {
        let Some(timestamp) = &self.timestamp else {
            return self.mistake("-ERR APOP is not offered, use USER and PASS\r\n", actions);
        };
        let at = memchr::memrchr(b' ', argument).unwrap_or_default();
        let (name, digest) = argument.split_at(at);
        let attempt = sasl::apop(timestamp, name.trim_ascii(), digest.trim_ascii());
        self.attempt(attempt, actions);
    }

    fn attempt(
        &mut self,
        attempt: Result<LoginAttempt, SaslError>,
        actions: &mut Vec<LoginAction>,
    ) {
        match attempt {
            Ok(attempt) => {
                self.state = State::AwaitDecision;
                actions.push(LoginAction::Authenticate(attempt));
            }
            Err(error) => self.mistake(format!("-ERR {error}\r\n"), actions),
        }
    }

    /// RFC 2595 section 4. Bytes behind STLS were sent in clear and would be read as if they had come encrypted.
    fn stls(&mut self, actions: &mut Vec<LoginAction>) {
        match self.settings.tls {
            ClientTls::Offered if !self.lines.is_empty() => {
                self.end(CloseReason::BytesBehindStartTls, actions);
            }
            ClientTls::Offered => {
                say(actions, "+OK Begin TLS\r\n");
                actions.push(LoginAction::StartTls);
                self.state = State::AwaitTls;
            }
            ClientTls::Active => self.mistake("-ERR TLS is active already\r\n", actions),
            ClientTls::Off => self.mistake("-ERR TLS is not offered\r\n", actions),
        }
    }

    /// Says no; the state stays what the caller made it, unless that was one too many.
    fn mistake(&mut self, reply: impl Into<Bytes>, actions: &mut Vec<LoginAction>) {
        say(actions, reply);
        self.mistakes += 1;
        if self.mistakes >= MISTAKES_MAX {
            self.end(CloseReason::TooManyErrors, actions);
        }
    }

    fn end(&mut self, reason: CloseReason, actions: &mut Vec<LoginAction>) {
        self.state = State::Over;
        self.lines = Lines::default();
        close(actions, reason);
    }
}

/// A TLS record, or the SSL 2 hello of an old client, which expects TLS from the first byte.
fn begins_tls(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x16 | 0x80..))
}

fn say(actions: &mut Vec<LoginAction>, reply: impl Into<Bytes>) {
    actions.push(LoginAction::Write(reply.into()));
}

fn close(actions: &mut Vec<LoginAction>, reason: CloseReason) {
    actions.push(LoginAction::Close(reason));
}

/// Wrong commands and failed logins before the connection is closed.
///
/// nginx closes after 5; clients that look for APOP, NTLM and XTND before they settle on USER need some more.
const MISTAKES_MAX: usize = 10;

/// How much of an over-long line is thrown away before the connection is closed: PROTOCOL B.7's bound on pipelining.
const SKIP_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::refusal::Refusal;

    /// What a client is told that sends `input` in these pieces; every attempt is refused.
    fn told(input: &[u8], cuts: &[usize]) -> String {
        let mut login = Pop3Login::new(LoginSettings::usual(
            Protocol::Pop3,
            "sluice.test",
            ClientTls::Off,
        ));
        let refusal = Refusal::new(Cause::WrongPassword, "test", "No.");
        let (mut actions, mut from) = (Vec::new(), 0);
        login.step(LoginInput::Connected, &mut actions);
        for to in cuts.iter().copied().chain([input.len()]) {
            let to = to.clamp(from, input.len());
            login.step(LoginInput::Bytes(&input[from..to]), &mut actions);
            from = to;
            while matches!(login.state, State::AwaitDecision) {
                assert!(!login.reads());
                login.step(LoginInput::Refused(&refusal), &mut actions);
            }
        }
        let mut text = String::new();
        for action in actions {
            match action {
                LoginAction::Write(bytes) => text += &bytes.escape_ascii().to_string(),
                LoginAction::Authenticate(it) => {
                    text += &format!("{}={:?}", it.name, it.proof.password().map(Secret::expose));
                }
                other => text += &format!("{other:?}"),
            }
        }
        text
    }

    #[test]
    fn a_long_tls_hello_is_no_over_long_line() {
        let hello = [&b"\x16\x03\x01"[..], &[0; COMMAND_MAX]].concat();
        assert!(told(&hello, &[]).ends_with("ready\\r\\nClose(NotThisProtocol)"));
    }

    #[test]
    fn an_over_long_line_is_not_taken_for_tls_halfway() {
        let input = [&b"USER "[..], &[0xe4; 2 * COMMAND_MAX], b"\r\nNOOP\r\n"].concat();
        let end = "-ERR Line too long\\r\\n+OK\\r\\n";
        assert!(told(&input, &[]).ends_with(end));
        assert!(told(&input, &[COMMAND_MAX + 10, COMMAND_MAX + 20]).ends_with(end));
    }

    proptest! {
        #[test]
        fn a_client_is_told_the_same_however_it_is_split(
            lines in proptest::collection::vec(
                "(USER a b|user|PASS  x |pass|AUTH|AUTH PLAIN|AUTH LOGIN YQ==|YQ==|AGEAYg==|\\*|CAPA|STLS|QUIT|STAT|\u{e4}|GET /)\r?\n",
                0..16),
            mut cuts in proptest::collection::vec(0_usize..160, 0..12),
        ) {
            let input = lines.concat().into_bytes();
            cuts.sort_unstable();
            let bytewise: Vec<usize> = (0..input.len()).collect();
            let whole = told(&input, &[]);
            prop_assert_eq!(&told(&input, &cuts), &whole);
            prop_assert_eq!(&told(&input, &bytewise), &whole);
        }

        #[test]
        fn no_bytes_make_it_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
            told(&input, &[7, 8, 90]);
        }
    }
}
