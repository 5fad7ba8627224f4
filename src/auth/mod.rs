//! Who may, and with which credential.
//!
//! [`Authenticator::check`] takes a login attempt through these steps; the first that fails answers:
//!
//! 1. The account the name leads to. An unknown name goes on like a known one, to the same end.
//! 2. `throttle`: those who guess wait.
//! 3. `verifier`: the local passwords of the account, read from the store each time, so that one revoked by another
//!    process is refused at once. Each failure is answered [`FAILURE_ANSWER`] after its check began.
//! 4. `rejections`: a credential that the upstream keeps refusing is not tried.
//! 5. `secrets`: the provider's password, from memory or its source. Nothing touches it before step 3 has passed.
//!
//! A pass-through account has no local password: its client's own goes upstream, and the upstream decides.
//! What the upstream said comes back by [`Authenticator::accepted`] and [`Authenticator::rejected`].

mod error;
mod generated;
mod local_passwords;
mod rejections;
mod secrets;
mod source;
mod throttle;
mod verifier;

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::time::{Instant, sleep_until};

use self::rejections::{Fingerprint, Rejections, Target};
use self::secrets::Secrets;
use self::throttle::{Guess, Throttle};
use self::verifier::{Proven, Tags};
use crate::config::Found;
use crate::config::runtime::{Account, AccountAuth, Config, Pin, SecretSource};
use crate::proto::dialogue::{Credential, LoginAttempt};
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::Protocol;
use crate::secret::Secret;
use crate::store::{LocalPassword, Store};

pub use self::error::{PasswordError, SecretError};
pub use self::local_passwords::{add_chosen, add_generated};

/// Decides on login attempts. One for the whole service; configuration comes in with each attempt.
pub struct Authenticator {
    store: Store,
    throttle: Throttle,
    proven: Proven,
    secrets: Secrets,
    rejections: Rejections,
}

/// A login attempt that may go on, and with what.
#[derive(Debug)]
pub struct Granted {
    /// Whose mailbox.
    pub account: Arc<Account>,
    /// What the upstream takes.
    pub credential: Credential,
    /// The name of the local password that was used; `None` under pass-through.
    pub password_name: Option<String>,
    /// Whether the credential is the client's own.
    pub passthrough: bool,
    /// To be given back with the upstream's decision.
    pub receipt: Receipt,
}

/// What the upstream's decision on a credential counts for: which secret, or whose guess.
#[derive(Clone, Debug)]
pub struct Receipt(Judged);

#[derive(Clone, Debug)]
enum Judged {
    Secret(Target, Fingerprint),
    Guess(Guess),
}

impl Authenticator {
    /// An authenticator that has seen nothing yet.
    pub fn new(store: Store) -> Self {
        Self {
            throttle: Throttle::new(),
            proven: Proven::default(),
            secrets: Secrets::new(store.clone()),
            rejections: Rejections::default(),
            store,
        }
    }

    /// Decides on `attempt` by the client at `peer`, on a listener for `protocol` bound to `pin`.
    ///
    /// Takes microseconds and a read of the store for a right password whose credential is in memory; up to 15 s longer
    /// for those who guess, and up to 20 s longer while a source is asked.
    pub async fn check(
        &self,
        config: &Config,
        pin: Option<&Pin>,
        protocol: Protocol,
        peer: IpAddr,
        attempt: LoginAttempt,
    ) -> Result<Granted, Refusal> {
        let (account, on) = match config.accounts.find(protocol, &attempt.name, pin) {
            Found::Account(account) => (account, true),
            Found::ProtocolOff(account) => (account, false),
            Found::Unknown => return Err(self.turn_away_stranger(peer, &attempt).await),
        };
        let source = match &account.auth {
            AccountAuth::Password(source) => source.clone(),
            AccountAuth::Passthrough if on => {
                return self.pass_through(account, protocol, peer, attempt).await;
            }
            AccountAuth::Passthrough => return Err(protocol_off(protocol)),
        };
        let used = self.prove(&account.address, &account.address, peer, &attempt.password);
        let used = used.await?;
        if !on {
            return Err(protocol_off(protocol));
        }
        self.grant(account, &source, protocol, used).await
    }

