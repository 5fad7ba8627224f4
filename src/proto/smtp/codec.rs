//! SMTP parsers over complete frames, and the encoders. The arguments of MAIL and RCPT are in [`super::envelope`].

use std::fmt;

use bytes::Bytes;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::character::complete::space1;
use nom::combinator::{all_consuming, eof, map, map_res, opt, rest, value, verify};
use nom::sequence::{pair, preceded};
use nom::{IResult, Parser};

use super::envelope::{Envelope, envelope};
use crate::proto::refusal::{Cause, Refusal};
use crate::proto::text::ascii;

/// One command of the client's, RFC 5321 section 4.1.1 and its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// The client's name is not looked at: upstream we say our own.
    Ehlo,
    /// As `Ehlo`, without extensions.
    Helo,
    /// RFC 4954.
    Auth(Auth<'a>),
    /// With reverse-path and parameters.
    Mail(Envelope<'a>),
    /// With forward-path and parameters.
    Rcpt(Envelope<'a>),
    /// The message follows, once we say so.
    Data,
    /// Forget the transaction.
    Rset,
    /// Nothing. Its argument is not passed on.
    Noop,
    /// The end.
    Quit,
    /// RFC 3207.
    StartTls,
    /// Does this mailbox exist?
    Vrfy,
    /// What can you do?
    Help,
    /// RFC 3030: octets follow at once, whatever is answered.
    Bdat,
    /// Known, and not served: what would need its own handling on both legs, or forges an identity.
    NotServed,
    /// HTTP: a browser that was talked into connecting here (PROTOCOL B.8 no. 15).
    Http,
}

/// The arguments of AUTH.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth<'a> {
    /// As sent, any case.
    pub mechanism: &'a [u8],
    /// Base64, or `=` for an empty one.
    pub initial: Option<&'a [u8]>,
}

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth([secret])")
    }
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// No verb we know.
    #[error("unrecognised command")]
    Unrecognised,
    /// A verb we know with arguments we do not understand.
    #[error("wrong arguments")]
    Arguments,
    /// A control character, which could be a line end to somebody else.
    #[error("a control character in a command")]
    Control,
}

impl BadCommand {
    /// The reply to it.
    pub fn reply(self) -> &'static str {
        match self {
            Self::Unrecognised => "500 5.5.1 Command not recognised\r\n",
            Self::Arguments => "501 5.5.4 Wrong arguments\r\n",
            Self::Control => "500 5.5.2 A command cannot hold control characters\r\n",
        }
    }
}

/// The command in a line without its line end. Trailing white space is forgiven; verbs are in any case.
pub fn command(line: &[u8]) -> Result<Command<'_>, BadCommand> {
    let line = line.trim_ascii_end();
    if line.iter().any(u8::is_ascii_control) {
        return Err(BadCommand::Control);
    }
    let (arguments, verb) = verb(line).map_err(|_| BadCommand::Unrecognised)?;
    let bare = |command| match arguments {
        b"" => Ok(command),
        _ => Err(BadCommand::Arguments),
    };
    match verb.to_ascii_uppercase().as_slice() {
        b"EHLO" => Ok(Command::Ehlo),
        b"HELO" => Ok(Command::Helo),
        b"AUTH" => auth(arguments).map(Command::Auth),
        b"MAIL" => envelope(b"FROM:", arguments).map(Command::Mail),
        b"RCPT" => envelope(b"TO:", arguments).map(Command::Rcpt),
        b"DATA" => bare(Command::Data),
        b"RSET" => bare(Command::Rset),
        b"NOOP" => Ok(Command::Noop),
        b"QUIT" => bare(Command::Quit),
        b"STARTTLS" => bare(Command::StartTls),
        b"VRFY" => Ok(Command::Vrfy),
        b"HELP" => Ok(Command::Help),
        b"BDAT" => Ok(Command::Bdat),
        b"EXPN" | b"ETRN" | b"ATRN" | b"TURN" | b"SEND" | b"SOML" | b"SAML" | b"BURL"
        | b"XCLIENT" | b"XFORWARD" | b"XEXCH50" | b"X-EXPS" => Ok(Command::NotServed),
        b"GET" | b"POST" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"PATCH" | b"TRACE"
        | b"CONNECT" => Ok(Command::Http),
        _ => Err(BadCommand::Unrecognised),
    }
}

