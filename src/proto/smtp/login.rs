//! The SMTP dialogue with the client before authentication. Everything in it is ours; the upstream is not needed yet.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `AwaitConnection` | the connection | banner, `ExpectCommand` |
//! | `ExpectCommand` | a command line | a reply, an AUTH state, `AwaitTls` or the end |
//! | `ExpectPlain` | the PLAIN message | `AwaitDecision` |
//! | `ExpectUser` | the LOGIN user name | `ExpectPassword` |
//! | `ExpectPassword` | the LOGIN password | `AwaitDecision` |
//! | `AwaitDecision` | accepted or refused | hand-over, or `ExpectCommand` |
//! | `AwaitTls` | the handshake | `ExpectCommand`, with EHLO forgotten |
//!
//! Only one thing ends the dialogue at once besides QUIT: bytes whose meaning is lost, as behind BDAT or STARTTLS.

use std::mem;

use bytes::Bytes;

use super::codec::{
    AUTH_LINE_TOO_LONG, Auth, CANNOT_VERIFY, Command, HELP, LINE_TOO_LONG, NOT_SERVED, command,
    hello, refusal,
};
use super::extensions::before_login;
use super::frame::{CommandLine, command_line};
use crate::proto::dialogue::{
    ClientTls, CloseReason, Login, LoginAction, LoginAttempt, LoginInput, LoginSettings,
};
use crate::proto::lines::{Line, Lines};
use crate::proto::refusal::{Cause, Refusal};
use crate::proto::sasl::{self, LOGIN_PASSWORD, LOGIN_USERNAME, SASL_LINE_MAX, SaslError};
use crate::secret::Secret;

/// How many wrong commands are tolerated: Postfix's `smtpd_hard_error_limit`.
pub const ERRORS_MAX: u32 = 20;

/// How many refused logins are tolerated. Clients that try each mechanism once or twice stay below.
pub const REFUSALS_MAX: u32 = 5;

/// The client-facing dialogue.
#[derive(Debug)]
pub struct SmtpLogin {
    settings: LoginSettings,
    lines: Lines,
    state: State,
    /// Whether a first line came; before, the first byte tells another protocol (PROTOCOL B.8 no. 15).
    spoken: bool,
    /// Whether EHLO or HELO was said since the connection or TLS began.
    greeted: bool,
    errors: u32,
    refusals: u32,
}

#[derive(Debug)]
enum State {
    AwaitConnection,
    ExpectCommand,
    ExpectPlain,
    ExpectUser,
    ExpectPassword { user: Secret },
    AwaitDecision,
    AwaitTls,
    Done,
}

impl SmtpLogin {
    /// A dialogue that waits for its connection.
    pub fn new(settings: LoginSettings) -> Self {
        Self {
            settings,
            lines: Lines::default(),
            state: State::AwaitConnection,
            spoken: false,
            greeted: false,
            errors: 0,
            refusals: 0,
        }
    }
}

impl Login for SmtpLogin {
    fn step(&mut self, input: LoginInput<'_>, actions: &mut Vec<LoginAction>) {
        if matches!(self.state, State::Done) {
            return;
        }
        match input {
            LoginInput::Connected => {
                let banner = format!("220 {} ESMTP mailsluice\r\n", self.settings.host);
                actions.push(LoginAction::Write(Bytes::from(banner)));
                self.state = State::ExpectCommand;
            }
            LoginInput::Bytes(_) if matches!(self.state, State::AwaitTls) => {
                self.close(CloseReason::BytesBehindStartTls, actions);
            }
            LoginInput::Bytes(bytes) => {
                self.lines.push(bytes);
                self.advance(actions);
            }
            LoginInput::Eof => self.close(CloseReason::Eof, actions),
            LoginInput::TlsReady => {
                // RFC 3207 section 4.2: what was learnt before TLS is forgotten, EHLO included.
                self.settings.tls = ClientTls::Active;
                self.greeted = false;
                self.lines = Lines::default();
                self.state = State::ExpectCommand;
            }
            LoginInput::Accepted(_) => {
                self.state = State::Done;
                let leftover = mem::take(&mut self.lines).into_leftover();
                say(actions, "235 2.7.0 Authentication succeeded\r\n");
                actions.push(LoginAction::HandOver { leftover });
            }
            LoginInput::Refused(why) => self.refused(why, actions),
            LoginInput::Deadline => {
                self.take_leave("421 4.4.2 Too long without a login\r\n", actions);
                self.close(CloseReason::Deadline, actions);
            }
            LoginInput::Shutdown => {
                self.take_leave("421 4.3.2 The service is stopping\r\n", actions);
                self.close(CloseReason::Shutdown, actions);
            }
        }
    }

