//! After login: the maildrop, and what each command does with it.

use std::sync::Arc;

use super::{CAPABILITIES, Command};
use crate::bridge::mailbox::{
    Flag, FlagChange, FolderView, INBOX, Mailbox, MailboxError, Message, Uid,
};
use crate::bridge::wire::{Stream, Wire, WireError};

/// The TRANSACTION state.
pub(super) struct Maildrop {
    mailbox: Arc<dyn Mailbox>,
    view: FolderView,
    /// Marked by DELE, in the order of the view.
    deleted: Vec<bool>,
}

/// What came of a command.
pub(super) enum Reply {
    Said,
    Error(&'static str),
    Quit,
}

impl Maildrop {
    /// What is in the `INBOX` now; else the words for the client.
    pub(super) async fn open(mailbox: Arc<dyn Mailbox>) -> Result<Self, &'static str> {
        let view = mailbox.view(INBOX).await.map_err(|error| failed(&error))?;
        let deleted = vec![false; view.messages.len()];
        Ok(Self {
            mailbox,
            view,
            deleted,
        })
    }

    pub(super) async fn answer<S: Stream>(
        &mut self,
        wire: &mut Wire<S>,
        command: &Command,
    ) -> Result<Reply, WireError> {
        let Some(numbers) = command.numbers() else {
            return Ok(Reply::Error("A number is expected here"));
        };
        match (command.keyword.as_str(), numbers.as_slice()) {
            ("STAT", []) => {
                let (count, octets) = self.totals();
                wire.say(format!("+OK {count} {octets}\r\n"));
            }
            ("LIST", []) => self.listing(wire, |m, _| m.size.to_string()).await?,
            ("UIDL", []) => self.listing(wire, unique_id).await?,
            ("LIST", [number]) => return Ok(self.one(wire, *number, |m, _| m.size.to_string())),
            ("UIDL", [number]) => return Ok(self.one(wire, *number, unique_id)),
            ("RETR", [number]) => return self.retrieve(wire, *number, usize::MAX).await,
            ("TOP", [number, lines]) => return self.retrieve(wire, *number, *lines).await,
            ("DELE", [number]) => {
                if self.message(*number).is_none() {
                    return Ok(NO_MESSAGE);
                }
                if let Some(mark) = number
                    .checked_sub(1)
                    .and_then(|at| self.deleted.get_mut(at))
                {
                    *mark = true;
                }
                wire.say("+OK Will go at QUIT\r\n");
            }
            ("RSET", []) => {
                self.deleted.fill(false);
                wire.say("+OK Nothing goes\r\n");
            }
            ("NOOP", []) => wire.say("+OK\r\n"),
            ("CAPA", []) => wire.say(format!("+OK Capabilities\r\n{CAPABILITIES}.\r\n")),
            ("QUIT", []) => {
                self.update(wire).await;
                return Ok(Reply::Quit);
            }
            _ => return Ok(Reply::Error("No such command, or not with these arguments")),
        }
        Ok(Reply::Said)
    }

    /// The messages that are not marked, with their numbers.
    fn messages(&self) -> impl Iterator<Item = (usize, &Message)> {
        (1..)
            .zip(self.view.messages.iter())
            .zip(&self.deleted)
            .filter(|(_, deleted)| !**deleted)
            .map(|(numbered, _)| numbered)
    }

    fn message(&self, number: usize) -> Option<&Message> {
        let at = number.checked_sub(1)?;
        let message = self.view.messages.get(at)?;
        (self.deleted.get(at) == Some(&false)).then_some(message)
    }

    fn totals(&self) -> (usize, u64) {
        self.messages().fold((0, 0), |(count, octets), (_, m)| {
            (count + 1, octets + m.size)
        })
    }

    async fn listing<S: Stream>(
        &self,
        wire: &mut Wire<S>,
        words: impl Fn(&Message, &FolderView) -> String,
    ) -> Result<(), WireError> {
        wire.say(format!("+OK {} messages\r\n", self.totals().0));
        for (number, message) in self.messages() {
            let line = format!("{number} {}\r\n", words(message, &self.view));
            wire.say_much(line.as_bytes()).await?;
        }
        wire.say(".\r\n");
        Ok(())
    }

    fn one<S: Stream>(
        &self,
        wire: &mut Wire<S>,
        number: usize,
        words: impl Fn(&Message, &FolderView) -> String,
    ) -> Reply {
        let Some(message) = self.message(number) else {
            return NO_MESSAGE;
        };
        wire.say(format!("+OK {number} {}\r\n", words(message, &self.view)));
        Reply::Said
    }

    async fn retrieve<S: Stream>(
        &self,
        wire: &mut Wire<S>,
        number: usize,
        body_lines: usize,
    ) -> Result<Reply, WireError> {
        let Some(message) = self.message(number) else {
            return Ok(NO_MESSAGE);
        };
        let raw = match self.mailbox.read(INBOX, message.uid, 0..message.size).await {
            Ok(raw) => raw,
            Err(error) => return Ok(Reply::Error(failed(&error))),
        };
        wire.say(format!("+OK {} octets\r\n", message.size));
        let mut in_body = false;
        let mut left = body_lines;
        for line in lines(&raw) {
            if in_body {
                match left.checked_sub(1) {
                    Some(fewer) => left = fewer,
                    None => break,
                }
            }
            in_body |= line.is_empty();
            // RFC 1939 section 3: a dot at the beginning of a line is sent twice.
            let stuffing: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
            for piece in [stuffing, line, b"\r\n"] {
                wire.say_much(piece).await?;
            }
        }
        wire.say(".\r\n");
        Ok(Reply::Said)
    }

    /// The UPDATE state: what was marked goes now.
    async fn update<S: Stream>(&self, wire: &mut Wire<S>) {
        let marked: Vec<Uid> = self
            .view
            .messages
            .iter()
            .zip(&self.deleted)
            .filter(|(_, deleted)| **deleted)
            .map(|(message, _)| message.uid)
            .collect();
        match self.remove(&marked).await {
            Ok(()) => wire.say("+OK Until next time\r\n"),
            Err(error) => wire.say(format!("-ERR {}\r\n", failed(&error))),
        }
    }

    async fn remove(&self, marked: &[Uid]) -> Result<(), MailboxError> {
        if marked.is_empty() {
            return Ok(());
        }
        let deleted = FlagChange::Add([Flag::Deleted].into_iter().collect());
        self.mailbox.store(INBOX, marked, &deleted).await?;
        self.mailbox.expunge(INBOX, Some(marked)).await
    }
}

/// What UIDL tells: unique also when the numbering starts anew.
fn unique_id(message: &Message, view: &FolderView) -> String {
    format!("{}.{}", view.uid_validity, message.uid)
}

/// The lines of a message without their ends. A bare LF ends a line too and is sent as CRLF: a client that reads up to
/// LF would take a lone dot behind one for the end (RFC 1939 section 3 knows no other line end).
fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    raw.split(|&b| b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn failed(error: &MailboxError) -> &'static str {
    match error {
        MailboxError::MessageGone => "The message is gone",
        MailboxError::Unavailable(_) => "[SYS/TEMP] The mailbox cannot be reached now",
        MailboxError::NoSuchFolder
        | MailboxError::FolderExists
        | MailboxError::NotPossible
        | MailboxError::TooLarge
        | MailboxError::OverQuota
        | MailboxError::AddressRefused => "[SYS/PERM] The mailbox has no usable INBOX",
    }
}

const NO_MESSAGE: Reply = Reply::Error("No such message");
