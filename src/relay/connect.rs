//! Dials the upstream and drives its dialogue until it is authenticated.
//!
//! The credential is handed over only after TLS has proved the configured host name; with STARTTLS the dialogue sees to
//! the order.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};

use super::abilities::KnownAbilities;
use super::warm::Place;
use super::way::Way;
use crate::causes::with_causes;
use crate::config::runtime::Endpoint;
use crate::net::{ClientTlsConfigs, Dialler, NetError, ProxyError, Stream, handshake};
use crate::proto::dialogue::{
    Credential, Established, UpstreamAction, UpstreamInput, UpstreamSettings,
};
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::{Protocol, TlsMode};
use crate::secret::Secret;

/// What is needed to reach upstreams; one for all sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Connector {
    pub(super) dialler: Dialler,
    pub(super) tls: ClientTlsConfigs,
    pub(super) abilities: KnownAbilities,
}

/// An upstream that is authenticated.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: Stream,
    pub(super) established: Established,
    /// When it was.
    pub(super) since: Instant,
    /// Where it may wait for another client when this one has gone.
    pub(super) place: Option<Place>,
}

impl Connector {
    /// Connects and authenticates before `deadline`; a connection that breaks on the way is tried once more.
    pub(super) async fn connect(
        &self,
        protocol: Protocol,
        way: &Way<'_>,
        settings: UpstreamSettings,
        deadline: Instant,
    ) -> Result<Connected, Refusal> {
        let first = self
            .attempt(protocol, way, settings.clone(), deadline)
            .await;
        match first {
            Err(failure) if failure.worth_another && Instant::now() + RETRY_DELAY < deadline => {
                tracing::debug!(upstream = %way.endpoint.host, cause = %failure.refusal, "trying once more");
                sleep(RETRY_DELAY).await;
                self.attempt(protocol, way, settings, deadline).await
            }
            outcome => outcome,
        }
        .map_err(|failure| failure.refusal)
    }

    async fn attempt(
        &self,
        protocol: Protocol,
        way: &Way<'_>,
        settings: UpstreamSettings,
        deadline: Instant,
    ) -> Result<Connected, Failure> {
        let mut phase = way.phase();
        let attempt = self.dialogue(protocol, way, settings, &mut phase);
        let outcome = match timeout_at(deadline, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::fatal(Refusal::new(
                Cause::Unavailable,
                phase,
                format!("{} did not answer in time", way.awaited(phase)),
            ))),
        };
        if outcome.is_err() {
            self.abilities.forget(protocol, way.endpoint);
        }
        outcome
    }

    async fn dialogue(
        &self,
        protocol: Protocol,
        way: &Way<'_>,
        settings: UpstreamSettings,
        phase: &mut &'static str,
    ) -> Result<Connected, Failure> {
        let endpoint = way.endpoint;
        let tcp = way.dial(&self.dialler).await?;
        let mut stream = Stream::Plain(tcp.into());
        if endpoint.tls == TlsMode::Implicit {
            *phase = "tls";
            self.encrypt(&mut stream, endpoint).await?;
        }
        let mut machine = crate::proto::upstream(protocol, settings);
        if let Some(abilities) = self.abilities.of(protocol, endpoint) {
            machine.assume(abilities);
        }
        let mut actions = Vec::new();
        let mut buffer = vec![0; READ_SIZE];
        machine.step(UpstreamInput::Connected, &mut actions);
        loop {
            let mut tls_ready = false;
            for action in actions.drain(..) {
                *phase = machine.phase();
                match action {
                    UpstreamAction::Write(bytes) => say(&mut stream, &bytes, phase).await?,
                    UpstreamAction::WriteSecret(bytes) => {
                        say(&mut stream, bytes.expose(), phase).await?;
                    }
                    UpstreamAction::StartTls => {
                        self.encrypt(&mut stream, endpoint).await?;
                        tls_ready = true;
                    }
                    UpstreamAction::Established(established) => {
                        if let Some(named) = &established.capabilities {
                            self.abilities.name(protocol, endpoint, named);
                        }
                        if let Some(abilities) = machine.learned() {
                            self.abilities.learn(protocol, endpoint, abilities);
                        }
                        return Ok(Connected {
                            stream,
                            established: *established,
                            since: Instant::now(),
                            place: None,
                        });
                    }
                    UpstreamAction::Fail(refusal) => return Err(Failure::said(refusal)),
                }
            }
            *phase = machine.phase();
            if tls_ready {
                machine.step(UpstreamInput::TlsReady, &mut actions);
                continue;
            }
            let n = stream
                .read(&mut buffer)
                .await
                .map_err(|error| Failure::broken(phase, &error))?;
            let input = match buffer.get(..n) {
                Some(bytes) if n > 0 => UpstreamInput::Bytes(bytes),
                _ => UpstreamInput::Eof,
            };
            machine.step(input, &mut actions);
            if n == 0 && actions.is_empty() {
                // A machine that waits on after the end would spin; it has nothing more to learn.
                return Err(Failure::closed(phase));
            }
        }
    }

    async fn encrypt(&self, stream: &mut Stream, endpoint: &Endpoint) -> Result<(), Failure> {
        if let Some(tcp) = stream.take_plain() {
            let config = self.tls.of(&endpoint.trust).await?;
            *stream = handshake(config, &endpoint.host, tcp).await?;
        }
        Ok(())
    }
}

