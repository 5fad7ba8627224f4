//! The header of a message from a client that cannot log in: whoever it says it is from, it is from one account, and what
//! RFC 6409 section 8 lets a submission server add is added.
//!
//! | field | rewritten | pinned |
//! |---|---|---|
//! | `From`, one address, the account's | passes as it is | passes as it is |
//! | `From`, anything else | the account's address under the first display name; the old addresses go into `Reply-To` if there is none and they can be replied to | refused |
//! | `From` once more | left out | refused |
//! | `From` missing or empty | added | added |
//! | `Sender` that is not the account | left out | refused |
//! | `Date`, `Message-ID` missing or empty | added | added |
//! | all others | pass octet for octet | pass octet for octet |
//!
//! Where the header ends is decided here, once for all: at an empty line, or before the first line that is no field. An
//! empty line is put there then, as Postfix does, so that no server further on reads a field that was not seen here. A
//! message that is signed (DKIM) is treated like any other: a signature is written by whoever sends, and must not buy
//! another sender. Whoever signs as the account itself loses nothing, since then nothing is rewritten.

mod mailbox;

use self::mailbox::{Mailbox, mailboxes};
use super::device::{Permit, Terms};
use crate::protocol::SenderRule;

/// Collects a header from canonical lines, whatever pieces they come in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    bytes: Vec<u8>,
    /// Where the last line begins, which is not known to be a part of it yet.
    line: usize,
}

/// A header that is complete.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its fields.
    pub fields: Vec<u8>,
    /// What was collected of the body.
    pub body: Vec<u8>,
    /// How much of the last piece was used up.
    pub taken: usize,
}

/// The header is longer than any that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// A sender that is not the account, where that is not borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign;

impl Collected {
    /// Looks at the next piece of the message; `None` until the header has ended.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<Whole>, TooLong> {
        let mut taken = 0;
        for part in piece.split_inclusive(|&b| b == b'\n') {
            taken += part.len();
            self.bytes.extend_from_slice(part);
            if self.bytes.len() > HEADER_MAX {
                return Err(TooLong);
            }
            if !part.ends_with(b"\n") {
                break;
            }
            let line = self.bytes.get(self.line..).unwrap_or_default();
            if line == b"\r\n" {
                return Ok(Some(self.end(2, taken)));
            }
            let goes_on = self.line > 0 && is_folded(line);
            if !goes_on && name(line).is_none() {
                return Ok(Some(self.end(0, taken)));
            }
            self.line = self.bytes.len();
        }
        Ok(None)
    }

    /// The header ended before the last line, of which `dropped` octets are its own end.
    fn end(&mut self, dropped: usize, taken: usize) -> Whole {
        let mut fields = std::mem::take(&mut self.bytes);
        let body = fields.split_off(self.line).split_off(dropped);
        Whole {
            fields,
            body,
            taken,
        }
    }
}

/// The header by the rules of `terms`, with the empty line behind it. `fields` are whole lines that end in CRLF.
pub fn rewrite(fields: &[u8], terms: &Terms, permit: &Permit) -> Result<Vec<u8>, Foreign> {
    let mut written = Written {
        terms,
        out: Vec::with_capacity(fields.len() + ADDED),
        has: Has::default(),
        replies_to: Vec::new(),
    };
    for field in Fields(fields) {
        written.field(field)?;
    }
    Ok(written.completed(permit))
}

struct Written<'a> {
    terms: &'a Terms,
    out: Vec<u8>,
    has: Has,
    /// Who was named in a `From` that was replaced.
    replies_to: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Has {
    from: bool,
    reply_to: bool,
    date: bool,
    message_id: bool,
}

