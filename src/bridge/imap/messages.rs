//! APPEND, STORE, COPY, MOVE and EXPUNGE: what changes messages. RFC 3501, RFC 4315, RFC 6851.

use time::OffsetDateTime;

use super::command::Append;
use super::selected::{Numbered, flags_response};
use super::sequence::{SequenceSet, compact};
use super::session::{Done, Failure, Session};
use crate::bridge::mailbox::{Copied, FlagChange, NewMessage, Uid};
use crate::bridge::wire::Stream;

impl<S: Stream> Session<'_, S> {
    pub(super) async fn append(&mut self, append: Append) -> Done {
        let message = NewMessage {
            flags: append.flags,
            internal_date: append.internal_date.unwrap_or_else(OffsetDateTime::now_utc),
            raw: append.message,
        };
        let placed = self
            .mailbox
            .append(&append.folder, message)
            .await
            .map_err(Failure::Target)?;
        Ok(format!(
            "OK [APPENDUID {} {}] APPEND completed",
            placed.uid_validity, placed.uid
        )
        .into())
    }

    pub(super) async fn store(
        &mut self,
        uid: bool,
        set: &SequenceSet,
        change: &FlagChange,
        silent: bool,
    ) -> Done {
        let mailbox = self.mailbox.clone();
        let selected = self.selected_writable()?;
        let picked = selected.pick(uid, set)?;
        let told = mailbox
            .store(&selected.folder, &uids(&picked), change)
            .await?;
        selected.know_flags(&told);
        let gone = told.len() < picked.len();
        if !silent {
            for numbered in &picked {
                let at = told.binary_search_by_key(&numbered.message.uid, |(uid, _)| *uid);
                if let Some((uid, flags)) = at.ok().and_then(|at| told.get(at)) {
                    let line = flags_response(numbered.number, *uid, flags);
                    self.wire.say_much(line.as_bytes()).await?;
                }
            }
        }
        if gone && !uid {
            return Err(Failure::Said(
                "NO [EXPUNGEISSUED] Some of these messages are gone",
            ));
        }
        Ok("OK STORE completed".into())
    }

    pub(super) async fn copy(
        &mut self,
        uid: bool,
        set: &SequenceSet,
        target: &str,
        moves: bool,
    ) -> Done {
        let mailbox = self.mailbox.clone();
        if !moves {
            let selected = self.selected()?;
            let picked = uids(&selected.pick(uid, set)?);
            let copied = mailbox.copy(&selected.folder, &picked, target).await;
            let copied = copied.map_err(Failure::Target)?;
            return Ok(format!("OK {}COPY completed", copy_uid(&copied)).into());
        }
        let selected = self.selected_writable()?;
        let picked = uids(&selected.pick(uid, set)?);
        let moved = mailbox.move_to(&selected.folder, &picked, target).await;
        let moved = moved.map_err(Failure::Target)?;
        // RFC 6851 section 4.3: before the EXPUNGE responses, which follow as the change of this folder.
        let code = copy_uid(&moved);
        if !code.is_empty() {
            self.wire.say(format!("* OK {code}Moved\r\n"));
        }
        Ok("OK MOVE completed".into())
    }

    /// The EXPUNGE responses follow as the change of this folder.
    pub(super) async fn expunge(&mut self, set: Option<SequenceSet>) -> Done {
        let mailbox = self.mailbox.clone();
        let selected = self.selected_writable()?;
        let named = match set {
            Some(set) => Some(uids(&selected.pick(true, &set)?)),
            None => None,
        };
        mailbox.expunge(&selected.folder, named.as_deref()).await?;
        Ok("OK EXPUNGE completed".into())
    }
}

pub(super) fn uids(picked: &[Numbered]) -> Vec<Uid> {
    picked.iter().map(|numbered| numbered.message.uid).collect()
}

/// `[COPYUID validity source target] `, or nothing where nothing was copied.
fn copy_uid(copied: &Copied) -> String {
    if copied.uids.is_empty() {
        return String::new();
    }
    format!(
        "[COPYUID {} {} {}] ",
        copied.uid_validity,
        compact(copied.uids.iter().map(|(source, _)| source.0)),
        compact(copied.uids.iter().map(|(_, target)| target.0)),
    )
}
