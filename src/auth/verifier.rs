//! What is kept of a local password, and how an attempt is compared with it.
//!
//! | kind | kept | a login costs |
//! |---|---|---|
//! | generated | HMAC-SHA256 of its canonical form, under a key derived from the store's | one HMAC |
//! | chosen | argon2id with a salt of its own | one argon2id after a start, then one HMAC |
//! | recoverable | the password itself, encrypted as every row | one HMAC; CRAM-MD5 and APOP some MD5, SCRAM some milliseconds |
//!
//! A generated password has 130 bits: nobody finds it from its hash, so a slow hash would only cost time. A chosen one
//! may be weak, so whoever has both database and key still has to pay argon2id for each guess. Once it has been proven,
//! its HMAC is remembered in memory ([`Proven`]), and later logins are compared with that, right or wrong.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{constant_time, hmac, rand};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::error::PasswordError;
use super::generated;
use crate::proto::sasl;
use crate::secret::Secret;
use crate::store::{LocalPassword, PasswordKind};

/// The keyed hashes of one attempt. Equal attempts at one account have equal tags, and only there.
pub(super) struct Tags {
    /// Of the bytes as sent.
    pub(super) exact: hmac::Tag,
    /// Of what they stand for as a generated password; of the bytes as sent where they cannot be one.
    pub(super) canonical: hmac::Tag,
}

impl Tags {
    /// Both hashes are always taken, so that the shape of an attempt does not show in its time.
    pub(super) fn new(key: &hmac::Key, account: &str, password: &Secret) -> Self {
        let canonical = generated::canonical(password);
        Self {
            exact: tag(key, "exact", account, password),
            canonical: tag(
                key,
                "canonical",
                account,
                canonical.as_ref().unwrap_or(password),
            ),
        }
    }
}

/// The verifier of a generated password.
pub(super) fn of_generated(
    key: &hmac::Key,
    account: &str,
    password: &Secret,
) -> Result<Secret, PasswordError> {
    let canonical = generated::canonical(password).ok_or(PasswordError::Hashing)?;
    let tag = tag(key, "canonical", account, &canonical);
    Ok(Secret::new(tag.as_ref().to_vec()))
}

/// The verifier of a chosen password: version, salt, argon2id. Takes tens of milliseconds and 19 MiB.
pub(super) async fn of_chosen(password: Secret) -> Result<Secret, PasswordError> {
    let mut salt = [0; SALT_LEN];
    rand::fill(&mut salt).map_err(|_| PasswordError::Hashing)?;
    let hash = argon2id(&ARGON2_AT_ONCE, password, salt).await?;
    let mut verifier = Vec::with_capacity(1 + SALT_LEN + HASH_LEN);
    verifier.push(ARGON2ID_19M_2_1);
    verifier.extend_from_slice(&salt);
    verifier.extend_from_slice(hash.as_slice());
    Ok(Secret::new(verifier))
}

/// What shows that a client knows a password which it did not send.
#[derive(Debug)]
pub(super) enum Challenged {
    Digest(sasl::Digested),
    Scram(sasl::ScramProof),
}

impl Challenged {
    /// `Some` if this was made with `password`; SCRAM has something to answer then.
    fn answer(&self, password: &Secret) -> Option<Option<String>> {
        match self {
            Self::Digest(digest) => digest.is_of(password).then_some(None),
            Self::Scram(proof) => proof.verify(password).map(Some),
        }
    }
}

/// Chosen passwords proven since the start: the local password's id → the HMAC of what proved it.
#[derive(Default)]
pub(super) struct Proven(Mutex<HashMap<String, hmac::Tag>>);

