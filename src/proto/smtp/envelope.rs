//! The arguments of MAIL and RCPT. Parsed far enough to say them again in canonical form; what an address means is the
//! upstream's to judge.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take, take_while, take_while1};
use nom::character::complete::{space0, space1};
use nom::combinator::{all_consuming, map, opt, recognize};
use nom::multi::{many0, many0_count};
use nom::sequence::{delimited, pair, preceded};
use nom::{IResult, Parser};

use super::codec::BadCommand;

/// A path and its parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Without its angle brackets, else as sent. No control character.
    pub path: &'a [u8],
    /// In the order sent.
    pub parameters: Vec<Parameter<'a>>,
}

/// One `keyword[=value]` of an extension.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// In any case.
    pub keyword: &'a [u8],
    /// Behind the `=`.
    pub value: Option<&'a [u8]>,
}

impl Parameter<'_> {
    /// Whether the keyword is this one, which is in upper case.
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword.as_bytes())
    }
}

impl Envelope<'_> {
    /// The command line: `verb` is `MAIL FROM:` or `RCPT TO:`.
    ///
    /// Whatever the client wrote, this is the form of RFC 5321 section 4.1.1.2: no space before the path (section 3.3),
    /// angle brackets around it, one space before each parameter, CRLF.
    pub fn encode(&self, verb: &str) -> Bytes {
        let mut line = BytesMut::new();
        line.put_slice(verb.as_bytes());
        line.put_u8(b'<');
        line.put_slice(self.path);
        line.put_u8(b'>');
        for parameter in &self.parameters {
            line.put_u8(b' ');
            line.put_slice(parameter.keyword);
            if let Some(value) = parameter.value {
                line.put_u8(b'=');
                line.put_slice(value);
            }
        }
        line.put_slice(b"\r\n");
        line.freeze()
    }
}

impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({})", self.encode("").escape_ascii())
    }
}

/// `FROM:` or `TO:`, then a path, then parameters. The caller has seen that no control character is among them.
///
/// ```text
/// "MAIL FROM:" Reverse-path [SP Mail-parameters]
/// ```
/// RFC 5321 section 4.1.1.2. quirk: Outlook and many devices put a space before the path; some devices leave the angle
/// brackets out.
pub(super) fn envelope<'a>(
    direction: &[u8],
    arguments: &'a [u8],
) -> Result<Envelope<'a>, BadCommand> {
    let parsed: IResult<_, _> = all_consuming(map(
        pair(
            preceded((tag_no_case(direction), space0), alt((path, bare_path))),
            many0(preceded(space1, parameter)),
        ),
        |(path, parameters)| Envelope { path, parameters },
    ))
    .parse(arguments);
    parsed
        .map(|(_, envelope)| envelope)
        .map_err(|_| BadCommand::Arguments)
}

/// ```text
/// Path = "<" [ A-d-l ":" ] Mailbox ">"
/// ```
/// RFC 5321 section 4.1.2. A quoted local part may hold spaces and angle brackets.
fn path(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let plain = take_while1(|b| !matches!(b, b'<' | b'>' | b'"' | b' '));
    let inside = recognize(many0_count(alt((quoted_string, plain))));
    delimited(tag("<"), inside, tag(">")).parse(input)
}

fn bare_path(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(|b| !matches!(b, b'<' | b'>' | b'"' | b' ')).parse(input)
}

/// ```text
/// Quoted-string = DQUOTE *QcontentSMTP DQUOTE
/// ```
fn quoted_string(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let pair = recognize(preceded(tag("\\"), take(1usize)));
    let plain = take_while1(|b| !matches!(b, b'"' | b'\\'));
    recognize(delimited(
        tag("\""),
        many0_count(alt((pair, plain))),
        tag("\""),
    ))
    .parse(input)
}

/// ```text
/// esmtp-param = esmtp-keyword ["=" esmtp-value]
/// ```
/// RFC 5321 section 4.1.2; RFC 6531 section 3.4 lets the value be UTF-8. quirk: an empty value is taken.
fn parameter(input: &[u8]) -> IResult<&[u8], Parameter<'_>> {
    let keyword = take_while1(|b: u8| b.is_ascii_alphanumeric() || b == b'-');
    let text = take_while(|b: u8| b != b' ' && b != b'=');
    map(
        pair(keyword, opt(preceded(tag("="), text))),
        |(keyword, value)| Parameter { keyword, value },
    )
    .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(arguments: &str) -> Option<String> {
        let envelope = envelope(b"FROM:", arguments.as_bytes()).ok()?;
        let line = envelope.encode("FROM:");
        Some(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }

    #[test]
    fn every_way_to_write_a_path_becomes_the_canonical_one() {
        for (sent, said) in [
            ("FROM:<a@b.example>", "FROM:<a@b.example>"),
            (
                "from: <a@b.example>  SIZE=1 Body=8BITMIME",
                "FROM:<a@b.example> SIZE=1 Body=8BITMIME",
            ),
            ("FROM:a@b.example SIZE=1", "FROM:<a@b.example> SIZE=1"),
            ("FROM:<>", "FROM:<>"),
            ("FROM:<@r.example:a@b>", "FROM:<@r.example:a@b>"),
            (
                r#"FROM:<"a > \" b"@c> SMTPUTF8"#,
                r#"FROM:<"a > \" b"@c> SMTPUTF8"#,
            ),
            ("FROM:<\u{fc}@b.example>", "FROM:<\u{fc}@b.example>"),
        ] {
            assert_eq!(canonical(sent).as_deref(), Some(said));
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for sent in [
            "",
            "FROM:",
            "FROM <a>",
            "TO:<a>",
            "FROM:<a",
            "FROM:<a>b",
            "FROM:<a b>",
            "FROM:<a> =1",
            "FROM:<a> X=1=2",
            "FROM:<\"a>",
            "FROM:<a>SIZE=1",
        ] {
            assert_eq!(canonical(sent), None, "{sent}");
        }
    }
}
