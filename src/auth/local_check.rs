//! Whether a client knows a local password: the throttle before, the answer's time after.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::error::PasswordError;
use super::refusals;
use super::throttle::{Guess, Throttle};
use super::verifier::{Proven, Tags};
use crate::proto::refusal::Refusal;
use crate::secret::Secret;
use crate::store::{LocalPassword, Store};

/// Checks local passwords and makes those wait who guess.
pub(super) struct LocalCheck {
    store: Store,
    throttle: Throttle,
    proven: Proven,
}

impl LocalCheck {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            throttle: Throttle::new(),
            proven: Proven::default(),
        }
    }

    /// Whether `password` is a local password of `account`, and which.
    pub(super) async fn of_account(
        &self,
        account: &str,
        peer: IpAddr,
        password: &Secret,
    ) -> Result<LocalPassword, Refusal> {
        self.prove(account, account, peer, password).await
    }

    /// For a name that leads nowhere: costs and says what a wrong password does.
    pub(super) async fn of_nobody(&self, name: &str, peer: IpAddr, password: &Secret) -> Refusal {
        let proof = self
            .prove(&name.to_lowercase(), NOBODY, peer, password)
            .await;
        proof.err().unwrap_or_else(refusals::wrong_password)
    }

    /// For an account under pass-through, whose password only the upstream knows: charges the guess, to be given back
    /// by [`LocalCheck::accepted`].
    pub(super) async fn of_pass_through(
        &self,
        account: &str,
        peer: IpAddr,
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
                self.note_use(&used);
                Ok(used)
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
        password: &Secret,
    ) -> Result<Option<LocalPassword>, PasswordError> {
        let all = self.store.present_local_passwords(account).await?;
        Ok(self.proven.find(&all, tags, password).await?.cloned())
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
                    cause = refusals::words(&error),
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
