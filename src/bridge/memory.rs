//! A mailbox in memory, for the demo and for tests. It is gone when the process ends.
//!
//! There is no world outside: whatever is submitted arrives in the `INBOX`, octet for octet. One lock, held for the
//! length of a call and never across an await.

mod folders;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::ready;
use time::OffsetDateTime;
use tokio::sync::watch;

use self::folders::{Folders, MESSAGE_MAX, set};
use super::mailbox::{
    Answer, Copied, Envelope, Flag, FlagChange, Flags, Folder, FolderView, INBOX, Mailbox,
    MailboxError, Message, NewMessage, Placed, SpecialUse, Uid,
};

/// Mail in memory.
pub struct MemoryMailbox {
    folders: Mutex<Folders>,
    generation: watch::Sender<u64>,
}

impl Default for MemoryMailbox {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryMailbox {
    /// A mailbox with an empty `INBOX`.
    pub fn new() -> Self {
        let mut folders = Folders::default();
        folders.add(INBOX, None);
        Self {
            folders: Mutex::new(folders),
            generation: watch::Sender::new(0),
        }
    }

    /// Adds a folder with a use; for seeding.
    pub fn add_folder(&self, name: &str, special_use: Option<SpecialUse>) {
        self.lock().add(name, special_use);
    }

    fn lock(&self) -> MutexGuard<'_, Folders> {
        // A panic elsewhere cannot leave the folders half changed in a way that matters to a mailbox in memory.
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Folders) -> Result<T, MailboxError>,
    ) -> Answer<'_, T> {
        ready(look(&self.lock())).boxed()
    }

    fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Folders) -> Result<T, MailboxError>,
    ) -> Answer<'_, T> {
        let result = change(&mut self.lock());
        if result.is_ok() {
            self.generation
                .send_modify(|generation| *generation = generation.wrapping_add(1));
        }
        ready(result).boxed()
    }
}