    /// The provider's password of `account`, without any login: to see whether it works. `None` under pass-through.
    pub async fn credential(
        &self,
        account: &Account,
        protocol: Protocol,
    ) -> Result<Option<Credential>, Refusal> {
        let AccountAuth::Password(source) = &account.auth else {
            return Ok(None);
        };
        let secret = self.secrets.of(&account.address, source, None).await;
        let password = secret.map_err(|error| no_secret(&account.address, &error))?;
        let user = upstream_user(account, protocol);
        Ok(Some(Credential::Password { user, password }))
    }

    /// The upstream took the credential that came with `receipt`.
    pub fn accepted(&self, receipt: &Receipt) {
        match &receipt.0 {
            Judged::Secret(target, _) => self.rejections.taken(target),
            Judged::Guess(guess) => self.throttle.accepted(*guess, Instant::now()),
        }
    }

    /// The upstream refused the credential that came with `receipt`: its source is asked again before the next try, and
    /// after three refusals in a row there is none for a while. Not to be called for any other trouble upstream.
    pub fn rejected(&self, receipt: &Receipt) {
        // A pass-through guess has been charged already; a refusal lets the charge stand.
        if let Judged::Secret(target, secret) = &receipt.0 {
            self.secrets.forget(&target.account);
            self.rejections.refused(target, secret, Instant::now());
        }
    }

    /// The configuration was read anew: every source is asked again when it is needed.
    pub fn reloaded(&self) {
        self.secrets.forget_all();
    }

    /// An unknown name costs and is told what a known one with a wrong password is.
    async fn turn_away_stranger(&self, peer: IpAddr, attempt: &LoginAttempt) -> Refusal {
        let name = attempt.name.to_lowercase();
        let proof = self.prove(&name, NOBODY, peer, &attempt.password).await;
        proof.err().unwrap_or_else(wrong_password)
    }

    /// The local password among those of `account` that `password` is. `name` is whom the guess is counted for.
    async fn prove(
        &self,
        name: &str,
        account: &str,
        peer: IpAddr,
        password: &Secret,
    ) -> Result<LocalPassword, Refusal> {
        let tags = Tags::new(self.store.verifier_key(), name, password);
        let guess = self.throttle.guess(peer, name, tags.canonical.as_ref());
        let began = self.await_slot(guess).await?;
        match self.matching(account, &tags, password).await {
            Ok(Some(used)) => {
                self.throttle.accepted(guess, Instant::now());
                self.note_use(used.clone());
                Ok(used)
            }
            Ok(None) => {
                sleep_until(began + FAILURE_ANSWER).await;
                Err(wrong_password())
            }
            Err(error) => {
                tracing::error!(
                    account,
                    cause = words(&*error),
                    "cannot check local passwords"
                );
                let text = "the proxy cannot read its store; see its log";
                Err(Refusal::new(Cause::ServerBug, LOCAL_PASSWORD, text))
            }
        }
    }

    /// Waits for the throttle's slot and returns when that was.
    async fn await_slot(&self, guess: Guess) -> Result<Instant, Refusal> {
        let now = Instant::now();
        let slot = self.throttle.reserve(guess, now).map_err(|_| {
            let text = "too many wrong passwords; try again in a few minutes";
            Refusal::new(Cause::LimitReached, LOCAL_PASSWORD, text)
        })?;
        if slot > now {
            sleep_until(slot).await;
        }
        Ok(slot)
    }

    async fn matching(
        &self,
        account: &str,
        tags: &Tags,
        password: &Secret,
    ) -> Result<Option<LocalPassword>, Box<dyn Error + Send + Sync>> {
        for kept in self.store.local_passwords(account).await? {
            if self.proven.matches(&kept, tags, password).await? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// Beside the login: the client does not wait for a disk, and a full one does not keep it out.
    fn note_use(&self, used: LocalPassword) {
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.touch_local_password(&used).await {
                tracing::warn!(
                    account = used.account,
                    cause = words(&error),
                    "cannot note a login"
                );
            }
        });
    }