    fn reads(&self) -> bool {
        matches!(
            self.state,
            State::ExpectCommand
                | State::ExpectPlain
                | State::ExpectUser
                | State::ExpectPassword { .. }
        )
    }

    fn phase(&self) -> &'static str {
        match self.state {
            State::AwaitConnection => "await-connection",
            State::ExpectCommand => "expect-command",
            State::ExpectPlain => "expect-plain",
            State::ExpectUser => "expect-user",
            State::ExpectPassword { .. } => "expect-password",
            State::AwaitDecision => "await-decision",
            State::AwaitTls => "await-tls",
            State::Done => "done",
        }
    }
}

impl SmtpLogin {
    /// Works through what is buffered, one line at a time, as long as the state takes lines.
    fn advance(&mut self, actions: &mut Vec<LoginAction>) {
        while self.reads() {
            if self.is_foreign() {
                return self.close(CloseReason::NotThisProtocol, actions);
            }
            let took = if matches!(self.state, State::ExpectCommand) {
                self.command_line(actions)
            } else {
                self.sasl_line(actions)
            };
            if !took {
                return;
            }
            if self.errors >= ERRORS_MAX && !matches!(self.state, State::Done) {
                say(actions, "421 4.7.0 Too many errors\r\n");
                self.close(CloseReason::TooManyErrors, actions);
            }
        }
    }

    /// TLS and most other protocols do not start with a letter. An empty line is only a mistake.
    fn is_foreign(&self) -> bool {
        !self.spoken
            && self
                .lines
                .peek()
                .first()
                .is_some_and(|b| !b.is_ascii_alphabetic() && !matches!(b, b'\r' | b'\n'))
    }

    fn command_line(&mut self, actions: &mut Vec<LoginAction>) -> bool {
        let Some(line) = command_line(&mut self.lines) else {
            return false;
        };
        self.spoken = true;
        match line {
            CommandLine::Complete(line) => match command(&line) {
                Ok(command) => self.command(command, actions),
                Err(bad) => self.error(bad.reply(), actions),
            },
            CommandLine::TooLong => self.error(LINE_TOO_LONG, actions),
            CommandLine::AuthTooLong => self.error(AUTH_LINE_TOO_LONG, actions),
        }
        true
    }

    fn command(&mut self, command: Command<'_>, actions: &mut Vec<LoginAction>) {
        match command {
            Command::Ehlo => {
                self.greeted = true;
                let keywords = before_login(self.settings.tls, self.settings.max_message_size);
                let reply = hello(&self.settings.host, &keywords);
                actions.push(LoginAction::Write(reply));
            }
            Command::Helo => {
                self.greeted = true;
                let reply = hello::<&str>(&self.settings.host, &[]);
                actions.push(LoginAction::Write(reply));
            }
            Command::Auth(auth) => self.auth(&auth, actions),
            // RFC 4954 section 6. .NET goes on without a login when no mechanism worked; it must hear so.
            Command::Mail(_) | Command::Rcpt(_) | Command::Data => {
                self.error("530 5.7.0 Authentication required\r\n", actions);
            }
            Command::Rset => say(actions, "250 2.0.0 Reset\r\n"),
            Command::Noop => say(actions, "250 2.0.0 OK\r\n"),
            Command::Quit => {
                say(actions, "221 2.0.0 Goodbye\r\n");
                self.close(CloseReason::Quit, actions);
            }
            Command::StartTls => self.start_tls(actions),
            Command::Vrfy => say(actions, CANNOT_VERIFY),
            Command::Help => say(actions, HELP),
            Command::NotServed => self.error(NOT_SERVED, actions),
            Command::Bdat => {
                // Its octets follow whatever we say, and would be read as commands: one is too many.
                say(actions, NOT_SERVED);
                self.close(CloseReason::TooManyErrors, actions);
            }
            Command::Http => self.close(CloseReason::NotThisProtocol, actions),
        }
    }

    /// RFC 3207.
    fn start_tls(&mut self, actions: &mut Vec<LoginAction>) {
        match self.settings.tls {
            ClientTls::Off => self.error(NOT_SERVED, actions),
            ClientTls::Active => self.error("503 5.5.1 TLS is already active\r\n", actions),
            ClientTls::Offered if self.lines.is_empty() => {
                say(actions, "220 2.0.0 Ready to start TLS\r\n");
                self.state = State::AwaitTls;
                actions.push(LoginAction::StartTls);
            }
            // Whoever sits on the wire put them there; no client has a use for it (CVE-2011-0411).
            ClientTls::Offered => self.close(CloseReason::BytesBehindStartTls, actions),
        }
    }