/// One line of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLine<'a> {
    /// 200 to 599; SMTP has no 1yz replies (RFC 5321 section 4.2.1).
    pub code: u16,
    /// Whether the reply ends here.
    pub last: bool,
    /// Behind the code and its separator.
    pub text: &'a [u8],
}

/// A line of a reply without its line end; `None` if it is none.
pub fn reply_line(line: &[u8]) -> Option<ReplyLine<'_>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let last = alt((
        value(false, tag("-")),
        value(true, tag(" ")),
        value(true, eof),
    ));
    let parsed: IResult<_, _> = (reply_code, last, rest).parse(line);
    let (_, (code, last, text)) = parsed.ok()?;
    Some(ReplyLine { code, last, text })
}

/// A whole reply, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Its code.
    pub code: u16,
    /// The text of each line, without code and line end.
    pub lines: Vec<&'a [u8]>,
}

impl<'a> Reply<'a> {
    /// Takes apart what [`super::frame::reply`] framed.
    pub fn new(code: u16, frame: &'a [u8]) -> Self {
        let frame = frame.strip_suffix(b"\n").unwrap_or(frame);
        let lines = frame
            .split(|&b| b == b'\n')
            .filter_map(reply_line)
            .map(|line| line.text)
            .collect();
        Self { code, lines }
    }

    /// The enhanced status code, RFC 2034, such as `(5, 7, 8)`.
    pub fn enhanced(&self) -> Option<(u16, u16, u16)> {
        let parsed = enhanced(self.lines.first()?);
        parsed.ok().map(|(_, code)| code)
    }

    /// The text of all lines, for a person.
    pub fn text(&self) -> Vec<u8> {
        self.lines.join(&b" "[..])
    }
}

/// Why a login failed, in SMTP's words: PROTOCOL table B.6.
///
/// A client that is told 535 asks for the password again and forgets the saved one, so it stands only where that is
/// right. RFC 4954 section 6 lists the codes; 525 for an account that an administrator must switch on is of RFC 5248.
pub fn refusal(refusal: &Refusal) -> Bytes {
    let code = match refusal.cause {
        Cause::WrongPassword => "535 5.7.8",
        // The client's own password was right, so asking for it again helps nobody.
        Cause::CredentialRejected
        | Cause::TokenRejected
        | Cause::SignInNeeded
        | Cause::Unavailable
        | Cause::UntrustedUpstream
        | Cause::UpstreamPolicy
        | Cause::LimitReached
        | Cause::InUse => "454 4.7.0",
        Cause::ContactAdmin => "525 5.7.13",
        Cause::PasswordExpired => "534 5.7.9",
        Cause::ProtocolOff => "550 5.7.1",
        Cause::ServerBug => "451 4.3.5",
        Cause::PrivacyRequired => "538 5.7.11",
        Cause::Shutdown => "421 4.3.2",
    };
    Bytes::from(format!("{code} {}\r\n", ascii(&refusal.text)))
}

