//! Where the parts of a message are, RFC 2045 and RFC 2046: ranges of its octets, nothing decoded.
//!
//! Made for answering IMAP's BODYSTRUCTURE and `BODY[1.2]`, which want the octets as they were sent. Never fails: what
//! is no valid MIME is text. Depth and number of parts are bounded.

use std::ops::Range;

/// A message, or one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The header with the blank line behind it.
    pub header: Range<usize>,
    /// What follows the header.
    pub body: Range<usize>,
    /// Its Content-Type.
    pub media: Media,
    /// What is inside.
    pub content: Content,
}

/// What is inside a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Octets.
    Leaf,
    /// `multipart/*`, at least one part.
    Multipart(Vec<Part>),
    /// `message/rfc822`.
    Message(Box<Part>),
}

/// A Content-Type, or another field of the same form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// `text`, or `attachment` in a Content-Disposition. Lower case.
    pub kind: String,
    /// `plain`; empty where the field has none. Lower case.
    pub subtype: String,
    /// Names in lower case with their values, unquoted.
    pub params: Vec<(String, Vec<u8>)>,
}

impl Media {
    /// The value of a parameter.
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        self.params
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_slice())
    }

    /// `type ["/" subtype] *(";" name "=" value)`, RFC 2045 section 5.1, comments left out.
    pub fn parse(value: &[u8]) -> Self {
        let mut pieces = split_unquoted(value, b';').into_iter();
        let first = pieces.next().unwrap_or_default();
        let first = String::from_utf8_lossy(&first).trim().to_ascii_lowercase();
        let (kind, subtype) = first.split_once('/').unwrap_or((&first, ""));
        let params = pieces.take(PARAMS_MAX).filter_map(|piece| {
            let at = memchr::memchr(b'=', &piece)?;
            let (name, value) = piece.split_at_checked(at)?;
            let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
            let value = unquote(value.strip_prefix(b"=")?.trim_ascii());
            (!name.is_empty()).then_some((name, value))
        });
        Self {
            kind: kind.trim().to_owned(),
            subtype: subtype.trim().to_owned(),
            params: params.collect(),
        }
    }

    fn text_plain() -> Self {
        Self::parse(b"text/plain; charset=us-ascii")
    }
}

/// The structure of `raw`.
pub fn parse(raw: &[u8]) -> Part {
    let mut budget = PARTS_MAX;
    part(raw, 0..raw.len(), 0, &mut budget, Media::text_plain)
}

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// As it stands there.
    pub name: &'a [u8],
    /// Behind the colon, folded, with its line end.
    pub value: &'a [u8],
    /// All of it.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// The value on one line, without the spaces around it.
    pub fn unfolded(&self) -> Vec<u8> {
        let line: Vec<u8> = self
            .value
            .iter()
            .copied()
            .filter(|b| !matches!(b, b'\r' | b'\n'))
            .collect();
        line.trim_ascii().to_vec()
    }
}

/// The fields of a header, in order. Lines that are no field are left out.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let (raw, behind) = rest.split_at_checked(field_length(rest))?;
            rest = behind;
            if let Some(field) = field(raw) {
                return Some(field);
            }
        }
    })
}

/// The first field called `name`, on one line.
pub fn field_value(header: &[u8], name: &str) -> Option<Vec<u8>> {
    fields(header)
        .find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
        .map(|field| field.unfolded())
}

fn field(raw: &[u8]) -> Option<Field<'_>> {
    let colon = memchr::memchr(b':', raw)?;
    let (name, value) = raw.split_at_checked(colon)?;
    let name = name.trim_ascii_end();
    let valid = !name.is_empty() && name.iter().all(|b| matches!(b, b'!'..=b'~'));
    valid.then_some(Field {
        name,
        value: value.strip_prefix(b":").unwrap_or_default(),
        raw,
    })
}

/// Up to and including the line end that no space or tab follows.
fn field_length(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes)
        .map(|at| at + 1)
        .find(|next| !matches!(bytes.get(*next), Some(b' ' | b'\t')))
        .unwrap_or(bytes.len())
}

