//! The responses of an upstream before login, and the code in their text.

use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_till1};
use nom::character::complete::space1;
use nom::combinator::{eof, map, peek, rest, value};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

/// One response line, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// continue-req: the upstream waits for us; the challenge or the words behind it.
    Continue(&'a [u8]),
    /// response-tagged, or resp-cond-state, resp-cond-bye and greeting, which have no tag.
    Status {
        /// `None` for `*`.
        tag: Option<&'a [u8]>,
        /// The first word.
        status: Status,
        /// The rest.
        text: RespText<'a>,
    },
    /// capability-data: the list behind the word.
    Capability(&'a [u8]),
    /// Any other untagged data; it may end in a literal.
    Data,
}

/// The word of a status response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done, or for your information.
    Ok,
    /// Refused.
    No,
    /// Not understood.
    Bad,
    /// The connection ends.
    Bye,
    /// A greeting of a connection that is authenticated already.
    Preauth,
}

/// resp-text = ["[" resp-text-code "]" SP] text
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RespText<'a> {
    /// What stands between the brackets; empty without any.
    pub code: &'a [u8],
    /// The words for a person.
    pub text: &'a [u8],
}

impl<'a> RespText<'a> {
    /// The code's first word.
    pub fn code_name(&self) -> &'a [u8] {
        self.code.split(|&b| b == b' ').next().unwrap_or_default()
    }

    /// The list of a CAPABILITY code.
    pub fn capabilities(&self) -> Option<&'a [u8]> {
        let list = capability_data(self.code).ok()?;
        Some(list.1)
    }
}

/// response = continue-req / response-data / response-done (RFC 3501 section 9); `None` for what is none of them.
pub fn response(line: &[u8]) -> Option<Response<'_>> {
    let parsed = alt((continue_req, untagged, tagged)).parse(line);
    parsed.ok().map(|(_, response)| response)
}

/// resp-text: splits the code off. A code ends at the first `]` that a space or the line's end follows, since the URL
/// of a referral may hold an IPv6 address.
pub fn resp_text(text: &[u8]) -> RespText<'_> {
    let Some(inner) = text.strip_prefix(b"[") else {
        return RespText { code: b"", text };
    };
    let end = memchr::memchr_iter(b']', inner)
        .find(|end| matches!(inner.get(end + 1), None | Some(b' ' | b'\r' | b'\n')));
    match end.and_then(|end| inner.split_at_checked(end)) {
        Some((code, after)) => RespText {
            code,
            text: after.get(1..).unwrap_or_default().trim_ascii(),
        },
        None => RespText { code: b"", text },
    }
}

/// continue-req = "+" SP (resp-text / base64); servers also leave the space out.
fn continue_req(line: &[u8]) -> IResult<&[u8], Response<'_>> {
    map(
        preceded((tag("+"), alt((tag(" "), eof))), rest),
        Response::Continue,
    )
    .parse(line)
}

/// response-data and the greeting: "*" SP …
fn untagged(line: &[u8]) -> IResult<&[u8], Response<'_>> {
    let status = map((status, rest), |(status, text): (_, &[u8])| {
        Response::Status {
            tag: None,
            status,
            text: resp_text(text.trim_ascii_start()),
        }
    });
    preceded(
        (tag("*"), space1),
        alt((
            status,
            map(capability_data, Response::Capability),
            value(Response::Data, rest),
        )),
    )
    .parse(line)
}

/// response-tagged = tag SP resp-cond-state
fn tagged(line: &[u8]) -> IResult<&[u8], Response<'_>> {
    let (line, tag) = terminated(take_till1(|b| b == b' '), space1).parse(line)?;
    let (text, status) = status(line)?;
    Ok((
        b"",
        Response::Status {
            tag: Some(tag),
            status,
            text: resp_text(text.trim_ascii_start()),
        },
    ))
}

fn status(line: &[u8]) -> IResult<&[u8], Status> {
    terminated(
        alt((
            value(Status::Ok, tag_no_case("OK")),
            value(Status::No, tag_no_case("NO")),
            value(Status::Bad, tag_no_case("BAD")),
            value(Status::Bye, tag_no_case("BYE")),
            value(Status::Preauth, tag_no_case("PREAUTH")),
        )),
        peek(alt((tag(" "), eof))),
    )
    .parse(line)
}

/// capability-data = "CAPABILITY" *(SP capability)
fn capability_data(line: &[u8]) -> IResult<&[u8], &[u8]> {
    preceded((tag_no_case("CAPABILITY"), space1), rest).parse(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &[u8]) -> RespText<'_> {
        match response(line) {
            Some(Response::Status { text, .. }) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn responses_are_told_apart() {
        assert_eq!(response(b"+"), Some(Response::Continue(b"")));
        assert_eq!(response(b"+ go"), Some(Response::Continue(b"go")));
        assert_eq!(
            response(b"* capability A B"),
            Some(Response::Capability(b"A B"))
        );
        assert_eq!(response(b"* 1 EXISTS"), Some(Response::Data));
        assert_eq!(response(b"* OKAY then"), Some(Response::Data));
        assert_eq!(
            response(b"m1 no"),
            Some(Response::Status {
                tag: Some(b"m1"),
                status: Status::No,
                text: RespText::default(),
            })
        );
        assert_eq!(response(b"garbage"), None);
        assert_eq!(response(b""), None);
    }

    #[test]
    fn a_code_ends_at_its_own_bracket() {
        assert_eq!(
            text(b"* OK [CAPABILITY IMAP4rev1 ID] hi").capabilities(),
            Some(&b"IMAP4rev1 ID"[..])
        );
        assert_eq!(
            text(b"m1 NO [AUTHENTICATIONFAILED] no").code_name(),
            b"AUTHENTICATIONFAILED"
        );
        let referral = text(b"m1 NO [REFERRAL imap://[::1]/] elsewhere");
        assert_eq!(
            (referral.code, referral.text),
            (&b"REFERRAL imap://[::1]/"[..], &b"elsewhere"[..])
        );
        assert_eq!(text(b"* BYE [unclosed").code, b"");
    }
}
