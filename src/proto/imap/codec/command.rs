//! The commands a client may send before login. Everything else is [`Request::Other`] and not looked into.

use nom::branch::alt;
use nom::bytes::complete::{tag_no_case, take_while1};
use nom::character::complete::{char, crlf, space0, space1, u32};
use nom::combinator::{all_consuming, map, opt, rest, value, verify};
use nom::error::{Error, ErrorKind};
use nom::multi::{length_data, separated_list0};
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{IResult, Parser};

use crate::profile::Mechanism;
use crate::secret::Secret;

/// command = tag SP (…) CRLF
#[derive(Debug)]
pub struct Command {
    /// The client's tag, for the tagged reply.
    pub tag: String,
    /// What it wants.
    pub request: Request,
}

/// What a client may ask for before login.
#[derive(Debug)]
pub enum Request {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// ID (RFC 2971); what the client says about itself is not used.
    Id,
    /// STARTTLS
    StartTls,
    /// LOGIN
    Login {
        /// As sent, unescaped.
        user: Vec<u8>,
        /// As sent, unescaped.
        password: Secret,
    },
    /// AUTHENTICATE
    Authenticate {
        /// Which mechanism; `None` for one we do not know.
        mechanism: Option<Mechanism>,
        /// Still in base64. Accepted whether or not the client has seen SASL-IR.
        initial_response: Option<Secret>,
    },
    /// Not allowed before login, or unknown.
    Other,
}

/// The value of an astring, which may be a password.
#[derive(Clone)]
enum Text<'a> {
    /// As it stands in the frame.
    Plain(&'a [u8]),
    Unescaped(Secret),
}

impl Text<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Unescaped(secret) => secret.expose(),
        }
    }
}

/// A command that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an IMAP command")]
pub struct Malformed {
    /// The tag, where there is a good one.
    pub tag: Option<String>,
}

/// Parses a complete frame.
pub fn command(frame: &[u8]) -> Result<Command, Malformed> {
    let (body, tag) = terminated(tag, space1)
        .parse(frame)
        .map_err(|_| Malformed { tag: None })?;
    let tag = String::from_utf8_lossy(tag).into_owned();
    match all_consuming(request).parse(body) {
        Ok((_, request)) => Ok(Command { tag, request }),
        Err(_) => Err(Malformed { tag: Some(tag) }),
    }
}

/// tag = 1*<any ASTRING-CHAR except "+">, and at most [`TAG_MAX`] of them: it is echoed.
fn tag(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let tag_char = |b| is_astring_char(b) && b != b'+';
    verify(take_while1(tag_char), |tag: &[u8]| tag.len() <= TAG_MAX).parse(input)
}

/// command-any / command-nonauth.
fn request(input: &[u8]) -> IResult<&[u8], Request> {
    let (arguments, name) = take_while1(is_astring_char).parse(input)?;
    match name.to_ascii_uppercase().as_slice() {
        b"CAPABILITY" => map(space0, |_| Request::Capability).parse(arguments),
        b"NOOP" => map(space0, |_| Request::Noop).parse(arguments),
        b"LOGOUT" => map(space0, |_| Request::Logout).parse(arguments),
        b"STARTTLS" => map(space0, |_| Request::StartTls).parse(arguments),
        b"ID" => map(preceded(space1, id_params_list), |()| Request::Id).parse(arguments),
        b"LOGIN" => preceded(space1, login).parse(arguments),
        b"AUTHENTICATE" => preceded(space1, authenticate).parse(arguments),
        _ => map(rest, |_| Request::Other).parse(arguments),
    }
}

/// login = "LOGIN" SP userid SP password, and the deviations seen in the field.
fn login(input: &[u8]) -> IResult<&[u8], Request> {
    let (input, (user, password)) =
        alt((credentials, quirk_one_literal, quirk_unquoted)).parse(input)?;
    let request = Request::Login {
        user: user.bytes().to_vec(),
        password: Secret::new(password.bytes().to_vec()),
    };
    Ok((input, request))
}

/// userid SP password, both astring.
fn credentials(input: &[u8]) -> IResult<&[u8], (Text<'_>, Text<'_>)> {
    all_consuming(terminated(separated_pair(astring, space1, astring), space0)).parse(input)
}

/// quirk: user and password together in one literal (PROTOCOL A.0 rule 8, 2026).
fn quirk_one_literal(input: &[u8]) -> IResult<&[u8], (Text<'_>, Text<'_>)> {
    let (after, both) = all_consuming(terminated(literal, space0)).parse(input)?;
    let (_, pair) = alt((credentials, quirk_unquoted)).parse(both)?;
    Ok((after, pair))
}