impl Written<'_> {
    fn field(&mut self, field: &[u8]) -> Result<(), Foreign> {
        let name = name(field).unwrap_or_default().to_ascii_lowercase();
        let value = field.get(colon(field) + 1..).unwrap_or_default();
        let empty = value.trim_ascii().is_empty();
        match name.as_slice() {
            b"from" if empty => return Ok(()),
            b"from" => return self.from(field, value),
            b"sender" => return self.sender(field, value),
            b"date" | b"message-id" if empty => return Ok(()),
            b"date" => self.has.date = true,
            b"message-id" => self.has.message_id = true,
            b"reply-to" => self.has.reply_to = true,
            _ => {}
        }
        self.out.extend_from_slice(field);
        Ok(())
    }

    fn from(&mut self, field: &[u8], value: &[u8]) -> Result<(), Foreign> {
        let first = !std::mem::replace(&mut self.has.from, true);
        let named = mailboxes(value);
        if first && self.is_ours_alone(named.as_deref()) {
            self.out.extend_from_slice(field);
            return Ok(());
        }
        if self.terms.header == SenderRule::Pin {
            return Err(Foreign);
        }
        let named = named.unwrap_or_default();
        if first {
            let display = named.first().map(Mailbox::display).unwrap_or_default();
            self.out.extend_from_slice(b"From: ");
            self.out.extend_from_slice(&display);
            self.our_address();
        }
        for old in named.into_iter().filter(Mailbox::can_be_replied_to) {
            let same = |it: &Vec<u8>| it.eq_ignore_ascii_case(&old.address);
            if !self.replies_to.iter().any(same) {
                self.replies_to.push(old.address);
            }
        }
        Ok(())
    }

    fn sender(&mut self, field: &[u8], value: &[u8]) -> Result<(), Foreign> {
        if self.is_ours_alone(mailboxes(value).as_deref()) {
            self.out.extend_from_slice(field);
        } else if self.terms.header == SenderRule::Pin {
            return Err(Foreign);
        }
        Ok(())
    }

    fn is_ours_alone(&self, named: Option<&[Mailbox]>) -> bool {
        matches!(named, Some([only]) if only.is_plain() && self.terms.is_ours(&only.address))
    }

    fn our_address(&mut self) {
        self.out.push(b'<');
        self.out.extend_from_slice(self.terms.address.as_bytes());
        self.out.extend_from_slice(b">\r\n");
    }

    fn completed(mut self, permit: &Permit) -> Vec<u8> {
        if !self.has.from {
            self.out.extend_from_slice(b"From: ");
            self.our_address();
        }
        if !self.has.reply_to && !self.replies_to.is_empty() {
            self.replies_to.truncate(REPLY_TO_MAX);
            self.out.extend_from_slice(b"Reply-To: ");
            self.out
                .extend_from_slice(&self.replies_to.join(&b",\r\n "[..]));
            self.out.extend_from_slice(b"\r\n");
        }
        if !self.has.date {
            let line = format!("Date: {}\r\n", permit.date);
            self.out.extend_from_slice(line.as_bytes());
        }
        if !self.has.message_id {
            let line = format!("Message-ID: <{}>\r\n", permit.message_id);
            self.out.extend_from_slice(line.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
        self.out
    }
}

/// Each field with its folded lines.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut end = 0;
        for line in self.0.split_inclusive(|&b| b == b'\n') {
            if end > 0 && !is_folded(line) {
                break;
            }
            end += line.len();
        }
        let (field, rest) = self.0.split_at_checked(end).filter(|_| end > 0)?;
        self.0 = rest;
        Some(field)
    }
}

/// ```text
/// field-name = 1*ftext
/// ```
/// RFC 5322 section 2.2; section 4.5.1 lets white space stand before the colon. `None` where the line is no field.
fn name(line: &[u8]) -> Option<&[u8]> {
    let name = line.get(..colon(line))?;
    let end = name.iter().rposition(|b| !matches!(b, b' ' | b'\t'))?;
    let name = name.get(..=end)?;
    name.iter()
        .all(|b| (33..=126).contains(b))
        .then_some(name)
        .filter(|_| colon(line) < line.len())
}

/// Where the first colon is, or the end.
fn colon(line: &[u8]) -> usize {
    memchr::memchr(b':', line).unwrap_or(line.len())
}

fn is_folded(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// The longest header that is read: real ones have a few KiB, and Postfix cuts its own off at 100 KiB
/// (`header_size_limit`).
pub const HEADER_MAX: usize = 64 * 1024;

/// Old senders that are taken over into `Reply-To`: a device has one.
const REPLY_TO_MAX: usize = 5;

/// About what is added to a header that has nothing.
const ADDED: usize = 256;

#[cfg(test)]
mod tests;