async fn say(stream: &mut Stream, bytes: &[u8], phase: &'static str) -> Result<(), Failure> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    written
        .await
        .map_err(|error| Failure::broken(phase, &error))
}

/// Logs in at upstreams without a client, to see whether it works: `mailsluice check --connect`.
#[derive(Debug)]
pub struct Probe {
    connector: Connector,
    ehlo_name: String,
    budget: Duration,
}

impl Probe {
    /// A probe that calls itself `ehlo_name` and gives each login `budget`.
    pub fn new(ehlo_name: String, budget: Duration) -> Self {
        Self {
            connector: Connector::default(),
            ehlo_name,
            budget,
        }
    }

    /// Connects, authenticates, and hangs up. `proxy_password` is that of the endpoint's proxy.
    pub async fn log_in(
        &self,
        protocol: Protocol,
        endpoint: &Endpoint,
        proxy_password: Option<Secret>,
        credential: Credential,
    ) -> Result<(), Refusal> {
        let settings = UpstreamSettings {
            tls: endpoint.tls,
            ehlo_name: self.ehlo_name.clone(),
            credential,
            passthrough: false,
        };
        let deadline = Instant::now() + self.budget;
        let way = Way {
            endpoint,
            proxy_password,
        };
        let mut connected = self
            .connector
            .connect(protocol, &way, settings, deadline)
            .await?;
        let _ = connected.stream.shutdown().await;
        Ok(())
    }
}

/// A failed attempt, and whether a second one may go better.
#[derive(Debug)]
struct Failure {
    refusal: Refusal,
    worth_another: bool,
}

impl Failure {
    fn fatal(refusal: Refusal) -> Self {
        Self {
            refusal,
            worth_another: false,
        }
    }

    /// The upstream's own word. Exchange now and then answers a good login with "User is authenticated but not
    /// connected", and is well again a moment later.
    fn said(refusal: Refusal) -> Self {
        let worth_another = refusal.cause == Cause::Unavailable;
        Self {
            refusal,
            worth_another,
        }
    }

    fn broken(phase: &'static str, error: &std::io::Error) -> Self {
        let text = format!("the connection to the provider broke: {}", error.kind());
        Self {
            refusal: Refusal::new(Cause::Unavailable, phase, text),
            worth_another: true,
        }
    }

    fn closed(phase: &'static str) -> Self {
        let text = "the provider closed the connection before the login was done";
        Self {
            refusal: Refusal::new(Cause::Unavailable, phase, text),
            worth_another: true,
        }
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        let cause = match &error {
            NetError::Proxy { source, .. } => match source {
                // Our own configuration, whatever the proxy is like.
                ProxyError::Unsayable => Cause::ServerBug,
                ProxyError::Unreachable(error) if matches!(**error, NetError::Loop { .. }) => {
                    Cause::ServerBug
                }
                _ => Cause::Unavailable,
            },
            NetError::Untrusted { .. } => Cause::UntrustedUpstream,
            NetError::Loop { .. }
            | NetError::HostName { .. }
            | NetError::Bind { .. }
            | NetError::Activation
            | NetError::NotGiven { .. }
            | NetError::Unfit { .. }
            | NetError::Inherit { .. }
            | NetError::CertificateFile { .. }
            | NetError::Certificate(_)
            | NetError::TlsSetup(_) => Cause::ServerBug,
            NetError::Resolve { .. }
            | NetError::NoAddress { .. }
            | NetError::Connect { .. }
            | NetError::Handshake { .. } => Cause::Unavailable,
        };
        Self::fatal(Refusal::quoting(
            cause,
            error.phase(),
            "no connection to the provider",
            with_causes(&error).as_bytes(),
        ))
    }
}

/// Dialogue lines are short; a page is plenty.
const READ_SIZE: usize = 4096;

/// Long enough for a front end to notice that its back end is there, short enough for the login budget.
const RETRY_DELAY: Duration = Duration::from_millis(500);