impl Proven {
    /// Which of `all` the attempt with these tags is. Chosen ones that nobody has proven are tried last: a right password
    /// must not pay for another that happens to stand before it.
    pub(super) async fn find<'a>(
        &self,
        key: &hmac::Key,
        all: &'a [LocalPassword],
        tags: &Tags,
        password: &Secret,
    ) -> Result<Option<&'a LocalPassword>, PasswordError> {
        let mut unproven = Vec::new();
        for kept in all {
            match self.matches(key, kept, tags) {
                Some(true) => return Ok(Some(kept)),
                Some(false) => {}
                None => unproven.push(kept),
            }
        }
        for kept in unproven {
            if self.prove(kept, tags, password).await? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// Which of `all` the client has shown to know without sending it, with what SCRAM answers to that.
    pub(super) async fn challenged(
        all: &[LocalPassword],
        proof: Challenged,
    ) -> Result<Option<(LocalPassword, Option<String>)>, PasswordError> {
        let recoverable = all
            .iter()
            .filter(|it| it.kind == PasswordKind::Recoverable)
            .take(CHALLENGED_MAX);
        let candidates: Vec<LocalPassword> = recoverable.cloned().collect();
        let search = move || {
            candidates.into_iter().find_map(|kept| {
                let mut spellings = generated::spellings(&kept.verifier).into_iter();
                let answer = spellings.find_map(|spelling| proof.answer(&spelling))?;
                Some((kept, answer))
            })
        };
        let permit = CHALLENGES_AT_ONCE.acquire().await;
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            search()
        });
        found.await.map_err(|_| PasswordError::Hashing)
    }

    /// Whether the attempt with these tags is `kept`; `None` for a chosen password that nobody has proven yet.
    fn matches(&self, key: &hmac::Key, kept: &LocalPassword, tags: &Tags) -> Option<bool> {
        if kept.kind == PasswordKind::Generated {
            return Some(equal(tags.canonical.as_ref(), kept.verifier.expose()));
        }
        if kept.kind == PasswordKind::Recoverable {
            let own = Tags::new(key, &kept.account, &kept.verifier);
            return Some(equal(tags.canonical.as_ref(), own.canonical.as_ref()));
        }
        let proven = self.lock();
        let proof = proven.get(&kept.id)?;
        Some(equal(tags.exact.as_ref(), proof.as_ref()))
    }

    /// Whether the attempt is `kept`, a chosen password, and remembers it if so. Takes tens of milliseconds.
    async fn prove(
        &self,
        kept: &LocalPassword,
        tags: &Tags,
        password: &Secret,
    ) -> Result<bool, PasswordError> {
        let right = matches_argon2id(kept, password).await?;
        if right {
            let mut proven = self.lock();
            if proven.len() >= PROVEN_MAX {
                proven.clear();
            }
            proven.insert(kept.id.clone(), tags.exact);
        }
        Ok(right)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, hmac::Tag>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares in a time that does not depend on where the difference is.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

async fn matches_argon2id(kept: &LocalPassword, password: &Secret) -> Result<bool, PasswordError> {
    let parts = kept
        .verifier
        .expose()
        .strip_prefix(&[ARGON2ID_19M_2_1])
        .and_then(|rest| rest.split_first_chunk::<SALT_LEN>());
    let Some((salt, expected)) = parts else {
        return Err(PasswordError::Hashing);
    };
    let hash = argon2id(&ARGON2_AT_ONCE, password.clone(), *salt).await?;
    Ok(equal(hash.as_slice(), expected))
}

/// Off the runtime, and as few at a time as `at_once` allows: each holds a core and 19 MiB.
async fn argon2id(
    at_once: &'static Semaphore,
    password: Secret,
    salt: [u8; SALT_LEN],
) -> Result<Zeroizing<[u8; HASH_LEN]>, PasswordError> {
    let permit = at_once.acquire().await;
    let blocking = move || {
        // Held by the work itself, which goes on when the login that asked for it is given up.
        let _permit = permit;
        let mut hash = Zeroizing::new([0; HASH_LEN]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
            .hash_password_into(password.expose(), &salt, hash.as_mut_slice())
            .map(|()| hash)
            .map_err(|_| PasswordError::Hashing)
    };
    let hashed = tokio::task::spawn_blocking(blocking).await;
    hashed.map_err(|_| PasswordError::Hashing)?
}

fn tag(key: &hmac::Key, form: &str, account: &str, password: &Secret) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in [form.as_bytes(), account.as_bytes(), password.expose()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign()
}

/// argon2id, version 0x13, 19 MiB, 2 passes, 1 lane: the first choice of OWASP's password storage sheet, and what
/// [`Params::DEFAULT`] is. Other parameters get another number.
const ARGON2ID_19M_2_1: u8 = 1;

/// RFC 9106 section 3.1: 16 octets are recommended.
const SALT_LEN: usize = 16;

/// RFC 9106 section 4: a 256-bit tag.
const HASH_LEN: usize = 32;

/// Two of 19 MiB: a burst of guesses takes neither all cores nor the memory of a small machine.
static ARGON2_AT_ONCE: Semaphore = Semaphore::const_new(2);

/// As many as devices one mailbox has; each costs four spellings of a millisecond in SCRAM.
const CHALLENGED_MAX: usize = 16;

/// A burst of SCRAM logins takes one core of two, and leaves the other to the sessions.
static CHALLENGES_AT_ONCE: Semaphore = Semaphore::const_new(2);

/// More chosen passwords than a service has; beyond it they are proven anew.
const PROVEN_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])
    }

    fn kept(id: &str, kind: PasswordKind, verifier: Secret) -> LocalPassword {
        LocalPassword {
            id: id.into(),
            account: "anna@x.org".into(),
            name: "laptop".into(),
            kind,
            verifier,
            profile: None,
            created_at: 0,
            last_used_at: None,
        }
    }

    async fn tries(proven: &Proven, kept: &LocalPassword, typed: &str) -> bool {
        let typed = Secret::from(typed);
        let tags = Tags::new(&key(), &kept.account, &typed);
        let all = std::slice::from_ref(kept);
        proven
            .find(&key(), all, &tags, &typed)
            .await
            .unwrap()
            .is_some()
    }

    #[tokio::test]
    async fn a_generated_password_matches_in_any_spelling_and_only_at_its_account() {
        let shown = Secret::from("0123-4567-89ab-cdef-ghjk-mnpq-rs");
        let verifier = of_generated(&key(), "anna@x.org", &shown).unwrap();
        let mut kept = kept("1", PasswordKind::Generated, verifier);
        let proven = Proven::default();
        assert!(tries(&proven, &kept, "0123456789ABCDEFGHJKMNPQRS").await);
        assert!(!tries(&proven, &kept, "0123-4567-89ab-cdef-ghjk-mnpq-rt").await);
        assert!(!tries(&proven, &kept, "").await);
        kept.account = "eve@x.org".into();
        assert!(!tries(&proven, &kept, "0123456789ABCDEFGHJKMNPQRS").await);
    }

    #[tokio::test]
    async fn a_chosen_password_is_proven_once_and_then_compared_from_memory() {
        let verifier = of_chosen(Secret::from("Correct-Horse")).await.unwrap();
        let mut kept = kept("1", PasswordKind::Chosen, verifier);
        let proven = Proven::default();
        assert!(!tries(&proven, &kept, "correct-horse").await, "case counts");
        assert!(proven.lock().is_empty(), "a wrong one proves nothing");
        assert!(tries(&proven, &kept, "Correct-Horse").await);
        // Without the verifier only memory can answer.
        kept.verifier = Secret::new(Vec::new());
        assert!(tries(&proven, &kept, "Correct-Horse").await);
        assert!(!tries(&proven, &kept, "wrong").await);
        // A password revoked and added again has another id, which nothing has proven.
        kept.id = "2".into();
        let typed = Secret::from("Correct-Horse");
        let tags = Tags::new(&key(), &kept.account, &typed);
        assert!(proven.find(&key(), &[kept], &tags, &typed).await.is_err());
    }

    #[tokio::test]
    async fn a_generated_password_does_not_pay_for_a_chosen_one_beside_it() {
        let typed = Secret::from("0123-4567-89ab-cdef-ghjk-mnpq-rs");
        let verifier = of_generated(&key(), "anna@x.org", &typed).unwrap();
        let generated = kept("2", PasswordKind::Generated, verifier);
        // To try it is an error, so this shows that it is not tried.
        let unusable = kept("1", PasswordKind::Chosen, Secret::new(Vec::new()));
        let tags = Tags::new(&key(), "anna@x.org", &typed);
        let all = [unusable, generated];
        let proven = Proven::default();
        let found = proven.find(&key(), &all, &tags, &typed).await.unwrap();
        assert_eq!(found.map(|found| &*found.id), Some("2"));
    }

    #[test]
    fn work_that_nobody_waits_for_any_more_still_counts() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            // The one thread for such work is busy until `go`, so what is asked for below waits behind it.
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            let mut given_up = Box::pin(argon2id(&ONE, Secret::from("x"), [0; SALT_LEN]));
            assert!(futures_util::poll!(&mut given_up).is_pending());
            drop(given_up);
            assert_eq!(ONE.available_permits(), 0);
            go.send(()).unwrap();
            busy.await.unwrap().unwrap();
            drop(ONE.acquire().await.unwrap());
        });
    }
}
