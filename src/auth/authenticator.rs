//! Decides on login attempts. The order of the steps is in the folder's own words, `mod.rs`.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use tokio::time::Instant;

use super::local_check::LocalCheck;
use super::oauth::Tokens;
use super::refusals;
use super::rejections::{Fingerprint, Rejections, Target};
use super::secrets::Secrets;
use super::throttle::Guess;
use crate::config;
use crate::config::Found;
use crate::config::oauth::Grant;
use crate::config::runtime::{
    Account, AccountAuth, Config, NoLogin, Pin, Proxy, ProxyPassword, SecretSource,
};
use crate::peer::Who;
use crate::proto::dialogue::{Credential, LoginAttempt, Proof};
use crate::proto::refusal::Refusal;
use crate::proto::sasl::Challenges;
use crate::protocol::Protocol;
use crate::secret::Secret;
use crate::store::{Challengeable, Store, StoreError};

/// Decides on login attempts. One for the whole service; configuration comes in with each attempt.
pub struct Authenticator {
    store: Store,
    local: LocalCheck,
    secrets: Secrets,
    rejections: Rejections,
    tokens: Tokens,
    /// The salts of SCRAM follow from it.
    salt_key: Secret,
}

/// A login attempt that may go on, and with what.
#[derive(Debug)]
pub struct Granted {
    /// Whose mailbox.
    pub account: Arc<Account>,
    /// What the upstream takes.
    pub credential: Credential,
    /// Which local password was used; `None` under pass-through, and where no login is asked for.
    pub local: Option<UsedPassword>,
    /// Whether the credential is the client's own.
    pub passthrough: bool,
    /// To be given back with the upstream's decision.
    pub receipt: Receipt,
}

/// The local password of a login.
#[derive(Clone, Debug)]
pub struct UsedPassword {
    /// What its owner calls it.
    pub name: String,
    /// The profile it is bound to.
    pub profile: Option<String>,
    /// What SCRAM is to be answered: our own proof.
    pub server_final: Option<String>,
}

/// What the upstream's decision on a credential counts for: which secret, or whose guess.
#[derive(Clone, Debug)]
pub struct Receipt(Judged);

/// Which credential an upstream session was opened with: another password or token has another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The stored password with this keyed hash.
    Password(Fingerprint),
    /// The access token of this generation of a grant.
    Token {
        /// The grant's name.
        grant: String,
        /// Its generation.
        generation: u64,
    },
}

impl Receipt {
    /// Whose session the credential opens; `None` under pass-through, where only the upstream can tell.
    pub fn identity(&self) -> Option<Identity> {
        match &self.0 {
            Judged::Secret(_, fingerprint) => Some(Identity::Password(*fingerprint)),
            Judged::Token(grant, _, generation) => Some(Identity::Token {
                grant: grant.name.clone(),
                generation: *generation,
            }),
            Judged::Guess(_) => None,
        }
    }
}

#[derive(Clone, Debug)]
enum Judged {
    Secret(Target, Fingerprint),
    Guess(Guess),
    /// An access token, and which.
    Token(Arc<Grant>, Protocol, u64),
}

impl Authenticator {
    /// An authenticator that has seen nothing yet.
    pub fn new(store: Store, tokens: Tokens) -> Self {
        Self {
            local: LocalCheck::new(store.clone()),
            secrets: Secrets::new(store.clone()),
            rejections: Rejections::default(),
            tokens,
            salt_key: Secret::new(
                hmac::sign(store.verifier_key(), b"scram salts")
                    .as_ref()
                    .to_vec(),
            ),
            store,
        }
    }

