//! The mailbox's first messages: few, and each with something that mail programs or proxies have stumbled over.

use bytes::Bytes;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::bridge::mailbox::{Flag, Flags, INBOX, Mailbox, MailboxError, NewMessage, SpecialUse};
use crate::bridge::memory::MemoryMailbox;

/// The mailbox with its folders and messages.
pub(super) async fn mailbox() -> Result<MemoryMailbox, MailboxError> {
    let mailbox = MemoryMailbox::new();
    for (name, special_use) in [
        ("Archiv/2025", None),
        ("Entw\u{fc}rfe", Some(SpecialUse::Drafts)),
        ("Sent", Some(SpecialUse::Sent)),
        ("Trash", Some(SpecialUse::Trash)),
    ] {
        mailbox.add_folder(name, special_use);
    }
    let mut arrived = datetime!(2026-01-05 08:30 UTC);
    for (folder, flags, text) in MESSAGES {
        let message = NewMessage {
            flags: flags.iter().cloned().collect::<Flags>(),
            internal_date: arrived,
            raw: crlf(text),
        };
        mailbox.append(folder, message).await?;
        arrived = next(arrived);
    }
    Ok(mailbox)
}

/// A day and a bit later, so that no two arrive at the same time of day.
fn next(at: OffsetDateTime) -> OffsetDateTime {
    at + Duration::minutes(24 * 60 + 97)
}

/// The text files have LF, mail has CRLF.
fn crlf(text: &'static [u8]) -> Bytes {
    let mut raw = Vec::with_capacity(text.len() + text.len() / 20);
    for line in text.split_inclusive(|&b| b == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                raw.extend_from_slice(line);
                raw.extend_from_slice(b"\r\n");
            }
            None => raw.extend_from_slice(line),
        }
    }
    raw.into()
}

type Seed = (&'static str, &'static [Flag], &'static [u8]);

const MESSAGES: &[Seed] = &[
    (INBOX, &[Flag::Seen], include_bytes!("seed/plain.eml")),
    (
        INBOX,
        &[Flag::Seen, Flag::Answered],
        include_bytes!("seed/attachment.eml"),
    ),
    (INBOX, &[Flag::Flagged], include_bytes!("seed/utf8.eml")),
    (INBOX, &[], include_bytes!("seed/dots.eml")),
    (INBOX, &[], include_bytes!("seed/alternative.eml")),
    (INBOX, &[], include_bytes!("seed/capability.eml")),
    ("Sent", &[Flag::Seen], include_bytes!("seed/sent.eml")),
    (
        "Entw\u{fc}rfe",
        &[Flag::Seen, Flag::Draft],
        include_bytes!("seed/draft.eml"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::mime::{self, Content};

    #[test]
    fn every_message_is_what_it_is_there_for() {
        let find = |needle: &str| {
            let found = MESSAGES
                .iter()
                .map(|(_, _, text)| crlf(text))
                .find(|raw| memchr::memmem::find(raw, needle.as_bytes()).is_some());
            found.unwrap_or_else(|| panic!("no message with {needle}"))
        };
        find("\r\n.\r\n");
        find("\r\nA1 OK [CAPABILITY");
        find("\r\n* CAPABILITY");
        find("Gr\u{fc}\u{df}e");
        let structure = |raw: &[u8]| match mime::parse(raw).content {
            Content::Multipart(parts) => parts.len(),
            _ => 0,
        };
        assert_eq!(structure(&find("multipart/mixed")), 2);
        assert_eq!(structure(&find("multipart/alternative")), 2);
        assert!(MESSAGES.iter().all(|(_, _, text)| !text.contains(&b'\r')));
    }
}
