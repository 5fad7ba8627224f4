//! ENVELOPE, RFC 3501 section 7.4.2: the header's fields as they were sent, not decoded.

use super::say::nstring;
use crate::bridge::address::{self, Entry};
use crate::bridge::mime;

/// Appends the envelope made from `header`.
pub(super) fn envelope(out: &mut Vec<u8>, header: &[u8]) {
    let text = |name| mime::field_value(header, name);
    let from = addresses(header, "From");
    // An absent or empty Sender or Reply-To is told as From.
    let or_from = |name| Some(addresses(header, name)).filter(|list| !list.is_empty());
    let sender = or_from("Sender").unwrap_or_else(|| from.clone());
    let reply_to = or_from("Reply-To").unwrap_or_else(|| from.clone());
    out.push(b'(');
    nstring(out, text("Date").as_deref());
    out.push(b' ');
    nstring(out, text("Subject").as_deref());
    let (to, cc, bcc) = (
        addresses(header, "To"),
        addresses(header, "Cc"),
        addresses(header, "Bcc"),
    );
    for list in [&from, &sender, &reply_to, &to, &cc, &bcc] {
        out.push(b' ');
        address_list(out, list);
    }
    out.push(b' ');
    nstring(out, text("In-Reply-To").as_deref());
    out.push(b' ');
    nstring(out, text("Message-ID").as_deref());
    out.push(b')');
}

/// All fields of that name together; the standard allows one, programs make several.
fn addresses(header: &[u8], name: &str) -> Vec<Entry> {
    mime::fields(header)
        .filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
        .flat_map(|field| address::parse(&field.unfolded()))
        .collect()
}

/// `"(" 1*address ")" / nil`
fn address_list(out: &mut Vec<u8>, list: &[Entry]) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for entry in list {
        match entry {
            Entry::Mailbox(one) => address(
                out,
                one.name.as_deref(),
                Some(&one.local),
                // A NIL host would start a group; an address without a domain gets an empty one.
                Some(one.domain.as_deref().unwrap_or_default()),
            ),
            Entry::GroupStart(name) => address(out, None, Some(name), None),
            Entry::GroupEnd => address(out, None, None, None),
        }
    }
    out.push(b')');
}

/// `"(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"`
fn address(out: &mut Vec<u8>, name: Option<&[u8]>, local: Option<&[u8]>, host: Option<&[u8]>) {
    out.push(b'(');
    nstring(out, name);
    out.extend_from_slice(b" NIL ");
    nstring(out, local);
    out.push(b' ');
    nstring(out, host);
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::envelope;

    #[test]
    fn senders_default_to_from_and_groups_have_marks() {
        let mut out = Vec::new();
        envelope(
            &mut out,
            b"From: A <a@x>\r\nTo: G: b@y;\r\nSubject: =?utf-8?q?x?=\r\n y\r\nReply-To:\r\n\r\n",
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"(NIL "=?utf-8?q?x?= y" (("A" NIL "a" "x")) (("A" NIL "a" "x")) (("A" NIL "a" "x")) "#
                .to_owned()
                + r#"((NIL NIL "G" NIL)(NIL NIL "b" "y")(NIL NIL NIL NIL)) NIL NIL NIL NIL)"#
        );
    }
}
