//! One session in memory: login, upstream and watch wired as the relay wires them, with the bytes they say collected.
//!
//! It honours `reads()`: bytes of a leg that may not be read wait, and what a watch leaves untaken is offered again.

use std::sync::Arc;

use bytes::Bytes;
use mailsluice::proto::dialogue::{
    Breach, CloseReason, Credential, Ending, Established, HOLD_MAX, Login, LoginAction,
    LoginAttempt, LoginInput, LoginSettings, Progress, Proof, Pulse, Reset, Upstream,
    UpstreamAction, UpstreamInput, UpstreamSettings, Watch, Welcome,
};
use mailsluice::proto::flow::{Flow, Piece};
use mailsluice::proto::offer::Offer;
use mailsluice::proto::refusal::{Cause, Refusal};
use mailsluice::proto::sasl::Challenges;
use mailsluice::proto::{login, reset, upstream, watch};
use mailsluice::protocol::Leg;
use mailsluice::secret::Secret;

use super::transcript::{Credential as Kind, Input, Settings};

/// The host name in greetings and in EHLO.
pub(crate) const HOST: &str = "sluice.test";

/// The session and what it has said so far.
pub(crate) struct Session<'a> {
    settings: &'a Settings,
    login_settings: LoginSettings,
    login: Box<dyn Login>,
    upstream: Option<Box<dyn Upstream>>,
    /// What the upstream dialogue found, until the watch gets it.
    established: Option<Established>,
    /// What SCRAM is to be answered.
    server_final: Option<String>,
    watch: Option<Box<dyn Watch>>,
    /// The client has gone, and the upstream is made fit for another.
    reset: Option<Box<dyn Reset>>,
    client: Inbox,
    provider: Inbox,
    /// Bytes reach the dialogues one at a time.
    bytewise: bool,
    refuse_next: Option<Cause>,
    /// Upstream connections so far.
    pub(crate) connections: usize,
    awaited_tls: Option<Leg>,
    closed: bool,
    pub(crate) said: Said,
}

/// What came out.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) to_client: Vec<u8>,
    pub(crate) to_upstream: Vec<u8>,
    /// In the words of the `!` lines.
    pub(crate) outcomes: Vec<String>,
}

impl Said {
    /// The bytes said to `leg`.
    pub(crate) fn to(&mut self, leg: Leg) -> &mut Vec<u8> {
        match leg {
            Leg::Client => &mut self.to_client,
            Leg::Upstream => &mut self.to_upstream,
        }
    }
}

/// What a peer sent and nobody has taken yet.
#[derive(Default)]
struct Inbox {
    unread: Vec<u8>,
    /// Its end of stream: still to be told, or told.
    eof: Option<Eof>,
}

#[derive(PartialEq)]
enum Eof {
    Seen,
    Told,
}

/// The transcript or a dialogue breaks the rules of the game itself.
pub(crate) type Foul = String;

impl<'a> Session<'a> {
    /// A connection that has just been accepted.
    pub(crate) fn connect(settings: &'a Settings, bytewise: bool) -> Result<Self, Foul> {
        let login_settings = LoginSettings {
            host: HOST.to_owned(),
            tls: settings.client_tls,
            max_message_size: settings.max_message_size,
            offer: Arc::new(Offer::new(
                settings.protocol,
                Arc::clone(&settings.profile),
                settings.recoverable,
                &settings.promised,
            )),
            challenges: Challenges::new(Secret::from("seed"), Secret::from("salt")),
        };
        let mut session = Self {
            settings,
            login: login(settings.protocol, login_settings.clone()),
            login_settings,
            upstream: None,
            established: None,
            server_final: None,
            watch: None,
            reset: None,
            client: Inbox::default(),
            provider: Inbox::default(),
            bytewise,
            refuse_next: None,
            connections: 0,
            awaited_tls: None,
            closed: false,
            said: Said::default(),
        };
        session.login_step(LoginInput::Connected)?;
        Ok(session)
    }

