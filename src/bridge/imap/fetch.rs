//! FETCH, RFC 3501 section 6.4.5. One message is held at a time, and not at all where nothing of its octets is asked
//! for; a partial of the whole message reads that part only.

use std::borrow::Cow;

use bytes::Bytes;

use super::fetch_item::{Content, FetchItem, Section};
use super::selected::{Numbered, changes_any};
use super::sequence::SequenceSet;
use super::session::{Done, Failure, Session};
use super::{date, envelope, messages, say, section, structure};
use crate::bridge::mailbox::{Flag, FlagChange, MailboxError, Message};
use crate::bridge::mime::{self, Part};
use crate::bridge::wire::Stream;

impl<S: Stream> Session<'_, S> {
    pub(super) async fn fetch(
        &mut self,
        uid: bool,
        set: &SequenceSet,
        mut items: Vec<FetchItem>,
    ) -> Done {
        let mut picked = self.selected()?.pick(uid, set)?;
        if uid && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        if items.iter().any(marks_seen) && self.mark_seen(&mut picked).await? {
            items.retain(|item| *item != FetchItem::Flags);
            items.push(FetchItem::Flags);
        }
        let mut gone = false;
        for numbered in &picked {
            match self.fetch_one(numbered, &items).await {
                Err(Failure::Mailbox(MailboxError::MessageGone)) => gone = true,
                fetched => fetched?,
            }
        }
        if gone && !uid {
            return Err(MailboxError::MessageGone.into());
        }
        Ok("OK FETCH completed".into())
    }

    /// Reading the text of a message marks it as seen, unless the folder is open for reading only. True where any
    /// flag changed.
    async fn mark_seen(&mut self, picked: &mut [Numbered]) -> Result<bool, Failure> {
        let mailbox = self.mailbox.clone();
        let seen = FlagChange::Add([Flag::Seen].into_iter().collect());
        let Some(selected) = self.selected.as_mut().filter(|s| !s.read_only) else {
            return Ok(false);
        };
        if !changes_any(picked, &seen) {
            return Ok(false);
        }
        let uids = messages::uids(picked);
        let told = mailbox.store(&selected.folder, &uids, &seen).await?;
        selected.know_flags(&told);
        for numbered in picked {
            numbered.message.flags = numbered.message.flags.changed(&seen);
        }
        Ok(true)
    }

    async fn fetch_one(&mut self, numbered: &Numbered, items: &[FetchItem]) -> Result<(), Failure> {
        let message = &numbered.message;
        // Everything is at hand before the response begins: it cannot be taken back.
        let source = Source {
            whole: self.whole(message, items).await?,
        };
        let mut out = format!("* {} FETCH (", numbered.number).into_bytes();
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            let FetchItem::Content(content) = item else {
                source.describe(&mut out, message, item);
                continue;
            };
            out.extend_from_slice(content.label.as_bytes());
            match self.octets(message, &source, content).await? {
                None => out.extend_from_slice(b" NIL"),
                Some(octets) => {
                    out.extend_from_slice(format!(" {{{}}}\r\n", octets.len()).as_bytes());
                    self.wire.say_much(&out).await?;
                    self.wire.say_much(&octets).await?;
                    out.clear();
                }
            }
        }
        out.extend_from_slice(b")\r\n");
        self.wire.say_much(&out).await?;
        Ok(())
    }

    /// The whole message with its structure, where an item needs it.
    async fn whole(
        &self,
        message: &Message,
        items: &[FetchItem],
    ) -> Result<Option<(Bytes, Part)>, Failure> {
        if !items.iter().any(needs_whole) {
            return Ok(None);
        }
        let folder = &self.selected()?.folder;
        let raw = self
            .mailbox
            .read(folder, message.uid, 0..message.size)
            .await?;
        let root = mime::parse(&raw);
        Ok(Some((raw, root)))
    }

    async fn octets(
        &self,
        message: &Message,
        source: &Source,
        content: &Content,
    ) -> Result<Option<Bytes>, Failure> {
        if let Some((raw, root)) = &source.whole {
            let octets = section::octets(raw, root, &content.section).map(|octets| match octets {
                Cow::Borrowed(octets) => raw.slice_ref(octets),
                Cow::Owned(octets) => octets.into(),
            });
            return Ok(octets.map(|octets| cut(&octets, content.partial)));
        }
        let (start, length) = content.partial.unwrap_or_default();
        let range = u64::from(start)..u64::from(start) + u64::from(length);
        let folder = &self.selected()?.folder;
        Ok(Some(self.mailbox.read(folder, message.uid, range).await?))
    }
}

/// What is at hand for answering.
struct Source {
    whole: Option<(Bytes, Part)>,
}

impl Source {
    /// Everything but octets.
    fn describe(&self, out: &mut Vec<u8>, message: &Message, item: &FetchItem) {
        let words = match item {
            FetchItem::Flags => format!("FLAGS {}", say::flags(&message.flags)),
            FetchItem::InternalDate => {
                format!(
                    "INTERNALDATE {}",
                    date::internal_date(message.internal_date)
                )
            }
            FetchItem::Rfc822Size => format!("RFC822.SIZE {}", message.size),
            FetchItem::Uid => format!("UID {}", message.uid),
            FetchItem::Envelope => "ENVELOPE ".to_owned(),
            FetchItem::Structure { extended: true } => "BODYSTRUCTURE ".to_owned(),
            FetchItem::Structure { extended: false } => "BODY ".to_owned(),
            FetchItem::Content(_) => String::new(),
        };
        out.extend_from_slice(words.as_bytes());
        let Some((raw, root)) = &self.whole else {
            return;
        };
        match item {
            FetchItem::Envelope => {
                envelope::envelope(out, raw.get(root.header.clone()).unwrap_or_default());
            }
            FetchItem::Structure { extended } => structure::structure(out, raw, root, *extended),
            _ => {}
        }
    }
}

fn marks_seen(item: &FetchItem) -> bool {
    matches!(item, FetchItem::Content(content) if !content.peek)
}

fn needs_whole(item: &FetchItem) -> bool {
    match item {
        FetchItem::Envelope | FetchItem::Structure { .. } => true,
        FetchItem::Content(content) => {
            content.partial.is_none() || content.section != Section::default()
        }
        _ => false,
    }
}

/// `<start.length>`; beyond the end there is nothing.
fn cut(octets: &Bytes, partial: Option<(u32, u32)>) -> Bytes {
    let Some((start, length)) = partial else {
        return octets.clone();
    };
    let start = (start as usize).min(octets.len());
    let end = start.saturating_add(length as usize).min(octets.len());
    octets.slice(start..end)
}
