//! What only a look inside shows: rows changed behind the store's back, a full disk, a file that may not be written.

use std::error::Error;
use std::path::Path;

use super::*;
use crate::config::runtime::KeySource;
use crate::secret::Secret;

const CANARY: &str = "canary-7f3a-secret";

/// Settings for a store below `folder` with a key file beside it. Below, since a temporary folder is not private.
pub(crate) fn settings(folder: &Path) -> StoreSettings {
    let folder = folder.join("state");
    StoreSettings {
        url: format!("sqlite:{}", folder.join("store.db").display()),
        key: KeySource::File(folder.join("store.key")),
    }
}

pub(super) async fn fresh() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(folder.path())).await.unwrap();
    (folder, store)
}

async fn add(store: &Store, account: &str, name: &str) -> Result<(), StoreError> {
    let new = NewPassword {
        name: name.to_owned(),
        kind: PasswordKind::Generated,
        verifier: Secret::from(CANARY),
        profile: None,
    };
    store.add_local_password(account, &new).await
}

/// The error and all its causes, as a log would show it, and as `Debug` would.
fn words(error: &StoreError) -> String {
    let mut text = format!("{error:?} {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

#[tokio::test]
async fn a_row_moved_to_another_account_name_or_kind_does_not_open() {
    let (_folder, store) = fresh().await;
    for change in [
        "UPDATE local_password SET account = 'eve@example.org'",
        "UPDATE local_password SET name = 'other', account = 'eve@example.org'",
        "UPDATE local_password SET kind = 'chosen', account = 'eve@example.org'",
        "UPDATE local_password SET id = 'x', account = 'eve@example.org'",
    ] {
        add(&store, "anna@example.org", "laptop").await.unwrap();
        sqlx::query(change).execute(&store.pool).await.unwrap();
        let error = store.local_passwords("eve@example.org").await.unwrap_err();
        assert!(matches!(error, StoreError::Tampered { .. }), "{change}");
        assert!(!words(&error).contains(CANARY));
        store.delete_account("eve@example.org").await.unwrap();
    }
}

#[tokio::test]
async fn a_stored_secret_moved_or_changed_does_not_open() {
    let (_folder, store) = fresh().await;
    let secret = Secret::from(CANARY);
    store
        .put_stored_secret("anna@x.org", &secret)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO stored_secret SELECT 'eve@x.org', sealed, changed_at FROM stored_secret",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    let moved = store.stored_secret("eve@x.org").await.unwrap_err();
    assert!(matches!(moved, StoreError::Tampered { .. }));
    let kept = store.stored_secret("anna@x.org").await.unwrap();
    assert_eq!(kept.unwrap().expose(), CANARY.as_bytes());
    sqlx::query("UPDATE stored_secret SET sealed = 'AQ==' WHERE account = 'anna@x.org'")
        .execute(&store.pool)
        .await
        .unwrap();
    let changed = store.stored_secret("anna@x.org").await.unwrap_err();
    assert!(matches!(changed, StoreError::Tampered { .. }));
}

#[tokio::test]
async fn a_tampered_row_can_still_be_revoked() {
    let (_folder, store) = fresh().await;
    add(&store, "anna@x.org", "laptop").await.unwrap();
    sqlx::query("UPDATE local_password SET sealed = 'nonsense'")
        .execute(&store.pool)
        .await
        .unwrap();
    assert!(store.local_passwords("anna@x.org").await.is_err());
    assert!(
        store
            .revoke_local_password("anna@x.org", "laptop")
            .await
            .unwrap()
    );
    assert!(
        store
            .local_passwords("anna@x.org")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_full_disk_is_said_and_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    Store::open(&settings).await.unwrap().close().await;
    // SQLite's own bound on the file gives the same error as a disk without space.
    let store = Store::open_with(&settings, |o| o.pragma("max_page_count", "20"))
        .await
        .unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match add(&store, "anna@x.org", &format!("p{acknowledged}")).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the bound is never met");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(!words(&error).contains(CANARY));
    store.close().await;
    let store = Store::open(&settings).await.unwrap();
    let kept = store.local_passwords("anna@x.org").await.unwrap();
    assert_eq!(kept.len(), acknowledged);
}

#[tokio::test]
async fn a_store_that_may_not_be_written_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    Store::open(&settings).await.unwrap().close().await;
    let store = Store::open_with(&settings, |o| o.pragma("query_only", "1"));
    let error = match store.await {
        Ok(store) => add(&store, "anna@x.org", "p").await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
}

#[tokio::test]
async fn a_write_lock_that_another_process_holds_is_said_and_reads_go_on() {
    let (folder, store) = fresh().await;
    let impatient = Store::open_with(&settings(folder.path()), |o| o.busy_timeout(Duration::ZERO))
        .await
        .unwrap();
    let mut writer = store.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("DELETE FROM stored_secret")
        .execute(&mut *writer)
        .await
        .unwrap();
    let error = add(&impatient, "anna@x.org", "p").await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
    assert!(impatient.local_passwords("anna@x.org").await.is_ok());
    writer.rollback().await.unwrap();
    add(&impatient, "anna@x.org", "p").await.unwrap();
}

#[tokio::test]
async fn what_is_remembered_is_what_is_there_whoever_changed_it() {
    let (folder, ours) = fresh().await;
    // Another process as far as SQLite can tell: connections of its own.
    let theirs = Store::open(&settings(folder.path())).await.unwrap();
    let names = async || {
        let present = ours.present_local_passwords("anna@x.org").await.unwrap();
        let names: Vec<_> = present.iter().map(|it| it.name.clone()).collect();
        names
    };
    assert!(names().await.is_empty());
    for number in 0..50 {
        let name = format!("p{number}");
        add(&theirs, "anna@x.org", &name).await.unwrap();
        assert_eq!(names().await, [name.as_str()]);
        // The WAL is emptied and begun anew now and then.
        if number % 10 == 0 {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .execute(&theirs.pool)
                .await
                .unwrap();
        }
        assert_eq!(names().await, [name.as_str()]);
        let revoked = theirs.revoke_local_password("anna@x.org", &name).await;
        assert!(revoked.unwrap());
        assert!(names().await.is_empty(), "{name} was revoked");
    }
    theirs.delete_account("anna@x.org").await.unwrap();
    theirs.close().await;
    add(&ours, "anna@x.org", "own").await.unwrap();
    assert_eq!(names().await, ["own"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_nobody_changed_is_not_read_again() {
    let (_folder, store) = fresh().await;
    add(&store, "anna@x.org", "laptop").await.unwrap();
    let present = async || store.present_local_passwords("anna@x.org").await.unwrap();
    let first = present().await;
    assert!(Arc::ptr_eq(&first, &present().await));
    add(&store, "bob@x.org", "laptop").await.unwrap();
    let second = present().await;
    assert!(!Arc::ptr_eq(&first, &second), "somebody wrote");
    assert!(Arc::ptr_eq(&second, &present().await));
}

#[tokio::test]
async fn a_use_is_noted_at_most_once_a_day() {
    let (_folder, store) = fresh().await;
    add(&store, "anna@x.org", "laptop").await.unwrap();
    let first = last_used(&store, None).await;
    assert!(first.is_some(), "the first use is noted");
    let an_hour_ago = unix_now() - 3_600;
    assert_eq!(
        last_used(&store, Some(an_hour_ago)).await,
        Some(an_hour_ago)
    );
    let two_days_ago = unix_now() - 172_800;
    assert!(last_used(&store, Some(two_days_ago)).await > Some(an_hour_ago));
}

/// `last_used_at` after a use, when it was `before`.
async fn last_used(store: &Store, before: Option<i64>) -> Option<i64> {
    sqlx::query("UPDATE local_password SET last_used_at = $1")
        .bind(before)
        .execute(&store.pool)
        .await
        .unwrap();
    let password = store.local_passwords("anna@x.org").await.unwrap().remove(0);
    store.touch_local_password(&password).await.unwrap();
    store
        .local_passwords("anna@x.org")
        .await
        .unwrap()
        .remove(0)
        .last_used_at
}

#[test]
fn only_a_sqlite_file_is_a_url() {
    assert_eq!(path_of("sqlite:a/b.db").unwrap(), Path::new("a/b.db"));
    assert_eq!(path_of("sqlite:///a/b.db").unwrap(), Path::new("/a/b.db"));
    for wrong in [
        "",
        "a.db",
        "sqlite:",
        "postgres://h/d",
        "sqlite::memory:",
        "sqlite:a?mode=ro",
    ] {
        assert!(matches!(path_of(wrong), Err(StoreError::Url)), "{wrong}");
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let store = Store::open(&settings).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    store.close().await;
    let error = Store::open(&settings).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_key_check_that_is_gone_from_a_filled_store_is_no_fresh_store() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let store = Store::open(&settings).await.unwrap();
    add(&store, "anna@x.org", "laptop").await.unwrap();
    sqlx::query("DELETE FROM meta")
        .execute(&store.pool)
        .await
        .unwrap();
    store.close().await;
    let error = Store::open(&settings).await.unwrap_err();
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error:?}");
}

#[test]
fn migrations_hold_no_type_or_word_of_sqlite_alone() {
    let migrations = sqlx::migrate!("src/store/migrations");
    assert!(migrations.iter().count() > 0);
    for migration in migrations.iter() {
        let sql = migration.sql.as_str().to_uppercase();
        let statements = sql.lines().filter(|line| !line.starts_with("--"));
        for word in
            statements.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        {
            let foreign = [
                "AUTOINCREMENT",
                "BLOB",
                "STRICT",
                "ROWID",
                "PRAGMA",
                "DATETIME",
                "INTEGER",
                "REPLACE",
                "GLOB",
            ];
            assert!(
                !foreign.contains(&word),
                "{word} in {}",
                migration.description
            );
        }
    }
}