fn part(
    raw: &[u8],
    range: Range<usize>,
    depth: usize,
    budget: &mut usize,
    default: fn() -> Media,
) -> Part {
    let bytes = raw.get(range.clone()).unwrap_or_default();
    let split = range.start + header_length(bytes);
    let (header, body) = (range.start..split, split..range.end);
    let media = field_value(raw.get(header.clone()).unwrap_or_default(), "Content-Type")
        .map(|value| Media::parse(&value))
        .filter(|media| !media.kind.is_empty() && !media.subtype.is_empty())
        .unwrap_or_else(default);
    let content = if depth >= DEPTH_MAX {
        Content::Leaf
    } else {
        content(raw, &media, body.clone(), depth + 1, budget)
    };
    // A multipart that could not be taken apart is told as what it then is: text.
    let media = match (&content, media.kind.as_str()) {
        (Content::Leaf, "multipart" | "message") if is_container(&media) => Media::text_plain(),
        _ => media,
    };
    Part {
        header,
        body,
        media,
        content,
    }
}

fn is_container(media: &Media) -> bool {
    media.kind == "multipart" || (media.kind == "message" && media.subtype == "rfc822")
}

fn content(
    raw: &[u8],
    media: &Media,
    body: Range<usize>,
    depth: usize,
    budget: &mut usize,
) -> Content {
    if !is_container(media) || *budget == 0 {
        return Content::Leaf;
    }
    if media.kind == "message" {
        *budget -= 1;
        let inner = part(raw, body, depth, budget, Media::text_plain);
        return Content::Message(Box::new(inner));
    }
    // RFC 2046 section 5.1.5: the parts of a digest are messages.
    let default: fn() -> Media = if media.subtype == "digest" {
        || Media::parse(b"message/rfc822")
    } else {
        Media::text_plain
    };
    let ranges = media
        .param("boundary")
        .filter(|boundary| !boundary.is_empty() && boundary.len() <= BOUNDARY_MAX)
        .map(|boundary| between_delimiters(raw, body, boundary, *budget))
        .unwrap_or_default();
    let mut parts = Vec::new();
    for range in ranges {
        let Some(left) = budget.checked_sub(1) else {
            break;
        };
        *budget = left;
        parts.push(part(raw, range, depth, budget, default));
    }
    if parts.is_empty() {
        Content::Leaf
    } else {
        Content::Multipart(parts)
    }
}

/// The ranges between the delimiter lines, RFC 2046 section 5.1.1; the line end before a delimiter belongs to it.
fn between_delimiters(
    raw: &[u8],
    body: Range<usize>,
    boundary: &[u8],
    max: usize,
) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut open: Option<usize> = None;
    let mut at = body.start;
    while at < body.end && ranges.len() < max {
        let rest = raw.get(at..body.end).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1);
        let line = rest.get(..length).unwrap_or_default();
        if let Some(closes) = delimiter(line, boundary) {
            if let Some(start) = open.take() {
                ranges.push(start..before_line_end(raw, start, at));
            }
            if closes {
                return ranges;
            }
            open = Some(at + length);
        }
        at += length;
    }
    // A last part that nobody closed: the message was cut off.
    ranges.extend(open.map(|start| start..body.end));
    ranges
}

/// Whether `line` is a delimiter, and whether it is the closing one.
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let rest = rest.trim_ascii_end();
    match rest {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

fn before_line_end(raw: &[u8], start: usize, end: usize) -> usize {
    let part = raw.get(start..end).unwrap_or_default();
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    let part = part.strip_suffix(b"\r").unwrap_or(part);
    start + part.len()
}

/// Up to and including the blank line; everything where there is none.
fn header_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b"\r\n") {
            return at + 2;
        }
        if rest.starts_with(b"\n") {
            return at + 1;
        }
        match memchr::memchr(b'\n', rest) {
            Some(lf) => at += lf + 1,
            None => return bytes.len(),
        }
    }
}

