//! A mailbox in memory, for the demo and for tests. It is gone when the process ends.
//!
//! There is no world outside: whatever is submitted arrives in the `INBOX`, octet for octet. One lock, held for the
//! length of a call and never across an await.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::ready;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::mailbox::{
    Answer, Copied, Envelope, Flag, FlagChange, Flags, Folder, FolderView, INBOX, Mailbox,
    MailboxError, Message, NewMessage, Placed, SEPARATOR, SpecialUse, Uid,
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

/// All folders. `BTreeMap` gives LIST an order in which a parent comes before its children.
#[derive(Default)]
struct Folders {
    by_name: BTreeMap<String, Kept>,
    /// The last UIDVALIDITY given; a folder made again under an old name gets a new one.
    uid_validity: u32,
    /// Octets of all messages together.
    octets: u64,
}

struct Kept {
    special_use: Option<SpecialUse>,
    subscribed: bool,
    uid_validity: u32,
    uid_next: u32,
    messages: Vec<Stored>,
}

#[derive(Clone)]
struct Stored {
    info: Message,
    raw: Bytes,
}

impl Folders {
    fn add(&mut self, name: &str, special_use: Option<SpecialUse>) {
        self.uid_validity += 1;
        let kept = Kept {
            special_use,
            subscribed: true,
            uid_validity: self.uid_validity,
            uid_next: 1,
            messages: Vec::new(),
        };
        self.by_name.insert(name.to_owned(), kept);
    }

    fn list(&self) -> Vec<Folder> {
        self.by_name
            .iter()
            .map(|(name, kept)| Folder {
                name: name.clone(),
                special_use: kept.special_use,
                subscribed: kept.subscribed,
            })
            .collect()
    }

    fn folder(&self, name: &str) -> Result<&Kept, MailboxError> {
        self.by_name.get(name).ok_or(MailboxError::NoSuchFolder)
    }

    fn folder_mut(&mut self, name: &str) -> Result<&mut Kept, MailboxError> {
        self.by_name.get_mut(name).ok_or(MailboxError::NoSuchFolder)
    }

    fn create(&mut self, name: &str) -> Result<(), MailboxError> {
        if self.by_name.len() >= FOLDERS_MAX {
            return Err(MailboxError::OverQuota);
        }
        self.check_new(name)?;
        self.add(name, None);
        Ok(())
    }

    /// Whether a folder could have this name.
    fn check_new(&self, name: &str) -> Result<(), MailboxError> {
        if self.by_name.contains_key(name) {
            return Err(MailboxError::FolderExists);
        }
        let levels_named = name.split(SEPARATOR).all(|level| !level.is_empty());
        if name.len() > NAME_MAX || name.chars().any(char::is_control) || !levels_named {
            return Err(MailboxError::NotPossible);
        }
        Ok(())
    }

    fn append(&mut self, folder: &str, message: NewMessage) -> Result<Placed, MailboxError> {
        let size = message.raw.len() as u64;
        if size > MESSAGE_MAX {
            return Err(MailboxError::TooLarge);
        }
        self.folder(folder)?.has_room_for(1)?;
        self.charge(size)?;
        let kept = self.folder_mut(folder)?;
        let uid = kept.put(Stored {
            info: Message {
                uid: Uid(0),
                flags: message.flags,
                internal_date: message.internal_date,
                size,
            },
            raw: message.raw,
        });
        Ok(Placed {
            uid_validity: kept.uid_validity,
            uid,
        })
    }

