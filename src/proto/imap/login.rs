//! The IMAP dialogue with the client before authentication: we are the server.
//!
//! Nothing of it comes from the upstream, which is not even connected yet. It deliberately knows no mailbox: a command
//! of the authenticated state is answered BAD.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `ExpectCommand` | a command | any |
//! | `ExpectResponse` | the client's answer to a SASL challenge | `ExpectCommand`, `AwaitDecision` |
//! | `AwaitDecision` | accepted or refused; the client is not read | `Done`, `ExpectCommand`, `ExpectLast` |
//! | `ExpectLast` | the empty answer to SCRAM's last message | `Done` |
//! | `AwaitTls` | the handshake; the client is not read | `ExpectCommand` |
//! | `Done` | nothing | – |

mod stranger;

use bytes::Bytes;

use super::codec::capability;
use super::codec::command::{Command, Malformed, Request, command};
use super::codec::refusal;
use super::frame::{Frame, Frames};
use crate::profile::{Mechanism, Quirk};
use crate::proto::dialogue::{
    ClientTls, CloseReason, Login, LoginAction, LoginAttempt, LoginInput, LoginSettings, Welcome,
};
use crate::proto::lines::Line;
use crate::proto::refusal::Refusal;
use crate::proto::sasl::{self, Next, SaslError, Server};
use crate::secret::Secret;

/// See the module.
#[derive(Debug)]
pub struct ImapLogin {
    settings: LoginSettings,
    frames: Frames,
    state: State,
    /// Whether the first octet of the connection, or of its TLS, has been looked at.
    first_octet_seen: bool,
    bad_commands: usize,
    failed_logins: usize,
}

#[derive(Debug)]
enum State {
    ExpectCommand,
    ExpectResponse { tag: String, server: Server },
    AwaitDecision { tag: String },
    ExpectLast { reply: Bytes },
    AwaitTls,
    Done,
}

impl ImapLogin {
    /// A dialogue that has not greeted yet.
    pub fn new(settings: LoginSettings) -> Self {
        Self {
            frames: Frames::new(!settings.offer.profile.has(Quirk::Lenient)),
            settings,
            state: State::ExpectCommand,
            first_octet_seen: false,
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
                self.first_octet_seen = false;
                self.state = State::ExpectCommand;
            }
            LoginInput::Accepted(welcome) => self.accepted(welcome, actions),
            LoginInput::Refused(why) => self.refused(why, actions),
            LoginInput::Deadline => {
                let words = "Autologout; no login in time";
                self.bye(words, CloseReason::Deadline, actions);
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
            State::ExpectCommand | State::ExpectResponse { .. } | State::ExpectLast { .. }
        )
    }

    fn phase(&self) -> &'static str {
        match &self.state {
            State::ExpectCommand => "expect-command",
            State::ExpectResponse { .. } => "expect-response",
            State::AwaitDecision { .. } => "await-decision",
            State::ExpectLast { .. } => "expect-last",
            State::AwaitTls => "await-tls",
            State::Done => "done",
        }
    }
}

impl ImapLogin {
    /// With the capability code: some clients ask for nothing else (PROTOCOL A.2). Those from before RFC 1730 know none.
    fn greeting(&self) -> String {
        let host = &self.settings.host;
        if self.settings.offer.profile.has(Quirk::Imap2bis) {
            return format!("* OK {host} ready\r\n");
        }
        format!("* OK [CAPABILITY {}] {host} ready\r\n", self.capabilities())
    }

    fn capabilities(&self) -> String {
        self.settings.offer.list(self.settings.tls).join(" ")
    }

    fn read(&mut self, bytes: &[u8], actions: &mut Vec<LoginAction>) {
        if matches!(self.state, State::AwaitTls) {
            return self.close(CloseReason::BytesBehindStartTls, actions);
        }
        if !self.first_octet_seen
            && let Some(&first) = bytes.first()
        {
            self.first_octet_seen = true;
            if stranger::is_foreign(first) {
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
                State::ExpectResponse { tag, server } => {
                    match self.frames.next_line(sasl::SASL_LINE_MAX) {
                        Some(Line::Complete(line)) => {
                            let next = server.answer(line.expose(), &mut self.settings.challenges);
                            self.proceed(tag, next, actions);
                        }
                        Some(Line::TooLong) => self.bad(&tag, "Response too long", actions),
                        None => {
                            self.state = State::ExpectResponse { tag, server };
                            return;
                        }
                    }
                }
                State::ExpectLast { reply } => {
                    if self.frames.next_line(sasl::SASL_LINE_MAX).is_none() {
                        self.state = State::ExpectLast { reply };
                        return;
                    }
                    // Whatever it says: it has proved itself, and RFC 5802 has nothing more to hear.
                    return self.hand_over(reply, actions);
                }
                waiting => {
                    self.state = waiting;
                    return;
                }
            }
        }
    }