impl Mailbox for MemoryMailbox {
    fn folders(&self) -> Answer<'_, Vec<Folder>> {
        self.look(|folders| Ok(folders.list()))
    }

    fn view<'a>(&'a self, folder: &'a str) -> Answer<'a, FolderView> {
        self.look(|folders| Ok(folders.folder(folder)?.view()))
    }

    fn read<'a>(&'a self, folder: &'a str, uid: Uid, range: Range<u64>) -> Answer<'a, Bytes> {
        self.look(|folders| {
            let raw = &folders.folder(folder)?.message(uid)?.raw;
            let end = usize::try_from(range.end).map_or(raw.len(), |end| end.min(raw.len()));
            let start = usize::try_from(range.start).map_or(end, |start| start.min(end));
            Ok(raw.slice(start..end))
        })
    }

    fn append<'a>(&'a self, folder: &'a str, message: NewMessage) -> Answer<'a, Placed> {
        self.change(|folders| folders.append(folder, message))
    }

    fn copy<'a>(&'a self, folder: &'a str, uids: &'a [Uid], target: &'a str) -> Answer<'a, Copied> {
        self.change(|folders| folders.copy(folder, uids, target))
    }

    fn move_to<'a>(
        &'a self,
        folder: &'a str,
        uids: &'a [Uid],
        target: &'a str,
    ) -> Answer<'a, Copied> {
        self.change(|folders| {
            let copied = folders.copy(folder, uids, target)?;
            let gone: HashSet<Uid> = copied.uids.iter().map(|(source, _)| *source).collect();
            let kept = folders.folder_mut(folder)?;
            kept.messages.retain(|m| !gone.contains(&m.info.uid));
            Ok(copied)
        })
    }

    fn store<'a>(
        &'a self,
        folder: &'a str,
        uids: &'a [Uid],
        change: &'a FlagChange,
    ) -> Answer<'a, Vec<(Uid, Flags)>> {
        self.change(|folders| folders.folder_mut(folder)?.store(uids, change))
    }

    fn expunge<'a>(&'a self, folder: &'a str, uids: Option<&'a [Uid]>) -> Answer<'a, ()> {
        let named = uids.map(set);
        self.change(|folders| {
            let goes = |m: &Message| {
                m.flags.contains(&Flag::Deleted)
                    && named.as_ref().is_none_or(|named| named.contains(&m.uid))
            };
            folders
                .folder_mut(folder)?
                .messages
                .retain(|m| !goes(&m.info));
            Ok(())
        })
    }

    fn create<'a>(&'a self, folder: &'a str) -> Answer<'a, ()> {
        self.change(|folders| folders.create(folder))
    }

    fn delete<'a>(&'a self, folder: &'a str) -> Answer<'a, ()> {
        self.change(|folders| {
            folders.folder(folder)?;
            if folder == INBOX {
                return Err(MailboxError::NotPossible);
            }
            folders.by_name.remove(folder);
            Ok(())
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, ()> {
        self.change(|folders| folders.rename(from, to))
    }

    fn subscribe<'a>(&'a self, folder: &'a str, wanted: bool) -> Answer<'a, ()> {
        self.change(|folders| {
            folders.folder_mut(folder)?.subscribed = wanted;
            Ok(())
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn submit(&self, _envelope: Envelope, message: Bytes) -> Answer<'_, ()> {
        self.change(|folders| {
            let message = NewMessage {
                flags: Flags::default(),
                internal_date: OffsetDateTime::now_utc(),
                raw: message,
            };
            folders.append(INBOX, message).map(drop)
        })
    }

    fn max_message_size(&self) -> u64 {
        MESSAGE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> NewMessage {
        NewMessage {
            flags: Flags::default(),
            internal_date: OffsetDateTime::UNIX_EPOCH,
            raw: text.into(),
        }
    }

    #[tokio::test]
    async fn a_move_keeps_octets_and_gives_new_uids_that_never_return() {
        let mailbox = MemoryMailbox::new();
        mailbox.create("Archiv").await.unwrap();
        for text in ["one", "two", "three"] {
            mailbox.append(INBOX, message(text)).await.unwrap();
        }
        let copied = mailbox
            .move_to(INBOX, &[Uid(3), Uid(1), Uid(9)], "Archiv")
            .await
            .unwrap();
        assert_eq!(copied.uids, [(Uid(1), Uid(1)), (Uid(3), Uid(2))]);
        assert_eq!(mailbox.read("Archiv", Uid(2), 1..99).await.unwrap(), "hree");
        assert_eq!(mailbox.view(INBOX).await.unwrap().messages.len(), 1);
        assert_eq!(
            mailbox.append(INBOX, message("four")).await.unwrap().uid,
            Uid(4)
        );
    }

    #[tokio::test]
    async fn only_deleted_messages_are_expunged_and_only_those_named() {
        let mailbox = MemoryMailbox::new();
        for text in ["one", "two", "three"] {
            mailbox.append(INBOX, message(text)).await.unwrap();
        }
        let deleted = FlagChange::Add([Flag::Deleted].into_iter().collect());
        mailbox
            .store(INBOX, &[Uid(1), Uid(3)], &deleted)
            .await
            .unwrap();
        mailbox
            .expunge(INBOX, Some(&[Uid(2), Uid(3)]))
            .await
            .unwrap();
        let left = mailbox.view(INBOX).await.unwrap();
        assert_eq!(
            left.messages.iter().map(|m| m.uid.0).collect::<Vec<_>>(),
            [1, 2]
        );
    }

    #[tokio::test]
    async fn renaming_takes_what_is_below_along_and_never_overwrites() {
        let mailbox = MemoryMailbox::new();
        for name in ["a", "a/b", "ab", "z"] {
            mailbox.create(name).await.unwrap();
        }
        assert!(mailbox.rename("a", "z").await.is_err());
        assert!(mailbox.rename("a", "a/b/c").await.is_err());
        mailbox.create("x/b").await.unwrap();
        assert!(mailbox.rename("a", "x").await.is_err());
        mailbox.delete("x/b").await.unwrap();
        mailbox.rename("a", "y").await.unwrap();
        let names: Vec<_> = mailbox
            .folders()
            .await
            .unwrap()
            .into_iter()
            .map(|f| f.name)
            .collect();
        assert_eq!(names, ["INBOX", "ab", "y", "y/b", "z"]);
    }

    #[tokio::test]
    async fn a_folder_made_again_has_another_uid_validity() {
        let mailbox = MemoryMailbox::new();
        mailbox.create("a").await.unwrap();
        let first = mailbox.view("a").await.unwrap().uid_validity;
        mailbox.delete("a").await.unwrap();
        mailbox.create("a").await.unwrap();
        assert_ne!(first, mailbox.view("a").await.unwrap().uid_validity);
    }

    #[tokio::test]
    async fn every_change_is_told_and_looking_is_none() {
        let mailbox = MemoryMailbox::new();
        let mut changes = mailbox.changes();
        mailbox.view(INBOX).await.unwrap();
        assert!(!changes.has_changed().unwrap());
        let envelope = Envelope {
            from: String::new(),
            to: vec!["anna@localhost".into()],
        };
        mailbox.submit(envelope, "hi".into()).await.unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(mailbox.create(INBOX).await.is_err());
        assert!(!changes.has_changed().unwrap());
    }

    #[tokio::test]
    async fn a_change_that_is_too_much_for_one_message_changes_none() {
        let mailbox = MemoryMailbox::new();
        for text in ["one", "two"] {
            mailbox.append(INBOX, message(text)).await.unwrap();
        }
        let words = |from: u32| (from..from + 40).map(|n| Flag::Keyword(format!("k{n}")));
        let first = FlagChange::Add(words(0).collect());
        mailbox.store(INBOX, &[Uid(2)], &first).await.unwrap();
        let more = FlagChange::Add(words(40).collect());
        assert!(
            mailbox
                .store(INBOX, &[Uid(1), Uid(2)], &more)
                .await
                .is_err()
        );
        let view = mailbox.view(INBOX).await.unwrap();
        let counts: Vec<usize> = view.messages.iter().map(|m| m.flags.len()).collect();
        assert_eq!(counts, [0, 40]);
    }
}
