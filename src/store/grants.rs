//! The tables of OAuth grants: what was granted, and the lease of who asks the issuer. What a grant's content says is
//! `auth`'s business.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::Row;

use super::error::StoreError;
use super::{Store, unix_now};
use crate::secret::Secret;

/// One grant, as kept.
#[derive(Clone, Debug)]
pub struct StoredGrant {
    /// Counts its changes.
    pub generation: u64,
    /// Its tokens and their state.
    pub content: Secret,
}

impl Store {
    /// What is kept of the grant `name`.
    pub async fn grant(&self, name: &str) -> Result<Option<StoredGrant>, StoreError> {
        let row = sqlx::query("SELECT generation, sealed FROM oauth_grant WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let generation: i64 = row.try_get("generation").map_err(|e| self.failed(e))?;
        let sealed: String = row.try_get("sealed").map_err(|e| self.failed(e))?;
        let identity = row_identity(name, &generation.to_string());
        let opened = self
            .inner
            .sealer
            .open(&identity.each_ref().map(|part| part.as_str()), &sealed);
        let content = opened.map_err(|_| StoreError::Tampered {
            what: "sign-in".to_owned(),
            account: name.to_owned(),
        })?;
        Ok(Some(StoredGrant {
            generation: u64::try_from(generation).unwrap_or(0),
            content,
        }))
    }

    /// Keeps `grant` in the place of generation `after` (0: none). False where another writer came first; then nothing
    /// was changed.
    pub async fn put_grant(
        &self,
        name: &str,
        after: u64,
        grant: &StoredGrant,
    ) -> Result<bool, StoreError> {
        let generation = i64::try_from(grant.generation).unwrap_or(i64::MAX);
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let identity = row_identity(name, &generation.to_string());
        let sealed = self.inner.sealer.seal(
            &identity.each_ref().map(|part| part.as_str()),
            &grant.content,
        )?;
        let statement = if after == 0 {
            "INSERT INTO oauth_grant (name, generation, sealed, changed_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO NOTHING"
        } else {
            "UPDATE oauth_grant SET generation = $2, sealed = $3, changed_at = $4
             WHERE name = $1 AND generation = $5"
        };
        let mut query = sqlx::query(statement)
            .bind(name)
            .bind(generation)
            .bind(sealed)
            .bind(unix_now());
        if after != 0 {
            query = query.bind(after);
        }
        let written = query
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(written.rows_affected() == 1)
    }

    /// Forgets a grant. Needs no intact row.
    pub async fn delete_grant(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM oauth_grant WHERE name = $1")
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Whether the request `holder` of this process may ask the issuer for `name` for as long as `lease`: nobody else may
    /// now. Takes it again to make it last longer.
    ///
    /// One that was not given back is over with its process, where that ran on this machine, and by itself. So is one that
    /// ends a whole lease later than any can, which is left of a clock that was wrong; not one that ends a little later:
    /// who has taken it may have looked at the clock after us.
    pub async fn take_lease(
        &self,
        name: &str,
        holder: &str,
        lease: Duration,
    ) -> Result<bool, StoreError> {
        let holder = self.presence().await?.holder(holder);
        Ok(self.try_lease(name, &holder, lease).await?
            || self.bury_holder(name).await? && self.try_lease(name, &holder, lease).await?)
    }

    async fn try_lease(
        &self,
        name: &str,
        holder: &str,
        lease: Duration,
    ) -> Result<bool, StoreError> {
        let now = unix_millis();
        let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let taken = sqlx::query(
            "INSERT INTO oauth_lease (name, holder, until) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE oauth_lease.holder = excluded.holder OR oauth_lease.until <= $4 OR oauth_lease.until > $5",
        )
        .bind(name)
        .bind(holder)
        .bind(now.saturating_add(lease))
        .bind(now)
        .bind(now.saturating_add(lease.saturating_mul(2)))
        .execute(&self.pool)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(taken.rows_affected() == 1)
    }

    /// Gives the lease back; nothing happens where `holder` has it no more.
    pub async fn give_lease_back(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let holder = self.presence().await?.holder(holder);
        sqlx::query("DELETE FROM oauth_lease WHERE name = $1 AND holder = $2")
            .bind(name)
            .bind(holder)
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }
}

/// What a sealed grant is bound to.
fn row_identity(name: &str, generation: &str) -> [String; 3] {
    ["oauth_grant", name, generation].map(str::to_owned)
}

fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::tests::fresh;
    use super::*;

    fn content(generation: u64, text: &str) -> StoredGrant {
        StoredGrant {
            generation,
            content: Secret::from(text),
        }
    }

    #[tokio::test]
    async fn a_writer_that_has_read_an_older_generation_comes_too_late() {
        let (_folder, store) = fresh().await;
        assert!(store.grant("anna").await.unwrap().is_none());
        assert!(store.put_grant("anna", 0, &content(7, "a")).await.unwrap());
        assert!(!store.put_grant("anna", 0, &content(8, "b")).await.unwrap());
        assert!(!store.put_grant("anna", 6, &content(8, "b")).await.unwrap());
        assert!(store.put_grant("anna", 7, &content(8, "c")).await.unwrap());
        let kept = store.grant("anna").await.unwrap().unwrap();
        assert_eq!((kept.generation, kept.content.expose()), (8, &b"c"[..]));
        store.delete_grant("anna").await.unwrap();
        assert!(store.grant("anna").await.unwrap().is_none());
        assert!(!store.put_grant("anna", 8, &content(9, "d")).await.unwrap());
    }

    #[tokio::test]
    async fn a_row_moved_or_set_back_does_not_open() {
        let (_folder, store) = fresh().await;
        for change in [
            "UPDATE oauth_grant SET name = 'eve'",
            "UPDATE oauth_grant SET generation = 8, name = 'eve'",
        ] {
            assert!(store.put_grant("anna", 0, &content(7, "a")).await.unwrap());
            sqlx::query(change).execute(&store.pool).await.unwrap();
            let error = store.grant("eve").await.unwrap_err();
            assert!(matches!(error, StoreError::Tampered { .. }), "{change}");
            store.delete_grant("eve").await.unwrap();
        }
    }

    #[tokio::test]
    async fn one_holds_the_lease_until_it_gives_it_back_or_its_time_is_over() {
        let (_folder, store) = fresh().await;
        let long = Duration::from_secs(1_000);
        assert!(store.take_lease("anna", "1", long).await.unwrap());
        assert!(!store.take_lease("anna", "2", long).await.unwrap());
        assert!(store.take_lease("anna", "1", long).await.unwrap(), "again");
        assert!(store.take_lease("ben", "2", long).await.unwrap());
        store.give_lease_back("anna", "2").await.unwrap();
        assert!(!store.take_lease("anna", "2", long).await.unwrap());
        store.give_lease_back("anna", "1").await.unwrap();
        assert!(store.take_lease("anna", "2", Duration::ZERO).await.unwrap());
        assert!(store.take_lease("anna", "1", long).await.unwrap(), "over");
        // By somebody who looked at the clock after "2" and wrote before it.
        sqlx::query("UPDATE oauth_lease SET until = until + 1000 WHERE name = 'anna'")
            .execute(&store.pool)
            .await
            .unwrap();
        assert!(!store.take_lease("anna", "2", long).await.unwrap());
        // As after a clock that was a year ahead.
        sqlx::query("UPDATE oauth_lease SET until = until + 31536000000 WHERE name = 'anna'")
            .execute(&store.pool)
            .await
            .unwrap();
        assert!(store.take_lease("anna", "2", long).await.unwrap());
    }
}