/// Why the first MAIL of a client that does not log in cannot be served now, PROTOCOL table B.6.
///
/// Never a permanent reply: what is wrong is ours or the provider's, and a fax drops the page at 5xx.
pub fn refusal_without_login(refusal: &Refusal) -> Bytes {
    let code = match refusal.cause {
        Cause::PrivacyRequired => return Bytes::from_static(STARTTLS_FIRST.as_bytes()),
        Cause::CredentialRejected
        | Cause::TokenRejected
        | Cause::WrongPassword
        | Cause::SignInNeeded
        | Cause::ContactAdmin
        | Cause::PasswordExpired => "451 4.7.0",
        Cause::LimitReached => "451 4.7.1",
        Cause::Unavailable | Cause::UntrustedUpstream | Cause::UpstreamPolicy | Cause::InUse => {
            "451 4.4.1"
        }
        Cause::ProtocolOff | Cause::ServerBug => "451 4.3.5",
        Cause::Shutdown => "421 4.3.2",
    };
    Bytes::from(format!("{code} {}\r\n", ascii(&refusal.text)))
}

/// A multi-line 250 reply.
pub fn hello<T: AsRef<str>>(host: &str, keywords: &[T]) -> Bytes {
    let mut text = String::new();
    let lines = std::iter::once(host).chain(keywords.iter().map(AsRef::as_ref));
    for (index, line) in lines.enumerate() {
        text.push_str(if index == keywords.len() {
            "250 "
        } else {
            "250-"
        });
        text.push_str(line);
        text.push_str("\r\n");
    }
    Bytes::from(text)
}

/// RFC 3207 section 4.
const STARTTLS_FIRST: &str = "530 5.7.0 Say STARTTLS first\r\n";
/// VRFY, RFC 5321 section 3.5.3: we do not say who exists.
pub const CANNOT_VERIFY: &str = "252 2.5.0 Cannot verify; send the message and see\r\n";
/// HELP.
pub const HELP: &str = "214 2.0.0 This is mailsluice, an SMTP submission proxy (RFC 6409)\r\n";
/// What is known and not served, and what was never offered.
pub const NOT_SERVED: &str = "502 5.5.1 Command not served here\r\n";
/// AUTH where nobody logs in. Not 503, since .NET's client goes on without a login only behind 504.
pub const NO_LOGIN_HERE: &str = "504 5.5.4 No login is needed here; go on without\r\n";
/// A command line over the limit.
pub const LINE_TOO_LONG: &str = "500 5.5.2 Line too long\r\n";
/// An AUTH line over the limit, RFC 4954 section 4.
pub const AUTH_LINE_TOO_LONG: &str = "500 5.5.6 Authentication line too long\r\n";

/// `verb *SP arguments`
fn verb(line: &[u8]) -> IResult<&[u8], &[u8]> {
    let (arguments, verb) =
        take_while1(|b: u8| b.is_ascii_alphanumeric() || b == b'-').parse(line)?;
    alt((eof, space1)).parse(arguments)?;
    Ok((arguments.trim_ascii_start(), verb))
}

/// ```text
/// "AUTH" SP sasl-mech [SP initial-response]
/// ```
/// RFC 4954 section 4. quirk: Windows Mail 16005 sends two spaces before the initial response.
fn auth(arguments: &[u8]) -> Result<Auth<'_>, BadCommand> {
    let word = || take_while1(|b: u8| b.is_ascii_graphic());
    let parsed: IResult<_, _> = all_consuming(map(
        pair(word(), opt(preceded(space1, word()))),
        |(mechanism, initial)| Auth { mechanism, initial },
    ))
    .parse(arguments);
    parsed
        .map(|(_, auth)| auth)
        .map_err(|_| BadCommand::Arguments)
}

/// ```text
/// Reply-code = %x32-35 %x30-35 %x30-39
/// ```
/// RFC 5321 section 4.2; the second digit is not held against a server.
fn reply_code(input: &[u8]) -> IResult<&[u8], u16> {
    verify(number(3, 3), |code| (200..600).contains(code)).parse(input)
}

