//! The IMAP4rev1 server, RFC 3501, over a [`Mailbox`](super::mailbox::Mailbox).
//!
//! | file | what it is |
//! |---|---|
//! | `frame.rs` | a command with its literals, read off the wire |
//! | `scan.rs`, `command.rs`, `fetch_item.rs`, `search_key.rs`, `sequence.rs` | what the command says |
//! | `names.rs`, `date.rs`, `say.rs` | modified UTF-7, LIST patterns, dates, strings in replies |
//! | `login.rs`, `session.rs` | the two halves of a connection, and which command goes where |
//! | `folders.rs`, `messages.rs`, `fetch.rs`, `search.rs`, `idle.rs` | what the commands do |
//! | `selected.rs` | the selected folder as this client knows it |
//! | `section.rs`, `envelope.rs`, `structure.rs` | the views of a message that FETCH gives |
//!
//! Deliberately absent: `\Recent` is never set (IMAP4rev2 dropped it), so `RECENT` is always 0.

mod command;
mod date;
mod envelope;
mod fetch;
mod fetch_item;
mod folders;
mod frame;
mod idle;
mod login;
mod messages;
mod names;
mod say;
mod scan;
mod search;
mod search_key;
mod section;
mod selected;
mod sequence;
mod session;
mod structure;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::session::Session;
use super::Verifier;
use super::wire::{Patience, Stream, Wire, WireError};

/// Serves one client until it leaves, is silent for too long, or `stop` says so.
pub async fn serve<S: Stream>(
    stream: S,
    verifier: &dyn Verifier,
    stop: CancellationToken,
) -> Result<(), WireError> {
    let mut wire = Wire::new(stream, Patience::Until(Instant::now() + BEFORE_LOGIN), stop);
    let ended = match login::login(&mut wire, verifier).await {
        Ok(Some(mailbox)) => {
            wire.set_patience(Patience::Idle(AUTOLOGOUT));
            Session::new(&mut wire, mailbox).run().await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    match &ended {
        Err(WireError::Stopped) => wire.say("* BYE [UNAVAILABLE] The service stops\r\n"),
        Err(WireError::Silent) => wire.say("* BYE Autologout\r\n"),
        _ => {}
    }
    wire.close().await;
    ended
}

/// From accept to login, all bytes together: PROTOCOL B.7.
const BEFORE_LOGIN: Duration = Duration::from_secs(60);

/// RFC 3501 section 5.4 asks for at least 30 minutes.
const AUTOLOGOUT: Duration = Duration::from_secs(31 * 60);

#[cfg(test)]
mod tests;
