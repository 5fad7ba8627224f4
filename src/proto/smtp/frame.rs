//! Bytes → bounded SMTP frames: a command line from the client, a whole reply from the upstream.
//!
//! The message after DATA is no frame; it streams through [`super::data`].

use memchr::memchr;

use super::codec::{ReplyLine, reply_line};
use crate::proto::dialogue::HOLD_MAX;
use crate::proto::lines::{Line, Lines};
use crate::proto::sasl::SASL_LINE_MAX;
use crate::secret::Secret;

/// The longest command line without its CRLF.
///
/// RFC 5321 section 4.5.3.1.4 asks for 512; extensions add to that (section 4.1.1.11, RFC 6531 section 3.4). 2048 is
/// Postfix's `line_length_limit`, which every client in the field lives with.
pub const COMMAND_LINE_MAX: usize = 2048;

/// The most lines in one reply: a real EHLO has about fifteen. Dovecot's submission proxy stops at 128, too.
pub const REPLY_LINES_MAX: usize = 128;

/// The most octets in one reply. It is passed on whole or not at all, so it must fit what a watch may leave unread.
pub const REPLY_MAX: usize = HOLD_MAX;

/// One line of the client's where a command is expected.
#[derive(Debug)]
pub enum CommandLine {
    /// Without its line end.
    Complete(Secret),
    /// Longer than any command but AUTH may be.
    TooLong,
    /// Longer than even AUTH with an initial response may be (RFC 4954 section 4).
    AuthTooLong,
}

/// The next command line; `None` when more bytes are needed.
pub fn command_line(lines: &mut Lines) -> Option<CommandLine> {
    Some(match lines.next(SASL_LINE_MAX)? {
        Line::TooLong => CommandLine::AuthTooLong,
        Line::Complete(line)
            if line.expose().len() > COMMAND_LINE_MAX && !is_auth(line.expose()) =>
        {
            CommandLine::TooLong
        }
        Line::Complete(line) => CommandLine::Complete(line),
    })
}

/// A complete reply at the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyFrame {
    /// The same on all of its lines.
    pub code: u16,
    /// Its octets, line ends included.
    pub len: usize,
}

/// Why an upstream's reply cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// A line that does not start with a reply code.
    #[error("{}", self.what())]
    Syntax,
    /// RFC 5321 section 4.2.1: the code is the same on every line.
    #[error("{}", self.what())]
    MixedCodes,
    /// More than [`REPLY_LINES_MAX`] lines or [`REPLY_MAX`] octets.
    #[error("{}", self.what())]
    TooLong,
}

impl BadReply {
    /// The same words where nothing but a `str` will do.
    pub fn what(self) -> &'static str {
        match self {
            Self::Syntax => "a line that is no reply",
            Self::MixedCodes => "a reply whose lines have different codes",
            Self::TooLong => "a reply over the limit",
        }
    }
}

/// The reply at the start of `input`; `None` when more bytes are needed.
///
/// ```text
/// Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
/// ```
/// RFC 5321 section 4.2. A bare LF ends a line too.
pub fn reply(input: &[u8]) -> Result<Option<ReplyFrame>, BadReply> {
    let mut first = None;
    let mut len = 0;
    for _ in 0..REPLY_LINES_MAX {
        let rest = input.get(len..).unwrap_or_default();
        let Some(at) = memchr(b'\n', rest) else {
            return if input.len() > REPLY_MAX {
                Err(BadReply::TooLong)
            } else {
                Ok(None)
            };
        };
        len += at + 1;
        if len > REPLY_MAX {
            return Err(BadReply::TooLong);
        }
        let line = rest.get(..at).unwrap_or_default();
        let ReplyLine { code, last, .. } = reply_line(line).ok_or(BadReply::Syntax)?;
        if *first.get_or_insert(code) != code {
            return Err(BadReply::MixedCodes);
        }
        if last {
            return Ok(Some(ReplyFrame { code, len }));
        }
    }
    Err(BadReply::TooLong)
}

fn is_auth(line: &[u8]) -> bool {
    line.get(..4)
        .is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(line: &[u8]) -> Option<CommandLine> {
        let mut lines = Lines::default();
        lines.push(line);
        command_line(&mut lines)
    }

    #[test]
    fn only_auth_may_be_longer_than_a_command() {
        let long = "x".repeat(COMMAND_LINE_MAX);
        let is_complete =
            |line: &str| matches!(framed(line.as_bytes()), Some(CommandLine::Complete(_)));
        assert!(is_complete(&format!("{long}\r\n")));
        let too_long = framed(format!("{long}x\r\n").as_bytes());
        assert!(matches!(too_long, Some(CommandLine::TooLong)));
        assert!(is_complete(&format!("auth PLAIN {long}\r\n")));
        let longer = "x".repeat(SASL_LINE_MAX);
        let too_long = framed(format!("AUTH PLAIN {longer}\r\n").as_bytes());
        assert!(matches!(too_long, Some(CommandLine::AuthTooLong)));
    }

    #[test]
    fn a_reply_is_framed_when_its_last_line_is_there() {
        let text = b"250-one\r\n250-two\n250 three\r\n220 next\r\n";
        assert_eq!(reply(text), Ok(Some(ReplyFrame { code: 250, len: 28 })));
        for end in 0..28 {
            assert_eq!(reply(&text[..end]), Ok(None), "{end}");
        }
        assert_eq!(
            reply(b"250\r\n"),
            Ok(Some(ReplyFrame { code: 250, len: 5 }))
        );
    }

    #[test]
    fn lines_and_octets_of_a_reply_are_bounded() {
        let lines = |n| [b"250-x\r\n".repeat(n - 1), b"250 x\r\n".to_vec()].concat();
        assert!(reply(&lines(REPLY_LINES_MAX)).is_ok_and(|frame| frame.is_some()));
        assert_eq!(reply(&lines(REPLY_LINES_MAX + 1)), Err(BadReply::TooLong));
        let endless = [b"250 ".to_vec(), b"x".repeat(REPLY_MAX)].concat();
        assert_eq!(reply(&endless), Err(BadReply::TooLong));
    }

    #[test]
    fn codes_must_agree_and_be_codes() {
        assert_eq!(reply(b"250-a\r\n550 b\r\n"), Err(BadReply::MixedCodes));
        assert_eq!(reply(b"* OK\r\n"), Err(BadReply::Syntax));
        assert_eq!(reply(b"199 x\r\n"), Err(BadReply::Syntax));
        assert_eq!(reply(b"2500 x\r\n"), Err(BadReply::Syntax));
    }
}