    /// One input of the transcript.
    pub(crate) fn input(&mut self, input: &Input) -> Result<(), Foul> {
        if self.closed {
            return Ok(());
        }
        match input {
            Input::Bytes(leg, bytes) => self.arrive(*leg, bytes)?,
            Input::Eof(leg) => {
                self.inbox(*leg).eof = Some(Eof::Seen);
                self.pump()?;
            }
            Input::TlsReady(leg) => self.tls_ready(*leg)?,
            Input::Deadline => self.login_step(LoginInput::Deadline)?,
            Input::Shutdown => self.login_step(LoginInput::Shutdown)?,
            Input::Farewell(why) => {
                let watch = self.watch.as_mut().ok_or("no watch yet for a farewell")?;
                let mut flow = Flow::default();
                watch.farewell(*why, &mut flow);
                self.apply(&flow, &[])?;
            }
            Input::Beat(beat) => {
                let watch = self.watch.as_mut().ok_or("no watch yet for a beat")?;
                if watch.pulse() != Pulse::Idling {
                    return Err(format!("no beat is due: {:?}", watch.pulse()));
                }
                let mut flow = Flow::default();
                watch.beat(*beat, &mut flow);
                self.apply(&flow, &[])?;
            }
            Input::Refuse(cause) => self.refuse_next = Some(*cause),
        }
        Ok(())
    }

    /// Bytes from a peer. Those sent to a connection that is already closed are lost, as on a wire.
    pub(crate) fn arrive(&mut self, leg: Leg, bytes: &[u8]) -> Result<(), Foul> {
        if self.closed || bytes.is_empty() {
            return Ok(());
        }
        if self.awaited_tls == Some(leg) {
            return Err(format!("the {leg} speaks where its TLS handshake is due"));
        }
        self.inbox(leg).unread.extend_from_slice(bytes);
        self.pump()
    }

    /// Whether the login is over and the watch stands between the legs.
    pub(crate) fn relays(&self) -> bool {
        self.watch.is_some()
    }

    /// A handshake that is asked for but never comes is a hole in the transcript.
    pub(crate) fn finish(&self) -> Result<(), Foul> {
        match self.awaited_tls {
            Some(leg) if !self.closed => Err(format!("TLS was asked for: `! {leg} tls` is due")),
            _ => Ok(()),
        }
    }

    fn inbox(&mut self, leg: Leg) -> &mut Inbox {
        match leg {
            Leg::Client => &mut self.client,
            Leg::Upstream => &mut self.provider,
        }
    }

    fn tls_ready(&mut self, leg: Leg) -> Result<(), Foul> {
        if self.awaited_tls.take() != Some(leg) {
            return Err(format!("no TLS was asked for on the {leg} leg"));
        }
        match leg {
            Leg::Client => self.login_step(LoginInput::TlsReady),
            Leg::Upstream => self.upstream_step(UpstreamInput::TlsReady),
        }
    }

    /// Gives everybody what they may read, until nobody takes more.
    fn pump(&mut self) -> Result<(), Foul> {
        loop {
            let progress = if self.closed {
                false
            } else if self.reset.is_some() {
                self.pump_reset()
            } else if self.watch.is_some() {
                self.pump_watch(Leg::Client)? | self.pump_watch(Leg::Upstream)?
            } else {
                self.pump_upstream()? | self.pump_login()?
            };
            if !progress {
                return Ok(());
            }
        }
    }

    fn pump_login(&mut self) -> Result<bool, Foul> {
        if self.watch.is_some() || self.closed || !self.login.reads() {
            return Ok(false);
        }
        if self.awaited_tls == Some(Leg::Client) {
            if self.client.unread.is_empty() {
                return Ok(false);
            }
            return Err("client bytes behind STARTTLS that no dialogue saw".into());
        }
        if self.client.unread.is_empty() {
            let told = self.client.eof == Some(Eof::Seen);
            if told {
                self.client.eof = Some(Eof::Told);
                self.login_step(LoginInput::Eof)?;
            }
            return Ok(told);
        }
        let rest = if self.bytewise {
            self.client.unread.split_off(1)
        } else {
            Vec::new()
        };
        let chunk = std::mem::replace(&mut self.client.unread, rest);
        self.login_step(LoginInput::Bytes(&chunk))?;
        Ok(true)
    }

    fn pump_upstream(&mut self) -> Result<bool, Foul> {
        let chunk = std::mem::take(&mut self.provider.unread);
        let Some(_) = self.upstream else {
            return Ok(false);
        };
        if !chunk.is_empty() {
            self.upstream_step(UpstreamInput::Bytes(&chunk))?;
            return Ok(true);
        }
        let told = self.provider.eof == Some(Eof::Seen);
        if told {
            self.provider.eof = Some(Eof::Told);
            self.upstream_step(UpstreamInput::Eof)?;
        }
        Ok(told)
    }

    fn pump_reset(&mut self) -> bool {
        let chunk = std::mem::take(&mut self.provider.unread);
        let Some(reset) = self.reset.as_mut().filter(|_| !chunk.is_empty()) else {
            return false;
        };
        match reset.step(&chunk) {
            Progress::Waits => {}
            Progress::Clean => self.over("clean"),
            Progress::Unfit => self.over("unfit"),
        }
        true
    }

