//! The selected folder as this client knows it: message numbers are places in what it was last told.

use std::fmt::Write;

use super::say;
use super::sequence::SequenceSet;
use super::session::Failure;
use crate::bridge::mailbox::{FlagChange, Flags, FolderView, Message, Uid};

/// A folder between SELECT and CLOSE.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) folder: String,
    pub(super) read_only: bool,
    /// What the client knows of it.
    pub(super) view: FolderView,
}

/// A message with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) number: usize,
    pub(super) message: Message,
}

impl Selected {
    /// The messages of `set`. A number that does not exist is an error, a UID that does not exist is nothing.
    pub(super) fn pick(&self, uid: bool, set: &SequenceSet) -> Result<Vec<Numbered>, Failure> {
        let messages = &self.view.messages;
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let last = if uid {
            messages.last().map_or(0, |m| m.uid.0)
        } else {
            count
        };
        let numbers = set.resolve(last);
        if !uid && numbers.max() > count {
            return Err(Failure::Said("BAD There is no message of that number"));
        }
        let picked = self.numbered().filter(|(number, message)| {
            if uid {
                numbers.contains(message.uid.0)
            } else {
                u32::try_from(*number).is_ok_and(|number| numbers.contains(number))
            }
        });
        Ok(picked
            .map(|(number, message)| Numbered {
                number,
                message: message.clone(),
            })
            .collect())
    }

    /// All messages with their numbers, from 1.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (usize, &Message)> {
        (1..).zip(self.view.messages.iter())
    }

    /// Remembers flags that the client has been told, or knows because it set them.
    pub(super) fn know_flags(&mut self, told: &[(Uid, Flags)]) {
        self.view.messages = self
            .view
            .messages
            .iter()
            .map(|message| {
                let mut message = message.clone();
                if let Ok(at) = told.binary_search_by_key(&message.uid, |(uid, _)| *uid)
                    && let Some((_, flags)) = told.get(at)
                {
                    message.flags = flags.clone();
                }
                message
            })
            .collect();
    }

    /// Takes `now` as known and returns the untagged responses that say what is different.
    pub(super) fn advance(&mut self, now: FolderView) -> String {
        let mut out = String::new();
        let is_there = |uid: &Uid| now.messages.binary_search_by_key(uid, |m| m.uid).is_ok();
        // Each EXPUNGE lowers the numbers behind it, so the count goes on only past what stays.
        let mut number = 1;
        let mut kept = Vec::new();
        for message in self.view.messages.iter() {
            if is_there(&message.uid) {
                number += 1;
                kept.push(message);
            } else {
                let _ = write!(out, "* {number} EXPUNGE\r\n");
            }
        }
        if now.messages.len() > kept.len() {
            let _ = write!(out, "* {} EXISTS\r\n* 0 RECENT\r\n", now.messages.len());
        }
        for ((number, new), old) in (1..).zip(now.messages.iter()).zip(kept) {
            if new.flags != old.flags {
                out.push_str(&flags_response(number, new.uid, &new.flags));
            }
        }
        self.view = now;
        out
    }
}

/// `* n FETCH (UID u FLAGS (...))`
pub(super) fn flags_response(number: usize, uid: Uid, flags: &Flags) -> String {
    format!(
        "* {number} FETCH (UID {uid} FLAGS {})\r\n",
        say::flags(flags)
    )
}

/// Whether `change` would alter the flags of any of `messages`.
pub(super) fn changes_any(messages: &[Numbered], change: &FlagChange) -> bool {
    messages
        .iter()
        .any(|m| m.message.flags.changed(change) != m.message.flags)
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::super::scan::Scanner;
    use super::*;
    use crate::bridge::mailbox::Flag;

    fn view(uids: &[(u32, &[Flag])]) -> FolderView {
        let message = |(uid, flags): &(u32, &[Flag])| Message {
            uid: Uid(*uid),
            flags: flags.iter().cloned().collect(),
            internal_date: OffsetDateTime::UNIX_EPOCH,
            size: 1,
        };
        FolderView {
            uid_validity: 1,
            uid_next: Uid(99),
            messages: uids.iter().map(message).collect(),
        }
    }

    fn selected(uids: &[(u32, &[Flag])]) -> Selected {
        Selected {
            folder: "INBOX".into(),
            read_only: false,
            view: view(uids),
        }
    }

    #[test]
    fn changes_are_told_as_numbers_that_move() {
        let mut before = selected(&[(3, &[]), (5, &[]), (7, &[]), (9, &[])]);
        let told = before.advance(view(&[(5, &[Flag::Seen]), (9, &[]), (12, &[])]));
        assert_eq!(
            told,
            "* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n* 3 EXISTS\r\n* 0 RECENT\r\n* 1 FETCH (UID 5 FLAGS (\\Seen))\r\n"
        );
        let same = before.view.clone();
        assert_eq!(before.advance(same), "");
    }

    #[test]
    fn numbers_must_exist_and_uids_need_not() {
        let folder = selected(&[(3, &[]), (5, &[])]);
        let pick = |uid, set: &str| {
            let set = SequenceSet::parse(&mut Scanner::new(set.as_bytes())).unwrap();
            folder
                .pick(uid, &set)
                .map(|picked| picked.iter().map(|m| m.number).collect::<Vec<_>>())
        };
        assert_eq!(pick(false, "2:*").unwrap(), [2]);
        assert!(pick(false, "3").is_err());
        assert_eq!(pick(true, "1:4,77").unwrap(), [1]);
        assert_eq!(pick(true, "100:*").unwrap(), [2]);
        let all = SequenceSet::parse(&mut Scanner::new(b"1:*")).unwrap();
        assert!(selected(&[]).pick(false, &all).is_err());
    }
}
