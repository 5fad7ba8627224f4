//! From a login attempt to an authenticated upstream, or to a refusal and its log line.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::connect::Connected;
use super::copy::KeepAlive;
use super::session::Session;
use super::warm::Place;
use super::way::Way;
use crate::auth::Granted;
use crate::config::Found;
use crate::config::runtime::Endpoint;
use crate::profile::{Profile, Quirk};
use crate::proto::dialogue::{LoginAttempt, Proof, UpstreamSettings};
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Protocol;

/// A login that the upstream took, too.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) connected: Connected,
    /// How the client is served from now on.
    pub(super) profile: Arc<Profile>,
    /// What SCRAM is to be answered.
    pub(super) server_final: Option<String>,
    /// How idling legs are kept alive.
    pub(super) keep_alive: KeepAlive,
}

impl Session {
    /// From a login attempt to an authenticated upstream, or a refusal in the table's words.
    pub(super) async fn authenticate(
        &self,
        attempt: LoginAttempt,
        encrypted: bool,
    ) -> Result<Admission, Refusal> {
        let name = attempt.name.clone();
        let mechanism = attempt.mechanism;
        self.record.set_phase("authenticating");
        let may_be_plain = || self.listener.listener.takes_plain_login(self.record.peer);
        let mut outcome = if encrypted || may_be_plain() {
            self.check_and_connect(attempt).await
        } else {
            let text = "a login is taken here only after STARTTLS";
            Err(Refusal::new(Cause::PrivacyRequired, "listener", text))
        };
        if let Err(refusal) = &mut outcome {
            refusal.alert = refusal.alert && self.alert_is_due(&name);
            self.log_refusal(&name, mechanism, refusal);
        }
        outcome
    }

    async fn check_and_connect(&self, attempt: LoginAttempt) -> Result<Admission, Refusal> {
        let peer = self.record.peer.who();
        let pin = self.listener.listener.pin.as_ref();
        let authenticator = &self.shared.authenticator;
        let mut granted = match (&self.listener.listener.no_login, &attempt.proof) {
            // The listener's word, not the client's.
            (Some(terms), Proof::Network) => {
                if self.submissions().is_some_and(|it| !it.has_room()) {
                    let text = "Too many messages from here; try again later";
                    return Err(Refusal::new(Cause::LimitReached, "listener", text));
                }
                authenticator.without_login(&self.config, terms).await?
            }
            _ => {
                authenticator
                    .check(&self.config, pin, self.record.protocol, peer, attempt)
                    .await?
            }
        };
        self.record.set_account(&granted.account.address);
        let profile = self.profile(&granted);
        let idle_renewal = granted.account.idle_renewal;
        let server_final = granted.local.as_mut().and_then(|it| it.server_final.take());
        let deadline = Instant::now() + self.config.limits.login;
        let connected = match self.connect(&granted, deadline).await {
            // Ended early, or revoked: a fresh token may do, and the client need not know.
            Err(refusal) if refusal.cause == Cause::TokenRejected => {
                tracing::debug!(conn = self.record.conn, cause = %refusal, "trying with a fresh token");
                let granted = self.renew(granted, deadline).await?;
                self.connect(&granted, deadline).await
            }
            outcome => outcome,
        }?;
        Ok(Admission {
            keep_alive: KeepAlive {
                renew: idle_renewal,
                still_here: profile.has(Quirk::StillHere),
            },
            connected,
            profile,
            server_final,
        })
    }

    /// How the client is served from its login on.
    fn profile(&self, granted: &Granted) -> Arc<Profile> {
        let of_password = granted.local.as_ref().and_then(|local| {
            let name = local.profile.as_ref()?;
            let profile = self.config.profiles.get(name);
            if profile.is_none() {
                tracing::warn!(
                    conn = self.record.conn,
                    account = granted.account.address,
                    cause = "its profile is not configured any more",
                    "the local password \"{}\" is served as others are",
                    local.name
                );
            }
            profile
        });
        let chosen = of_password.or(granted.account.profile.as_ref());
        Arc::clone(chosen.unwrap_or(&self.listener.listener.profile))
    }

