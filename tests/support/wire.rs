//! Plays a transcript over sockets: we are the client and the upstream, and the service between them is real.
//!
//! At the end of a turn each leg must have been told what the file says up to there. That nothing comes before its turn
//! is seen only where it has arrived by then. How the session ended is read from its log line.

use std::fmt;

use futures_util::FutureExt as _;
use mailsluice::config::runtime::IDLE_RENEWAL;
use mailsluice::proto::dialogue::{Beat, ClientTls, Farewell};
use mailsluice::proto::goodbye;
use mailsluice::protocol::{Leg, TlsMode};
use mailsluice::relay::Service;
use tokio::time::{Duration, advance, timeout};

use super::ends::{End, Ends};
use super::peer::{PATIENCE, Peer};
use super::script::{Joined, Mode, due_in, joined, pieces};
use super::stage::{BEFORE_LOGIN, Stage};
use super::transcript::{Expected, Input, Numbered, Transcript, Turn};

/// Where and how a session differs from its transcript.
pub(crate) struct Difference {
    file: String,
    line: usize,
    mode: Mode,
    what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line, mode, what) = (&self.file, self.line, self.mode, &self.what);
        write!(f, "{file}:{line} [{mode:?}]: {what}")
    }
}

/// Plays `transcript` on `stage`.
pub(crate) async fn play(
    transcript: &Transcript,
    mode: Mode,
    stage: Stage,
) -> Result<(), Difference> {
    let mut line = 1;
    let played = async {
        let mut play = Play::begin(transcript, mode, stage).await?;
        for turn in &transcript.turns {
            play.turn(turn, &mut line).await?;
        }
        play.end().await
    };
    let outcome: Result<(), Foul> = played.await;
    outcome.map_err(|what| Difference {
        file: transcript.file.clone(),
        line,
        mode,
        what,
    })
}

type Foul = String;

/// A session under way.
struct Play<'a> {
    transcript: &'a Transcript,
    mode: Mode,
    stage: Stage,
    /// Taken by the drain.
    service: Option<Service>,
    name: String,
    client: Peer,
    upstream: Option<Peer>,
    /// What happened on the upstream connection so far: a failed one is tried once more.
    tape: Vec<Step>,
    /// What earlier upstream connections were told.
    told_upstream: Vec<u8>,
    /// What is due by now.
    due_client: Vec<u8>,
    due_upstream: Vec<u8>,
    /// The service has been told to stop: it takes its leave where it can, which may be within this turn.
    draining: bool,
    /// The upstream has outlived the client.
    kept: bool,
    /// The upstream that outlived the client is due its goodbye.
    parted: bool,
    /// The session has to end by itself; what the peers still do is lost.
    over: Option<Outcome>,
}

/// What has to be in the log line.
enum Outcome {
    /// The leg is not told, or this one, and the cause begins with this.
    Said(Option<Leg>, &'static str),
    Any,
}

/// One thing that happened to an upstream connection.
#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    Expect(usize),
    Tls,
    Eof,
}

impl<'a> Play<'a> {
    async fn begin(transcript: &'a Transcript, mode: Mode, mut stage: Stage) -> Result<Self, Foul> {
        let mut client = Peer::dial(stage.address).await.map_err(foul)?;
        let name = client.name();
        if transcript.settings.client_tls == ClientTls::Active {
            client.connect_tls(&stage.trust).await.map_err(foul)?;
        }
        Ok(Self {
            transcript,
            mode,
            service: stage.service.take(),
            stage,
            name,
            client,
            upstream: None,
            tape: Vec::new(),
            told_upstream: Vec::new(),
            due_client: Vec::new(),
            due_upstream: Vec::new(),
            draining: false,
            kept: false,
            parted: false,
            over: None,
        })
    }

