//! The IMAP dialogue with the client before authentication: we are the server.
//!
//! Nothing of it comes from the upstream, which is not even connected yet. It deliberately knows no mailbox: a command
//! of the authenticated state is answered BAD.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `ExpectCommand` | a command | any |
//! | `ExpectResponse` | the client's answer to a SASL challenge | `ExpectCommand`, `AwaitDecision` |
//! | `AwaitDecision` | accepted or refused; the client is not read | `Done`, `ExpectCommand` |
//! | `AwaitTls` | the handshake; the client is not read | `ExpectCommand` |
//! | `Done` | nothing | – |

use bytes::Bytes;

use super::codec::capability;
use super::codec::command::{Command, Malformed, Mechanism, Request, command};
use super::codec::refusal;
use super::frame::{Frame, Frames};
use crate::proto::dialogue::{
    ClientTls, CloseReason, Established, Login, LoginAction, LoginAttempt, LoginInput,
    LoginSettings,
};
use crate::proto::lines::Line;
use crate::proto::refusal::Refusal;
use crate::proto::sasl::{self, SaslError};
use crate::secret::Secret;

/// See the module.
#[derive(Debug)]
pub struct ImapLogin {
    settings: LoginSettings,
    frames: Frames,
    state: State,
    /// Whether the first octet of the connection, or of its TLS, has been looked at.
    greeted_by_client: bool,
    bad_commands: usize,
    failed_logins: usize,
}

#[derive(Debug)]
enum State {
    ExpectCommand,
    ExpectResponse { tag: String, exchange: Exchange },
    AwaitDecision { tag: String },
    AwaitTls,
    Done,
}

/// How far a SASL exchange is.
#[derive(Debug)]
enum Exchange {
    /// PLAIN: the one message.
    Plain,
    /// LOGIN: the user name.
    LoginUser,
    /// LOGIN: the password.
    LoginPassword { user: Secret },
}

impl ImapLogin {
    /// A dialogue that has not greeted yet.
    pub fn new(settings: LoginSettings) -> Self {
        Self {
            settings,
            frames: Frames::default(),
            state: State::ExpectCommand,
            greeted_by_client: false,
            bad_commands: 0,
            failed_logins: 0,
        }
    }
}

impl Login for ImapLogin {
    fn step(&mut self, input: LoginInput<'_>, actions: &mut Vec<LoginAction>) {
        if matches!(self.state, State::Done) {
            return;
        }
        match input {
            LoginInput::Connected => say(actions, self.greeting()),
            LoginInput::Bytes(bytes) => self.read(bytes, actions),
            LoginInput::Eof => self.close(CloseReason::Eof, actions),
            LoginInput::TlsReady => {
                self.settings.tls = ClientTls::Active;
                self.greeted_by_client = false;
                self.state = State::ExpectCommand;
            }
            LoginInput::Accepted(established) => self.accepted(established, actions),
            LoginInput::Refused(why) => self.refused(why, actions),
            LoginInput::Deadline => {
                self.bye(
                    "Autologout; no login in time",
                    CloseReason::Deadline,
                    actions,
                );
            }
            LoginInput::Shutdown => {
                let words = "[UNAVAILABLE] The service is stopping";
                self.bye(words, CloseReason::Shutdown, actions);
            }
        }
    }

    fn reads(&self) -> bool {
        matches!(
            self.state,
            State::ExpectCommand | State::ExpectResponse { .. }
        )
    }

    fn phase(&self) -> &'static str {
        match &self.state {
            State::ExpectCommand => "expect-command",
            State::ExpectResponse { .. } => "expect-response",
            State::AwaitDecision { .. } => "await-decision",
            State::AwaitTls => "await-tls",
            State::Done => "done",
        }
    }
}

impl ImapLogin {
    /// Always with the capability code: some clients ask for nothing else (PROTOCOL A.2).
    fn greeting(&self) -> String {
        format!(
            "* OK [CAPABILITY {}] {} ready\r\n",
            capability::before_login(self.settings.tls),
            self.settings.host
        )
    }

    fn read(&mut self, bytes: &[u8], actions: &mut Vec<LoginAction>) {
        if matches!(self.state, State::AwaitTls) {
            return self.close(CloseReason::BytesBehindStartTls, actions);
        }
        if !self.greeted_by_client
            && let Some(&first) = bytes.first()
        {
            self.greeted_by_client = true;
            if !(first.is_ascii_graphic() || first.is_ascii_whitespace()) {
                return self.close(CloseReason::NotThisProtocol, actions);
            }
        }
        self.frames.push(bytes);
        self.advance(actions);
    }

