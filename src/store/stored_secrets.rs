//! The table of stored secrets: the provider's password of an account with `password = "stored"`.

use super::error::StoreError;
use super::{Store, unix_now};
use crate::secret::Secret;

impl Store {
    /// The provider's password kept for `account`, if there is one.
    pub async fn stored_secret(&self, account: &str) -> Result<Option<Secret>, StoreError> {
        let account = account.to_lowercase();
        let sealed: Option<String> =
            sqlx::query_scalar("SELECT sealed FROM stored_secret WHERE account = $1")
                .bind(&account)
                .fetch_optional(&self.pool)
                .await
                .map_err(|e| self.failed(e))?;
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let opened = self.inner.sealer.open(&[TABLE, &account], &sealed);
        opened.map(Some).map_err(|_| StoreError::Tampered {
            what: "stored provider password".to_owned(),
            account,
        })
    }

    /// Keeps the provider's password for `account` in place of the one before.
    pub async fn put_stored_secret(
        &self,
        account: &str,
        secret: &Secret,
    ) -> Result<(), StoreError> {
        let account = account.to_lowercase();
        let sealed = self.inner.sealer.seal(&[TABLE, &account], secret)?;
        sqlx::query(
            "INSERT INTO stored_secret (account, sealed, changed_at) VALUES ($1, $2, $3)
             ON CONFLICT (account) DO UPDATE SET sealed = excluded.sealed, changed_at = excluded.changed_at",
        )
        .bind(&account)
        .bind(&sealed)
        .bind(unix_now())
        .execute(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }
}

const TABLE: &str = "stored_secret";
