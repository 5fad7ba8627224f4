//! What FETCH asks for, RFC 3501 section 6.4.5.

use super::scan::{Expected, Scanner};

/// `fetch-att`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FetchItem {
    Envelope,
    Flags,
    InternalDate,
    Rfc822Size,
    Uid,
    /// `BODY` without extension data, or `BODYSTRUCTURE`.
    Structure {
        extended: bool,
    },
    /// `BODY[...]` and the old names for three of them.
    Content(Content),
}

/// Octets of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) section: Section,
    /// `<start.length>`
    pub(super) partial: Option<(u32, u32)>,
    /// Whether the message stays unread.
    pub(super) peek: bool,
    /// What the reply calls it: the client's own words, in capitals.
    pub(super) label: String,
}

/// `section-spec`: which part, and what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) path: Vec<u32>,
    pub(super) text: Option<SectionText>,
}

/// `section-text`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SectionText {
    Header,
    /// `HEADER.FIELDS` and, where `not`, `HEADER.FIELDS.NOT`.
    Fields {
        names: Vec<Vec<u8>>,
        not: bool,
    },
    Text,
    Mime,
}

/// What follows the sequence set: a macro, one item or a list of items.
pub(super) fn fetch_att(s: &mut Scanner<'_>) -> Result<Vec<FetchItem>, Expected> {
    if s.peek() == Some(b'(') {
        let items = s.list(item)?;
        if items.is_empty() {
            return Err(Expected("something to fetch"));
        }
        return Ok(items);
    }
    let structure = FetchItem::Structure { extended: false };
    let fast = [
        FetchItem::Flags,
        FetchItem::InternalDate,
        FetchItem::Rfc822Size,
    ];
    let mut word = s.clone();
    let macro_items = match word.keyword()?.as_str() {
        "FAST" => fast.to_vec(),
        "ALL" => [&fast[..], &[FetchItem::Envelope]].concat(),
        "FULL" => [&fast[..], &[FetchItem::Envelope, structure]].concat(),
        _ => return Ok(vec![item(s)?]),
    };
    *s = word;
    Ok(macro_items)
}

fn item(s: &mut Scanner<'_>) -> Result<FetchItem, Expected> {
    let name = s.keyword()?;
    Ok(match name.as_str() {
        "ENVELOPE" => FetchItem::Envelope,
        "FLAGS" => FetchItem::Flags,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822.SIZE" => FetchItem::Rfc822Size,
        "UID" => FetchItem::Uid,
        "BODYSTRUCTURE" => FetchItem::Structure { extended: true },
        "BODY" if s.peek() != Some(b'[') => FetchItem::Structure { extended: false },
        "BODY" => content(s, false)?,
        "BODY.PEEK" => content(s, true)?,
        "RFC822" => old(&name, None, false),
        "RFC822.HEADER" => old(&name, Some(SectionText::Header), true),
        "RFC822.TEXT" => old(&name, Some(SectionText::Text), false),
        _ => return Err(Expected("a fetch item")),
    })
}

fn old(label: &str, text: Option<SectionText>, peek: bool) -> FetchItem {
    let section = Section {
        path: Vec::new(),
        text,
    };
    FetchItem::Content(Content {
        section,
        partial: None,
        peek,
        label: label.to_owned(),
    })
}

/// `section ["<" number "." nz-number ">"]`
fn content(s: &mut Scanner<'_>, peek: bool) -> Result<FetchItem, Expected> {
    s.expect("[")?;
    let section = section_spec(s)?;
    s.expect("]")?;
    let mut label = format!("BODY[{}]", section.label());
    let mut partial = None;
    if s.accept("<") {
        let start = s.number()?;
        s.expect(".")?;
        let length = s.number()?;
        s.expect(">")?;
        label.push_str(&format!("<{start}>"));
        partial = Some((start, length));
    }
    Ok(FetchItem::Content(Content {
        section,
        partial,
        peek,
        label,
    }))
}

