//! What must survive a restart: local passwords, stored provider secrets and OAuth grants, in one SQL schema.
//!
//! SQLite is embedded. The schema and the statements are those PostgreSQL runs too (TEXT, BIGINT, `$1`, `ON CONFLICT`);
//! what is SQLite's own is in this file: how the file is opened. Secret columns are encrypted row by row (`seal`) with
//! keys derived from one key (`key`), which is kept elsewhere.
//!
//! The running service and the command line use the file at the same time. Nothing read from it is remembered but local
//! passwords, and those only until anything is committed by anybody (`changes`), so one added or revoked counts from the
//! next login on. Who of them lives is told by files beside it (`presence`).
//!
//! A call that returned `Ok` is on the disk: WAL with `synchronous=FULL` syncs at every commit, and a process killed at
//! any moment loses nothing that was acknowledged.

mod challengeable;
mod changes;
mod error;
mod files;
mod grants;
mod key;
mod keyring;
mod local_passwords;
mod presence;
mod schema;
mod seal;
mod stored_secrets;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::OnceCell;

use self::challengeable::Known;
use self::changes::Changes;
use self::key::StoreKey;
use self::local_passwords::Remembered;
use self::presence::Presence;
use self::seal::Sealer;
use crate::config::runtime::StoreSettings;

pub use self::challengeable::Challengeable;
pub use self::error::StoreError;
pub use self::files::{open_beyond, read_bounded};
pub use self::grants::StoredGrant;
pub use self::key::systemd_credential;
pub use self::keyring::{KeyringError, read as read_keyring};
pub use self::local_passwords::{LocalPassword, NAME_MAX, NewPassword, PasswordKind};

/// The open store. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    sealer: Sealer,
    verifier_key: hmac::Key,
    presence: OnceCell<Presence>,
    changes: Changes,
    challengeable: Known,
    remembered: Remembered,
}

impl Store {
    /// Opens the store and its key; makes both where there is neither.
    ///
    /// Fails rather than guesses: see [`StoreError`] for the cases. Several processes may open it at once.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        Self::open_with(settings, |options| options).await
    }

    async fn open_with(
        settings: &StoreSettings,
        adjust: impl FnOnce(SqliteConnectOptions) -> SqliteConnectOptions,
    ) -> Result<Self, StoreError> {
        let path = path_of(&settings.url)?;
        let (lock, key) = prepare(path.clone(), settings.clone()).await?;
        let pool = connect(&path, adjust).await?;
        let store = Self {
            inner: Arc::new(Inner {
                sealer: Sealer::new(&key)?,
                verifier_key: key.derive_hmac(b"local password verifiers")?,
                presence: OnceCell::new(),
                changes: Changes::of(&path),
                challengeable: Known::default(),
                remembered: Remembered::default(),
                path,
            }),
            pool,
        };
        store.check_whole().await?;
        store.migrate().await?;
        store.check_key(&settings.key).await?;
        drop(lock);
        Ok(store)
    }

    /// Lets go of the file: gives back what is leased, waits for running statements, then closes.
    pub async fn close(&self) {
        // What cannot be given back is taken over from a process that has ended.
        let _ = self.leave().await;
        self.pool.close().await;
    }

    /// The key under which local passwords are hashed. It leaves no trace in the database.
    pub(crate) fn verifier_key(&self) -> &hmac::Key {
        &self.inner.verifier_key
    }

    /// Removes everything kept for `account`: its local passwords and its stored secret.
    pub async fn delete_account(&self, account: &str) -> Result<(), StoreError> {
        let account = account.to_lowercase();
        let mut transaction = self.pool.begin().await.map_err(|e| self.failed(e))?;
        for statement in [
            "DELETE FROM local_password WHERE account = $1",
            "DELETE FROM stored_secret WHERE account = $1",
        ] {
            sqlx::query(statement)
                .bind(&account)
                .execute(&mut *transaction)
                .await
                .map_err(|e| self.failed(e))?;
        }
        transaction.commit().await.map_err(|e| self.failed(e))
    }

    fn failed(&self, error: sqlx::Error) -> StoreError {
        StoreError::from_database(&self.inner.path, error)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// Folder, lock, key and an empty private file, before SQLite sees any of it.
///
/// The lock is held until the schema and the key check stand, so that two processes started at once on a fresh machine
/// agree on one key.
async fn prepare(
    path: PathBuf,
    settings: StoreSettings,
) -> Result<(std::fs::File, StoreKey), StoreError> {
    let blocking = move || {
        files::private_folder(&key::folder_of(&path))?;
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { path, source }
        };
        let lock = files::open_private(&lock_path).map_err(failed(&lock_path))?;
        lock.lock().map_err(failed(&lock_path))?;
        files::refuse_loose(&path)?;
        let key = StoreKey::load(&settings.key, &path)?;
        // SQLite would make it with the umask's mode; its -wal and -shm files take the mode of this one.
        files::open_private(&path).map_err(failed(&path))?;
        Ok((lock, key))
    };
    match tokio::task::spawn_blocking(blocking).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Interrupted),
    }
}

async fn connect(
    path: &Path,
    adjust: impl FnOnce(SqliteConnectOptions) -> SqliteConnectOptions,
) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true);
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A local file: a connection neither ages nor breaks, and a ping before each use would double every read.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(adjust(options))
        .await
        .map_err(|error| StoreError::from_database(path, error))
}

fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    let path = url.strip_prefix("sqlite:").ok_or(StoreError::Url)?;
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
        return Err(StoreError::Url);
    }
    Ok(PathBuf::from(path))
}

/// Seconds since 1970; 0 under a clock that is set before.
fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// Reads go on beside one writer in WAL mode; more connections than this only wait for the same disk.
const CONNECTIONS: u32 = 4;

/// How long a write waits for another process's write; ours take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement waits for a free connection; below the 25 s that a login may take.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
pub(crate) mod tests;