    /// Works through what is unread until it must wait.
    fn advance(&mut self, actions: &mut Vec<LoginAction>) {
        loop {
            match std::mem::replace(&mut self.state, State::ExpectCommand) {
                State::ExpectCommand => match self.frames.next_frame() {
                    Some(Frame::Command(frame)) => self.on_command(&frame, actions),
                    Some(Frame::Continue) => say(actions, "+ Ready for the literal\r\n"),
                    Some(Frame::TooLong) => {
                        return self.bye("Command too long", CloseReason::TooLong, actions);
                    }
                    None => return,
                },
                State::ExpectResponse { tag, exchange } => {
                    match self.frames.next_line(sasl::SASL_LINE_MAX) {
                        Some(Line::Complete(line)) => {
                            self.on_response(tag, exchange, &line, actions);
                        }
                        Some(Line::TooLong) => self.bad(&tag, "Response too long", actions),
                        None => {
                            self.state = State::ExpectResponse { tag, exchange };
                            return;
                        }
                    }
                }
                waiting => {
                    self.state = waiting;
                    return;
                }
            }
        }
    }

    fn on_command(&mut self, frame: &Secret, actions: &mut Vec<LoginAction>) {
        if is_http(frame.expose()) {
            return self.close(CloseReason::NotThisProtocol, actions);
        }
        let Command { tag, request } = match command(frame.expose()) {
            Ok(command) => command,
            Err(Malformed { tag }) => {
                let tag = tag.as_deref().unwrap_or("*");
                return self.bad(tag, "Not a command I understand", actions);
            }
        };
        match request {
            Request::Capability => {
                let list = capability::before_login(self.settings.tls);
                let reply = format!("* CAPABILITY {list}\r\n{tag} OK CAPABILITY completed\r\n");
                say(actions, reply);
            }
            Request::Noop => say(actions, format!("{tag} OK NOOP completed\r\n")),
            Request::Id => {
                let reply = format!("* ID (\"name\" \"mailsluice\")\r\n{tag} OK ID completed\r\n");
                say(actions, reply);
            }
            Request::Logout => {
                // B.8 no. 18: BYE comes before the tagged OK.
                let reply = format!("* BYE Logging out\r\n{tag} OK LOGOUT completed\r\n");
                say(actions, reply);
                self.close(CloseReason::Quit, actions);
            }
            Request::StartTls => self.on_starttls(&tag, actions),
            Request::Login { user, password } => {
                let attempt = sasl::attempt(&user, password, "LOGIN");
                self.attempt(tag, attempt, actions);
            }
            Request::Authenticate {
                mechanism,
                initial_response,
            } => self.on_authenticate(tag, mechanism, initial_response, actions),
            Request::Other => self.bad(&tag, "Not possible before login", actions),
        }
    }

    fn on_starttls(&mut self, tag: &str, actions: &mut Vec<LoginAction>) {
        if self.settings.tls != ClientTls::Offered {
            return self.bad(tag, "STARTTLS is not available", actions);
        }
        // CVE-2011-0411: what came in the clear must not be read as if it had come through TLS.
        if !self.frames.is_empty() {
            return self.close(CloseReason::BytesBehindStartTls, actions);
        }
        say(actions, format!("{tag} OK Begin TLS negotiation now\r\n"));
        actions.push(LoginAction::StartTls);
        self.state = State::AwaitTls;
    }

    fn on_authenticate(
        &mut self,
        tag: String,
        mechanism: Mechanism,
        initial_response: Option<Secret>,
        actions: &mut Vec<LoginAction>,
    ) {
        let exchange = match mechanism {
            Mechanism::Plain => Exchange::Plain,
            Mechanism::Login => Exchange::LoginUser,
            Mechanism::Other => {
                // B.6: NO, not BAD, so that the client tries another one.
                say(actions, format!("{tag} NO Mechanism not supported\r\n"));
                return self.count_bad(actions);
            }
        };
        match initial_response {
            Some(response) => self.on_response(tag, exchange, response.expose(), actions),
            None => self.challenge(tag, exchange, actions),
        }
    }

    /// Asks for the next message of a SASL exchange.
    fn challenge(&mut self, tag: String, exchange: Exchange, actions: &mut Vec<LoginAction>) {
        let challenge = match &exchange {
            Exchange::Plain => "",
            Exchange::LoginUser => sasl::LOGIN_USERNAME,
            Exchange::LoginPassword { .. } => sasl::LOGIN_PASSWORD,
        };
        say(actions, format!("+ {challenge}\r\n"));
        self.state = State::ExpectResponse { tag, exchange };
    }