    async fn turn(&mut self, turn: &Turn, at: &mut usize) -> Result<(), Foul> {
        for (line, input) in joined(&turn.inputs) {
            *at = line;
            if self.over.is_none() {
                self.input(input).await?;
            }
        }
        self.due_client.extend(due_in(turn, Leg::Client));
        self.due_upstream.extend(due_in(turn, Leg::Upstream));
        let mut outcomes = turn.expected.iter().map(|expected| &expected.what);
        if outcomes.any(|what| matches!(what, Expected::Outcome(outcome) if outcome == "unfit")) {
            self.say_goodbye_to_upstream();
        }
        let first = turn.expected.first().map(|first| first.line);
        *at = first.unwrap_or(*at);
        self.compare_upstream().await?;
        for Numbered { line, what } in &turn.expected {
            if let Expected::Outcome(outcome) = what {
                *at = *line;
                self.outcome(outcome).await?;
            }
        }
        *at = first.unwrap_or(*at);
        self.compare_client().await?;
        *at = turn.expected.last().map_or(*at, |last| last.line);
        Ok(())
    }

    async fn input(&mut self, input: Joined<'_>) -> Result<(), Foul> {
        match input {
            Joined::Bytes(Leg::Client, bytes) => {
                for piece in pieces(&bytes, self.mode) {
                    self.client.send(piece).await;
                }
            }
            Joined::Bytes(Leg::Upstream, bytes) => self.step(Step::Send(bytes)).await?,
            Joined::Event(Input::Eof(Leg::Client)) => self.client.finish().await,
            Joined::Event(Input::Eof(Leg::Upstream)) => self.step(Step::Eof).await?,
            Joined::Event(Input::TlsReady(Leg::Upstream)) => self.step(Step::Tls).await?,
            Joined::Event(Input::TlsReady(Leg::Client)) => {
                self.client
                    .connect_tls(&self.stage.trust)
                    .await
                    .map_err(foul)?;
            }
            Joined::Event(Input::Deadline) => advance(BEFORE_LOGIN + GRAIN).await,
            Joined::Event(Input::Shutdown | Input::Farewell(Farewell::Shutdown)) => self.drain(),
            Joined::Event(Input::Farewell(Farewell::Idle)) => {
                advance(IDLE).await;
                self.over = Some(Outcome::Said(Some(Leg::Client), "idle for too long"));
            }
            Joined::Event(Input::Beat(beat)) => {
                let after = match beat {
                    Beat::Renew => IDLE_RENEWAL,
                    Beat::StillHere => STILL_HERE,
                };
                advance(after + GRAIN).await;
            }
            Joined::Event(Input::Farewell(Farewell::UpstreamLost)) => {
                self.hang_up(Peer::reset);
                self.over = Some(Outcome::Said(Some(Leg::Upstream), "connection lost"));
            }
            Joined::Event(Input::Refuse(cause)) => {
                return Err(format!("{cause} cannot be had by a word"));
            }
            Joined::Event(Input::Bytes(..)) => {}
        }
        Ok(())
    }

    fn drain(&mut self) {
        self.draining = true;
        if let Some(service) = self.service.take() {
            tokio::spawn(service.drain());
        }
    }

    /// Does `step` to the upstream connection; there is one when the first is due.
    async fn step(&mut self, step: Step) -> Result<(), Foul> {
        let mut upstream = match self.upstream.take() {
            Some(upstream) => upstream,
            None => self.accept().await?,
        };
        take(&step, &mut upstream, &self.stage, self.mode).await?;
        self.tape.push(step);
        self.upstream = Some(upstream);
        Ok(())
    }

    async fn accept(&mut self) -> Result<Peer, Foul> {
        self.tape.clear();
        let accepted = timeout(PATIENCE, self.stage.upstream.accept()).await;
        let (tcp, _) = accepted
            .map_err(|_| "no connection to the upstream")?
            .map_err(foul)?;
        let mut peer = Peer::new(tcp).map_err(foul)?;
        if self.transcript.settings.upstream_tls == TlsMode::Implicit {
            peer.accept_tls(&self.stage.acceptor).await.map_err(foul)?;
        }
        Ok(peer)
    }

