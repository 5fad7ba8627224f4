//! The mailbox trait: what the embedded servers need from whatever keeps the mail.
//!
//! Every call may have to ask somebody over a network, so every call is asynchronous and may fail with
//! [`MailboxError::Unavailable`]. The trait is object-safe: a session holds `Arc<dyn Mailbox>` and does not care what is
//! behind it. Folder names are UTF-8 with [`SEPARATOR`] between levels and `INBOX` in capitals; the servers translate.
//!
//! Changes are found by comparing two [`FolderView`]s. That works for every kind of mailbox, also for one that learns
//! of changes by polling; [`Mailbox::changes`] only says when it is worth while.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::watch;

/// What a mailbox call comes to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, MailboxError>>;

/// Between the levels of a folder name.
pub const SEPARATOR: char = '/';

/// The folder every mailbox has.
pub const INBOX: &str = "INBOX";

/// Somebody's mail.
pub trait Mailbox: Send + Sync {
    /// All folders, in the order they are listed.
    fn folders(&self) -> Answer<'_, Vec<Folder>>;

    /// What is in `folder` now.
    fn view<'a>(&'a self, folder: &'a str) -> Answer<'a, FolderView>;

    /// The octets `range` of a message, cut at its end. The same message gives the same octets each time.
    fn read<'a>(&'a self, folder: &'a str, uid: Uid, range: Range<u64>) -> Answer<'a, Bytes>;

    /// Puts a message into `folder` and says where it is.
    fn append<'a>(&'a self, folder: &'a str, message: NewMessage) -> Answer<'a, Placed>;

    /// Copies messages, all or none; those that are gone are left out.
    fn copy<'a>(&'a self, folder: &'a str, uids: &'a [Uid], target: &'a str) -> Answer<'a, Copied>;

    /// Moves messages, all or none; those that are gone are left out.
    fn move_to<'a>(
        &'a self,
        folder: &'a str,
        uids: &'a [Uid],
        target: &'a str,
    ) -> Answer<'a, Copied>;

    /// Changes flags and says what they are afterwards; messages that are gone are left out.
    fn store<'a>(
        &'a self,
        folder: &'a str,
        uids: &'a [Uid],
        change: &'a FlagChange,
    ) -> Answer<'a, Vec<(Uid, Flags)>>;

    /// Removes for good those of `uids` that are flagged `\Deleted`; `None` means all of them.
    fn expunge<'a>(&'a self, folder: &'a str, uids: Option<&'a [Uid]>) -> Answer<'a, ()>;

    /// Makes a folder.
    fn create<'a>(&'a self, folder: &'a str) -> Answer<'a, ()>;

    /// Removes a folder with its messages.
    fn delete<'a>(&'a self, folder: &'a str) -> Answer<'a, ()>;

    /// Renames a folder and all below it. Renaming `INBOX` moves its messages away and leaves it empty.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, ()>;

    /// Subscribes to a folder or ends that.
    fn subscribe<'a>(&'a self, folder: &'a str, wanted: bool) -> Answer<'a, ()>;

    /// A number that grows whenever anything in the mailbox has changed.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Sends a message. `Ok` means that the responsibility for it has been taken over.
    fn submit(&self, envelope: Envelope, message: Bytes) -> Answer<'_, ()>;

    /// The largest message that [`append`](Self::append) and [`submit`](Self::submit) take, in octets.
    fn max_message_size(&self) -> u64;
}

/// A message's number within its folder; grows, and is never given again under one UIDVALIDITY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// UTF-8, levels separated by [`SEPARATOR`].
    pub name: String,
    /// What it is for, RFC 6154.
    pub special_use: Option<SpecialUse>,
    /// Whether the person wants to see it.
    pub subscribed: bool,
}

/// What a folder is for, RFC 6154 section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialUse {
    /// Messages kept.
    Archive,
    /// Messages not sent yet.
    Drafts,
    /// Unwanted messages.
    Junk,
    /// Copies of what was sent.
    Sent,
    /// Messages about to go.
    Trash,
}

impl SpecialUse {
    /// As in LIST.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }
}

/// What is in a folder at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderView {
    /// Changes when the numbering starts anew.
    pub uid_validity: u32,
    /// Above every UID given so far.
    pub uid_next: Uid,
    /// Ordered by UID.
    pub messages: Arc<[Message]>,
}

/// A message without its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// When it arrived.
    pub internal_date: OffsetDateTime,
    /// Its length in octets.
    pub size: u64,
}

/// A message to be kept.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Flags to begin with.
    pub flags: Flags,
    /// When it arrived.
    pub internal_date: OffsetDateTime,
    /// The message itself, kept octet for octet.
    pub raw: Bytes,
}

/// Where a message was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The folder's UIDVALIDITY.
    pub uid_validity: u32,
    /// The new message's UID.
    pub uid: Uid,
}

