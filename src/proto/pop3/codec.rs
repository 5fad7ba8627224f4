//! POP3 parsers over complete frames, and the encoders.
//!
//! Commands as RFC 1939 section 3 has them, widened where old clients need it; responses with the codes of RFC 2449
//! section 8 and RFC 3206; which capabilities are shown, and how a refusal is said.

use bytes::Bytes;
use memchr::memmem;
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_till, take_while1};
use nom::character::complete::char as octet;
use nom::combinator::{map, opt, rest, value};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

use crate::proto::dialogue::ClientTls;
use crate::proto::offer::Offer;
use crate::proto::refusal::Cause;
use crate::proto::text::ascii;
use crate::protocol::Protocol;

/// One command line: the keyword, and the rest behind one space. `None` where there is no space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// What is to be done.
    pub verb: Verb,
    /// Everything behind the first space, to the end of the line: a password may begin, end or consist of spaces.
    pub argument: Option<&'a [u8]>,
}

/// The commands that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the keywords")]
pub enum Verb {
    Apop,
    Auth,
    Capa,
    Dele,
    Last,
    List,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
    /// A method of HTTP: a browser was sent here.
    Http,
    /// Anything else.
    Unknown,
}

impl<'a> Command<'a> {
    /// Parses one line without its line end. Keywords are case-insensitive.
    ///
    /// `command = keyword *(SP param)`, RFC 2449 section 4.
    pub fn parse(line: &'a [u8]) -> Self {
        let parsed: IResult<&[u8], Self> =
            (take_till(|b| b == b' '), opt(preceded(octet(' '), rest)))
                .map(|(keyword, argument)| Self {
                    verb: Verb::named(keyword),
                    argument,
                })
                .parse(line);
        parsed.map_or(
            Self {
                verb: Verb::Unknown,
                argument: None,
            },
            |(_, command)| command,
        )
    }

    /// The argument without the spaces around it: what every command but PASS means by it.
    pub fn trimmed(&self) -> &'a [u8] {
        self.argument.unwrap_or_default().trim_ascii()
    }
}

impl Verb {
    fn named(keyword: &[u8]) -> Self {
        VERBS
            .iter()
            .find(|(name, _)| keyword.eq_ignore_ascii_case(name))
            .map_or(Self::Unknown, |(_, verb)| *verb)
    }
}

/// `mechanism [SP initial-response]`, RFC 5034 section 4. Windows Mail puts two spaces between them.
pub fn auth_argument(argument: &[u8]) -> (&[u8], Option<&[u8]>) {
    let argument = argument.trim_ascii();
    match argument.iter().position(u8::is_ascii_whitespace) {
        None => (argument, None),
        Some(at) => {
            let (mechanism, initial) = argument.split_at(at);
            (mechanism, Some(initial.trim_ascii()))
        }
    }
}

/// One status line of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// `+OK`, `-ERR` or a challenge.
    pub status: Status,
    /// The extended response code, RFC 2449 section 8.
    pub code: Option<Code>,
    /// The human-readable rest.
    pub text: &'a [u8],
}

/// How a response begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `+OK`
    Ok,
    /// `-ERR`
    Err,
    /// `+`, with or without a space behind it: a SASL challenge, RFC 5034 section 4.
    Continue,
}

/// Extended response codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// `AUTH`: the credentials are at fault, RFC 3206 section 5.
    Auth,
    /// `IN-USE`: the maildrop is locked, RFC 2449 section 8.1.2.
    InUse,
    /// `LOGIN-DELAY`: too soon after the last login, RFC 2449 section 8.1.1.
    LoginDelay,
    /// `SYS/TEMP`: likely to go away by itself, RFC 3206 section 4.
    SysTemp,
    /// `SYS/PERM`: somebody has to do something, RFC 3206 section 4.
    SysPerm,
    /// One that says nothing to us.
    Other,
}

impl<'a> Response<'a> {
    /// Parses one line; `None` where it is no response at all.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        response(line).ok().map(|(_, response)| response)
    }
}

/// `single-line = status [SP text]`, with `text = ["[" resp-code "]"] ...`, RFC 2449 sections 4 and 8.
fn response(line: &[u8]) -> IResult<&[u8], Response<'_>> {
    let status = alt((
        value(Status::Ok, tag_no_case("+OK")),
        value(Status::Err, tag_no_case("-ERR")),
        value(Status::Continue, tag("+")),
    ));
    map(
        (status, opt(octet(' ')), opt(resp_code), rest),
        |(status, _, code, text): (_, _, _, &[u8])| Response {
            status,
            code,
            text: text.trim_ascii(),
        },
    )
    .parse(line)
}