    /// Takes the upstream connection out of the play.
    fn hang_up(&mut self, how: impl FnOnce(Peer)) {
        if let Some(upstream) = self.upstream.take() {
            self.told_upstream.extend_from_slice(&upstream.got);
            how(upstream);
        }
    }

    async fn compare_upstream(&mut self) -> Result<(), Foul> {
        let before = self.told_upstream.len();
        let due = self.due_upstream.get(before..).unwrap_or_default();
        if let Some(upstream) = &mut self.upstream {
            upstream.read_until(due.len()).await;
            self.tape.push(Step::Expect(due.len()));
            return same(Leg::Upstream, &upstream.got, due);
        }
        same(Leg::Upstream, &[], due)
    }

    async fn compare_client(&mut self) -> Result<(), Foul> {
        self.client.read_until(self.due_client.len()).await;
        let got = &self.client.got;
        if self.draining && got.starts_with(&self.due_client) {
            return Ok(());
        }
        same(Leg::Client, got, &self.due_client)
    }

    async fn outcome(&mut self, outcome: &str) -> Result<(), Foul> {
        let end = match outcome.split_once(' ') {
            Some(("upstream", failed)) => {
                return self.upstream_failed(failed.ends_with("unavailable")).await;
            }
            Some(("close", reason)) => Outcome::Said(None, close_cause(reason)?),
            Some(("breach", "client")) => Outcome::Said(Some(Leg::Client), "client broke"),
            Some(("breach", _)) => Outcome::Said(Some(Leg::Upstream), "upstream broke"),
            _ if outcome == "kept" => {
                self.kept = true;
                return Ok(());
            }
            _ if matches!(outcome, "half-close" | "clean" | "unfit") => return Ok(()),
            _ => Outcome::Any,
        };
        self.over.get_or_insert(end);
        Ok(())
    }

    /// The login at the upstream failed: the service hangs up, and where it may help tries the same once more.
    async fn upstream_failed(&mut self, again: bool) -> Result<(), Foul> {
        let mut upstream = match self.upstream.take() {
            Some(upstream) => upstream,
            None => self.accept().await?,
        };
        hung_up_on(&mut upstream).await?;
        let told = std::mem::take(&mut upstream.got);
        if again {
            let tape = std::mem::take(&mut self.tape);
            let mut upstream = self.accept().await?;
            for step in &tape {
                take(step, &mut upstream, &self.stage, self.mode).await?;
            }
            hung_up_on(&mut upstream).await?;
            same(Leg::Upstream, &upstream.got, &told)?;
        }
        self.told_upstream.extend(told);
        Ok(())
    }

    /// The file is at its end: the session ends as it says, or because everybody goes.
    async fn end(mut self) -> Result<(), Foul> {
        let Some(outcome) = self.over.take() else {
            return match self.kept {
                true => self.upstream_goes().await,
                false => self.everybody_goes().await,
            };
        };
        if !self.client.read_to_end().await {
            return Err("the client's connection is not closed".into());
        }
        same(Leg::Client, &self.client.got, &self.due_client)?;
        if let Some(upstream) = &mut self.upstream {
            hung_up_on(upstream).await?;
        }
        self.compare_upstream().await?;
        let end = logged_end(&self.stage.ends, &self.name).await?;
        let as_said = match outcome {
            Outcome::Said(leg, cause) => {
                end.cause.starts_with(cause) && leg.is_none_or(|leg| end.leg == leg.to_string())
            }
            Outcome::Any => true,
        };
        match as_said {
            true => self.no_further_login(),
            false => Err(format!("the session ended otherwise: {end:?}")),
        }
    }

    /// The client has gone; whatever became of the upstream after that, it is told goodbye at the end.
    async fn upstream_goes(mut self) -> Result<(), Foul> {
        if !self.client.read_to_end().await {
            return Err("the client's connection is not closed".into());
        }
        let end = logged_end(&self.stage.ends, &self.name).await?;
        if end.cause != "logged out" {
            return Err(format!("the session ended otherwise: {end:?}"));
        }
        self.no_further_login()?;
        self.drain();
        self.say_goodbye_to_upstream();
        self.compare_upstream().await?;
        let mut upstream = self.upstream.take().ok_or("no upstream")?;
        upstream.finish().await;
        hung_up_on(&mut upstream).await
    }

