//! Strings in replies, RFC 3501 section 9, and the words for an error of the mailbox.

use crate::bridge::mailbox::{Flags, MailboxError};

/// `string`: quoted where it can be, a literal where it cannot.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    let quotable = text.len() <= QUOTED_MAX && text.iter().all(|b| matches!(b, b' '..=b'~'));
    if !quotable {
        out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &b in text {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
}

/// `nstring`
pub(super) fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// A mailbox name: always quoted; modified UTF-7 is printable.
pub(super) fn mailbox(name: &str) -> String {
    let mut out = Vec::new();
    string(&mut out, super::names::encode(name).as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// `"(" [flag *(SP flag)] ")"`
pub(super) fn flags(flags: &Flags) -> String {
    let names: Vec<&str> = flags.iter().map(|flag| flag.name()).collect();
    format!("({})", names.join(" "))
}

/// What follows the tag when the mailbox did not do it. `target` is whether the folder in question is one that
/// something goes into: a program then offers to make it.
pub(super) fn refusal(error: &MailboxError, target: bool) -> &'static str {
    match error {
        MailboxError::NoSuchFolder if target => "NO [TRYCREATE] No such folder",
        MailboxError::NoSuchFolder => "NO [NONEXISTENT] No such folder",
        MailboxError::FolderExists => "NO [ALREADYEXISTS] The folder exists already",
        MailboxError::NotPossible => "NO [CANNOT] Not possible with this folder",
        MailboxError::MessageGone => "NO [EXPUNGEISSUED] Some of these messages are gone",
        MailboxError::TooLarge => "NO [TOOBIG] The message is too large",
        MailboxError::OverQuota => "NO [OVERQUOTA] The mailbox is full",
        MailboxError::AddressRefused => "NO [CANNOT] Address refused",
        MailboxError::Unavailable(_) => "NO [UNAVAILABLE] The mailbox cannot be reached now",
    }
}

/// Above this a literal: programs of the nineties read quoted strings into fixed buffers.
const QUOTED_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_quoted_is_a_literal() {
        let of = |text: &[u8]| {
            let mut out = Vec::new();
            string(&mut out, text);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(of(b"a \"b\\"), r#""a \"b\\""#);
        assert_eq!(of("\u{e4}".as_bytes()), "{2}\r\n\u{e4}");
        assert_eq!(of(b"a\r\nb"), "{4}\r\na\r\nb");
        assert!(of(&[b'x'; QUOTED_MAX + 1]).starts_with("{1001}\r\n"));
    }
}
