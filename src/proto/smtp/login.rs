//! The SMTP dialogue with the client before authentication. Everything in it is ours; the upstream is not needed yet.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `AwaitConnection` | the connection | banner, `ExpectCommand` |
//! | `ExpectCommand` | a command line | a reply, an AUTH state, `AwaitTls` or the end |
//! | `ExpectResponse` | the answer to a SASL challenge | `AwaitDecision`, `ExpectCommand` |
//! | `AwaitDecision` | accepted or refused | hand-over, `ExpectLast`, or `ExpectCommand` |
//! | `ExpectLast` | the empty answer to SCRAM's last message | hand-over |
//! | `AwaitTls` | the handshake | `ExpectCommand`, with EHLO forgotten |
//!
//! Only one thing ends the dialogue at once besides QUIT: bytes whose meaning is lost, as behind BDAT or STARTTLS.

mod auth;

use bytes::Bytes;

use super::codec::{
    AUTH_LINE_TOO_LONG, CANNOT_VERIFY, Command, HELP, LINE_TOO_LONG, NOT_SERVED, command, hello,
    refusal,
};
use super::extensions::with_size;
use super::frame::{CommandLine, command_line};
use crate::profile::Quirk;
use crate::proto::dialogue::{
    ClientTls, CloseReason, Login, LoginAction, LoginInput, LoginSettings,
};
use crate::proto::lines::Lines;
use crate::proto::refusal::{Cause, Refusal};
use crate::proto::sasl::Server;

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
    ExpectResponse { server: Server },
    AwaitDecision,
    ExpectLast,
    AwaitTls,
    Done,
}

impl SmtpLogin {
    /// A dialogue that waits for its connection.
    pub fn new(settings: LoginSettings) -> Self {
        Self {
            lines: lines_of(&settings),
            settings,
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
                self.lines = lines_of(&self.settings);
                self.state = State::ExpectCommand;
            }
            LoginInput::Accepted(welcome) => self.accepted(welcome, actions),
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
            State::ExpectCommand | State::ExpectResponse { .. } | State::ExpectLast
        )
    }

    fn phase(&self) -> &'static str {
        match self.state {
            State::AwaitConnection => "await-connection",
            State::ExpectCommand => "expect-command",
            State::ExpectResponse { .. } => "expect-response",
            State::AwaitDecision => "await-decision",
            State::ExpectLast => "expect-last",
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
            CommandLine::Complete(line) => match command(line.expose()) {
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
                let offered = self.settings.offer.list(self.settings.tls);
                let keywords = with_size(offered, self.settings.max_message_size);
                let reply = hello(&self.settings.host, &keywords);
                actions.push(LoginAction::Write(reply));
            }
            Command::Helo => {
                // quirk: RFC 4954 section 4 has AUTH after EHLO only; .NET falls back to HELO and logs in all the same.
                self.greeted = self.settings.offer.profile.has(Quirk::Lenient);
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

fn lines_of(settings: &LoginSettings) -> Lines {
    Lines::new(!settings.offer.profile.has(Quirk::Lenient))
}

fn say(actions: &mut Vec<LoginAction>, reply: &'static str) {
    actions.push(LoginAction::Write(Bytes::from_static(reply.as_bytes())));
}

#[cfg(test)]
mod tests;
