//! The POP3 dialogue with the upstream up to "authenticated": we are the client.
//!
//! One command at a time, never pipelined: some servers hand the connection from a login process to a mailbox process
//! and lose what they had read ahead. It never sends QUIT: before login that changes nothing, and after it the end of
//! the session is the client's to say.
//!
//! What CAPA said at an earlier login is assumed: that spares two round trips, with STLS three. If the upstream then refuses
//! the login and does not say that it was the credential, it is asked, and the login is said once more if it would be
//! said otherwise now.
//!
//! | state | waits for |
//! |---|---|
//! | `ExpectGreeting` | the banner |
//! | `ExpectCapa` | the capabilities, before TLS, before login or after it |
//! | `ExpectStls` | the go-ahead for TLS |
//! | `AwaitTls` | the handshake |
//! | `ExpectSasl` | `+` of a SASL exchange, or the answer to it; has what is said next |
//! | `ExpectUser` | the answer to USER |
//! | `ExpectVerdict` | the answer to PASS |
//! | `Over` | nothing: established or failed |

use std::sync::Arc;

use bytes::Bytes;

use super::codec::{self, Code, Response, Status};
use super::frame::{CAPA_LINES_MAX, RESPONSE_MAX};
use crate::proto::dialogue::{
    Abilities, Credential, Established, Upstream, UpstreamAction, UpstreamInput, UpstreamSettings,
};
use crate::proto::lines::{Line, Lines};
use crate::proto::refusal::{Cause, Refusal};
use crate::proto::sasl;
use crate::protocol::TlsMode;
use crate::secret::Secret;

/// The upstream-facing dialogue.
#[derive(Debug)]
pub struct Pop3Upstream {
    settings: UpstreamSettings,
    lines: Lines,
    state: State,
    /// The capabilities of the state we are in; forgotten when TLS begins. `None` where CAPA is not known.
    capabilities: Option<Vec<String>>,
    /// What CAPA said at an earlier login; taken away when it proves wrong.
    assumed: Option<Arc<Abilities>>,
    /// What it said in this one.
    learned: Option<Abilities>,
    /// A login that was said on an assumption, and how it was refused.
    doubt: Option<(Way, Refusal)>,
}

/// How a credential is said: a SASL mechanism, or `None` for USER and PASS.
type Way = Option<&'static str>;

#[derive(Debug)]
enum State {
    ExpectGreeting,
    ExpectCapa { when: When, list: CapaList },
    ExpectStls,
    AwaitTls,
    ExpectSasl(sasl::Exchange),
    ExpectUser,
    ExpectVerdict,
    Over,
}

/// Which CAPA it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    BeforeTls,
    BeforeLogin,
    AfterLogin,
}

/// A capability list on its way: `None` before its status line.
type CapaList = Option<Vec<String>>;

impl Pop3Upstream {
    /// A dialogue that waits for its connection.
    pub fn new(settings: UpstreamSettings) -> Self {
        Self {
            settings,
            lines: Lines::default(),
            state: State::ExpectGreeting,
            capabilities: None,
            assumed: None,
            learned: None,
            doubt: None,
        }
    }
}

impl Upstream for Pop3Upstream {
    fn step(&mut self, input: UpstreamInput<'_>, actions: &mut Vec<UpstreamAction>) {
        let ended = match input {
            UpstreamInput::Connected => self.settings.check_credential("credential"),
            UpstreamInput::Bytes(bytes) => {
                self.lines.push(bytes);
                self.advance(actions)
            }
            UpstreamInput::Eof if matches!(self.state, State::Over) => Ok(()),
            UpstreamInput::Eof => Err(self.broken("The mail provider closed the connection")),
            UpstreamInput::TlsReady => {
                // RFC 2595 section 4: what was learned before TLS is forgotten.
                self.capabilities = None;
                self.prepare_login(actions)
            }
        };
        if let Err(refusal) = ended {
            self.state = State::Over;
            // A login was refused, and what came of the question is no better answer.
            let refusal = self.doubt.take().map_or(refusal, |(_, refused)| refused);
            actions.push(UpstreamAction::Fail(refusal));
        }
    }

    fn assume(&mut self, abilities: Arc<Abilities>) {
        self.assumed = Some(abilities);
    }

    fn learned(&self) -> Option<Abilities> {
        self.learned.clone()
    }

    fn phase(&self) -> &'static str {
        match self.state {
            State::ExpectGreeting => "greeting",
            State::ExpectCapa { when, .. } => match when {
                When::BeforeTls | When::BeforeLogin => "capa",
                When::AfterLogin => "capa-after-login",
            },
            State::ExpectStls => "stls",
            State::AwaitTls => "tls",
            State::ExpectSasl(_) => "auth",
            State::ExpectUser => "user",
            State::ExpectVerdict => "login",
            State::Over => "over",
        }
    }
}

