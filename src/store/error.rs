//! What can go wrong with the store, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::keyring::KeyringError;

/// Why the store could not be opened, read or written. Nothing that failed was half done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a URL we serve.
    #[error("the store's url must be sqlite:PATH")]
    Url,
    /// The folder cannot be made or looked at.
    #[error("cannot use the store's folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may look into the folder.
    #[error("the store's folder {path} is open to others (mode {mode:03o}); run: chmod 700 {path}", path = path.display())]
    LooseFolder {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others may read or write a file that holds secrets.
    #[error("{path} is open to others (mode {mode:03o}); make new secrets if it may have been read, and run: chmod 600 {path}", path = path.display())]
    LooseFile {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file cannot be made, read or locked.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store exists but its key does not. A new key could not read it, so none is made.
    #[error("the store {} exists but its key is gone from {key}; put the key back from a backup, or move the store away to begin anew", store.display())]
    KeyLost {
        /// The database file.
        store: PathBuf,
        /// Where the key was expected.
        key: String,
    },
    /// A key that we cannot make ourselves is not there.
    #[error("the store's key is not in {key}; provide one made by: openssl rand -base64 32")]
    KeyAbsent {
        /// Where the key was expected.
        key: String,
    },
    /// There is a key, but not one of ours.
    #[error(
        "the store's key in {key} is damaged: not base64 of 32 bytes; put it back from a backup"
    )]
    KeyMalformed {
        /// Where the key was found.
        key: String,
    },
    /// A key, but another one.
    #[error("the store {} was written with another key than the one in {key}; put the right key back, or move the store away to begin anew", store.display())]
    WrongKey {
        /// The database file.
        store: PathBuf,
        /// Where the key was found.
        key: String,
    },
    /// The operating system's keyring failed.
    #[error(
        "cannot keep the store's key in the operating system's keyring; unlock it, or choose a key file"
    )]
    Keyring(#[source] KeyringError),
    /// A row does not decrypt: changed or moved from outside.
    #[error(
        "the {what} of {account} was changed from outside and cannot be trusted; remove it and add it anew, or restore a backup"
    )]
    Tampered {
        /// Which kind of row, and its name.
        what: String,
        /// Whose it is.
        account: String,
    },
    /// The disk or quota is full. What was acknowledged before is safe.
    #[error("no space left to write the store {}; free some and try again", store.display())]
    Full {
        /// The database file.
        store: PathBuf,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The file may not be written.
    #[error("the store {} is read-only; check its owner, its mode and how its disk is mounted", store.display())]
    ReadOnly {
        /// The database file.
        store: PathBuf,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Damaged, or no database at all.
    #[error("the store {} is damaged or is no store; restore a backup, or move it away to begin anew", store.display())]
    Corrupt {
        /// The database file.
        store: PathBuf,
        /// What the database said, where it said something.
        source: Option<sqlx::Error>,
    },
    /// Another process held the write lock too long.
    #[error("the store {} is locked by another process; try again", store.display())]
    Busy {
        /// The database file.
        store: PathBuf,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Written by a later version of this program.
    #[error("the store {} was written by a newer version of mailsluice; install that one", store.display())]
    Newer {
        /// The database file.
        store: PathBuf,
        /// What the migration said.
        source: sqlx::migrate::MigrateError,
    },
    /// The account has a local password of this name.
    #[error(
        "{account} already has a local password named {name:?}; choose another name or revoke that one"
    )]
    NameTaken {
        /// Whose it is.
        account: String,
        /// The name.
        name: String,
    },
    /// A local password's name is empty, too long or holds control characters.
    #[error(
        "a local password's name has 1 to {} characters and no control characters",
        super::local_passwords::NAME_MAX
    )]
    BadName,
    /// No random bytes, or a refusal by the cryptography library; neither is known to happen.
    #[error(
        "the cryptography library failed; it may have got no random bytes from the operating system"
    )]
    Cryptography,
    /// Our own task ended before it was done: the service stops, or a bug.
    #[error("opening the store was interrupted")]
    Interrupted,
    /// Anything else the database said.
    #[error("the store {} cannot be used", store.display())]
    Database {
        /// The database file.
        store: PathBuf,
        /// What the database said.
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Sorts what the database said into what the operator can do.
    pub(super) fn from_database(store: &Path, source: sqlx::Error) -> Self {
        let store = store.to_owned();
        match primary_code(&source) {
            Some(BUSY | LOCKED) => Self::Busy { store, source },
            Some(FULL) => Self::Full { store, source },
            Some(READONLY | PERM | AUTH) => Self::ReadOnly { store, source },
            Some(CORRUPT | NOTADB) => Self::Corrupt {
                store,
                source: Some(source),
            },
            _ if matches!(source, sqlx::Error::PoolTimedOut) => Self::Busy { store, source },
            _ => Self::Database { store, source },
        }
    }

    /// The same for a migration.
    pub(super) fn from_migration(store: &Path, error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as E;
        match error {
            E::Execute(source) | E::ExecuteMigration(source, _) => {
                Self::from_database(store, source)
            }
            source => Self::Newer {
                store: store.to_owned(),
                source,
            },
        }
    }
}

/// The low octet of SQLite's extended result code: <https://www.sqlite.org/rescode.html>.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

const PERM: u32 = 3;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const AUTH: u32 = 23;
const NOTADB: u32 = 26;
