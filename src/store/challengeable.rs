//! Who can log in without sending the password: the accounts that have one which can be recovered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Row;

use super::Store;
use super::changes::Mark;
use super::error::StoreError;
use super::local_passwords::PasswordKind;

/// The accounts with local passwords, and whether one of them can be recovered. Empty where none can at all, which costs
/// one look into an index.
pub type Challengeable = BTreeMap<String, bool>;

/// As it was at a moment.
#[derive(Default)]
pub(super) struct Known(Mutex<Option<(Mark, Arc<Challengeable>)>>);

impl Known {
    fn at(&self, mark: Mark) -> Option<Arc<Challengeable>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (then, accounts) = known.as_ref()?;
        (*then == mark).then(|| Arc::clone(accounts))
    }

    /// Most commits are about something else; what did not change stays the same.
    fn put(&self, mark: Mark, found: Challengeable) -> Arc<Challengeable> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let accounts = match known.take() {
            Some((_, before)) if *before == found => before,
            _ => Arc::new(found),
        };
        *known = Some((mark, Arc::clone(&accounts)));
        accounts
    }
}

impl Store {
    /// Who can log in without sending the password, from memory where nothing was committed to the store since. The same
    /// allocation as before means the same answer.
    pub async fn challengeable(&self) -> Result<Arc<Challengeable>, StoreError> {
        let mark = self.inner.changes.mark();
        if let Some(known) = mark.and_then(|mark| self.inner.challengeable.at(mark)) {
            return Ok(known);
        }
        let found = self.read_challengeable().await?;
        Ok(match mark {
            Some(mark) => self.inner.challengeable.put(mark, found),
            None => Arc::new(found),
        })
    }

    async fn read_challengeable(&self) -> Result<Challengeable, StoreError> {
        let recoverable: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM local_password WHERE kind = $1")
                .bind(PasswordKind::Recoverable.name())
                .fetch_one(&self.pool)
                .await
                .map_err(|e| self.failed(e))?;
        if recoverable == 0 {
            return Ok(Challengeable::new());
        }
        let rows = sqlx::query(
            "SELECT account, MAX(CASE WHEN kind = $1 THEN 1 ELSE 0 END) AS recoverable
             FROM local_password GROUP BY account",
        )
        .bind(PasswordKind::Recoverable.name())
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        rows.iter()
            .map(|row| {
                let account = row.try_get("account").map_err(|e| self.failed(e))?;
                let recoverable: i64 = row.try_get("recoverable").map_err(|e| self.failed(e))?;
                Ok((account, recoverable > 0))
            })
            .collect()
    }
}