/// What was copied or moved, RFC 4315: each source UID with the UID it has in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The target's UIDVALIDITY.
    pub uid_validity: u32,
    /// Source and target, in ascending order.
    pub uids: Vec<(Uid, Uid)>,
}

/// Who sends to whom, RFC 5321: what the message's own fields say does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path; empty for a delivery report.
    pub from: String,
    /// At least one.
    pub to: Vec<String>,
}

/// One flag, RFC 3501 section 2.3.2.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// `\Answered`.
    Answered,
    /// `\Deleted`.
    Deleted,
    /// `\Draft`.
    Draft,
    /// `\Flagged`.
    Flagged,
    /// `\Seen`.
    Seen,
    /// Any other word.
    Keyword(String),
}

impl Flag {
    /// The system flags.
    pub const SYSTEM: [Self; 5] = [
        Self::Answered,
        Self::Deleted,
        Self::Draft,
        Self::Flagged,
        Self::Seen,
    ];

    /// From its name in the protocol; `None` for a system flag that does not exist or cannot be set (`\Recent`).
    pub fn from_name(name: &str) -> Option<Self> {
        if !name.starts_with('\\') {
            return (!name.is_empty()).then(|| Self::Keyword(name.to_owned()));
        }
        Self::SYSTEM
            .into_iter()
            .find(|flag| flag.name().eq_ignore_ascii_case(name))
    }

    /// Its name in the protocol.
    pub fn name(&self) -> &str {
        match self {
            Self::Answered => "\\Answered",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
            Self::Flagged => "\\Flagged",
            Self::Seen => "\\Seen",
            Self::Keyword(word) => word,
        }
    }
}

/// A set of flags. Keywords keep their case and are compared without it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(BTreeSet<Flag>);

impl Flags {
    /// Whether `flag` is set.
    pub fn contains(&self, flag: &Flag) -> bool {
        match flag {
            Flag::Keyword(word) => self.keyword(word).is_some(),
            system => self.0.contains(system),
        }
    }

    /// In a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &Flag> {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The flags after `change`.
    pub fn changed(&self, change: &FlagChange) -> Self {
        match change {
            FlagChange::Replace(flags) => flags.clone(),
            FlagChange::Add(more) => self.iter().chain(more.iter()).cloned().collect(),
            FlagChange::Remove(less) => self
                .iter()
                .filter(|flag| !less.contains(flag))
                .cloned()
                .collect(),
        }
    }

    fn keyword(&self, word: &str) -> Option<&Flag> {
        self.0
            .iter()
            .find(|flag| matches!(flag, Flag::Keyword(own) if own.eq_ignore_ascii_case(word)))
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut set = Self::default();
        for flag in flags {
            if !set.contains(&flag) {
                set.0.insert(flag);
            }
        }
        set
    }
}

/// What STORE does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`.
    Replace(Flags),
    /// `+FLAGS`.
    Add(Flags),
    /// `-FLAGS`.
    Remove(Flags),
}

/// Why a mailbox did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// The client named a folder that is not there.
    #[error("no such folder")]
    NoSuchFolder,
    /// The client wants to make a folder that is there already.
    #[error("the folder exists already")]
    FolderExists,
    /// A folder name the mailbox cannot have, or `INBOX` where it must stay.
    #[error("not possible with this folder")]
    NotPossible,
    /// Somebody else removed the message meanwhile.
    #[error("the message is gone")]
    MessageGone,
    /// Over [`Mailbox::max_message_size`].
    #[error("the message is too large")]
    TooLarge,
    /// The mailbox is full, or has as many folders, messages or flags as it takes.
    #[error("the mailbox is full")]
    OverQuota,
    /// Nobody by that name can be written to, or not by this sender; the same try would fail again.
    #[error("recipient or sender refused")]
    AddressRefused,
    /// Whatever keeps the mail cannot be asked now.
    #[error("the mailbox cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(names: &[&str]) -> Flags {
        names.iter().filter_map(|n| Flag::from_name(n)).collect()
    }

    #[test]
    fn names_of_system_flags_have_no_case_and_recent_cannot_be_set() {
        assert_eq!(Flag::from_name("\\sEEN"), Some(Flag::Seen));
        assert_eq!(Flag::from_name("\\Recent"), None);
        assert_eq!(
            Flag::from_name("$Junk"),
            Some(Flag::Keyword("$Junk".into()))
        );
    }

    #[test]
    fn keywords_are_one_whatever_their_case() {
        let both = flags(&["$Junk", "$junk"]);
        assert_eq!(both, flags(&["$Junk"]));
        let none = both.changed(&FlagChange::Remove(flags(&["$JUNK"])));
        assert!(none.is_empty());
    }
}
