//! Drives the client-facing dialogue from the greeting to a login that succeeded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::authenticate::Admission;
use super::connect::Connected;
use super::copy::KeepAlive;
use super::session::{End, Session};
use crate::net::{Acceptor, Stream};
use crate::profile::Profile;
use crate::proto::dialogue::{CloseReason, Login, LoginAction, LoginInput, LoginSettings, Welcome};
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Leg;

/// A client whose login has succeeded and been told so.
pub(super) struct LoggedIn {
    pub(super) client: Stream,
    pub(super) upstream: Connected,
    /// How the client is served from now on.
    pub(super) profile: Arc<Profile>,
    /// How idling legs are kept alive.
    pub(super) keep_alive: KeepAlive,
    /// What the client sent behind its login.
    pub(super) leftover: Bytes,
}

/// What the dialogue needs besides the session.
pub(super) struct LoginLeg<'a> {
    pub(super) client: Stream,
    pub(super) settings: LoginSettings,
    pub(super) acceptor: Option<&'a Acceptor>,
    pub(super) shutdown: &'a CancellationToken,
    /// The whole time before login, PROTOCOL B.7: not per byte, so that a byte a minute does not hold a place.
    pub(super) budget: Duration,
    /// The session is one too many: it is greeted and turned away.
    pub(super) refused: bool,
}

impl Session {
    /// Runs the dialogue. The time an authentication takes is not the client's and prolongs its deadline.
    pub(super) async fn login(&self, leg: LoginLeg<'_>) -> Result<LoggedIn, End> {
        let mut driver = Driver {
            machine: crate::proto::login(self.record.protocol, leg.settings.clone()),
            actions: Vec::new(),
            client: leg.client,
            deadline: Instant::now() + leg.budget,
            admission: None,
        };
        driver.step(LoginInput::Connected);
        if leg.refused {
            driver.step(LoginInput::Shutdown);
        }
        // A password may come through it.
        let mut buffer = Zeroizing::new(vec![0; READ_SIZE]);
        loop {
            if let Some(leftover) = driver.carry_out(self, leg.acceptor, leg.shutdown).await? {
                return driver.finish(leftover);
            }
            self.record.set_phase(driver.machine.phase());
            driver.read(&mut buffer, leg.shutdown).await?;
        }
    }
}

struct Driver {
    machine: Box<dyn Login>,
    actions: Vec<LoginAction>,
    client: Stream,
    deadline: Instant,
    admission: Option<Admission>,
}

impl Driver {
    fn step(&mut self, input: LoginInput<'_>) {
        self.machine.step(input, &mut self.actions);
    }

    fn end(&self, leg: Leg, cause: impl Into<String>) -> End {
        End::new(leg, self.machine.phase(), cause)
    }

