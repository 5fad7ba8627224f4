//! Provider secrets in memory: each source is asked once, however many logins wait for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::error::SecretError;
use super::source;
use crate::config::runtime::SecretSource;
use crate::secret::Secret;
use crate::store::Store;

/// The secrets of all accounts, as far as they have been needed.
pub(super) struct Secrets {
    store: Store,
    entries: Mutex<HashMap<String, Entry>>,
}

/// One question to a source, under way or answered.
struct Entry {
    source: SecretSource,
    asked: Instant,
    answer: Answer,
}

type Answer = Shared<BoxFuture<'static, Result<Secret, SecretError>>>;

impl Secrets {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            entries: Mutex::default(),
        }
    }

    /// The secret of `account`, from memory where it is not older than `age_max` (`None`: any age).
    ///
    /// A question under way is joined, also by those who come in its last moment. An error is told to all who waited
    /// and not remembered.
    pub(super) async fn of(
        &self,
        account: &str,
        source: &SecretSource,
        age_max: Option<Duration>,
    ) -> Result<Secret, SecretError> {
        let answer = self.answer(account, source, age_max);
        let secret = answer.clone().await;
        if secret.is_err() {
            let mut entries = self.lock();
            if entries
                .get(account)
                .is_some_and(|e| e.answer.ptr_eq(&answer))
            {
                entries.remove(account);
            }
        }
        secret
    }

    /// Forgets one secret: its source is asked at the next login.
    pub(super) fn forget(&self, account: &str) {
        self.lock().remove(account);
    }

    /// Forgets all of them.
    pub(super) fn forget_all(&self) {
        self.lock().clear();
    }

    fn answer(&self, account: &str, source: &SecretSource, age_max: Option<Duration>) -> Answer {
        let mut entries = self.lock();
        if let Some(entry) = entries.get(account)
            && entry.source == *source
            && entry.serves(age_max)
        {
            return entry.answer.clone();
        }
        let answer = ask(self.store.clone(), account.to_owned(), source.clone());
        let entry = Entry {
            source: source.clone(),
            asked: Instant::now(),
            answer: answer.clone(),
        };
        entries.insert(account.to_owned(), entry);
        answer
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn serves(&self, age_max: Option<Duration>) -> bool {
        let under_way = self.answer.peek().is_none();
        under_way || age_max.is_none_or(|age| self.asked.elapsed() < age)
    }
}

/// In a task of its own: a client that goes away does not end the question for the others.
fn ask(store: Store, account: String, source: SecretSource) -> Answer {
    let question = tokio::spawn(async move { source::ask(&source, &account, &store).await });
    async move { question.await.unwrap_or(Err(SecretError::Interrupted)) }
        .boxed()
        .shared()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::runtime::{KeySource, StoreSettings};

    /// Secrets over an empty store, with the clock paused, and the folder they live in.
    async fn secrets() -> (tempfile::TempDir, Secrets) {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let settings = StoreSettings {
            url: format!("sqlite:{}", state.join("store.db").display()),
            key: KeySource::File(state.join("store.key")),
        };
        let store = Store::open(&settings).await.unwrap();
        tokio::time::pause();
        (folder, Secrets::new(store))
    }

    async fn is(
        secrets: &Secrets,
        source: &SecretSource,
        age: Option<u64>,
        expected: &str,
    ) -> bool {
        let age = age.map(Duration::from_secs);
        let secret = secrets.of("anna@x.org", source, age).await;
        secret.is_ok_and(|secret| secret.expose() == expected.as_bytes())
    }

    /// A private file that holds `word`. Files, since a paused clock does not wait for a child process.
    fn file(folder: &tempfile::TempDir, name: &str, word: &str) -> SecretSource {
        let path = folder.path().join("state").join(name);
        let _ = std::fs::remove_file(&path);
        crate::auth::tests::write_private(&path, word);
        SecretSource::File(path)
    }

    #[tokio::test]
    async fn a_secret_is_remembered_until_it_is_forgotten_or_too_old() {
        let (folder, secrets) = secrets().await;
        let source = file(&folder, "f", "one");
        assert!(is(&secrets, &source, None, "one").await);
        file(&folder, "f", "two");
        assert!(is(&secrets, &source, None, "one").await);
        assert!(is(&secrets, &source, Some(10), "one").await);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(is(&secrets, &source, Some(10), "two").await);
        file(&folder, "f", "three");
        secrets.forget("anna@x.org");
        assert!(is(&secrets, &source, None, "three").await);
    }

    #[tokio::test]
    async fn another_source_in_the_configuration_is_asked_at_once() {
        let (folder, secrets) = secrets().await;
        let (one, two) = (file(&folder, "1", "one"), file(&folder, "2", "two"));
        assert!(is(&secrets, &one, None, "one").await);
        assert!(is(&secrets, &two, None, "two").await);
    }

    /// PROTOCOL C.2 (Dovecot CVE-2025-30189): what is remembered belongs to an account, also where the sources are alike.
    #[tokio::test]
    async fn accounts_with_the_same_source_keep_their_own_secrets() {
        let (_folder, secrets) = secrets().await;
        // A paused clock does not wait for the store's thread.
        tokio::time::resume();
        for (account, word) in [("anna@x.org", "one"), ("bob@x.org", "two")] {
            let secret = Secret::from(word);
            let put = secrets.store.put_stored_secret(account, &secret).await;
            put.unwrap();
        }
        for (account, word) in [
            ("anna@x.org", "one"),
            ("bob@x.org", "two"),
            ("anna@x.org", "one"),
        ] {
            let secret = secrets.of(account, &SecretSource::Stored, None).await;
            assert_eq!(secret.unwrap().expose(), word.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_and_not_remembered() {
        let (folder, secrets) = secrets().await;
        let source = SecretSource::File(folder.path().join("state").join("f"));
        assert!(!is(&secrets, &source, None, "secret").await);
        file(&folder, "f", "secret");
        assert!(is(&secrets, &source, None, "secret").await);
    }
}