    fn copy(&mut self, from: &str, uids: &[Uid], to: &str) -> Result<Copied, MailboxError> {
        let named = set(uids);
        let sources: Vec<Stored> = self
            .folder(from)?
            .messages
            .iter()
            .filter(|m| named.contains(&m.info.uid))
            .cloned()
            .collect();
        let target = self.folder_mut(to)?;
        target.has_room_for(sources.len())?;
        let uids = sources
            .into_iter()
            .map(|stored| (stored.info.uid, target.put(stored)))
            .collect();
        Ok(Copied {
            uid_validity: target.uid_validity,
            uids,
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), MailboxError> {
        self.folder(from)?;
        if from == INBOX {
            self.create(to)?;
            let messages = std::mem::take(&mut self.folder_mut(INBOX)?.messages);
            let target = self.folder_mut(to)?;
            for stored in messages {
                target.put(stored);
            }
            return Ok(());
        }
        let below = format!("{from}{SEPARATOR}");
        // A folder cannot go below itself.
        if to.starts_with(&below) {
            return Err(MailboxError::NotPossible);
        }
        let moves: Vec<(String, String)> = self
            .by_name
            .keys()
            .filter(|name| *name == from || name.starts_with(&below))
            .filter_map(|name| Some((name.clone(), format!("{to}{}", name.strip_prefix(from)?))))
            .collect();
        // Nothing is overwritten, on no level.
        for (_, new) in &moves {
            self.check_new(new)?;
        }
        for (old, new) in moves {
            if let Some(kept) = self.by_name.remove(&old) {
                self.by_name.insert(new, kept);
            }
        }
        Ok(())
    }

    /// Counts what is put in; what is removed stays counted, as this mailbox lives for an afternoon.
    fn charge(&mut self, octets: u64) -> Result<(), MailboxError> {
        if self.octets + octets > OCTETS_MAX {
            return Err(MailboxError::OverQuota);
        }
        self.octets += octets;
        Ok(())
    }
}

impl Kept {
    fn view(&self) -> FolderView {
        FolderView {
            uid_validity: self.uid_validity,
            uid_next: Uid(self.uid_next),
            messages: self
                .messages
                .iter()
                .map(|m| m.info.clone())
                .collect::<Arc<[_]>>(),
        }
    }

    fn message(&self, uid: Uid) -> Result<&Stored, MailboxError> {
        self.messages
            .binary_search_by_key(&uid, |m| m.info.uid)
            .ok()
            .and_then(|at| self.messages.get(at))
            .ok_or(MailboxError::MessageGone)
    }

    fn has_room_for(&self, more: usize) -> Result<(), MailboxError> {
        if self.messages.len().saturating_add(more) > MESSAGES_MAX {
            return Err(MailboxError::OverQuota);
        }
        Ok(())
    }

    fn put(&mut self, mut stored: Stored) -> Uid {
        let uid = Uid(self.uid_next);
        self.uid_next += 1;
        stored.info.uid = uid;
        self.messages.push(stored);
        uid
    }

    fn store(
        &mut self,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<Vec<(Uid, Flags)>, MailboxError> {
        let named = set(uids);
        let mut changed = Vec::new();
        for stored in &mut self.messages {
            if named.contains(&stored.info.uid) {
                let flags = stored.info.flags.changed(change);
                if flags.len() > FLAGS_MAX {
                    return Err(MailboxError::OverQuota);
                }
                stored.info.flags = flags.clone();
                changed.push((stored.info.uid, flags));
            }
        }
        Ok(changed)
    }
}

fn set(uids: &[Uid]) -> HashSet<Uid> {
    uids.iter().copied().collect()
}

/// The largest message; above what any provider of the presets takes (150 MB at most).
const MESSAGE_MAX: u64 = 160 * 1024 * 1024;

/// All messages together, so that a client gone wild does not take the machine's memory.
const OCTETS_MAX: u64 = 1024 * 1024 * 1024;

/// Messages of one folder; copying a folder onto itself doubles it each time.
const MESSAGES_MAX: usize = 100_000;

/// Folders; a person has dozens, a client gone wild makes thousands.
const FOLDERS_MAX: usize = 1_000;

/// Octets of a folder name; Dovecot's file store has a similar bound.
const NAME_MAX: usize = 255;

/// Flags of one message; mail programs set fewer than ten.
const FLAGS_MAX: usize = 64;

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
}
