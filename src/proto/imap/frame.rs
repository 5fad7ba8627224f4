//! Bytes → bounded IMAP command frames, and the one rule for what announces a literal.
//!
//! A frame is one command with its literals inside, line ends as CRLF, without the last one. It is complete before
//! anything parses it, so octets of a literal can never be taken for a command. It may hold a password and is a
//! [`Secret`]. After login [`super::watch`] frames by itself, without keeping anything; it shares [`announced`] only.

use crate::proto::lines::{Line, Lines};
use crate::secret::Secret;

/// What the framer found.
#[derive(Debug)]
pub enum Frame {
    /// A whole command.
    Command(Secret),
    /// A synchronising literal was announced: the client waits for a `+` (RFC 3501 section 4.3).
    Continue,
    /// A command over a limit. Where it ends is not known any more, so nothing behind it may be read as a command.
    TooLong,
}

/// Cuts the client's bytes into commands, before login.
#[derive(Debug, Default)]
pub struct Frames {
    lines: Lines,
    /// The command so far.
    frame: Secret,
    literals: usize,
    literal_octets: usize,
    /// Octets of the literal that comes next.
    awaited: Option<usize>,
}

impl Frames {
    /// Nothing yet. `strict`: a bare LF ends no line.
    pub fn new(strict: bool) -> Self {
        Self {
            lines: Lines::new(strict),
            ..Self::default()
        }
    }

    /// Appends what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// The next frame, or `None` when more bytes are needed. After [`Frame::TooLong`] the connection must be closed.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(octets) = self.awaited {
                let literal = self.lines.take(octets)?;
                self.frame.append(literal.expose());
                self.awaited = None;
            }
            let said = self
                .frame
                .expose()
                .len()
                .saturating_sub(self.literal_octets);
            let Line::Complete(line) = self.lines.next(COMMAND_MAX.saturating_sub(said))? else {
                return Some(Frame::TooLong);
            };
            let line = line.expose();
            self.frame.append(line);
            let Some(literal) = announced(line).filter(|literal| literal.starts_argument) else {
                return Some(Frame::Command(self.finish()));
            };
            if !self.admit(&literal) {
                return Some(Frame::TooLong);
            }
            self.frame.append(b"\r\n");
            if literal.synchronising {
                return Some(Frame::Continue);
            }
        }
    }

    /// A line of a SASL exchange: no literals in there.
    pub fn next_line(&mut self, max: usize) -> Option<Line> {
        self.lines.next(max)
    }

    /// Whether nothing is unread.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.frame.is_empty()
    }

    /// Everything unread, for the hand-over between two commands.
    pub fn into_leftover(self) -> bytes::Bytes {
        self.lines.into_leftover()
    }

    /// Counts a literal against the limits; false when it breaks one.
    fn admit(&mut self, literal: &Literal) -> bool {
        let Ok(octets) = usize::try_from(literal.size) else {
            return false;
        };
        let sum = self.literal_octets.saturating_add(octets);
        if self.literals == LITERALS_MAX || sum > LITERAL_SUM_MAX {
            return false;
        }
        self.literals += 1;
        self.literal_octets = sum;
        self.awaited = Some(octets);
        true
    }

    fn finish(&mut self) -> Secret {
        self.literals = 0;
        self.literal_octets = 0;
        std::mem::take(&mut self.frame)
    }
}

/// A literal announced at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Literal {
    /// Its octets; `u64::MAX` stands for every size beyond it.
    pub size: u64,
    /// `{n}`: the sender waits for a `+`. `{n+}` does not (RFC 7888).
    pub synchronising: bool,
    /// Whether it stands where an argument may begin: behind a space, `(` or the `~` of a literal8 (RFC 3516).
    pub starts_argument: bool,
}