    /// A message of a SASL exchange, in base64.
    fn on_response(
        &mut self,
        tag: String,
        exchange: Exchange,
        line: &[u8],
        actions: &mut Vec<LoginAction>,
    ) {
        let message = match sasl::decode(line) {
            Ok(message) => message,
            Err(why) => return self.attempt(tag, Err(why), actions),
        };
        match exchange {
            Exchange::Plain => {
                let attempt = sasl::plain(&message, "AUTHENTICATE PLAIN");
                self.attempt(tag, attempt, actions);
            }
            Exchange::LoginUser => {
                self.challenge(tag, Exchange::LoginPassword { user: message }, actions);
            }
            Exchange::LoginPassword { user } => {
                let attempt = sasl::attempt(user.expose(), message, "AUTHENTICATE LOGIN");
                self.attempt(tag, attempt, actions);
            }
        }
    }

    /// Hands a login attempt over for a decision; one that says nothing sensible is answered BAD.
    fn attempt(
        &mut self,
        tag: String,
        attempt: Result<LoginAttempt, SaslError>,
        actions: &mut Vec<LoginAction>,
    ) {
        match attempt {
            Ok(attempt) => {
                actions.push(LoginAction::Authenticate(attempt));
                self.state = State::AwaitDecision { tag };
            }
            Err(why) => self.bad(&tag, &format!("Login not understood: {why}"), actions),
        }
    }

    fn accepted(&mut self, established: &Established, actions: &mut Vec<LoginAction>) {
        let State::AwaitDecision { tag } = &self.state else {
            return;
        };
        let mut reply = format!("{tag} OK ").into_bytes();
        // B.8 no. 9: where the upstream named none, none are invented, and the client asks.
        if let Some(capabilities) = &established.capabilities {
            reply.extend_from_slice(b"[CAPABILITY ");
            reply.extend(capability::after_login(capabilities.join(" ").as_bytes()));
            reply.extend_from_slice(b"] ");
        }
        reply.extend_from_slice(b"Logged in\r\n");
        self.state = State::Done;
        say(actions, reply);
        actions.push(LoginAction::HandOver {
            leftover: std::mem::take(&mut self.frames).into_leftover(),
        });
    }

    /// The connection stays usable, so that a person who mistyped can try again.
    fn refused(&mut self, why: &Refusal, actions: &mut Vec<LoginAction>) {
        let State::AwaitDecision { tag } = &self.state else {
            return;
        };
        say(actions, refusal(tag, why));
        self.state = State::ExpectCommand;
        self.failed_logins += 1;
        if self.failed_logins == FAILED_LOGINS_MAX {
            return self.bye(
                "Too many failed logins",
                CloseReason::TooManyErrors,
                actions,
            );
        }
        self.advance(actions);
    }

    /// Answers a command that cannot be carried out.
    fn bad(&mut self, tag: &str, words: &str, actions: &mut Vec<LoginAction>) {
        say(actions, format!("{tag} BAD {words}\r\n"));
        self.count_bad(actions);
    }

    fn count_bad(&mut self, actions: &mut Vec<LoginAction>) {
        self.bad_commands += 1;
        if self.bad_commands == BAD_COMMANDS_MAX {
            self.bye("Too many bad commands", CloseReason::TooManyErrors, actions);
        }
    }

    /// Says why, and closes. Not while TLS is being negotiated: the client would take it for a part of that.
    fn bye(&mut self, words: &str, reason: CloseReason, actions: &mut Vec<LoginAction>) {
        if !matches!(self.state, State::AwaitTls) {
            say(actions, format!("* BYE {words}\r\n"));
        }
        self.close(reason, actions);
    }

    fn close(&mut self, reason: CloseReason, actions: &mut Vec<LoginAction>) {
        self.state = State::Done;
        actions.push(LoginAction::Close(reason));
    }
}

fn say(actions: &mut Vec<LoginAction>, text: impl Into<Bytes>) {
    actions.push(LoginAction::Write(text.into()));
}

/// A browser or a script made to talk to this port (PROTOCOL B.8 no. 15).
fn is_http(line: &[u8]) -> bool {
    let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let version = words.next().unwrap_or_default();
    HTTP_METHODS.contains(&method) && (target.starts_with(b"/") || version.starts_with(b"HTTP/"))
}

const HTTP_METHODS: [&[u8]; 10] = [
    b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"DELETE", b"PATCH", b"TRACE", b"PRI",
];

/// nginx closes after five; a client that probes for mechanisms stays below.
const BAD_COMMANDS_MAX: usize = 5;

/// Dovecot's login process closes after three.
const FAILED_LOGINS_MAX: usize = 3;