/// ```text
/// status-code = ("2" / "4" / "5") "." 1*3digit "." 1*3digit
/// ```
/// RFC 2034 section 4.
fn enhanced(input: &[u8]) -> IResult<&[u8], (u16, u16, u16)> {
    let (input, class) = verify(number(1, 1), |n| matches!(n, 2 | 4 | 5)).parse(input)?;
    let (input, subject) = preceded(tag("."), number(1, 3)).parse(input)?;
    let (input, detail) = preceded(tag("."), number(1, 3)).parse(input)?;
    Ok((input, (class, subject, detail)))
}

fn number<'a>(
    min: usize,
    max: usize,
) -> impl Parser<&'a [u8], Output = u16, Error = nom::error::Error<&'a [u8]>> {
    map_res(
        take_while_m_n(min, max, |b: u8| b.is_ascii_digit()),
        |digits: &[u8]| String::from_utf8_lossy(digits).parse(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_come_in_any_case_and_may_trail_white_space() {
        assert_eq!(command(b"quit \t"), Ok(Command::Quit));
        assert_eq!(command(b"Noop whatever"), Ok(Command::Noop));
        assert_eq!(command(b"HELO"), Ok(Command::Helo));
        assert_eq!(command(b"QUIT now"), Err(BadCommand::Arguments));
        assert_eq!(command(b"DATA\0"), Err(BadCommand::Control));
        assert_eq!(command(b"RSET\rQUIT"), Err(BadCommand::Control));
        assert_eq!(command(b"QUITE"), Err(BadCommand::Unrecognised));
        assert_eq!(command(b""), Err(BadCommand::Unrecognised));
        assert_eq!(command(b"\x16\x03\x01"), Err(BadCommand::Control));
        assert_eq!(command(b"GET / HTTP/1.1"), Ok(Command::Http));
    }

    #[test]
    fn auth_takes_an_initial_response_behind_any_spaces() {
        let of = |line| match command(line) {
            Ok(Command::Auth(auth)) => (auth.mechanism, auth.initial),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(b"AUTH LOGIN"), (&b"LOGIN"[..], None));
        assert_eq!(of(b"auth plain  AGE="), (&b"plain"[..], Some(&b"AGE="[..])));
        assert_eq!(command(b"AUTH"), Err(BadCommand::Arguments));
        assert_eq!(command(b"AUTH PLAIN a b"), Err(BadCommand::Arguments));
        let shown = format!("{:?}", command(b"AUTH PLAIN c2VjcmV0"));
        assert!(!shown.contains("c2Vj"), "{shown}");
    }

    #[test]
    fn a_reply_gives_its_enhanced_code_and_all_its_text() {
        let reply = Reply::new(535, b"535-5.7.8 No\r\n535 5.7.8 way\r\n");
        assert_eq!(reply.enhanced(), Some((5, 7, 8)));
        assert_eq!(reply.text(), b"5.7.8 No 5.7.8 way");
        assert_eq!(Reply::new(220, b"220 5 o'clock\r\n").enhanced(), None);
        assert_eq!(Reply::new(220, b"220\r\n").lines, [b""]);
    }

    #[test]
    fn only_a_wrong_password_gives_535() {
        let of = |cause| {
            let text = refusal(&Refusal::new(cause, "test", "Gr\u{fc}\u{df}e\r\n."));
            String::from_utf8_lossy(&text).into_owned()
        };
        assert_eq!(of(Cause::WrongPassword), "535 5.7.8 Gr??e??.\r\n");
        assert_eq!(of(Cause::CredentialRejected), "454 4.7.0 Gr??e??.\r\n");
        assert!(of(Cause::ContactAdmin).starts_with("525 5.7.13 "));
        assert!(of(Cause::ServerBug).starts_with("451 4.3.5 "));
        assert!(of(Cause::Shutdown).starts_with("421 4.3.2 "));
    }

    #[test]
    fn only_the_last_line_of_a_hello_has_a_space() {
        assert_eq!(hello("h", &["A", "B"]), "250-h\r\n250-A\r\n250 B\r\n");
        assert_eq!(hello::<&str>("h", &[]), "250 h\r\n");
    }
}