    fn over(&mut self, outcome: &str) {
        self.closed = true;
        self.said.outcomes.push(outcome.into());
    }

    /// Whether the client was sent home and the upstream stays: then the reset takes over.
    fn part(&mut self) -> Result<(), Foul> {
        let Some(remains) = self.watch.as_ref().and_then(|watch| watch.remains()) else {
            return Ok(());
        };
        if !self.provider.unread.is_empty() {
            return Err("the upstream was in the middle of something".into());
        }
        let reset = reset(self.settings.protocol, remains).ok_or("nothing can be undone")?;
        self.said.outcomes.push("kept".into());
        self.said.to_upstream.extend_from_slice(&reset.begin());
        self.reset = Some(reset);
        Ok(())
    }

    fn pump_watch(&mut self, leg: Leg) -> Result<bool, Foul> {
        let mut progress = false;
        while !self.closed && self.reset.is_none() {
            let unread = std::mem::take(&mut self.inbox(leg).unread);
            let Some(watch) = self.watch.as_mut().filter(|watch| watch.reads(leg)) else {
                self.inbox(leg).unread = unread;
                return Ok(progress);
            };
            if unread.is_empty() {
                return Ok(self.tell_eof(leg, &unread)? || progress);
            }
            let mut flow = Flow::default();
            match watch.step(leg, &unread, &mut flow) {
                Ok(0) if unread.len() >= HOLD_MAX => self.breach(Breach {
                    leg,
                    what: "a line without end",
                }),
                Ok(0) => {
                    self.apply(&flow, &unread)?;
                    let told = self.tell_eof(leg, &unread)?;
                    self.inbox(leg).unread = unread;
                    return Ok(told || progress);
                }
                Ok(taken) => {
                    let passed = unread.get(..taken).ok_or("more taken than offered")?;
                    self.apply(&flow, passed)?;
                    let rest = unread.get(taken..).unwrap_or_default().to_vec();
                    self.inbox(leg).unread = rest;
                    self.part()?;
                    progress = true;
                }
                Err(breach) => {
                    self.apply(&flow, &unread)?;
                    self.breach(breach);
                }
            }
        }
        Ok(progress)
    }

    fn tell_eof(&mut self, leg: Leg, rest: &[u8]) -> Result<bool, Foul> {
        if self.inbox(leg).eof != Some(Eof::Seen) {
            return Ok(false);
        }
        self.inbox(leg).eof = Some(Eof::Told);
        let Some(watch) = self.watch.as_mut() else {
            return Ok(false);
        };
        let mut flow = Flow::default();
        let ending = watch.eof(leg, rest, &mut flow);
        self.apply(&flow, rest)?;
        match ending {
            Ending::HalfClose => self.said.outcomes.push("half-close".into()),
            Ending::Close => {
                self.closed = true;
                self.said.outcomes.push("close".into());
            }
        }
        Ok(true)
    }

    fn breach(&mut self, breach: Breach) {
        self.closed = true;
        self.said.outcomes.push(format!("breach {}", breach.leg));
    }

