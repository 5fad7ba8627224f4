//! What can go wrong while a credential is looked for or a local password is made.

use std::io;
use std::path::PathBuf;

use crate::store::{KeyringError, StoreError};

/// Why a local password could not be made or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Empty, or nothing but white space.
    #[error("a local password must not be blank")]
    Blank,
    /// Too short to be worth hashing.
    #[error(
        "a chosen local password has at least {} characters; or let mailsluice generate one",
        super::local_passwords::CHOSEN_MIN
    )]
    Short,
    /// Longer than any client can send.
    #[error(
        "a local password has at most {} bytes",
        super::local_passwords::CHOSEN_MAX
    )]
    Long,
    /// Holds something else than printable ASCII: old programs send the rest in a character set of their own.
    #[error(
        "a chosen local password holds only plain letters, digits, spaces and signs (printable ASCII)"
    )]
    NotAscii,
    /// Hashing failed: no random bytes, no memory, or a verifier of a kind that this version does not know.
    #[error(
        "hashing the local password failed; there may be too little memory, or the store is from a newer version"
    )]
    Hashing,
    /// The store, which says itself what is wrong.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a provider's secret could not be had. Never holds the secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretError {
    /// The command could not be started.
    #[error("cannot run the password command")]
    Spawn(#[source] std::sync::Arc<io::Error>),
    /// The command ended with an error.
    #[error("the password command failed ({status}): {stderr}")]
    Command {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to stderr, made safe and cut.
        stderr: String,
    },
    /// The source gave no answer in time.
    #[error("the {source_name} gave no password within {} s", super::source::DEADLINE.as_secs())]
    Deadline {
        /// Which kind of source.
        source_name: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read the password from {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::sync::Arc<io::Error>,
    },
    /// A file that others than the owner and the group may read, or anybody but the owner may write.
    #[error("the password file {path} is open to others (mode {mode:03o}); run: chmod 600 {path}", path = path.display())]
    LooseFile {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not there at all.
    #[error("there is no password in the {source_name} {name}")]
    Absent {
        /// Which kind of source.
        source_name: &'static str,
        /// Its name there.
        name: String,
    },
    /// There, but blank.
    #[error("the {source_name} gave a blank password")]
    Blank {
        /// Which kind of source.
        source_name: &'static str,
    },
    /// More output than a password can be.
    #[error("the {source_name} gave more than {} bytes", super::source::SECRET_MAX)]
    TooLong {
        /// Which kind of source.
        source_name: &'static str,
    },
    /// The OS keyring.
    #[error("cannot read the password from the keyring")]
    Keyring(#[source] KeyringError),
    /// The store.
    #[error("cannot read the password from the store")]
    Store(#[source] std::sync::Arc<StoreError>),
    /// Our own task ended before it had an answer: the service stops, or a bug.
    #[error("looking for the password was interrupted")]
    Interrupted,
}