/// `"[" resp-code "]"`; codes are case-insensitive and may have levels.
fn resp_code(input: &[u8]) -> IResult<&[u8], Code> {
    map(
        delimited(octet('['), take_while1(|b| b != b']'), octet(']')),
        |code: &[u8]| {
            let known = [
                (&b"AUTH"[..], Code::Auth),
                (b"IN-USE", Code::InUse),
                (b"LOGIN-DELAY", Code::LoginDelay),
                (b"SYS/TEMP", Code::SysTemp),
                (b"SYS/PERM", Code::SysPerm),
            ];
            known
                .into_iter()
                .find(|(name, _)| code.eq_ignore_ascii_case(name))
                .map_or(Code::Other, |(_, code)| code)
        },
    )
    .parse(input)
}

/// What a `-ERR` means when it does not mean the credential.
///
/// By its code, and where there is none by words: most providers have no code for their limits. WEB.DE, for one,
/// refuses at authentication whoever comes more often than every 15 minutes.
pub fn trouble(response: Response<'_>) -> Option<Cause> {
    match response.code {
        Some(Code::InUse) => return Some(Cause::InUse),
        Some(Code::LoginDelay) => return Some(Cause::LimitReached),
        Some(Code::SysTemp) => return Some(Cause::Unavailable),
        Some(Code::SysPerm) => return Some(Cause::ContactAdmin),
        Some(Code::Auth) => return None,
        Some(Code::Other) | None => {}
    }
    let text = response.text.to_ascii_lowercase();
    WORDS
        .iter()
        .find(|(word, _)| memmem::find(&text, word).is_some())
        .map(|(_, cause)| *cause)
}

/// The first word of a capability line.
pub fn capability_name(line: &[u8]) -> &[u8] {
    line.split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default()
}

/// Whether a capability of the upstream stays hidden after login (PROTOCOL B.3).
///
/// Logging in a second time would carry the local password to the provider; UTF8 belongs to the state before login
/// (RFC 6856 section 2) and makes Outlook send it after; LANG and unregistered ones announce commands that the watch
/// does not let through.
pub fn is_hidden(line: &[u8]) -> bool {
    let name = capability_name(line);
    HIDDEN
        .iter()
        .any(|hidden| name.eq_ignore_ascii_case(hidden))
        || name.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'X'))
        || name
            .get(..6)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"SCRAM-"))
}

/// The lines of the answer to CAPA before login.
///
/// PIPELINING may be among those of the profile because the login hands over what it has not read, and the watch asks an
/// upstream without PIPELINING one thing at a time.
pub fn before_login(offer: &Offer, tls: ClientTls, promised: &[String]) -> Vec<String> {
    let mut lines = vec!["USER".to_owned()];
    let mechanisms = offer.mechanisms(Protocol::Pop3, tls);
    if !mechanisms.is_empty() {
        lines.push(format!("SASL {}", mechanisms.join(" ")));
    }
    if tls == ClientTls::Offered {
        lines.push("STLS".to_owned());
    }
    lines.extend(offer.profile.pop3.before_login.iter().cloned());
    lines.extend(offer.promised(Protocol::Pop3, promised, &["EXPIRE", "LOGIN-DELAY"]));
    lines.push("IMPLEMENTATION mailsluice".to_owned());
    lines
}

/// The answer to CAPA before login.
pub fn capa(lines: &[String]) -> Bytes {
    let list = lines.join("\r\n");
    Bytes::from(format!("+OK Capability list follows\r\n{list}\r\n.\r\n"))
}

/// The answer to a bare AUTH, which Outlook and c-client send to discover mechanisms.
pub fn auth_list(mechanisms: &[&str]) -> Bytes {
    let list = mechanisms.join("\r\n");
    Bytes::from(format!("+OK Mechanisms follow\r\n{list}\r\n.\r\n"))
}

/// A refused login in POP3's words (PROTOCOL B.6).
pub fn refusal(cause: Cause, text: &str) -> Bytes {
    let code = match cause {
        Cause::WrongPassword => "[AUTH] ",
        Cause::InUse => "[IN-USE] ",
        Cause::CredentialRejected
        | Cause::TokenRejected
        | Cause::SignInNeeded
        | Cause::Unavailable
        | Cause::UntrustedUpstream
        | Cause::UpstreamPolicy
        | Cause::LimitReached
        | Cause::Shutdown => "[SYS/TEMP] ",
        // Not [AUTH] for an expired password: it is the provider's, and the client would forget its own right one.
        Cause::PasswordExpired | Cause::ContactAdmin | Cause::ProtocolOff | Cause::ServerBug => {
            "[SYS/PERM] "
        }
        Cause::PrivacyRequired => "",
    };
    Bytes::from(format!("-ERR {code}{}\r\n", ascii(text)))
}