    /// Logs in upstream with what was granted, and tells what the upstream thinks of it.
    async fn connect(&self, granted: &Granted, deadline: Instant) -> Result<Connected, Refusal> {
        let protocol = self.record.protocol;
        let Some(endpoint) = granted.account.endpoints.get(&protocol) else {
            let text = format!("{protocol} is not switched on for this account");
            return Err(Refusal::new(Cause::ProtocolOff, "routing", text));
        };
        self.record.set_upstream(endpoint.authority());
        let place = self.place(granted, endpoint);
        if let Some(place) = &place
            && let Some(mut warm) = self.shared.warm.take(place).await
        {
            tracing::debug!(
                conn = self.record.conn,
                "took over a session that was logged in"
            );
            warm.place = Some(place.clone());
            return Ok(warm);
        }
        let settings = UpstreamSettings {
            tls: endpoint.tls,
            ehlo_name: self.config.host.clone(),
            credential: granted.credential.clone(),
            passthrough: granted.passthrough,
        };
        let connector = &self.shared.connector;
        let authenticator = &self.shared.authenticator;
        let way = Way::to(endpoint, authenticator, deadline).await?;
        let mut connected = connector.connect(protocol, &way, settings, deadline).await;
        match &connected {
            Ok(_) => authenticator.accepted(&granted.receipt),
            Err(refusal) if is_about_the_credential(refusal.cause) => {
                authenticator.rejected(&granted.receipt);
            }
            Err(refusal) => way.learn(refusal, authenticator),
        }
        if let Ok(connected) = &mut connected {
            connected.place = place;
        }
        connected
    }

    /// Where the upstream session may wait for the account's next login; `None` where it is not to. POP3 deletes what
    /// was marked at QUIT, and under pass-through only the upstream can tell whether the next password is right.
    fn place(&self, granted: &Granted, endpoint: &Endpoint) -> Option<Place> {
        let protocol = self.record.protocol;
        if self.config.warm.sessions == 0 || protocol == Protocol::Pop3 {
            return None;
        }
        let credential = granted.receipt.identity()?;
        let account = &granted.account.address;
        let warm = &self.shared.warm;
        Some(warm.place(protocol, account, endpoint, credential))
    }

    /// A fresh token in the time that is left of the login.
    async fn renew(&self, granted: Granted, deadline: Instant) -> Result<Granted, Refusal> {
        match timeout_at(deadline, self.shared.authenticator.renew(granted)).await {
            Ok(renewed) => renewed,
            Err(_) => {
                let text = "there was no fresh access token in time";
                Err(Refusal::new(Cause::Unavailable, "token", text))
            }
        }
    }

    /// Whether this session is the one to show an ALERT about the account. Only IMAP has them.
    fn alert_is_due(&self, name: &str) -> bool {
        let pin = self.listener.listener.pin.as_ref();
        let protocol = self.record.protocol;
        match self.config.accounts.find(protocol, name, pin) {
            Found::Account(account) if protocol == Protocol::Imap => {
                self.shared.alerts.due(&account.address, Instant::now())
            }
            Found::Account(_) | Found::ProtocolOff(_) | Found::Unknown => false,
        }
    }

    /// The account that `name` means here, whether or not who says it may log in.
    fn account_of(&self, name: &str) -> Option<String> {
        let pin = self.listener.listener.pin.as_ref();
        match self.config.accounts.find(self.record.protocol, name, pin) {
            Found::Account(account) | Found::ProtocolOff(account) => Some(account.address.clone()),
            Found::Unknown => None,
        }
    }

    fn log_refusal(&self, name: &str, mechanism: &str, refusal: &Refusal) {
        let view = self.record.view();
        // A name that matched no account may be a password typed into the wrong field.
        let account = view.account.or_else(|| self.account_of(name));
        let account = account.as_deref().unwrap_or("unknown");
        let name_length = name.len();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    conn = view.conn,
                    proto = view.protocol,
                    peer = view.peer,
                    account,
                    upstream = view.upstream,
                    phase = refusal.phase,
                    cmd = mechanism,
                    name_length,
                    cause = %refusal.cause,
                    "login refused: {}",
                    refusal.text
                )
            };
        }
        match refusal.cause {
            Cause::UntrustedUpstream
            | Cause::CredentialRejected
            | Cause::TokenRejected
            | Cause::SignInNeeded
            | Cause::ContactAdmin
            | Cause::PasswordExpired
            | Cause::ServerBug => line!(error),
            Cause::WrongPassword
            | Cause::Unavailable
            | Cause::UpstreamPolicy
            | Cause::LimitReached
            | Cause::InUse
            | Cause::ProtocolOff
            | Cause::PrivacyRequired => line!(warn),
            Cause::Shutdown => line!(info),
        }
    }
}

/// Whether the upstream judged the credential itself, and not the moment or the way.
fn is_about_the_credential(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::CredentialRejected
            | Cause::TokenRejected
            | Cause::PasswordExpired
            | Cause::WrongPassword
    )
}