/// `section-spec = section-msgtext / (section-part ["." section-text])`
fn section_spec(s: &mut Scanner<'_>) -> Result<Section, Expected> {
    let mut path = Vec::new();
    while s.peek().is_some_and(|b| b.is_ascii_digit()) {
        let number = s.number()?;
        if number == 0 || path.len() >= PATH_MAX {
            return Err(Expected("the number of a part"));
        }
        path.push(number);
        if !s.accept(".") {
            return Ok(Section { path, text: None });
        }
    }
    if s.peek() == Some(b']') && path.is_empty() {
        return Ok(Section::default());
    }
    let text = Some(section_text(s, !path.is_empty())?);
    Ok(Section { path, text })
}

/// `section-msgtext`, and `MIME` behind a part number.
fn section_text(s: &mut Scanner<'_>, of_part: bool) -> Result<SectionText, Expected> {
    match s.keyword()?.as_str() {
        "HEADER" => Ok(SectionText::Header),
        "TEXT" => Ok(SectionText::Text),
        "MIME" if of_part => Ok(SectionText::Mime),
        fields @ ("HEADER.FIELDS" | "HEADER.FIELDS.NOT") => {
            let not = fields.ends_with("NOT");
            s.sp()?;
            let names = s.list(|s| s.astring().map(std::borrow::Cow::into_owned))?;
            if names.is_empty() {
                return Err(Expected("the name of a header field"));
            }
            Ok(SectionText::Fields { names, not })
        }
        _ => Err(Expected("HEADER, TEXT or MIME")),
    }
}

impl Section {
    fn label(&self) -> String {
        let mut words: Vec<String> = self.path.iter().map(u32::to_string).collect();
        match &self.text {
            None => {}
            Some(SectionText::Header) => words.push("HEADER".into()),
            Some(SectionText::Text) => words.push("TEXT".into()),
            Some(SectionText::Mime) => words.push("MIME".into()),
            Some(SectionText::Fields { names, not }) => {
                let names: Vec<_> = names.iter().map(|name| field_label(name)).collect();
                let not = if *not { ".NOT" } else { "" };
                words.push(format!("HEADER.FIELDS{not} ({})", names.join(" ")));
            }
        }
        words.join(".")
    }
}

/// A field name as it goes back: an atom where it is one, else quoted with what cannot be quoted replaced.
fn field_label(name: &[u8]) -> String {
    let is_atom = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let text: String = name
        .iter()
        .map(|&b| match b {
            b'"' | b'\\' => '?',
            b' '..=b'~' => char::from(b).to_ascii_uppercase(),
            _ => '?',
        })
        .collect();
    if !name.is_empty() && name.iter().all(is_atom) {
        text
    } else {
        format!("\"{text}\"")
    }
}

/// Levels of a part number; `mime` goes no deeper either.
const PATH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<FetchItem>, Expected> {
        let mut s = Scanner::new(text.as_bytes());
        let items = fetch_att(&mut s)?;
        s.end()?;
        Ok(items)
    }

    fn label(text: &str) -> String {
        match parse(text).unwrap().remove(0) {
            FetchItem::Content(content) => content.label,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn macros_are_what_they_stand_for() {
        assert_eq!(
            parse("fast").unwrap(),
            parse("(FLAGS INTERNALDATE RFC822.SIZE)").unwrap()
        );
        assert_eq!(
            parse("FULL").unwrap(),
            parse("(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY)").unwrap()
        );
    }

    #[test]
    fn replies_name_the_section_without_peek_and_length() {
        assert_eq!(label("BODY.PEEK[1.2.MIME]<0.100>"), "BODY[1.2.MIME]<0>");
        assert_eq!(
            label("body[header.fields (from \"x y\")]"),
            "BODY[HEADER.FIELDS (FROM \"X Y\")]"
        );
        assert_eq!(label("BODY[]"), "BODY[]");
        assert_eq!(label("RFC822.TEXT"), "RFC822.TEXT");
    }

    #[test]
    fn impossible_sections_are_refused() {
        for bad in [
            "BODY[MIME]",
            "BODY[0]",
            "BODY[1.]",
            "BODY[1",
            "BODY[]<1>",
            "BODY[HEADER.FIELDS ()]",
            "()",
            "ALL FAST",
            "BODY[1.2.X]",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let deep = format!("BODY[{}1]", "1.".repeat(PATH_MAX));
        assert!(parse(&deep).is_err());
    }
}