impl Pop3Upstream {
    fn advance(&mut self, actions: &mut Vec<UpstreamAction>) -> Result<(), Refusal> {
        while !matches!(self.state, State::Over | State::AwaitTls) {
            match self.lines.next(RESPONSE_MAX) {
                None => return Ok(()),
                Some(Line::TooLong) => {
                    return Err(self.broken("The mail provider sent an over-long line"));
                }
                Some(Line::Complete(line)) => self.line(line.expose(), actions)?,
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], actions: &mut Vec<UpstreamAction>) -> Result<(), Refusal> {
        if let State::ExpectCapa { when, list } = &mut self.state
            && let Some(list) = list
        {
            let (when, ended) = (*when, line == b".");
            if ended {
                let list = std::mem::take(list);
                return self.capa(when, Some(list), actions);
            }
            if list.len() == CAPA_LINES_MAX {
                return Err(self.broken("The mail provider's capability list does not end"));
            }
            list.push(String::from_utf8_lossy(line).into_owned());
            return Ok(());
        }
        let Some(response) = Response::parse(line) else {
            return Err(self.broken("The mail provider does not answer in POP3"));
        };
        self.response(response, actions)
    }

    fn response(
        &mut self,
        response: Response<'_>,
        actions: &mut Vec<UpstreamAction>,
    ) -> Result<(), Refusal> {
        match (&mut self.state, response.status) {
            (State::ExpectGreeting, Status::Ok) => match self.settings.tls {
                TlsMode::Implicit => return self.prepare_login(actions),
                TlsMode::StartTls if self.assumed.is_some() => self.ask_stls(actions),
                TlsMode::StartTls => self.ask_capa(When::BeforeTls, actions),
            },
            (State::ExpectGreeting, Status::Err) => return Err(self.unwelcome(response)),
            (State::ExpectCapa { list, .. }, Status::Ok) => *list = Some(Vec::new()),
            (State::ExpectCapa { when, .. }, Status::Err) => {
                let when = *when;
                return self.capa(when, None, actions);
            }
            (State::ExpectStls, Status::Ok) => return self.start_tls(actions),
            (State::ExpectStls, Status::Err) => return Err(self.lacks(NO_STLS)),
            (State::ExpectSasl(exchange), Status::Continue) => {
                match exchange.answer(response.text) {
                    Some(answer) => actions.push(UpstreamAction::WriteSecret(line_of(&answer))),
                    None => return Err(self.broken("The mail provider answered out of turn")),
                }
            }
            (State::ExpectUser, Status::Ok) => {
                let Credential::Password { password, .. } = &self.settings.credential else {
                    return Err(self.lacks(self.settings.credential.no_way()));
                };
                let line = [b"PASS ", password.expose(), b"\r\n"].concat();
                actions.push(UpstreamAction::WriteSecret(Secret::new(line)));
                self.state = State::ExpectVerdict;
            }
            (State::ExpectSasl(_) | State::ExpectVerdict, Status::Ok) if self.assumed.is_some() => {
                let assumed = self.assumed.take();
                let after = assumed.and_then(|abilities| abilities.after_login.clone());
                self.establish(after, actions);
            }
            (State::ExpectSasl(_) | State::ExpectVerdict, Status::Ok)
                if self.capabilities.is_some() =>
            {
                self.ask_capa(When::AfterLogin, actions);
            }
            (State::ExpectSasl(_) | State::ExpectVerdict, Status::Ok) => {
                self.establish(None, actions)
            }
            (State::ExpectSasl(_) | State::ExpectUser | State::ExpectVerdict, Status::Err) => {
                return self.on_refusal(response, actions);
            }
            (_, Status::Ok | Status::Continue) | (State::AwaitTls | State::Over, _) => {
                return Err(self.broken("The mail provider answered out of turn"));
            }
        }
        Ok(())
    }

    /// Asks what there is to know before a login, if it has to be asked.
    fn prepare_login(&mut self, actions: &mut Vec<UpstreamAction>) -> Result<(), Refusal> {
        let Some(assumed) = &self.assumed else {
            self.ask_capa(When::BeforeLogin, actions);
            return Ok(());
        };
        self.capabilities.clone_from(&assumed.before_login);
        self.log_in(actions)
    }

    /// A refusal that may be a misunderstanding leads to the question that was spared.
    fn on_refusal(
        &mut self,
        response: Response<'_>,
        actions: &mut Vec<UpstreamAction>,
    ) -> Result<(), Refusal> {
        let refusal = self.refused(response);
        let judged = response.code == Some(Code::Auth)
            || matches!(&self.state, State::ExpectSasl(exchange) if exchange.was_judged());
        if self.assumed.take().is_none() || judged {
            return Err(refusal);
        }
        let way = match &self.state {
            State::ExpectSasl(exchange) => Some(exchange.mechanism()),
            _ => None,
        };
        self.doubt = Some((way, refusal));
        self.ask_capa(When::BeforeLogin, actions);
        Ok(())
    }

    fn ask_stls(&mut self, actions: &mut Vec<UpstreamAction>) {
        say(actions, "STLS\r\n");
        self.state = State::ExpectStls;
    }

    fn ask_capa(&mut self, when: When, actions: &mut Vec<UpstreamAction>) {
        say(actions, "CAPA\r\n");
        self.state = State::ExpectCapa { when, list: None };
    }

    /// The capabilities are known, or CAPA is not (RFC 1939 servers).
    fn capa(
        &mut self,
        when: When,
        list: Option<Vec<String>>,
        actions: &mut Vec<UpstreamAction>,
    ) -> Result<(), Refusal> {
        match when {
            When::AfterLogin => {
                if let Some(learned) = &mut self.learned {
                    learned.after_login.clone_from(&list);
                }
                self.establish(list, actions);
                Ok(())
            }
            When::BeforeLogin => {
                self.learned = Some(Abilities {
                    before_login: list.clone(),
                    after_login: None,
                });
                self.capabilities = list;
                self.log_in(actions)
            }
            When::BeforeTls => {
                self.capabilities = list;
                if self.parameters("STLS").is_none() {
                    return Err(self.lacks(NO_STLS));
                }
                self.ask_stls(actions);
                Ok(())
            }
        }
    }

    /// Bytes behind the go-ahead came in clear and would pass for encrypted ones (PROTOCOL C.2, response injection).
    fn start_tls(&mut self, actions: &mut Vec<UpstreamAction>) -> Result<(), Refusal> {
        if !self.lines.is_empty() {
            return Err(self.broken("The mail provider sent plain bytes where TLS was due"));
        }
        actions.push(UpstreamAction::StartTls);
        self.state = State::AwaitTls;
        Ok(())
    }

    /// The best of what is offered: a SASL mechanism, or for a password USER and PASS.
    ///
    /// SASL always in two steps: RFC 1734 servers know no initial response, Microsoft takes none with XOAUTH2, and the
    /// line with the credential would often exceed the 255 octets of RFC 2449 section 4.
    fn log_in(&mut self, actions: &mut Vec<UpstreamAction>) -> Result<(), Refusal> {
        let offers = |mechanism: &str| {
            self.parameters("SASL").is_some_and(|mut mechanisms| {
                mechanisms.any(|offered| offered.eq_ignore_ascii_case(mechanism))
            })
        };
        let exchange = sasl::Exchange::choose(&self.settings.credential, offers);
        let way = exchange.as_ref().map(sasl::Exchange::mechanism);
        match self.doubt.take() {
            // It would be said as it was, and was refused: that was no misunderstanding.
            Some((refused, refusal)) if way == refused => return Err(refusal),
            _ => {}
        }
        if let Some(exchange) = exchange {
            say(actions, format!("AUTH {}\r\n", exchange.mechanism()));
            self.state = State::ExpectSasl(exchange);
            return Ok(());
        }
        match &self.settings.credential {
            Credential::Password { user, .. }
                if self.capabilities.is_none() || self.parameters("USER").is_some() =>
            {
                say(actions, format!("USER {user}\r\n"));
                self.state = State::ExpectUser;
                Ok(())
            }
            credential => Err(self.lacks(credential.no_way())),
        }
    }

    /// What stands behind a capability's name; `None` where it is not offered.
    fn parameters<'a>(&'a self, name: &str) -> Option<impl Iterator<Item = &'a str>> {
        self.capabilities.iter().flatten().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let found = words.next()?.eq_ignore_ascii_case(name);
            found.then_some(words)
        })
    }

    fn establish(&mut self, capabilities: Option<Vec<String>>, actions: &mut Vec<UpstreamAction>) {
        self.state = State::Over;
        actions.push(UpstreamAction::Established(Box::new(Established {
            capabilities,
            leftover: std::mem::take(&mut self.lines).into_leftover(),
        })));
    }

    fn broken(&self, text: &'static str) -> Refusal {
        Refusal::new(Cause::Unavailable, self.phase(), text)
    }

    fn lacks(&self, text: &'static str) -> Refusal {
        Refusal::new(Cause::UpstreamPolicy, self.phase(), text)
    }

    /// `-ERR` instead of a greeting.
    fn unwelcome(&self, response: Response<'_>) -> Refusal {
        let cause = codec::trouble(response).unwrap_or(Cause::Unavailable);
        let ours = "The mail provider turned us away";
        Refusal::quoting(cause, self.phase(), ours, response.text)
    }

    /// `-ERR` to the credential. It is only blamed where nothing else can be meant.
    fn refused(&self, response: Response<'_>) -> Refusal {
        let report = match &self.state {
            State::ExpectSasl(exchange) => Some(exchange),
            _ => None,
        };
        let cause = codec::trouble(response).unwrap_or_else(|| {
            // RFC 3206 section 6: who promises the code and leaves it out does not mean the credential, unless a report
            // has said so before.
            let promised = self.parameters("AUTH-RESP-CODE").is_some();
            let judged = report.is_some_and(sasl::Exchange::was_judged);
            if promised && !judged && response.code != Some(Code::Auth) {
                Cause::Unavailable
            } else {
                self.settings.rejected(report)
            }
        });
        let ours = self.settings.refused(cause, report);
        let theirs = self.settings.quotable(response.text);
        Refusal::quoting(cause, self.phase(), &ours, theirs)
    }
}