    /// `taken` is what the pieces may name: a byte passed on but not taken would be said twice.
    fn apply(&mut self, flow: &Flow, taken: &[u8]) -> Result<(), Foul> {
        for leg in [Leg::Client, Leg::Upstream] {
            for piece in flow.pieces(leg) {
                let bytes = match piece {
                    Piece::Input(range) => taken
                        .get(range.clone())
                        .ok_or("a piece names bytes that were not taken")?,
                    Piece::Own(bytes) => bytes,
                };
                self.said.to(leg).extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn login_step(&mut self, input: LoginInput<'_>) -> Result<(), Foul> {
        if self.watch.is_some() {
            return Err("the login is over".into());
        }
        let mut actions = Vec::new();
        self.login.step(input, &mut actions);
        for action in actions {
            if self.closed || self.watch.is_some() {
                return Err("the login goes on after its end".into());
            }
            match action {
                LoginAction::Write(bytes) => self.said.to_client.extend_from_slice(&bytes),
                LoginAction::StartTls => self.awaited_tls = Some(Leg::Client),
                LoginAction::Authenticate(attempt) => self.decide(attempt)?,
                LoginAction::HandOver { leftover } => self.hand_over(&leftover)?,
                LoginAction::Close(reason) => {
                    self.closed = true;
                    self.said.outcomes.push(format!("close {}", name(reason)));
                }
            }
        }
        Ok(())
    }

    /// The watch takes over, and first gets what each dialogue had not looked at.
    fn hand_over(&mut self, leftover: &Bytes) -> Result<(), Foul> {
        let established = self.established.take().ok_or("handed over to nobody")?;
        self.client.unread.splice(0..0, leftover.iter().copied());
        self.provider
            .unread
            .splice(0..0, established.leftover.iter().copied());
        let protocol = self.settings.protocol;
        let profile = Arc::clone(&self.settings.profile);
        let mut watch = watch(protocol, &self.login_settings, profile, &established);
        if self.settings.keep {
            watch.keep_upstream();
        }
        self.watch = Some(watch);
        Ok(())
    }

    /// Local password check and, if it is right, an upstream connection.
    fn decide(&mut self, attempt: LoginAttempt) -> Result<(), Foul> {
        if self.login.reads() {
            return Err("the login reads on while a decision is awaited".into());
        }
        if let Some(cause) = self.refuse_next.take() {
            return self.refuse(&Refusal::new(cause, "transcript", "No luck."));
        }
        let known = ["anna", "anna@example.org"]
            .iter()
            .any(|name| attempt.name.eq_ignore_ascii_case(name));
        let (right, server_final) = knows(&attempt.proof, &Secret::from("wonderland"));
        let passthrough = self.settings.credential == Kind::Passthrough;
        let refused = !passthrough && (!known || !right);
        if refused {
            let text = "Wrong name or password.";
            return self.refuse(&Refusal::new(Cause::WrongPassword, "local-password", text));
        }
        self.server_final = server_final;
        let user = "anna@example.org".to_owned();
        let credential = match self.settings.credential {
            Kind::Passthrough => Credential::Password {
                user: attempt.name,
                password: attempt
                    .proof
                    .password()
                    .cloned()
                    .unwrap_or(Secret::from("")),
            },
            Kind::Stored => Credential::Password {
                user,
                password: Secret::from("app-secret"),
            },
            Kind::Bearer => Credential::Bearer {
                user,
                token: Secret::from(self.settings.token.as_str()),
                host: "mail.example.org".to_owned(),
                port: 993,
                mechanisms: self.settings.mechanisms.clone(),
            },
        };
        let settings = UpstreamSettings {
            tls: self.settings.upstream_tls,
            ehlo_name: HOST.to_owned(),
            credential,
            passthrough,
        };
        self.provider = Inbox::default();
        self.connections += 1;
        let mut upstream = upstream(self.settings.protocol, settings);
        if let Some(abilities) = &self.settings.assumed {
            upstream.assume(Arc::new(abilities.clone()));
        }
        self.upstream = Some(upstream);
        self.upstream_step(UpstreamInput::Connected)
    }

    fn refuse(&mut self, refusal: &Refusal) -> Result<(), Foul> {
        self.login_step(LoginInput::Refused(refusal))
    }

    fn upstream_step(&mut self, input: UpstreamInput<'_>) -> Result<(), Foul> {
        let mut actions = Vec::new();
        let upstream = self.upstream.as_mut().ok_or("no upstream connection")?;
        upstream.step(input, &mut actions);
        for action in actions {
            match action {
                UpstreamAction::Write(bytes) => self.said.to_upstream.extend_from_slice(&bytes),
                UpstreamAction::WriteSecret(secret) => {
                    self.said.to_upstream.extend_from_slice(secret.expose());
                }
                UpstreamAction::StartTls => self.awaited_tls = Some(Leg::Upstream),
                UpstreamAction::Established(established) => {
                    self.upstream = None;
                    self.established = Some(*established.clone());
                    let server_final = self.server_final.take();
                    self.login_step(LoginInput::Accepted(Welcome {
                        established: &established,
                        profile: &self.settings.profile,
                        server_final: server_final.as_deref(),
                    }))?;
                }
                UpstreamAction::Fail(refusal) => {
                    self.upstream = None;
                    self.awaited_tls = None;
                    let outcome = format!("upstream failed {}", refusal.cause.name());
                    self.said.outcomes.push(outcome);
                    self.refuse(&refusal)?;
                }
            }
        }
        Ok(())
    }
}

/// The kebab-case of the variant.
fn name(reason: CloseReason) -> String {
    let mut name = String::new();
    for c in format!("{reason:?}").chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// Whether `proof` is of `password`, and what SCRAM is answered then.
fn knows(proof: &Proof, password: &Secret) -> (bool, Option<String>) {
    match proof {
        Proof::Password(sent) => (sent.expose() == password.expose(), None),
        Proof::Digest(digest) => (digest.is_of(password), None),
        Proof::Scram(proof) => {
            let server_final = proof.verify(password);
            (server_final.is_some(), server_final)
        }
    }
}
