//! The folders of a mailbox in memory: plain data and what is done with it, all at once or not at all.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::bridge::mailbox::{
    Copied, FlagChange, Flags, Folder, FolderView, INBOX, MailboxError, Message, NewMessage,
    Placed, SEPARATOR, SpecialUse, Uid,
};

/// All folders. `BTreeMap` gives LIST an order in which a parent comes before its children.
#[derive(Default)]
pub(super) struct Folders {
    pub(super) by_name: BTreeMap<String, Kept>,
    /// The last UIDVALIDITY given; a folder made again under an old name gets a new one.
    uid_validity: u32,
    /// Octets of all messages together.
    octets: u64,
}

pub(super) struct Kept {
    special_use: Option<SpecialUse>,
    pub(super) subscribed: bool,
    uid_validity: u32,
    uid_next: u32,
    pub(super) messages: Vec<Stored>,
}

#[derive(Clone)]
pub(super) struct Stored {
    pub(super) info: Message,
    pub(super) raw: Bytes,
}

impl Folders {
    pub(super) fn add(&mut self, name: &str, special_use: Option<SpecialUse>) {
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

    pub(super) fn list(&self) -> Vec<Folder> {
        self.by_name
            .iter()
            .map(|(name, kept)| Folder {
                name: name.clone(),
                special_use: kept.special_use,
                subscribed: kept.subscribed,
            })
            .collect()
    }

    pub(super) fn folder(&self, name: &str) -> Result<&Kept, MailboxError> {
        self.by_name.get(name).ok_or(MailboxError::NoSuchFolder)
    }

    pub(super) fn folder_mut(&mut self, name: &str) -> Result<&mut Kept, MailboxError> {
        self.by_name.get_mut(name).ok_or(MailboxError::NoSuchFolder)
    }

    pub(super) fn create(&mut self, name: &str) -> Result<(), MailboxError> {
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

    pub(super) fn append(
        &mut self,
        folder: &str,
        message: NewMessage,
    ) -> Result<Placed, MailboxError> {
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

    pub(super) fn copy(
        &mut self,
        from: &str,
        uids: &[Uid],
        to: &str,
    ) -> Result<Copied, MailboxError> {
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

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), MailboxError> {
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
    pub(super) fn view(&self) -> FolderView {
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

    pub(super) fn message(&self, uid: Uid) -> Result<&Stored, MailboxError> {
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

    pub(super) fn store(
        &mut self,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<Vec<(Uid, Flags)>, MailboxError> {
        let named = set(uids);
        let changed: Vec<(Uid, Flags)> = self
            .messages
            .iter()
            .filter(|stored| named.contains(&stored.info.uid))
            .map(|stored| (stored.info.uid, stored.info.flags.changed(change)))
            .collect();
        if changed.iter().any(|(_, flags)| flags.len() > FLAGS_MAX) {
            return Err(MailboxError::OverQuota);
        }
        let mut next = changed.iter().peekable();
        for stored in &mut self.messages {
            if let Some((_, flags)) = next.next_if(|(uid, _)| *uid == stored.info.uid) {
                stored.info.flags = flags.clone();
            }
        }
        Ok(changed)
    }
}

pub(super) fn set(uids: &[Uid]) -> HashSet<Uid> {
    uids.iter().copied().collect()
}

/// The largest message; above what any provider of the presets takes (150 MB at most).
pub(super) const MESSAGE_MAX: u64 = 160 * 1024 * 1024;

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