/// quirk: a user or password with spaces or specials, and no quotes around it (PROTOCOL A.0 rule 8, B.8 no. 4; 2026).
/// The user ends at the first space, the password at the line's end.
fn quirk_unquoted(input: &[u8]) -> IResult<&[u8], (Text<'_>, Text<'_>)> {
    let bare = |input| {
        verify(rest, |rest: &[u8]| {
            !matches!(rest.first(), None | Some(b'"' | b'{')) && !rest.contains(&b'\n')
        })
        .parse(input)
    };
    let word = verify(
        take_while1(|b: u8| b > b' ' && b != 0x7f),
        |word: &[u8]| !matches!(word.first(), Some(b'"' | b'{')),
    );
    let user = alt((string, map(word, Text::Plain)));
    let last = all_consuming(terminated(string, space0));
    separated_pair(user, space1, alt((last, map(bare, Text::Plain)))).parse(input)
}

/// authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")] (RFC 4959). Two spaces are seen (mox 96774de).
fn authenticate(input: &[u8]) -> IResult<&[u8], Request> {
    let (input, mechanism) = take_while1(is_astring_char).parse(input)?;
    let response = take_while1(|b: u8| b.is_ascii_graphic());
    let (input, initial) = terminated(opt(preceded(space1, response)), space0).parse(input)?;
    let mechanism = std::str::from_utf8(mechanism)
        .ok()
        .and_then(|it| it.parse().ok());
    let initial_response = initial.map(|response: &[u8]| Secret::new(response.to_vec()));
    Ok((
        input,
        Request::Authenticate {
            mechanism,
            initial_response,
        },
    ))
}

/// id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil, bounded as RFC 2971 section 3.3 says.
fn id_params_list(input: &[u8]) -> IResult<&[u8], ()> {
    let field = verify(string, |name: &Text<'_>| name.bytes().len() <= ID_NAME_MAX);
    let nil = map(tag_no_case("NIL"), |_| Text::Plain(b""));
    let data = verify(alt((nil, string)), |value: &Text<'_>| {
        value.bytes().len() <= ID_VALUE_MAX
    });
    let pairs = verify(
        separated_list0(space1, separated_pair(field, space1, data)),
        |pairs: &Vec<_>| pairs.len() <= ID_PAIRS_MAX,
    );
    let list = delimited((char('('), space0), pairs, (space0, char(')')));
    terminated(
        alt((value((), list), value((), tag_no_case("NIL")))),
        space0,
    )
    .parse(input)
}

/// astring = 1*ASTRING-CHAR / string
fn astring(input: &[u8]) -> IResult<&[u8], Text<'_>> {
    alt((map(take_while1(is_astring_char), Text::Plain), string)).parse(input)
}

/// string = quoted / literal
fn string(input: &[u8]) -> IResult<&[u8], Text<'_>> {
    alt((quoted, map(literal, Text::Plain))).parse(input)
}

/// quoted = DQUOTE *QUOTED-CHAR DQUOTE; 8-bit characters are let in, since passwords hold them.
///
/// quirk: a backslash before anything but `"` and `\` stands for itself (`"DOMAIN\anna"`, 2026).
fn quoted(input: &[u8]) -> IResult<&[u8], Text<'_>> {
    let (body, _) = char('"').parse(input)?;
    let mut value = Secret::default();
    let mut escaped = false;
    for (at, &byte) in body.iter().enumerate() {
        match byte {
            0 | b'\r' | b'\n' => break,
            b'\\' if !escaped => escaped = true,
            b'"' if !escaped => {
                return Ok((
                    body.get(at + 1..).unwrap_or_default(),
                    Text::Unescaped(value),
                ));
            }
            _ => {
                if escaped && !matches!(byte, b'"' | b'\\') {
                    value.append(b"\\");
                }
                value.append(&[byte]);
                escaped = false;
            }
        }
    }
    Err(nom::Err::Error(Error::new(input, ErrorKind::Char)))
}

/// literal = "{" number ["+"] "}" CRLF *CHAR8
fn literal(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let header = delimited(char('{'), u32, (opt(char('+')), char('}'), crlf));
    length_data(header).parse(input)
}

/// ASTRING-CHAR = ATOM-CHAR / "]"
fn is_astring_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\')
}

/// PROTOCOL B.7; clients use ten or fewer.
const TAG_MAX: usize = 64;

/// RFC 2971 section 3.3.
const ID_PAIRS_MAX: usize = 30;

/// RFC 2971 section 3.3, octets of a field name.
const ID_NAME_MAX: usize = 30;