    /// RFC 4954 section 4. An initial response may be there or not, for both mechanisms (PROTOCOL A.0 rule 4).
    fn auth(&mut self, auth: &Auth<'_>, actions: &mut Vec<LoginAction>) {
        if !self.greeted {
            return self.error("503 5.5.1 Say EHLO first\r\n", actions);
        }
        let initial = auth.initial.map(sasl::decode).transpose();
        let initial = match initial {
            Ok(initial) => initial,
            Err(error) => return self.sasl_error(error, actions),
        };
        if auth.mechanism.eq_ignore_ascii_case(b"PLAIN") {
            match initial {
                Some(message) => self.attempt(sasl::plain(&message, AUTH_PLAIN), actions),
                None => self.challenge("", State::ExpectPlain, actions),
            }
        } else if auth.mechanism.eq_ignore_ascii_case(b"LOGIN") {
            match initial.filter(|user| !user.is_empty()) {
                // quirk: Konica Minolta copiers and Veeam send the user name along.
                Some(user) => {
                    self.challenge(LOGIN_PASSWORD, State::ExpectPassword { user }, actions);
                }
                None => self.challenge(LOGIN_USERNAME, State::ExpectUser, actions),
            }
        } else {
            // .NET goes on to its next mechanism at 504.
            self.error("504 5.5.4 Mechanism not offered\r\n", actions);
        }
    }

    fn challenge(&mut self, text: &str, next: State, actions: &mut Vec<LoginAction>) {
        actions.push(LoginAction::Write(Bytes::from(format!("334 {text}\r\n"))));
        self.state = next;
    }

    /// What the client answers to a challenge.
    fn sasl_line(&mut self, actions: &mut Vec<LoginAction>) -> bool {
        let Some(line) = self.lines.next(SASL_LINE_MAX) else {
            return false;
        };
        let state = mem::replace(&mut self.state, State::ExpectCommand);
        let Line::Complete(line) = line else {
            self.error(AUTH_LINE_TOO_LONG, actions);
            return true;
        };
        match (sasl::decode(&line), state) {
            (Err(error), _) => self.sasl_error(error, actions),
            (Ok(user), State::ExpectUser) => {
                self.challenge(LOGIN_PASSWORD, State::ExpectPassword { user }, actions);
            }
            (Ok(password), State::ExpectPassword { user }) => {
                let attempt = sasl::attempt(user.expose(), password, AUTH_LOGIN);
                self.attempt(attempt, actions);
            }
            (Ok(message), _) => self.attempt(sasl::plain(&message, AUTH_PLAIN), actions),
        }
        true
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
            Err(error) => self.sasl_error(error, actions),
        }
    }

    fn refused(&mut self, why: &Refusal, actions: &mut Vec<LoginAction>) {
        actions.push(LoginAction::Write(refusal(why)));
        self.refusals += 1;
        self.state = State::ExpectCommand;
        if why.cause == Cause::Shutdown {
            // 421 closes the channel, RFC 5321 section 3.8.
            self.close(CloseReason::Shutdown, actions);
        } else if self.refusals >= REFUSALS_MAX {
            say(actions, "421 4.7.0 Too many failed logins\r\n");
            self.close(CloseReason::TooManyErrors, actions);
        } else {
            self.advance(actions);
        }
    }

    fn sasl_error(&mut self, error: SaslError, actions: &mut Vec<LoginAction>) {
        self.errors += 1;
        let reply = format!("501 5.5.2 AUTH: {error}\r\n");
        actions.push(LoginAction::Write(Bytes::from(reply)));
    }

    fn error(&mut self, reply: &'static str, actions: &mut Vec<LoginAction>) {
        self.errors += 1;
        say(actions, reply);
    }

    /// A last reply, unless a TLS handshake is on the wire.
    fn take_leave(&self, reply: &'static str, actions: &mut Vec<LoginAction>) {
        if !matches!(self.state, State::AwaitTls) {
            say(actions, reply);
        }
    }

    fn close(&mut self, reason: CloseReason, actions: &mut Vec<LoginAction>) {
        self.state = State::Done;
        self.lines = Lines::default();
        actions.push(LoginAction::Close(reason));
    }
}

fn say(actions: &mut Vec<LoginAction>, reply: &'static str) {
    actions.push(LoginAction::Write(Bytes::from_static(reply.as_bytes())));
}

const AUTH_PLAIN: &str = "AUTH PLAIN";
const AUTH_LOGIN: &str = "AUTH LOGIN";

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