    async fn grant(
        &self,
        account: Arc<Account>,
        source: &SecretSource,
        protocol: Protocol,
        used: LocalPassword,
    ) -> Result<Granted, Refusal> {
        let target = Target {
            user: upstream_user(&account, protocol),
            account: account.address.clone(),
            protocol,
        };
        let age_max = self.rejections.suspects(&target).then_some(ASK_AGAIN);
        let password = self
            .secrets
            .of(&account.address, source, age_max)
            .await
            .map_err(|error| no_secret(&account.address, &error))?;
        let fingerprint = self.fingerprint(&password);
        self.rejections
            .admit(&target, &fingerprint, Instant::now())
            .map_err(|_| refused_too_often(&account.provider))?;
        Ok(Granted {
            credential: Credential::Password {
                user: target.user.clone(),
                password,
            },
            password_name: Some(used.name),
            passthrough: false,
            receipt: Receipt(Judged::Secret(target, fingerprint)),
            account,
        })
    }

    async fn pass_through(
        &self,
        account: Arc<Account>,
        protocol: Protocol,
        peer: IpAddr,
        attempt: LoginAttempt,
    ) -> Result<Granted, Refusal> {
        let tags = Tags::new(
            self.store.verifier_key(),
            &account.address,
            &attempt.password,
        );
        let guess = self
            .throttle
            .guess(peer, &account.address, tags.exact.as_ref());
        let began = self.await_slot(guess).await?;
        if attempt.password.is_empty() {
            sleep_until(began + FAILURE_ANSWER).await;
            return Err(wrong_password());
        }
        Ok(Granted {
            credential: Credential::Password {
                user: upstream_user(&account, protocol),
                password: attempt.password,
            },
            password_name: None,
            passthrough: true,
            receipt: Receipt(Judged::Guess(guess)),
            account,
        })
    }

    fn fingerprint(&self, secret: &Secret) -> Fingerprint {
        let mut context = hmac::Context::with_key(self.store.verifier_key());
        context.update(b"fingerprint");
        context.update(secret.expose());
        let mut fingerprint = [0; 32];
        for (to, from) in fingerprint.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        fingerprint
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

/// The upstream identity.
fn upstream_user(account: &Account, protocol: Protocol) -> String {
    match account.endpoints.get(&protocol) {
        Some(endpoint) => endpoint.user.clone(),
        None => account.address.clone(),
    }
}

fn wrong_password() -> Refusal {
    let text = "wrong name or local password";
    Refusal::new(Cause::WrongPassword, LOCAL_PASSWORD, text)
}

fn protocol_off(protocol: Protocol) -> Refusal {
    let text = format!("{protocol} is not switched on for this account");
    Refusal::new(Cause::ProtocolOff, "routing", text)
}

fn refused_too_often(provider: &str) -> Refusal {
    let text = format!(
        "{provider} refused the stored password several times; it is not tried for a while, so that the account is not \
         locked. Correct the password"
    );
    Refusal::new(Cause::CredentialRejected, "credential", text)
}

/// The client hears that it is not its fault; the log has the reason.
fn no_secret(account: &str, error: &SecretError) -> Refusal {
    tracing::error!(account, cause = words(error), "no provider password");
    let text = "the proxy cannot get the provider's password; see its log";
    Refusal::new(Cause::ServerBug, "credential", text)
}

/// An error and its causes on one line.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// The account that no configuration has: its local passwords are asked for where the name is unknown.
const NOBODY: &str = "";

/// The phase of refusals for the client's own fault.
const LOCAL_PASSWORD: &str = "local-password";

/// When a failure is answered, counted from the beginning of its check. Longer than any check takes, so that the time
/// shows neither whether the account exists nor of which kind its passwords are.
pub const FAILURE_ANSWER: Duration = Duration::from_secs(1);

/// How old a secret may be after the upstream refused it. A burst of logins does not run a command again and again; a
/// person who has corrected the password does not wait long.
const ASK_AGAIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