/// literal = "{" number ["+"] "}" CRLF (RFC 3501 section 9, RFC 7888): the one that `line` ends in. The line end itself
/// may be there or not. Looks at the last few bytes only.
pub fn announced(line: &[u8]) -> Option<Literal> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let inner = line.strip_suffix(b"}")?;
    let (inner, synchronising) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let digits = inner
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let (before, digits) = inner.split_at_checked(inner.len() - digits)?;
    let before = before.strip_suffix(b"{")?;
    if digits.is_empty() {
        return None;
    }
    let size = digits.iter().fold(0_u64, |size, digit| {
        size.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Some(Literal {
        size,
        synchronising,
        starts_argument: matches!(before.last(), Some(b' ' | b'(' | b'~')),
    })
}

/// The octets of a command outside its literals; RFC 2683 section 3.2.1.5 asks for at least 8000, Dovecot's login takes
/// 8192.
const COMMAND_MAX: usize = 8192;

/// All literals of one command together. Nothing a client says before login is longer.
const LITERAL_SUM_MAX: usize = 8192;

/// LOGIN needs two; ID sends a few.
const LITERALS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(line: &[u8]) -> Option<(u64, bool)> {
        announced(line).map(|l| (l.size, l.synchronising))
    }

    /// Each frame as text; `+` for a continuation, `!` for too long.
    fn frames(chunks: &[&[u8]]) -> Vec<String> {
        let mut frames = Frames::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            frames.push(chunk);
            while let Some(frame) = frames.next_frame() {
                seen.push(match frame {
                    Frame::Command(command) => {
                        String::from_utf8_lossy(command.expose()).into_owned()
                    }
                    Frame::Continue => "+".into(),
                    Frame::TooLong => return [seen, vec!["!".into()]].concat(),
                });
            }
        }
        seen
    }

    #[test]
    fn literal_sizes_are_checked() {
        assert_eq!(size(b"a LOGIN {3}\r\n"), Some((3, true)));
        assert_eq!(size(b"a LOGIN {3+}"), Some((3, false)));
        assert_eq!(size(b"a APPEND x ~{00000001}\n"), Some((1, true)));
        assert_eq!(size(b"{4294967297}"), Some((4_294_967_297, true)));
        assert_eq!(
            size(b"{99999999999999999999999999}"),
            Some((u64::MAX, true))
        );
        for none in ["{-1}", "{1 }", "{+}", "{}", "{1", "1}", "{1}x", "", "{1++}"] {
            assert_eq!(size(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_literal_starts_an_argument() {
        assert!(announced(b"a ID ({4}").unwrap().starts_argument);
        assert!(!announced(b"a LOGIN anna pass{4}").unwrap().starts_argument);
        assert_eq!(
            frames(&[b"a LOGIN anna pass{4}\r\n"]),
            ["a LOGIN anna pass{4}"]
        );
    }

    #[test]
    fn literals_become_part_of_their_command() {
        assert_eq!(
            frames(&[b"a LOGIN {4+}\r\nanna {3}\r\na\r\n\r\nb NOOP\n"]),
            ["+", "a LOGIN {4+}\r\nanna {3}\r\na\r\n", "b NOOP"]
        );
    }

    #[test]
    fn what_is_over_a_limit_is_not_framed() {
        let long = [b"a ".as_slice(), &[b'x'; COMMAND_MAX], b"\r\n"].concat();
        assert_eq!(frames(&[&long]), ["!"]);
        assert_eq!(frames(&[b"a LOGIN {8193+}\r\n"]), ["!"]);
        assert_eq!(frames(&[b"a LOGIN {99999999999999999999999}\r\n"]), ["!"]);
        let many = [b"a ID (".as_slice(), &b"{1+}\r\nx ".repeat(9)].concat();
        assert_eq!(frames(&[&many]), ["!"]);
        let two = b"a LOGIN {8000}\r\n".to_vec();
        let two = [two, vec![b'x'; 8000], b" {193+}\r\n".to_vec()].concat();
        assert_eq!(frames(&[&two]), ["+", "!"]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames(cuts in prop::collection::vec(0_usize..60, 0..8)) {
            let input = b"a LOGIN {4+}\r\nanna {3}\r\n\r\nx\r\nb NOOP\nc LOGIN \"a\" {0}\r\n\r\n";
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(input.len())).collect();
            cuts.sort_unstable();
            cuts.push(input.len());
            let mut from = 0;
            let chunks: Vec<&[u8]> = cuts.iter().map(|&to| {
                let chunk = &input[from..to];
                from = to;
                chunk
            }).collect();
            prop_assert_eq!(frames(&chunks), frames(&[input]));
        }
    }
}
