//! AUTH: from the command to a login attempt, RFC 4954 section 4.

use std::mem;

use bytes::Bytes;

use super::{SmtpLogin, State};
use crate::profile::Mechanism;
use crate::proto::dialogue::{LoginAction, Welcome};
use crate::proto::lines::Line;
use crate::proto::sasl::{self, Next, SASL_LINE_MAX, SaslError, Server};
use crate::proto::smtp::codec::{AUTH_LINE_TOO_LONG, Auth};

impl SmtpLogin {
    /// RFC 4954 section 4. An initial response may be there or not, for both mechanisms (PROTOCOL A.0 rule 4).
    pub(super) fn auth(&mut self, auth: &Auth<'_>, actions: &mut Vec<LoginAction>) {
        if !self.greeted {
            return self.error("503 5.5.1 Say EHLO first\r\n", actions);
        }
        let known = std::str::from_utf8(auth.mechanism).ok();
        let known: Option<Mechanism> = known.and_then(|it| it.parse().ok());
        let offer = &self.settings.offer;
        let Some(mechanism) = known.filter(|it| it.is_sasl() && offer.completes(*it)) else {
            // .NET goes on to its next mechanism at 504.
            return self.error("504 5.5.4 Mechanism not offered\r\n", actions);
        };
        let settings = &mut self.settings;
        let next = Server::begin(
            mechanism,
            auth.initial,
            &mut settings.challenges,
            &settings.host,
        );
        self.proceed(next, actions);
    }

    /// What the client answers to a challenge.
    pub(super) fn sasl_line(&mut self, actions: &mut Vec<LoginAction>) -> bool {
        let Some(line) = self.lines.next(SASL_LINE_MAX) else {
            return false;
        };
        match (mem::replace(&mut self.state, State::ExpectCommand), line) {
            // Whatever it says: it has proved itself, and RFC 5802 has nothing more to hear.
            (State::ExpectLast, _) => self.hand_over(actions),
            (State::ExpectResponse { server }, Line::Complete(line)) => {
                let next = server.answer(line.expose(), &mut self.settings.challenges);
                self.proceed(next, actions);
            }
            (_, _) => self.error(AUTH_LINE_TOO_LONG, actions),
        }
        true
    }

    fn proceed(&mut self, next: Result<Next, SaslError>, actions: &mut Vec<LoginAction>) {
        match next {
            Ok(Next::Challenge(challenge, server)) => {
                actions.push(LoginAction::Write(Bytes::from(format!(
                    "334 {challenge}\r\n"
                ))));
                self.state = State::ExpectResponse { server };
            }
            Ok(Next::Attempt(attempt)) => {
                self.state = State::AwaitDecision;
                actions.push(LoginAction::Authenticate(attempt));
            }
            Err(error) => self.sasl_error(error, actions),
        }
    }

    pub(super) fn accepted(&mut self, welcome: Welcome<'_>, actions: &mut Vec<LoginAction>) {
        let Some(last) = welcome.server_final else {
            return self.hand_over(actions);
        };
        // RFC 4954 section 4: no data with 235, so that it is a challenge, and the client's answer empty.
        let last = sasl::encode(last.as_bytes());
        actions.push(LoginAction::Write(
            [b"334 ", last.expose(), b"\r\n"].concat().into(),
        ));
        self.state = State::ExpectLast;
        self.advance(actions);
    }

    fn hand_over(&mut self, actions: &mut Vec<LoginAction>) {
        self.state = State::Done;
        let leftover = mem::take(&mut self.lines).into_leftover();
        if let Some(mail) = self.mail.take() {
            let leftover = Bytes::from([mail, leftover].concat());
            return actions.push(LoginAction::HandOver { leftover });
        }
        let reply = Bytes::from_static(b"235 2.7.0 Authentication succeeded\r\n");
        actions.push(LoginAction::Write(reply));
        actions.push(LoginAction::HandOver { leftover });
    }

    fn sasl_error(&mut self, error: SaslError, actions: &mut Vec<LoginAction>) {
        self.errors += 1;
        let reply = format!("501 5.5.2 AUTH: {error}\r\n");
        actions.push(LoginAction::Write(Bytes::from(reply)));
    }
}