    fn on_command(&mut self, frame: &Secret, actions: &mut Vec<LoginAction>) {
        if stranger::is_http(frame.expose()) {
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
                let list = self.capabilities();
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
        mechanism: Option<Mechanism>,
        initial_response: Option<Secret>,
        actions: &mut Vec<LoginAction>,
    ) {
        let Some(mechanism) = mechanism.filter(|it| self.settings.offer.completes(*it)) else {
            // B.6: NO, not BAD, so that the client tries another one.
            say(actions, format!("{tag} NO Mechanism not supported\r\n"));
            return self.count_bad(actions);
        };
        let initial = initial_response.as_ref().map(Secret::expose);
        let settings = &mut self.settings;
        let next = Server::begin(mechanism, initial, &mut settings.challenges, &settings.host);
        self.proceed(tag, next, actions);
    }

    /// What a message of a SASL exchange leads to.
    fn proceed(
        &mut self,
        tag: String,
        next: Result<Next, SaslError>,
        actions: &mut Vec<LoginAction>,
    ) {
        match next {
            Ok(Next::Challenge(challenge, server)) => {
                say(actions, format!("+ {challenge}\r\n"));
                self.state = State::ExpectResponse { tag, server };
            }
            Ok(Next::Attempt(attempt)) => self.attempt(tag, Ok(attempt), actions),
            Err(why) => self.attempt(tag, Err(why), actions),
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

    fn accepted(&mut self, welcome: Welcome<'_>, actions: &mut Vec<LoginAction>) {
        let State::AwaitDecision { tag } = &self.state else {
            return;
        };
        let mut reply = format!("{tag} OK ").into_bytes();
        let profile = welcome.profile;
        // B.8 no. 9: where the upstream named none, none are invented, and the client asks.
        if let Some(list) = &welcome.established.capabilities
            && !profile.has(Quirk::Imap2bis)
        {
            reply.extend_from_slice(b"[CAPABILITY ");
            reply.extend(capability::after_login(
                list.join(" ").as_bytes(),
                &profile.imap,
            ));
            reply.extend_from_slice(b"] ");
        }
        reply.extend_from_slice(b"Logged in\r\n");
        let Some(last) = welcome.server_final else {
            return self.hand_over(reply.into(), actions);
        };
        // RFC 3501 has no data in the tagged OK: the last message is a challenge, its answer empty (RFC 4422 section 3.1).
        let last = sasl::encode(last.as_bytes());
        say(actions, [b"+ ", last.expose(), b"\r\n"].concat());
        let reply = reply.into();
        self.state = State::ExpectLast { reply };
        self.advance(actions);
    }

    fn hand_over(&mut self, reply: Bytes, actions: &mut Vec<LoginAction>) {
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

/// nginx closes after five; a client that probes for mechanisms stays below.
const BAD_COMMANDS_MAX: usize = 5;

/// Dovecot's login process closes after three.
const FAILED_LOGINS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::Profile;
    use crate::proto::dialogue::Established;
    use crate::proto::refusal::Cause;
    use crate::protocol::Protocol;

    /// Every action as text; each attempt is refused as soon as it is made.
    fn answers<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        let mut login = ImapLogin::new(LoginSettings::usual(
            Protocol::Imap,
            "sluice.test",
            ClientTls::Off,
        ));
        let mut seen = Vec::new();
        for chunk in chunks {
            let mut actions = Vec::new();
            login.step(LoginInput::Bytes(chunk), &mut actions);
            while let Some(action) = (!actions.is_empty()).then(|| actions.remove(0)) {
                if matches!(action, LoginAction::Authenticate(_)) {
                    assert!(!login.reads());
                    let refusal = Refusal::new(Cause::WrongPassword, "test", "no");
                    login.step(LoginInput::Refused(&refusal), &mut actions);
                }
                seen.push(format!("{action:?}"));
            }
        }
        seen
    }

    #[test]
    fn no_debug_output_shows_a_password() {
        let mut login = ImapLogin::new(LoginSettings::usual(
            Protocol::Imap,
            "sluice.test",
            ClientTls::Off,
        ));
        let mut actions = Vec::new();
        login.step(
            LoginInput::Bytes(b"a LOGIN anna hunter2\r\nb LOGIN x hunter2"),
            &mut actions,
        );
        let shown = format!("{login:?} {actions:?}");
        assert!(
            shown.contains("AwaitDecision") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn a_decision_nobody_asked_for_changes_nothing() {
        let mut login = ImapLogin::new(LoginSettings::usual(
            Protocol::Imap,
            "sluice.test",
            ClientTls::Off,
        ));
        let mut actions = Vec::new();
        let welcome = Welcome {
            established: &Established::default(),
            profile: &Profile::default(),
            server_final: None,
        };
        login.step(LoginInput::Accepted(welcome), &mut actions);
        assert!(actions.is_empty());
        assert_eq!(login.phase(), "expect-command");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_answers(
            parts in prop::collection::vec(prop_oneof![
                Just("a LOGIN anna x\r\n"), Just("a LOGIN {4}\r\n"), Just("a LOGIN {3+}\r\n"), Just("anna "),
                Just("{2+}\r\n"), Just("\r\n"), Just("b AUTHENTICATE PLAIN\r\n"), Just("b AUTHENTICATE LOGIN YQ==\r\n"),
                Just("YW5uYQ==\r\n"), Just("*\r\n"), Just("c NOOP\n"), Just("d ID NIL\r\n"), Just("\u{e4}\0{}+ \"("),
                Just("e SELECT {99999}\r\n"),
            ], 0..12),
            size in 1_usize..12,
        ) {
            let text = parts.concat();
            let whole = answers(std::iter::once(text.as_bytes()));
            prop_assert_eq!(answers(text.as_bytes().chunks(size)), whole);
        }
    }
}