    /// Goodbye is due: at the end, or as soon as what the client left behind cannot be undone.
    fn say_goodbye_to_upstream(&mut self) {
        if !self.parted {
            self.parted = true;
            let goodbye = goodbye(self.transcript.settings.protocol);
            self.due_upstream.extend_from_slice(goodbye);
        }
    }

    async fn everybody_goes(mut self) -> Result<(), Foul> {
        self.no_further_login()?;
        self.client.finish().await;
        if let Some(upstream) = &mut self.upstream {
            upstream.finish().await;
        }
        drop(self.stage.upstream);
        logged_end(&self.stage.ends, &self.name).await.map(drop)
    }

    /// Nobody else knocks at the upstream.
    fn no_further_login(&self) -> Result<(), Foul> {
        match self.stage.upstream.accept().now_or_never() {
            None => Ok(()),
            Some(_) => Err("one connection too many to the upstream".into()),
        }
    }
}

async fn take(step: &Step, upstream: &mut Peer, stage: &Stage, mode: Mode) -> Result<(), Foul> {
    match step {
        Step::Send(bytes) => {
            for piece in pieces(bytes, mode) {
                upstream.send(piece).await;
            }
        }
        Step::Expect(total) => upstream.read_until(*total).await,
        Step::Tls => upstream.accept_tls(&stage.acceptor).await.map_err(foul)?,
        Step::Eof => upstream.finish().await,
    }
    Ok(())
}

/// What the log says about the end of the session of the client called `name`.
async fn logged_end(ends: &Ends, name: &str) -> Result<End, Foul> {
    let ended = timeout(PATIENCE, ends.of(name)).await;
    ended.map_err(|_| "the session does not end with its legs".to_owned())
}

async fn hung_up_on(upstream: &mut Peer) -> Result<(), Foul> {
    match upstream.read_to_end().await {
        true => Ok(()),
        false => Err("the upstream's connection is not closed".into()),
    }
}

fn same(leg: Leg, got: &[u8], due: &[u8]) -> Result<(), Foul> {
    if got == due {
        return Ok(());
    }
    let common = got.iter().zip(due).take_while(|(a, b)| a == b).count();
    let show = |bytes: &[u8]| {
        let rest = bytes.get(common..).unwrap_or_default();
        rest.get(..SHOWN).unwrap_or(rest).escape_ascii().to_string()
    };
    Err(format!(
        "to the {leg} after {common} bytes: expected \"{}\", got \"{}\"",
        show(due),
        show(got)
    ))
}

/// The words of the log for a login's reason to close.
fn close_cause(reason: &str) -> Result<&'static str, Foul> {
    Ok(match reason {
        "quit" => "quit",
        "eof" => "closed by the client",
        // Within a handshake it is the handshake that was too slow.
        "deadline" => "",
        "too-many-errors" => "too many errors",
        "too-long" => "a line or literal over the limit",
        "bytes-behind-start-tls" => "plaintext behind STARTTLS",
        "not-this-protocol" => "not this protocol",
        "shutdown" => "shutdown",
        _ => return Err(format!("no reason to close is called {reason:?}")),
    })
}

fn foul(error: impl fmt::Display) -> Foul {
    error.to_string()
}

/// Longer than any protocol lets both legs be silent, PROTOCOL B.7.
const IDLE: Duration = Duration::from_secs(32 * 60);

/// How often a client in IDLE is told that we are there.
const STILL_HERE: Duration = Duration::from_secs(2 * 60);

/// A timer is not precise to the instant.
const GRAIN: Duration = Duration::from_secs(1);

/// How much of a difference is printed.
const SHOWN: usize = 160;
