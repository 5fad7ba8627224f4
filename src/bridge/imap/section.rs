//! The octets a `BODY[...]` section names, RFC 3501 section 6.4.5.

use std::borrow::Cow;

use super::fetch_item::{Section, SectionText};
use crate::bridge::mime::{self, Content, Part};

/// The octets of `section`; `None` where the message has no such part.
pub(super) fn octets<'a>(raw: &'a [u8], root: &Part, section: &Section) -> Option<Cow<'a, [u8]>> {
    let slice = |range: &std::ops::Range<usize>| Some(Cow::Borrowed(raw.get(range.clone())?));
    if section.path.is_empty() {
        return match &section.text {
            None => Some(Cow::Borrowed(raw)),
            Some(SectionText::Text) => slice(&root.body),
            Some(text) => header(raw, root, text),
        };
    }
    let part = find(root, &section.path)?;
    match (&section.text, &part.content) {
        (None, _) => slice(&part.body),
        (Some(SectionText::Mime), _) => slice(&part.header),
        // HEADER and TEXT of a part are those of the message inside it.
        (Some(SectionText::Text), Content::Message(inner)) => slice(&inner.body),
        (Some(text), Content::Message(inner)) => header(raw, inner, text),
        _ => None,
    }
}

/// Part numbers count from 1 at each level; a message that is no multipart is its own part 1.
fn find<'p>(root: &'p Part, path: &[u32]) -> Option<&'p Part> {
    let mut part = root;
    for (level, &number) in path.iter().enumerate() {
        let container = match &part.content {
            Content::Message(inner) if level > 0 => inner,
            _ => part,
        };
        part = match &container.content {
            Content::Multipart(parts) => {
                parts.get(usize::try_from(number).ok()?.checked_sub(1)?)?
            }
            _ if number == 1 && (level == 0 || !std::ptr::eq(container, part)) => container,
            _ => return None,
        };
    }
    Some(part)
}

fn header<'a>(raw: &'a [u8], part: &Part, text: &SectionText) -> Option<Cow<'a, [u8]>> {
    let header = raw.get(part.header.clone())?;
    let SectionText::Fields { names, not } = text else {
        return Some(Cow::Borrowed(header));
    };
    let mut chosen = Vec::new();
    for field in mime::fields(header) {
        let named = names
            .iter()
            .any(|name| field.name.eq_ignore_ascii_case(name));
        if named != *not {
            chosen.extend_from_slice(field.raw);
        }
    }
    // A field at the very end of a message may lack its line end.
    if !chosen.is_empty() && !chosen.ends_with(b"\n") {
        chosen.extend_from_slice(b"\r\n");
    }
    chosen.extend_from_slice(b"\r\n");
    Some(Cow::Owned(chosen))
}

#[cfg(test)]
mod tests {
    use super::super::fetch_item::{FetchItem, fetch_att};
    use super::super::scan::Scanner;
    use super::*;

    const RAW: &str = "Subject: out\r\nX: y\r\n z\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
        Content-Type: text/plain\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\
        Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nplain\r\n--c\r\nContent-Type: text/html\r\n\r\n\
        html\r\n--c--\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: single\r\n\r\nalone\r\n--b--\r\n";

    fn get(raw: &str, item: &str) -> Option<String> {
        let item = format!("BODY[{item}]");
        let items = fetch_att(&mut Scanner::new(item.as_bytes())).unwrap();
        let [FetchItem::Content(content)] = &items[..] else {
            panic!("{items:?}")
        };
        let root = mime::parse(raw.as_bytes());
        octets(raw.as_bytes(), &root, &content.section)
            .map(|octets| String::from_utf8(octets.into_owned()).unwrap())
    }

    #[test]
    fn sections_of_nested_messages() {
        let of = |item| get(RAW, item);
        assert_eq!(of("").as_deref(), Some(RAW));
        assert_eq!(of("1").as_deref(), Some("one"));
        assert_eq!(
            of("1.MIME").as_deref(),
            Some("Content-Type: text/plain\r\n\r\n")
        );
        assert_eq!(of("2.1").as_deref(), Some("plain"));
        assert_eq!(of("2.2").as_deref(), Some("html"));
        assert_eq!(
            of("2.HEADER.FIELDS (subject)").as_deref(),
            Some("Subject: in\r\n\r\n")
        );
        assert_eq!(of("3.1").as_deref(), Some("alone"));
        assert_eq!(of("3.TEXT").as_deref(), Some("alone"));
        for none in ["4", "1.1", "1.TEXT", "2.3", "3.1.1", "3.2"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn header_fields_keep_their_folding() {
        assert_eq!(
            get(RAW, "HEADER.FIELDS (x)").as_deref(),
            Some("X: y\r\n z\r\n\r\n")
        );
        assert_eq!(get(RAW, "HEADER.FIELDS (none)").as_deref(), Some("\r\n"));
        assert_eq!(
            get(RAW, "HEADER.FIELDS.NOT (x content-type)").as_deref(),
            Some("Subject: out\r\n\r\n")
        );
    }

    #[test]
    fn a_message_without_parts_is_its_own_part_one() {
        assert_eq!(get("A: b\r\n\r\ntext", "1").as_deref(), Some("text"));
        assert_eq!(get("A: b\r\n\r\ntext", "2"), None);
    }
}
