//! The table of local passwords: what `auth` verifies a client against. What a verifier holds is `auth`'s business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::changes::Mark;
use super::error::StoreError;
use super::{Store, unix_now};
use crate::secret::Secret;

/// One local password of an account, as kept.
#[derive(Clone, Debug)]
pub struct LocalPassword {
    /// Its identity, never reused: a password revoked and added again under the same name has another.
    pub id: String,
    /// Whose it is: the account's address in lower case.
    pub account: String,
    /// What its owner calls it: `old laptop`.
    pub name: String,
    /// Who made it.
    pub kind: PasswordKind,
    /// What a login is checked against; for a recoverable one the password itself.
    pub verifier: Secret,
    /// The profile of the client that uses it, if it has one of its own.
    pub profile: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, to within a day; `None` before the first login.
    pub last_used_at: Option<i64>,
}

/// A local password to be added.
#[derive(Clone, Debug)]
pub struct NewPassword {
    /// What its owner calls it; new to the account.
    pub name: String,
    /// Who made it.
    pub kind: PasswordKind,
    /// What a login is checked against.
    pub verifier: Secret,
    /// The profile of the client that will use it.
    pub profile: Option<String>,
}

/// Who made a local password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordKind {
    /// We did, from 130 random bits.
    Generated,
    /// Its owner did.
    Chosen,
    /// Either; it is kept as it is, since some ways to log in do not send it.
    Recoverable,
}

impl PasswordKind {
    /// The word it has in the store and in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Chosen => "chosen",
            Self::Recoverable => "recoverable",
        }
    }
}

impl LocalPassword {
    /// Whether a use of it is worth noting: at most once a day for each, so that logins cost no disk sync.
    pub fn is_to_be_touched(&self) -> bool {
        self.last_used_at
            .is_none_or(|at| unix_now() - at >= TOUCH_EVERY)
    }
}

/// The local passwords of accounts, as they were at a moment.
#[derive(Default)]
pub(super) struct Remembered(Mutex<ByAccount>);

type ByAccount = HashMap<String, (Mark, Arc<[LocalPassword]>)>;

impl Remembered {
    fn at(&self, mark: Mark, account: &str) -> Option<Arc<[LocalPassword]>> {
        let all = self.lock();
        let (then, passwords) = all.get(account)?;
        (*then == mark).then(|| Arc::clone(passwords))
    }

    fn put(&self, mark: Mark, account: &str, passwords: &Arc<[LocalPassword]>) {
        let mut all = self.lock();
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        all.insert(account.to_owned(), (mark, Arc::clone(passwords)));
    }

    fn lock(&self) -> MutexGuard<'_, ByAccount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// The same as [`Store::local_passwords`], from memory where nothing was committed to the store since.
    pub async fn present_local_passwords(
        &self,
        account: &str,
    ) -> Result<Arc<[LocalPassword]>, StoreError> {
        // Before they are read: what is committed meanwhile makes them old at once, not new for ever.
        let Some(mark) = self.inner.changes.mark() else {
            return Ok(self.local_passwords(account).await?.into());
        };
        if let Some(passwords) = self.inner.remembered.at(mark, account) {
            return Ok(passwords);
        }
        let passwords = self.local_passwords(account).await?.into();
        self.inner.remembered.put(mark, account, &passwords);
        Ok(passwords)
    }

    /// The local passwords of `account`, oldest first.
    pub async fn local_passwords(&self, account: &str) -> Result<Vec<LocalPassword>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, account, name, kind, sealed, profile, created_at, last_used_at FROM local_password
             WHERE account = $1 ORDER BY created_at, name",
        )
        .bind(account.to_lowercase())
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        rows.iter().map(|row| self.local_password(row)).collect()
    }

    /// Adds one; the name must be new to the account.
    pub async fn add_local_password(
        &self,
        account: &str,
        new: &NewPassword,
    ) -> Result<(), StoreError> {
        let NewPassword {
            name,
            kind,
            verifier,
            profile,
        } = new;
        if name.trim().is_empty()
            || name.chars().count() > NAME_MAX
            || name.contains(char::is_control)
        {
            return Err(StoreError::BadName);
        }
        let account = account.to_lowercase();
        let id = random_id()?;
        let row = row_identity(&id, &account, name, kind.name());
        let sealed = self.inner.sealer.seal(&row, verifier)?;
        let inserted = sqlx::query(
            "INSERT INTO local_password (id, account, name, kind, sealed, profile, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account, name) DO NOTHING",
        )
        .bind(&id)
        .bind(&account)
        .bind(name)
        .bind(kind.name())
        .bind(&sealed)
        .bind(profile)
        .bind(unix_now())
        .execute(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        if inserted.rows_affected() == 0 {
            let name = name.clone();
            return Err(StoreError::NameTaken { account, name });
        }
        Ok(())
    }

    /// Revokes one from the next login on; false where there is none of that name. Needs no intact row.
    pub async fn revoke_local_password(
        &self,
        account: &str,
        name: &str,
    ) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM local_password WHERE account = $1 AND name = $2")
            .bind(account.to_lowercase())
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Notes that `password` was used, where that is worth noting.
    pub async fn touch_local_password(&self, password: &LocalPassword) -> Result<(), StoreError> {
        if !password.is_to_be_touched() {
            return Ok(());
        }
        sqlx::query("UPDATE local_password SET last_used_at = $1 WHERE id = $2")
            .bind(unix_now())
            .bind(&password.id)
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    fn local_password(&self, row: &SqliteRow) -> Result<LocalPassword, StoreError> {
        let text = |column: &str| row.try_get::<String, _>(column).map_err(|e| self.failed(e));
        let (id, account, name, kind) =
            (text("id")?, text("account")?, text("name")?, text("kind")?);
        let sealed = text("sealed")?;
        let identity = row_identity(&id, &account, &name, &kind);
        let opened = self.inner.sealer.open(&identity, &sealed);
        let kind = match kind.as_str() {
            "generated" => PasswordKind::Generated,
            "recoverable" => PasswordKind::Recoverable,
            _ => PasswordKind::Chosen,
        };
        let Ok(verifier) = opened else {
            let what = format!("local password {name:?}");
            return Err(StoreError::Tampered { what, account });
        };
        Ok(LocalPassword {
            id,
            account,
            name,
            kind,
            verifier,
            profile: row.try_get("profile").map_err(|e| self.failed(e))?,
            created_at: row.try_get("created_at").map_err(|e| self.failed(e))?,
            last_used_at: row.try_get("last_used_at").map_err(|e| self.failed(e))?,
        })
    }
}

/// What a sealed verifier is bound to.
fn row_identity<'a>(id: &'a str, account: &'a str, name: &'a str, kind: &'a str) -> [&'a str; 5] {
    ["local_password", id, account, name, kind]
}

/// Random rather than counted, since SQLite and PostgreSQL do not spell counting alike.
fn random_id() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| StoreError::Cryptography)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The longest name of a local password: one line of a list.
pub const NAME_MAX: usize = 64;

/// More accounts than log in at one service; beyond it they are read anew.
const REMEMBERED_MAX: usize = 20_000;

/// How exact `last_used_at` is, in seconds. A day tells a forgotten device from a used one.
const TOUCH_EVERY: i64 = 24 * 60 * 60;