/// RFC 2971 section 3.3, octets of a value.
const ID_VALUE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `user|password`, or what else it is.
    fn parsed(frame: &[u8]) -> String {
        match command(frame) {
            Ok(Command { request, .. }) => match request {
                Request::Login { user, password } => format!(
                    "{}|{}",
                    String::from_utf8_lossy(&user),
                    String::from_utf8_lossy(password.expose())
                ),
                Request::Authenticate {
                    mechanism,
                    initial_response,
                } => format!(
                    "{mechanism:?} {:?}",
                    initial_response.map(|r| String::from_utf8(r.expose().to_vec()).unwrap())
                ),
                other => format!("{other:?}"),
            },
            Err(Malformed { tag }) => format!("malformed {tag:?}"),
        }
    }

    #[test]
    fn login_takes_every_form_of_astring() {
        assert_eq!(parsed(b"a LOGIN anna secret"), "anna|secret");
        assert_eq!(parsed(b"a login \"anna\" \"\""), "anna|");
        assert_eq!(
            parsed(b"a LOGIN {4+}\r\nanna {4}\r\n\r\n\"x"),
            "anna|\r\n\"x"
        );
        assert_eq!(parsed(br#"a LOGIN "an\"na" "b\\c""#), r#"an"na|b\c"#);
        assert_eq!(parsed(br#"a LOGIN "D\anna" "\\\"""#), r#"D\anna|\""#);
        assert_eq!(parsed("a LOGIN anna \"pä\"".as_bytes()), "anna|pä");
        assert_eq!(parsed(b"a  LOGIN  anna  x]y "), "anna|x]y");
    }

    #[test]
    fn quirks_of_the_field_are_understood() {
        assert_eq!(parsed(b"a LOGIN {11}\r\nanna secret"), "anna|secret");
        assert_eq!(parsed(b"a LOGIN {13}\r\nanna \"se ret\""), "anna|se ret");
        assert_eq!(parsed(b"a LOGIN anna pass word (1)"), "anna|pass word (1)");
        assert_eq!(parsed(b"a LOGIN D\\anna \"x y\""), "D\\anna|x y");
        assert_eq!(parsed(b"a LOGIN anna %\\*"), "anna|%\\*");
    }

    #[test]
    fn what_is_no_login_is_malformed() {
        for frame in [
            &b"a LOGIN anna"[..],
            b"a LOGIN",
            b"a LOGIN anna \"open",
            b"a LOGIN \"open x",
            b"a LOGIN anna {-1}",
            b"a LOGIN anna {1 }",
            b"a LOGIN {+} x",
            b"a LOGIN anna \"x\" y",
            b"a CAPABILITY x",
        ] {
            assert_eq!(
                parsed(frame),
                "malformed Some(\"a\")",
                "{}",
                String::from_utf8_lossy(frame)
            );
        }
        for frame in [
            &b""[..],
            b" ",
            b"a",
            b"+ LOGIN x y",
            b"a* NOOP",
            b"\xff NOOP",
        ] {
            assert_eq!(parsed(frame), "malformed None");
        }
        let long = [[b'a'; TAG_MAX + 1].as_slice(), b" NOOP"].concat();
        assert_eq!(parsed(&long), "malformed None");
        assert_eq!(parsed(&long[1..]), "Noop");
    }

    #[test]
    fn authenticate_may_bring_its_response_along() {
        assert_eq!(parsed(b"a AUTHENTICATE PLAIN"), "Some(Plain) None");
        assert_eq!(
            parsed(b"a authenticate plain  AGE= "),
            "Some(Plain) Some(\"AGE=\")"
        );
        assert_eq!(parsed(b"a AUTHENTICATE LOGIN ="), "Some(Login) Some(\"=\")");
        assert_eq!(parsed(b"a AUTHENTICATE XOAUTH2 abc"), "None Some(\"abc\")");
    }

    #[test]
    fn id_is_bounded() {
        assert_eq!(parsed(b"a ID NIL"), "Id");
        assert_eq!(parsed(b"a ID ()"), "Id");
        assert_eq!(parsed(b"a ID (\"name\" {3+}\r\nx(y \"v\" NIL)"), "Id");
        assert_eq!(parsed(b"a ID (\"name\")"), "malformed Some(\"a\")");
        let many = format!("a ID ({})", vec!["\"n\" NIL"; 31].join(" "));
        assert_eq!(parsed(many.as_bytes()), "malformed Some(\"a\")");
        assert_eq!(parsed(b"a SELECT INBOX"), "Other");
    }

    /// `value` as a client may say it: as a literal, or quoted.
    fn said(value: &[u8], literal: bool) -> Vec<u8> {
        if literal || value.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
            return [format!("{{{}+}}\r\n", value.len()).as_bytes(), value].concat();
        }
        let mut quoted = vec![b'"'];
        for &byte in value {
            if matches!(byte, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
        quoted.push(b'"');
        quoted
    }

    proptest! {
        #[test]
        fn what_is_said_is_what_is_read(
            user: Vec<u8>, password: Vec<u8>, as_literal: [bool; 2],
        ) {
            let [user_said, password_said] = [said(&user, as_literal[0]), said(&password, as_literal[1])];
            let frame = [b"a LOGIN ", user_said.as_slice(), b" ", &password_said].concat();
            match command(&frame).map(|command| command.request) {
                Ok(Request::Login { user: read_user, password: read_password }) => {
                    prop_assert_eq!(read_user, user);
                    prop_assert_eq!(read_password.expose(), password);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn no_frame_makes_it_panic(frame: Vec<u8>, text in "a (LOGIN|ID|AUTHENTICATE)[ -~\r\n]{0,30}") {
            let _ = (command(&frame), command(text.as_bytes()));
        }
    }
}
