//! AUTH: from the command to a login attempt, RFC 4954 section 4.

use std::mem;

use bytes::Bytes;

use super::{SmtpLogin, State};
use crate::proto::dialogue::{LoginAction, LoginAttempt};
use crate::proto::lines::Line;
use crate::proto::sasl::{self, LOGIN_PASSWORD, LOGIN_USERNAME, SASL_LINE_MAX, SaslError};
use crate::proto::smtp::codec::{AUTH_LINE_TOO_LONG, Auth};

impl SmtpLogin {
    /// RFC 4954 section 4. An initial response may be there or not, for both mechanisms (PROTOCOL A.0 rule 4).
    pub(super) fn auth(&mut self, auth: &Auth<'_>, actions: &mut Vec<LoginAction>) {
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
    pub(super) fn sasl_line(&mut self, actions: &mut Vec<LoginAction>) -> bool {
        let Some(line) = self.lines.next(SASL_LINE_MAX) else {
            return false;
        };
        let state = mem::replace(&mut self.state, State::ExpectCommand);
        let Line::Complete(line) = line else {
            self.error(AUTH_LINE_TOO_LONG, actions);
            return true;
        };
        match (sasl::decode(line.expose()), state) {
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

    fn sasl_error(&mut self, error: SaslError, actions: &mut Vec<LoginAction>) {
        self.errors += 1;
        let reply = format!("501 5.5.2 AUTH: {error}\r\n");
        actions.push(LoginAction::Write(Bytes::from(reply)));
    }
}

/// In logs.
const AUTH_PLAIN: &str = "AUTH PLAIN";
/// In logs.
const AUTH_LOGIN: &str = "AUTH LOGIN";
