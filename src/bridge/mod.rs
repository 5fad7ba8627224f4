//! One mailbox, another protocol: servers for IMAP, POP3 and submission over a [`mailbox::Mailbox`].
//!
//! Whatever can implement that trait (the in-memory mailbox here, a POP3 upstream, a web API) is served to every mail
//! program by the same three servers. They run over any byte stream, speak the whole of their protocol and know
//! nothing of accounts: a [`Verifier`] turns a login attempt into the mailbox behind it.
//!
//! | file | what it is |
//! |---|---|
//! | `mailbox.rs` | the trait and its words: folders, messages, flags, envelopes |
//! | `memory.rs` | a mailbox in memory, for the demo and for tests |
//! | `mime.rs`, `address.rs` | where the parts of a message are; who is in its address fields |
//! | `wire.rs` | one connection: bounded lines in, buffered bytes out, how long to wait |
//! | `bearer.rs` | tokens instead of passwords: XOAUTH2 and OAUTHBEARER |
//! | `imap/`, `pop3.rs`, `submission.rs` | the servers |
//! | `provider.rs` | all three on loopback with TLS: the provider inside the process |
//!
//! Deliberately absent: relaying (that is `relay`), and any knowledge of configuration.

pub mod address;
pub mod bearer;
pub mod imap;
pub mod mailbox;
pub mod memory;
pub mod mime;
pub mod pop3;
pub mod provider;
pub mod submission;
#[cfg(test)]
mod testing;
pub mod wire;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use self::mailbox::Mailbox;
use crate::proto::dialogue::LoginAttempt;
use crate::proto::refusal::Refusal;

/// Decides who may in, and to which mailbox.
pub trait Verifier: Send + Sync {
    /// The mailbox of whoever proved to be its owner. A refusal says nothing on which part was wrong, and takes as
    /// long for an unknown name as for a wrong password.
    fn verify<'a>(
        &'a self,
        attempt: &'a LoginAttempt,
    ) -> BoxFuture<'a, Result<Arc<dyn Mailbox>, Refusal>>;

    /// Whether tokens are taken, so that XOAUTH2 and OAUTHBEARER are offered. An attempt with one says so
    /// ([`bearer::is_bearer`]).
    fn takes_tokens(&self) -> bool {
        false
    }
}