fn say(actions: &mut Vec<UpstreamAction>, line: impl Into<Bytes>) {
    actions.push(UpstreamAction::Write(line.into()));
}

fn line_of(secret: &Secret) -> Secret {
    Secret::new([secret.expose(), b"\r\n"].concat())
}

const NO_STLS: &str = "The mail provider does not offer STLS, which is required";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dialogue() -> Pop3Upstream {
        Pop3Upstream::new(UpstreamSettings {
            tls: TlsMode::Implicit,
            ehlo_name: String::new(),
            credential: Credential::Password {
                user: "anna".into(),
                password: Secret::from("app-secret"),
            },
            passthrough: false,
        })
    }

    /// What an upstream gets to hear that sends `input` in these pieces.
    fn told(input: &[u8], cuts: &[usize]) -> Vec<String> {
        let mut upstream = dialogue();
        let (mut actions, mut from) = (Vec::new(), 0);
        upstream.step(UpstreamInput::Connected, &mut actions);
        for to in cuts.iter().copied().chain([input.len()]) {
            let to = to.clamp(from, input.len());
            upstream.step(UpstreamInput::Bytes(&input[from..to]), &mut actions);
            from = to;
        }
        upstream.step(UpstreamInput::Eof, &mut actions);
        let told = actions.into_iter().map(|action| match action {
            UpstreamAction::WriteSecret(secret) => secret.expose().escape_ascii().to_string(),
            // How much is left over depends on how much was there.
            UpstreamAction::Established(it) => format!("{:?}", it.capabilities),
            other => format!("{other:?}"),
        });
        told.collect()
    }

    #[test]
    fn bytes_behind_the_last_reply_are_handed_over() {
        let mut upstream = dialogue();
        let mut actions = Vec::new();
        let input = b"+OK\r\n-ERR\r\n+OK\r\n+OK\r\n-ERR goodb";
        upstream.step(UpstreamInput::Bytes(input), &mut actions);
        let Some(UpstreamAction::Established(established)) = actions.pop() else {
            panic!("not established: {actions:?}");
        };
        assert_eq!(established.leftover.as_ref(), b"-ERR goodb");
    }

    #[test]
    fn neither_actions_nor_the_machine_show_the_password() {
        for greeting in [
            "+OK\r\n-ERR\r\n+OK\r\n",
            "+OK\r\n+OK\r\nSASL LOGIN\r\n.\r\n+\r\n",
        ] {
            let mut upstream = dialogue();
            let mut actions = Vec::new();
            upstream.step(UpstreamInput::Bytes(greeting.as_bytes()), &mut actions);
            let shown = format!("{upstream:?} {actions:?}");
            assert!(!shown.contains("app-secret") && !shown.contains("YXBwLXNlY3JldA"));
        }
    }

    proptest! {
        #[test]
        fn an_upstream_is_told_the_same_however_it_is_split(
            lines in proptest::collection::vec(
                "(\\+OK|\\+OK|\\+OK|-ERR \\[AUTH\\] no|\\+|\\.|SASL PLAIN|SASL LOGIN|USER|junk)\r?\n", 0..16),
            mut cuts in proptest::collection::vec(0_usize..120, 0..12),
        ) {
            let input = lines.concat().into_bytes();
            cuts.sort_unstable();
            prop_assert_eq!(told(&input, &cuts), told(&input, &[]));
        }

        #[test]
        fn no_bytes_make_it_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
            told(&[&b"+OK\r\n"[..], &input].concat(), &[7, 8, 90]);
        }
    }
}