/// Splits at `separator` outside quoted strings; comments go.
fn split_unquoted(value: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut pieces = vec![];
    let mut piece = Vec::new();
    let (mut quoted, mut escaped, mut comment) = (false, false, 0usize);
    for &b in value {
        let literal = std::mem::take(&mut escaped);
        match b {
            b'\\' if !literal && (quoted || comment > 0) => escaped = true,
            b'"' if !literal && comment == 0 => quoted = !quoted,
            b'(' if !literal && !quoted => {
                comment += 1;
                continue;
            }
            b')' if !literal && !quoted && comment > 0 => {
                comment -= 1;
                continue;
            }
            _ if b == separator && !quoted && comment == 0 => {
                pieces.push(std::mem::take(&mut piece));
                continue;
            }
            _ => {}
        }
        if comment == 0 {
            piece.push(b);
        }
    }
    pieces.push(piece);
    pieces
}

fn unquote(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return value.to_vec();
    };
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    let mut text = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &b in inner {
        if b == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            text.push(b);
        }
    }
    text
}

/// Levels of parts: PROTOCOL C.2, a stack is not unbounded. Mail of people has fewer than ten.
const DEPTH_MAX: usize = 32;

/// Parts of one message; digests of mailing lists have some hundred.
const PARTS_MAX: usize = 1_000;

/// Parameters of one field.
const PARAMS_MAX: usize = 32;

/// RFC 2046 section 5.1.1 allows 70 characters; some programs make longer ones.
const BOUNDARY_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIXED: &str = "Subject: x\r\nContent-Type: multipart/mixed;\r\n boundary=\"b 1\" (c;)\r\n\r\npreamble\r\n\
        --b 1\r\n\r\nfirst\r\n--b 1 \r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ninner\r\n--b 1--\r\nepilogue";

    fn text<'a>(raw: &'a str, range: &Range<usize>) -> &'a str {
        &raw[range.clone()]
    }

    #[test]
    fn a_multipart_is_taken_apart_between_its_delimiters() {
        let root = parse(MIXED.as_bytes());
        let Content::Multipart(parts) = &root.content else {
            panic!("{root:?}")
        };
        assert_eq!(parts.len(), 2);
        assert_eq!(text(MIXED, &parts[0].body), "first");
        assert_eq!(parts[0].media, Media::text_plain());
        let Content::Message(inner) = &parts[1].content else {
            panic!("{parts:?}")
        };
        assert_eq!(text(MIXED, &inner.header), "Subject: in\r\n\r\n");
        assert_eq!(text(MIXED, &inner.body), "inner");
    }

    #[test]
    fn a_multipart_without_parts_is_text() {
        for broken in [
            "Content-Type: multipart/mixed\r\n\r\nx",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\nx",
        ] {
            let root = parse(broken.as_bytes());
            assert_eq!(root.content, Content::Leaf);
            assert_eq!(root.media.kind, "text");
        }
    }

    #[test]
    fn headers_end_at_a_blank_line_of_either_kind_or_never() {
        let body = |raw: &'static str| text(raw, &parse(raw.as_bytes()).body);
        assert_eq!(body("a: b\n\nc"), "c");
        assert_eq!(body("\r\nc"), "c");
        assert_eq!(body("a: b"), "");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(5_000);
        let mut part = parse(deep.as_bytes());
        let mut depth = 0;
        while let Content::Message(inner) = part.content {
            part = *inner;
            depth += 1;
        }
        assert_eq!(depth, DEPTH_MAX);
    }

    #[test]
    fn params_are_unquoted_and_comments_left_out() {
        let media = Media::parse(b"Text/HTML (c); Charset=\"a\\\"b;c\" ; x=y (z)");
        assert_eq!(
            (media.kind.as_str(), media.subtype.as_str()),
            ("text", "html")
        );
        assert_eq!(media.param("charset"), Some(&b"a\"b;c"[..]));
        assert_eq!(media.param("x"), Some(&b"y"[..]));
    }

    proptest! {
        #[test]
        fn any_octets_have_a_structure_within_their_bounds(lines in proptest::collection::vec(
            "(--b|--b--|Content-Type: multipart/mixed; boundary=b|Content-Type: message/rfc822| x||.{0,9})", 0..40,
        )) {
            let raw = lines.join("\r\n");
            let root = parse(raw.as_bytes());
            prop_assert!(root.header.start <= root.header.end && root.body.end == raw.len());
        }
    }
}
