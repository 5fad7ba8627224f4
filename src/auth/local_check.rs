//! Whether a client knows a local password: the throttle before, the answer's time after.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::error::PasswordError;
use super::refusals;
use super::throttle::{Guess, Throttle};
use super::verifier::{Challenged, Proven, Tags};
use crate::causes::with_causes;
use crate::peer::Who;
use crate::proto::dialogue::Proof;
use crate::proto::refusal::Refusal;
use crate::secret::Secret;
use crate::store::{LocalPassword, Store};

/// Checks local passwords and makes those wait who guess.
pub(super) struct LocalCheck {
    store: Store,
    throttle: Throttle,
    proven: Proven,
}

/// A client that has shown that it knows a local password.
pub(super) struct Known {
    pub(super) password: LocalPassword,
    /// What SCRAM is to be answered.
    pub(super) server_final: Option<String>,
}

impl LocalCheck {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            throttle: Throttle::new(),
            proven: Proven::default(),
        }
    }

    /// Whether `proof` is of a local password of `account`, and of which.
    pub(super) async fn of_account(
        &self,
        account: &str,
        peer: Who,
        proof: Proof,
    ) -> Result<Known, Refusal> {
        self.prove(account, account, peer, proof).await
    }

    /// For a name that leads nowhere: costs and says what a wrong password does.
    pub(super) async fn of_nobody(&self, name: &str, peer: Who, proof: Proof) -> Refusal {
        let proof = self.prove(&name.to_lowercase(), NOBODY, peer, proof).await;
        proof.err().unwrap_or_else(refusals::wrong_password)
    }

    /// For an account under pass-through, whose password only the upstream knows: charges the guess, to be given back
    /// by [`LocalCheck::accepted`].
    pub(super) async fn of_pass_through(
        &self,
        account: &str,
        peer: Who,
        password: &Secret,
    ) -> Result<Guess, Refusal> {
        let tags = Tags::new(self.store.verifier_key(), account, password);
        let guess = self.throttle.guess(peer, account, tags.exact.as_ref());
        let began = self.await_slot(guess).await?;
        if password.is_empty() {
            sleep_until(began + FAILURE_ANSWER).await;
            return Err(refusals::wrong_password());
        }
        Ok(guess)
    }

    /// The upstream took what was charged as `guess`.
    pub(super) fn accepted(&self, guess: Guess) {
        self.throttle.accepted(guess, Instant::now());
    }

    /// The local password among those of `account` that `proof` is of. `name` is whom the guess is counted for.
    async fn prove(
        &self,
        name: &str,
        account: &str,
        peer: Who,
        proof: Proof,
    ) -> Result<Known, Refusal> {
        // A digest is another one each time: the same wrong password sent again counts again.
        let unsent = Secret::from("");
        let sent = proof.password().cloned().unwrap_or(unsent);
        let tags = Tags::new(self.store.verifier_key(), name, &sent);
        let guess = match &proof {
            Proof::Password(_) => self.throttle.guess(peer, name, tags.canonical.as_ref()),
            Proof::Digest(_) | Proof::Scram(_) | Proof::Network => {
                self.throttle.unlike_any(peer, name)
            }
        };
        let began = self.await_slot(guess).await?;
        match self.matching(account, &tags, proof).await {
            Ok(Some(known)) => {
                self.throttle.accepted(guess, Instant::now());
                self.note_use(&known.password);
                Ok(known)
            }
            Ok(None) => {
                sleep_until(began + FAILURE_ANSWER).await;
                Err(refusals::wrong_password())
            }
            Err(error) => Err(refusals::store_unreadable(account, &error)),
        }
    }

    /// Waits for the throttle's slot and returns when that was.
    async fn await_slot(&self, guess: Guess) -> Result<Instant, Refusal> {
        let now = Instant::now();
        let slot = self.throttle.reserve(guess, now);
        let slot = slot.map_err(|_| refusals::too_many_guesses())?;
        if slot > now {
            sleep_until(slot).await;
        }
        Ok(slot)
    }

    async fn matching(
        &self,
        account: &str,
        tags: &Tags,
        proof: Proof,
    ) -> Result<Option<Known>, PasswordError> {
        let all = self.store.present_local_passwords(account).await?;
        let challenged = match proof {
            Proof::Password(sent) => {
                let key = self.store.verifier_key();
                let found = self.proven.find(key, &all, tags, &sent).await?;
                return Ok(found.cloned().map(|password| Known {
                    password,
                    server_final: None,
                }));
            }
            Proof::Digest(digest) => Challenged::Digest(digest),
            Proof::Scram(proof) => Challenged::Scram(proof),
            // Who says that none is needed proves none.
            Proof::Network => return Ok(None),
        };
        let found = Proven::challenged(&all, challenged).await?;
        Ok(found.map(|(password, server_final)| Known {
            password,
            server_final,
        }))
    }

    /// Beside the login: the client does not wait for a disk, and a full one does not keep it out.
    fn note_use(&self, used: &LocalPassword) {
        if !used.is_to_be_touched() {
            return;
        }
        let (store, used) = (self.store.clone(), used.clone());
        tokio::spawn(async move {
            if let Err(error) = store.touch_local_password(&used).await {
                tracing::warn!(
                    account = used.account,
                    cause = with_causes(&error),
                    "cannot note a login"
                );
            }
        });
    }
}

/// The account that no configuration has: its local passwords are asked for where the name is unknown.
const NOBODY: &str = "";

/// When a failure is answered, counted from the beginning of its check. Longer than a check takes, so that the time
/// shows neither whether the account exists nor of which kind its passwords are. Only when more unproven chosen
/// passwords are tried at once than the cores can hash does an answer come later.
pub(super) const FAILURE_ANSWER: Duration = Duration::from_secs(1);
