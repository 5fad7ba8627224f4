//! Checks at opening: the file is whole, the schema is ours, the key is the one it was written with.

use super::error::StoreError;
use super::{Store, key};
use crate::config::runtime::KeySource;
use crate::secret::Secret;

impl Store {
    /// Damage is reported at opening, not at the login that meets it. The file is small; this takes milliseconds.
    pub(super) async fn check_whole(&self) -> Result<(), StoreError> {
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        if verdict == "ok" {
            return Ok(());
        }
        Err(StoreError::Corrupt {
            store: self.inner.path.clone(),
            source: None,
        })
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        sqlx::migrate!("src/store/migrations")
            .run(&self.pool)
            .await
            .map_err(|e| StoreError::from_migration(&self.inner.path, e))
    }

    /// Opens the row that only the right key opens; a store that holds nothing yet gets one.
    pub(super) async fn check_key(&self, source: &KeySource) -> Result<(), StoreError> {
        let wrong = || StoreError::WrongKey {
            store: self.inner.path.clone(),
            key: key::place(source),
        };
        let found: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
            .bind(KEY_CHECK)
            .fetch_optional(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        match found {
            Some(sealed) => match self.inner.sealer.open(&["meta", KEY_CHECK], &sealed) {
                Ok(_) => Ok(()),
                Err(_) => Err(wrong()),
            },
            None if self.holds_secrets().await? => Err(wrong()),
            None => self.insert_key_check().await,
        }
    }

    async fn holds_secrets(&self) -> Result<bool, StoreError> {
        let rows: i64 = sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM local_password) + (SELECT COUNT(*) FROM stored_secret)
             + (SELECT COUNT(*) FROM oauth_grant)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(rows > 0)
    }

    async fn insert_key_check(&self) -> Result<(), StoreError> {
        let row = ["meta", KEY_CHECK];
        let sealed = self.inner.sealer.seal(&row, &Secret::from(KEY_CHECK))?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2)")
            .bind(KEY_CHECK)
            .bind(sealed)
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }
}

/// The row of `meta` that shows whether a key is the store's.
const KEY_CHECK: &str = "key check";