    /// Decides on `attempt` by the client at `peer`, on a listener for `protocol` bound to `pin`.
    ///
    /// Takes microseconds for a right password whose credential is in memory, and a read of the store where that changed; up to 15 s longer
    /// for those who guess, and up to 20 s longer while a source or an issuer is asked.
    pub async fn check(
        &self,
        config: &Config,
        pin: Option<&Pin>,
        protocol: Protocol,
        peer: impl Into<Who>,
        attempt: LoginAttempt,
    ) -> Result<Granted, Refusal> {
        let peer = peer.into();
        let (account, on) = match config.accounts.find(protocol, &attempt.name, pin) {
            Found::Account(account) => (account, true),
            Found::ProtocolOff(account) => (account, false),
            Found::Unknown => {
                let nobody = self.local.of_nobody(&attempt.name, peer, attempt.proof);
                return Err(nobody.await);
            }
        };
        if let AccountAuth::Passthrough = account.auth {
            if !on {
                return Err(refusals::protocol_off(protocol));
            }
            return self.pass_through(account, protocol, peer, attempt).await;
        }
        let proof = self.local.of_account(&account.address, peer, attempt.proof);
        let known = proof.await?;
        let used = UsedPassword {
            name: known.password.name,
            profile: known.password.profile,
            server_final: known.server_final,
        };
        if !on {
            return Err(refusals::protocol_off(protocol));
        }
        match account.auth.clone() {
            AccountAuth::Password(source) => {
                self.grant(account, &source, protocol, Some(used)).await
            }
            AccountAuth::OAuth(grant) => {
                self.grant_token(account, grant, protocol, Some(used)).await
            }
            AccountAuth::Passthrough => Err(refusals::protocol_off(protocol)),
        }
    }

    /// Grants what a listener without logins is bound to. Not for the client to ask for: the terms are the listener's, and so
    /// is the account.
    pub async fn without_login(
        &self,
        config: &Config,
        terms: &NoLogin,
    ) -> Result<Granted, Refusal> {
        let protocol = Protocol::Smtp;
        let pin = Pin::Account(terms.account.clone());
        let found = config.accounts.find(protocol, &terms.account, Some(&pin));
        let Found::Account(account) = found else {
            return Err(refusals::protocol_off(protocol));
        };
        match account.auth.clone() {
            AccountAuth::Password(source) => self.grant(account, &source, protocol, None).await,
            AccountAuth::OAuth(grant) => self.grant_token(account, grant, protocol, None).await,
            AccountAuth::Passthrough => Err(refusals::protocol_off(protocol)),
        }
    }

    /// What the upstream takes of `account`, without any login: to see whether it works. `None` under pass-through.
    pub async fn credential(
        &self,
        account: &Account,
        protocol: Protocol,
    ) -> Result<Option<Credential>, Refusal> {
        let source = match &account.auth {
            AccountAuth::Password(source) => source,
            AccountAuth::Passthrough => return Ok(None),
            AccountAuth::OAuth(grant) => {
                let (credential, _) = self.bearer(account, grant, protocol).await?;
                return Ok(Some(credential));
            }
        };
        let secret = self.secrets.of(&account.address, source, None).await;
        let password = secret.map_err(|error| refusals::no_secret(&account.address, &error))?;
        let user = upstream_user(account, protocol);
        Ok(Some(Credential::Password { user, password }))
    }

    /// The password of a proxy that wants one.
    pub async fn proxy_password(&self, proxy: &Proxy) -> Result<Option<Secret>, Refusal> {
        let Some(login) = &proxy.login else {
            return Ok(None);
        };
        let owner = owner_of(proxy);
        let secret = match &login.password {
            ProxyPassword::From(source) => self.secrets.of(&owner, source, None).await,
            ProxyPassword::InUrlOf(variable) => {
                let source = SecretSource::Env(variable.clone());
                let url = self.secrets.of(&owner, &source, None).await;
                url.map(|url| config::password_in(&url))
            }
        };
        let secret = secret.map_err(|error| refusals::no_proxy_password(proxy, &error))?;
        Ok(Some(secret))
    }

    /// The proxy refused it: its source is asked again before the next try.
    pub fn proxy_refused(&self, proxy: &Proxy) {
        self.secrets.forget(&owner_of(proxy));
    }

    /// Who can log in without sending the password.
    pub async fn challengeable(&self) -> Result<Arc<Challengeable>, StoreError> {
        self.store.challengeable().await
    }

    /// What a session's challenges are made from: random, and never the same, while the salts of SCRAM stay. `None` where
    /// the system has no randomness.
    pub fn challenges(&self) -> Option<Challenges> {
        let mut seed = vec![0; 32];
        rand::fill(&mut seed).ok()?;
        Some(Challenges::new(Secret::new(seed), self.salt_key.clone()))
    }

    /// The upstream took the credential that came with `receipt`.
    pub fn accepted(&self, receipt: &Receipt) {
        match &receipt.0 {
            Judged::Secret(target, _) => self.rejections.taken(target),
            Judged::Guess(guess) => self.local.accepted(*guess),
            Judged::Token(..) => {}
        }
    }