/// Lower case. The first that is found decides.
const WORDS: &[(&[u8], Cause)] = &[
    (b"too many", Cause::LimitReached),
    (b"too often", Cause::LimitReached),
    (b"too frequent", Cause::LimitReached),
    (b"minutes", Cause::LimitReached),
    (b"limit", Cause::LimitReached),
    (b"maildrop", Cause::InUse),
    (b"mailbox is locked", Cause::InUse),
    (b"in use", Cause::InUse),
    (b"temporar", Cause::Unavailable),
    (b"try again later", Cause::Unavailable),
    (b"unavailable", Cause::Unavailable),
];

const VERBS: &[(&[u8], Verb)] = &[
    (b"APOP", Verb::Apop),
    (b"AUTH", Verb::Auth),
    (b"CAPA", Verb::Capa),
    (b"DELE", Verb::Dele),
    (b"LAST", Verb::Last),
    (b"LIST", Verb::List),
    (b"NOOP", Verb::Noop),
    (b"PASS", Verb::Pass),
    (b"QUIT", Verb::Quit),
    (b"RETR", Verb::Retr),
    (b"RSET", Verb::Rset),
    (b"STAT", Verb::Stat),
    (b"STLS", Verb::Stls),
    (b"TOP", Verb::Top),
    (b"UIDL", Verb::Uidl),
    (b"USER", Verb::User),
    (b"CONNECT", Verb::Http),
    (b"DELETE", Verb::Http),
    (b"GET", Verb::Http),
    (b"HEAD", Verb::Http),
    (b"OPTIONS", Verb::Http),
    (b"PATCH", Verb::Http),
    (b"POST", Verb::Http),
    (b"PUT", Verb::Http),
    (b"TRACE", Verb::Http),
];

const HIDDEN: &[&[u8]] = &[
    b"USER",
    b"SASL",
    b"AUTH",
    b"APOP",
    b"STLS",
    b"UTF8",
    b"LANG",
    b"IMPLEMENTATION",
    b"OAUTHBEARER",
    b"NTLM",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_keeps_every_space_behind_the_first() {
        let command = Command::parse(b"pass  a b ");
        assert_eq!(command.verb, Verb::Pass);
        assert_eq!(command.argument, Some(&b" a b "[..]));
        assert_eq!(Command::parse(b"PASS").argument, None);
        assert_eq!(Command::parse(b"").verb, Verb::Unknown);
    }

    #[test]
    fn auth_takes_two_spaces() {
        assert_eq!(auth_argument(b"PLAIN"), (&b"PLAIN"[..], None));
        assert_eq!(
            auth_argument(b" plain  = "),
            (&b"plain"[..], Some(&b"="[..]))
        );
    }

    #[test]
    fn responses_with_codes_and_without() {
        let of = |line: &'static str| {
            let response = Response::parse(line.as_bytes())?;
            Some((response.status, response.code, response.text))
        };
        assert_eq!(of("+OK"), Some((Status::Ok, None, &b""[..])));
        assert_eq!(
            of("-ERR [in-use] busy"),
            Some((Status::Err, Some(Code::InUse), &b"busy"[..]))
        );
        assert_eq!(
            of("-ERR [XYZ/A] no"),
            Some((Status::Err, Some(Code::Other), &b"no"[..]))
        );
        assert_eq!(
            of("-ERR [AUTH no"),
            Some((Status::Err, None, &b"[AUTH no"[..]))
        );
        assert_eq!(of("+"), Some((Status::Continue, None, &b""[..])));
        assert_eq!(of("+ VXNl"), Some((Status::Continue, None, &b"VXNl"[..])));
        assert_eq!(of("* OK IMAP4"), None);
    }

    #[test]
    fn a_second_login_and_fingerprints_are_hidden() {
        for line in [
            "sasl PLAIN",
            "USER",
            "STLS",
            "UTF8 USER",
            "X-FOO",
            "SCRAM-SHA-1",
        ] {
            assert!(is_hidden(line.as_bytes()), "{line}");
        }
        for line in [
            "TOP",
            "UIDL",
            "EXPIRE 30 USER",
            "PIPELINING",
            "RESP-CODES",
            "USERS",
        ] {
            assert!(!is_hidden(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn only_a_wrong_local_password_may_look_like_one() {
        let auth = |cause| refusal(cause, "x").starts_with(b"-ERR [AUTH]");
        assert!(auth(Cause::WrongPassword));
        assert!(!auth(Cause::CredentialRejected) && !auth(Cause::PasswordExpired));
        assert_eq!(
            refusal(Cause::PrivacyRequired, "a\r\nb").as_ref(),
            b"-ERR a??b\r\n"
        );
    }
}