    /// Does what the machine asked for, and what it asks for upon that, until it waits for the client.
    async fn carry_out(
        &mut self,
        session: &Session,
        acceptor: Option<&Acceptor>,
        shutdown: &CancellationToken,
    ) -> Result<Option<Bytes>, End> {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    LoginAction::Write(bytes) => self.write(&bytes).await?,
                    LoginAction::StartTls => {
                        self.encrypt(acceptor).await?;
                        self.step(LoginInput::TlsReady);
                    }
                    LoginAction::Authenticate(attempt) => {
                        let begun = Instant::now();
                        let outcome = tokio::select! {
                            outcome = session.authenticate(attempt, self.client.is_tls()) => outcome,
                            () = shutdown.cancelled() => Err(Refusal::new(
                                Cause::Shutdown,
                                self.machine.phase(),
                                "mailsluice is stopping",
                            )),
                        };
                        self.deadline += begun.elapsed();
                        self.answer(outcome);
                    }
                    LoginAction::HandOver { leftover } => return Ok(Some(leftover)),
                    LoginAction::Close(reason) => {
                        let _ = self.client.shutdown().await;
                        return Err(self.end(Leg::Client, cause(reason)));
                    }
                }
            }
        }
        Ok(None)
    }

    fn answer(&mut self, outcome: Result<Admission, Refusal>) {
        match outcome {
            Ok(admission) => {
                self.step(LoginInput::Accepted(Welcome {
                    established: &admission.connected.established,
                    profile: &admission.profile,
                    server_final: admission.server_final.as_deref(),
                }));
                self.admission = Some(admission);
            }
            Err(refusal) => self.step(LoginInput::Refused(&refusal)),
        }
    }

    /// Waits for the client, the deadline or the end of the service, and tells the machine.
    async fn read(&mut self, buffer: &mut [u8], shutdown: &CancellationToken) -> Result<(), End> {
        if !self.machine.reads() {
            return Err(self.end(
                Leg::Client,
                "internal error: the dialogue waits for nothing",
            ));
        }
        let read = tokio::select! {
            read = timeout_at(self.deadline, self.client.read(buffer)) => read,
            () = shutdown.cancelled() => {
                self.step(LoginInput::Shutdown);
                return Ok(());
            }
        };
        match read {
            Err(_) => {
                self.step(LoginInput::Deadline);
                // Time to say so, and not a moment more.
                self.deadline += FAREWELL_TIME;
            }
            Ok(Err(error)) => return Err(self.end(Leg::Client, error.kind().to_string())),
            Ok(Ok(n)) => match buffer.get(..n) {
                Some(bytes) if n > 0 => self
                    .machine
                    .step(LoginInput::Bytes(bytes), &mut self.actions),
                _ => {
                    self.step(LoginInput::Eof);
                    if self.actions.is_empty() {
                        return Err(self.end(Leg::Client, "closed by the client"));
                    }
                }
            },
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let deadline = self.deadline + FAREWELL_TIME;
        let client = &mut self.client;
        let written = async {
            client.write_all(bytes).await?;
            client.flush().await
        };
        match timeout_at(deadline, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.end(Leg::Client, error.kind().to_string())),
            Err(_) => Err(self.end(Leg::Client, "the client does not read")),
        }
    }

    async fn encrypt(&mut self, acceptor: Option<&Acceptor>) -> Result<(), End> {
        let failed = |text: String| End::new(Leg::Client, "tls", text);
        let Some(acceptor) = acceptor else {
            return Err(failed(
                "internal error: no certificate to start TLS with".into(),
            ));
        };
        let Some(tcp) = self.client.take_plain() else {
            return Err(failed("internal error: TLS is active already".into()));
        };
        match timeout_at(self.deadline, acceptor.accept(tcp)).await {
            Ok(Ok(tls)) => {
                self.client = tls;
                Ok(())
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("the handshake took too long".into())),
        }
    }

    fn finish(self, leftover: Bytes) -> Result<LoggedIn, End> {
        let end = self.end(Leg::Client, "internal error: handed over without a login");
        let admission = self.admission.ok_or(end)?;
        Ok(LoggedIn {
            upstream: admission.connected,
            profile: admission.profile,
            keep_alive: admission.keep_alive,
            client: self.client,
            leftover,
        })
    }
}

fn cause(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Quit => "quit",
        CloseReason::Eof => "closed by the client",
        CloseReason::Deadline => "no login in time",
        CloseReason::TooManyErrors => "too many errors",
        CloseReason::TooLong => "a line or literal over the limit",
        CloseReason::BytesBehindStartTls => "plaintext behind STARTTLS",
        CloseReason::NotThisProtocol => "not this protocol (HTTP or TLS on a plain port)",
        CloseReason::Shutdown => "shutdown",
    }
}

/// Commands before login are short; pipelined ones come in several reads.
const READ_SIZE: usize = 4096;

/// How long a client that is being sent away may take to read why.
const FAREWELL_TIME: Duration = Duration::from_secs(5);