    /// The upstream refused the credential that came with `receipt`: its source is asked again before the next try, and
    /// after three refusals in a row there is none for a while. Not to be called for any other trouble upstream.
    pub fn rejected(&self, receipt: &Receipt) {
        match &receipt.0 {
            Judged::Secret(target, secret) => {
                self.secrets.forget(&target.account);
                self.rejections.refused(target, secret, Instant::now());
            }
            Judged::Token(grant, protocol, generation) => {
                self.tokens.rejected(grant, *protocol, *generation);
            }
            // It has been charged already; a refusal lets the charge stand.
            Judged::Guess(_) => {}
        }
    }

    /// Another credential for a login whose access token the upstream has just refused. Fails with that refusal where
    /// there is no other: the token that was refused took the place of a refused one itself.
    pub async fn renew(&self, granted: Granted) -> Result<Granted, Refusal> {
        let Judged::Token(grant, protocol, refused) = granted.receipt.0.clone() else {
            return Ok(granted);
        };
        let renewed = self
            .grant_token(granted.account, grant, protocol, granted.local)
            .await?;
        match renewed.receipt.0 {
            Judged::Token(_, _, generation) if generation == refused => {
                Err(refusals::token_refused(&renewed.account.provider))
            }
            _ => Ok(renewed),
        }
    }

    /// The configuration was read anew: every source is asked again when it is needed.
    pub fn reloaded(&self) {
        self.secrets.forget_all();
    }

    async fn grant(
        &self,
        account: Arc<Account>,
        source: &SecretSource,
        protocol: Protocol,
        local: Option<UsedPassword>,
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
            .map_err(|error| refusals::no_secret(&account.address, &error))?;
        let fingerprint = self.fingerprint(&password);
        self.rejections
            .admit(&target, &fingerprint, Instant::now())
            .map_err(|_| refusals::refused_too_often(&account.provider))?;
        Ok(Granted {
            credential: Credential::Password {
                user: target.user.clone(),
                password,
            },
            local,
            passthrough: false,
            receipt: Receipt(Judged::Secret(target, fingerprint)),
            account,
        })
    }

    async fn grant_token(
        &self,
        account: Arc<Account>,
        grant: Arc<Grant>,
        protocol: Protocol,
        local: Option<UsedPassword>,
    ) -> Result<Granted, Refusal> {
        let (credential, generation) = self.bearer(&account, &grant, protocol).await?;
        Ok(Granted {
            credential,
            local,
            passthrough: false,
            receipt: Receipt(Judged::Token(grant, protocol, generation)),
            account,
        })
    }

    /// An access token for the one server it is meant for, and which one it is.
    async fn bearer(
        &self,
        account: &Account,
        grant: &Arc<Grant>,
        protocol: Protocol,
    ) -> Result<(Credential, u64), Refusal> {
        let endpoint = account.endpoints.get(&protocol);
        let endpoint = endpoint.ok_or_else(|| refusals::protocol_off(protocol))?;
        let access = self.tokens.access_token(grant, protocol).await?;
        let credential = Credential::Bearer {
            user: endpoint.user.clone(),
            token: access.token,
            host: endpoint.host.clone(),
            port: endpoint.port,
            mechanisms: grant.issuer.sasl.clone(),
        };
        Ok((credential, access.generation))
    }

    async fn pass_through(
        &self,
        account: Arc<Account>,
        protocol: Protocol,
        peer: Who,
        attempt: LoginAttempt,
    ) -> Result<Granted, Refusal> {
        let address = &account.address;
        // What was not sent cannot be sent on.
        let Proof::Password(password) = attempt.proof else {
            return Err(self.local.of_nobody(address, peer, attempt.proof).await);
        };
        let guess = self.local.of_pass_through(address, peer, &password).await?;
        Ok(Granted {
            credential: Credential::Password {
                user: upstream_user(&account, protocol),
                password,
            },
            local: None,
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

/// Whose password a proxy's is. The space tells it from every account's address.
fn owner_of(proxy: &Proxy) -> String {
    let user = proxy.login.as_ref().map(|login| login.user.as_str());
    format!("proxy {proxy} {}", user.unwrap_or_default())
}

/// The upstream identity.
fn upstream_user(account: &Account, protocol: Protocol) -> String {
    match account.endpoints.get(&protocol) {
        Some(endpoint) => endpoint.user.clone(),
        None => account.address.clone(),
    }
}

/// How old a secret may be after the upstream refused it. A burst of logins does not run a command again and again; a
/// person who has corrected the password does not wait long.
const ASK_AGAIN: Duration = Duration::from_secs(10);
