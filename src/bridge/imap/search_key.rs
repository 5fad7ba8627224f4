//! What SEARCH looks for, RFC 3501 section 6.4.4.

use time::Date;

use super::date;
use super::scan::{Expected, Scanner};
use super::sequence::SequenceSet;
use crate::bridge::mailbox::Flag;

/// A search: the keys all apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// Whether the charset asked for is one we know.
    pub(super) charset_known: bool,
    pub(super) key: SearchKey,
}

/// `search-key`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SearchKey {
    All,
    Flag(Flag),
    /// `RECENT` and `NEW`: nothing is ever recent here.
    Never,
    Larger(u32),
    Smaller(u32),
    /// By the day it arrived.
    Arrived(Day),
    /// By the day its `Date` field says.
    Sent(Day),
    /// Text in a header field; an empty text is in every message that has the field.
    Header {
        field: Vec<u8>,
        text: String,
    },
    /// Text in the body.
    Body(String),
    /// Text in the header or the body.
    Text(String),
    Uid(SequenceSet),
    Sequence(SequenceSet),
    Not(Box<Self>),
    Or(Box<Self>, Box<Self>),
    And(Vec<Self>),
}

/// A day compared with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Day {
    Before(Date),
    On(Date),
    Since(Date),
}

impl Day {
    pub(super) fn fits(self, date: Date) -> bool {
        match self {
            Self::Before(day) => date < day,
            Self::On(day) => date == day,
            Self::Since(day) => date >= day,
        }
    }
}

/// `[SP "CHARSET" SP astring] 1*(SP search-key)`
pub(super) fn search(s: &mut Scanner<'_>) -> Result<Search, Expected> {
    let mut charset_known = true;
    if s.accept("CHARSET ") {
        let charset = s.astring()?;
        charset_known = ["US-ASCII", "UTF-8"]
            .iter()
            .any(|known| charset.eq_ignore_ascii_case(known.as_bytes()));
        s.sp()?;
    }
    let mut keys = vec![search_key(s, 0)?];
    while s.peek() == Some(b' ') {
        s.sp()?;
        // quirk: a space at the end.
        if s.peek().is_none() {
            break;
        }
        keys.push(search_key(s, 0)?);
    }
    Ok(Search {
        charset_known,
        key: SearchKey::And(keys),
    })
}

fn search_key(s: &mut Scanner<'_>, depth: usize) -> Result<SearchKey, Expected> {
    if depth > DEPTH_MAX {
        return Err(Expected("a search that is not nested this deep"));
    }
    match s.peek() {
        Some(b'(') => return s.list(|s| search_key(s, depth + 1)).map(SearchKey::And),
        Some(b'0'..=b'9' | b'*') => return SequenceSet::parse(s).map(SearchKey::Sequence),
        _ => {}
    }
    let name = s.keyword()?;
    if let Some(key) = flag_key(&name) {
        return Ok(key);
    }
    if name == "ALL" {
        return Ok(SearchKey::All);
    }
    s.sp()?;
    match name.as_str() {
        "NOT" => Ok(not(search_key(s, depth + 1)?)),
        "OR" => {
            let left = search_key(s, depth + 1)?;
            s.sp()?;
            let right = search_key(s, depth + 1)?;
            Ok(SearchKey::Or(Box::new(left), Box::new(right)))
        }
        name => key_with_argument(s, name),
    }
}

fn key_with_argument(s: &mut Scanner<'_>, name: &str) -> Result<SearchKey, Expected> {
    Ok(match name {
        "KEYWORD" => SearchKey::Flag(Flag::Keyword(s.flag()?.to_owned())),
        "UNKEYWORD" => not(SearchKey::Flag(Flag::Keyword(s.flag()?.to_owned()))),
        "LARGER" => SearchKey::Larger(s.number()?),
        "SMALLER" => SearchKey::Smaller(s.number()?),
        "BEFORE" => SearchKey::Arrived(Day::Before(date::date(s)?)),
        "ON" => SearchKey::Arrived(Day::On(date::date(s)?)),
        "SINCE" => SearchKey::Arrived(Day::Since(date::date(s)?)),
        "SENTBEFORE" => SearchKey::Sent(Day::Before(date::date(s)?)),
        "SENTON" => SearchKey::Sent(Day::On(date::date(s)?)),
        "SENTSINCE" => SearchKey::Sent(Day::Since(date::date(s)?)),
        "BODY" => SearchKey::Body(text(s)?),
        "TEXT" => SearchKey::Text(text(s)?),
        "UID" => SearchKey::Uid(SequenceSet::parse(s)?),
        "HEADER" => {
            let field = s.astring()?.into_owned();
            s.sp()?;
            SearchKey::Header {
                field,
                text: text(s)?,
            }
        }
        "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => SearchKey::Header {
            field: name.as_bytes().to_vec(),
            text: text(s)?,
        },
        _ => return Err(Expected("a search key")),
    })
}

fn flag_key(name: &str) -> Option<SearchKey> {
    let flag = |name| match name {
        "ANSWERED" => Some(Flag::Answered),
        "DELETED" => Some(Flag::Deleted),
        "DRAFT" => Some(Flag::Draft),
        "FLAGGED" => Some(Flag::Flagged),
        "SEEN" => Some(Flag::Seen),
        _ => None,
    };
    match name {
        "OLD" => Some(SearchKey::All),
        "RECENT" | "NEW" => Some(SearchKey::Never),
        name => flag(name)
            .map(SearchKey::Flag)
            .or_else(|| flag(name.strip_prefix("UN")?).map(|flag| not(SearchKey::Flag(flag)))),
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

/// What to look for, in lower case. quirk: text without CHARSET is read as UTF-8, which programs send all the same.
fn text(s: &mut Scanner<'_>) -> Result<String, Expected> {
    Ok(String::from_utf8_lossy(&s.astring()?).to_lowercase())
}

/// Levels of NOT, OR and parentheses: PROTOCOL C.2, a stack is not unbounded.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SearchKey, Expected> {
        search(&mut Scanner::new(text.as_bytes())).map(|search| search.key)
    }

    #[test]
    fn keys_nest() {
        let seen = || SearchKey::Flag(Flag::Seen);
        assert_eq!(
            parse("OR (SEEN 1:2) NOT UNSEEN larger 5"),
            Ok(SearchKey::And(vec![
                SearchKey::Or(
                    Box::new(SearchKey::And(vec![seen(), parse_one("1:2")])),
                    Box::new(not(not(seen()))),
                ),
                SearchKey::Larger(5),
            ]))
        );
    }

    fn parse_one(text: &str) -> SearchKey {
        search_key(&mut Scanner::new(text.as_bytes()), 0).unwrap()
    }

    #[test]
    fn an_unknown_charset_is_noticed_and_not_an_error() {
        let of = |text: &str| {
            search(&mut Scanner::new(text.as_bytes()))
                .unwrap()
                .charset_known
        };
        assert!(of("CHARSET utf-8 SUBJECT \"\u{e4}\"") && !of("CHARSET KOI8-R ALL"));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(&"NOT ".repeat(100_000)).is_err());
        assert!(parse(&"(".repeat(100_000)).is_err());
        assert!(parse(&format!("{}SEEN", "NOT ".repeat(20))).is_ok());
    }

    #[test]
    fn what_is_no_key_is_an_error() {
        for bad in [
            "", "FOO", "NOT", "OR SEEN", "BEFORE 1", "(SEEN", "HEADER x", "UNALL", "UID",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
