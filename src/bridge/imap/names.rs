//! Folder names: modified UTF-7 (RFC 3501 section 5.1.3) to and from UTF-8, and the patterns of LIST.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::bridge::mailbox::{INBOX, SEPARATOR};

/// UTF-8 of a name on the wire; `None` where it is no modified UTF-7. `INBOX` has no case, and a separator at the end
/// only says that the folder may have others below it.
pub(super) fn decode(wire: &[u8]) -> Option<String> {
    let mut name = decode_pattern(wire)?;
    if name.len() > 1 && name.ends_with(SEPARATOR) {
        name.pop();
    }
    Some(name)
}

/// The same for the reference and the pattern of LIST, where a separator at the end counts.
///
/// quirk: raw UTF-8 is taken as it is, mobile programs send it without having asked.
pub(super) fn decode_pattern(wire: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(wire).ok()?;
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        name.push_str(plain);
        let (code, behind) = shifted.split_once('-')?;
        if code.is_empty() {
            name.push('&');
        } else {
            name.push_str(&decode_shifted(code)?);
        }
        rest = behind;
    }
    name.push_str(rest);
    Some(canonical(name))
}

/// The name as it goes over the wire, unquoted.
pub(super) fn encode(name: &str) -> String {
    let mut wire = String::with_capacity(name.len());
    let mut units: Vec<u8> = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            shift(&mut wire, &mut units);
            wire.push(c);
            if c == '&' {
                wire.push('-');
            }
        } else {
            let mut pair = [0; 2];
            for unit in c.encode_utf16(&mut pair) {
                units.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    shift(&mut wire, &mut units);
    wire
}

/// Whether `name` fits a LIST pattern: `*` is anything, `%` anything within one level. Both are UTF-8.
///
/// Follows all readings of the pattern at once, so that one of many stars costs no more than pattern times name.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    // What the pattern has matched so far, as the set of places in the pattern where it may stand.
    let mut places = vec![false; pattern.len() + 1];
    if let Some(first) = places.first_mut() {
        *first = true;
    }
    skip_wildcards(&pattern, &mut places);
    for c in name.chars() {
        let mut next = vec![false; places.len()];
        for (at, wanted) in pattern.iter().enumerate() {
            if places.get(at) != Some(&true) {
                continue;
            }
            let (stays, goes) = match wanted {
                '*' => (true, false),
                '%' => (c != SEPARATOR, false),
                wanted => (false, *wanted == c),
            };
            if let Some(place) = next.get_mut(at) {
                *place |= stays;
            }
            if let Some(place) = next.get_mut(at + 1) {
                *place |= goes;
            }
        }
        skip_wildcards(&pattern, &mut next);
        places = next;
    }
    places.last() == Some(&true)
}

/// A wildcard may match nothing.
fn skip_wildcards(pattern: &[char], places: &mut [bool]) {
    for (at, wanted) in pattern.iter().enumerate() {
        if matches!(wanted, '*' | '%')
            && places.get(at) == Some(&true)
            && let Some(next) = places.get_mut(at + 1)
        {
            *next = true;
        }
    }
}

/// `INBOX` in capitals, also as the first level of a longer name.
fn canonical(mut name: String) -> String {
    let first = name.split(SEPARATOR).next().unwrap_or_default();
    if first.eq_ignore_ascii_case(INBOX) {
        name.replace_range(..INBOX.len(), INBOX);
    }
    name
}

fn decode_shifted(code: &str) -> Option<String> {
    let octets = BASE64.decode(code).ok()?;
    let (units, odd) = octets.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    let units = units.iter().map(|pair| u16::from_be_bytes(*pair));
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

fn shift(wire: &mut String, units: &mut Vec<u8>) {
    if !units.is_empty() {
        wire.push('&');
        BASE64.encode_string(&*units, wire);
        wire.push('-');
        units.clear();
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_field() {
        for (utf8, wire) in [
            ("Entw\u{fc}rfe", "Entw&APw-rfe"),
            ("Gel\u{f6}schte Elemente", "Gel&APY-schte Elemente"),
            ("A&B", "A&-B"),
            (
                "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}",
                "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
            ),
            ("\u{1f600}", "&2D3eAA-"),
        ] {
            assert_eq!(encode(utf8), wire);
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(utf8));
        }
        assert_eq!(decode(b"inbox/x/").as_deref(), Some("INBOX/x"));
        assert_eq!(decode(b"inboxes").as_deref(), Some("inboxes"));
        for broken in [&b"&APw"[..], b"&?-", b"&AP-", b"&2D0-", b"\xff"] {
            assert_eq!(decode(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn patterns() {
        assert!(matches("*", "a/b") && matches("%", "a") && !matches("%", "a/b"));
        assert!(matches("a/%", "a/b") && !matches("a/%", "a/b/c") && matches("*%", "a/b"));
        assert!(matches("*b*d", "abcd") && !matches("*b*d", "abc") && matches("", ""));
        assert!(!matches(&"*a".repeat(500), &"a".repeat(499)));
    }

    proptest! {
        #[test]
        fn encoding_is_undone_by_decoding(name in "[^/]{1,20}") {
            let back = decode(encode(&name).as_bytes()).unwrap();
            prop_assert!(back == name || name.eq_ignore_ascii_case("inbox"));
        }
    }
}
