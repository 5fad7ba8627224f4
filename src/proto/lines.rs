//! Bytes → bounded lines. The one buffer for partial input of the line-based dialogues.
//!
//! Scans each byte once however it is split, so a line that comes byte by byte costs what a whole one costs. A line may be
//! a password: lines are [`Secret`]s, and the buffer is wiped when it is empty, when it grows and when it is dropped.

use bytes::Bytes;

use crate::secret::Secret;

/// Unread bytes of one leg, cut into lines on demand.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Secret,
    /// Where the unread bytes begin. What is before them has been taken.
    start: usize,
    /// How far from there the buffer is known to hold no LF.
    scanned: usize,
    /// Inside an over-long line, whose rest is thrown away.
    discarding: bool,
    /// Whether only CRLF ends a line.
    strict: bool,
}

/// One framed line.
#[derive(Debug)]
pub enum Line {
    /// Without its CRLF. A bare LF ends a line too: devices send it (PROTOCOL A.0 rule 7).
    Complete(Secret),
    /// Longer than allowed; reported once, when the limit is passed. Its rest is discarded up to the next LF.
    TooLong,
}

impl Lines {
    /// Nothing yet. `strict`: a bare LF ends no line, as the RFCs have it.
    pub fn new(strict: bool) -> Self {
        Self {
            strict,
            ..Self::default()
        }
    }

    /// Appends what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            // The rest is less than a line, so this copies each byte once.
            let rest = Secret::new(self.peek().to_vec());
            self.buffer = rest;
            self.start = 0;
        }
        self.buffer.append(bytes);
    }

    /// The next line of at most `max` octets without its line end; `None` when more bytes are needed.
    pub fn next(&mut self, max: usize) -> Option<Line> {
        loop {
            let unscanned = self.peek().get(self.scanned..).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', unscanned) else {
                return self.partial(max);
            };
            let end = self.scanned + at;
            if self.strict
                && !self.discarding
                && !self
                    .peek()
                    .get(..end)
                    .is_some_and(|line| line.ends_with(b"\r"))
            {
                self.scanned = end + 1;
                continue;
            }
            let line = self.peek().get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let framed = if line.len() > max {
                Line::TooLong
            } else {
                Line::Complete(Secret::new(line.to_vec()))
            };
            self.consume(end + 1);
            if !std::mem::take(&mut self.discarding) {
                return Some(framed);
            }
        }
    }

    /// Takes exactly `n` octets, as for a literal; `None` when they are not there yet.
    pub fn take(&mut self, n: usize) -> Option<Secret> {
        let taken = Secret::new(self.peek().get(..n)?.to_vec());
        self.consume(n);
        Some(taken)
    }

    /// Throws away up to `n` octets and says how many.
    pub fn discard(&mut self, n: usize) -> usize {
        let n = n.min(self.peek().len());
        self.consume(n);
        n
    }

    /// What is unread, without taking it.
    pub fn peek(&self) -> &[u8] {
        self.buffer.expose().get(self.start..).unwrap_or_default()
    }

    /// Whether nothing is unread and no over-long line is being discarded.
    pub fn is_empty(&self) -> bool {
        self.peek().is_empty() && !self.discarding
    }

    /// Whether the rest of an over-long line is still to be thrown away, so that what is unread begins inside a line.
    pub fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// Everything unread, for a hand-over.
    pub fn into_leftover(self) -> Bytes {
        Bytes::copy_from_slice(self.peek())
    }

    fn partial(&mut self, max: usize) -> Option<Line> {
        let unread = self.peek().len();
        self.scanned = unread;
        if self.discarding {
            self.consume(unread);
            return None;
        }
        // One more for the CR that may already be here.
        if unread > max + 1 {
            self.consume(unread);
            self.discarding = true;
            return Some(Line::TooLong);
        }
        None
    }

    /// Counts the next `n` octets as used.
    fn consume(&mut self, n: usize) {
        self.start += n;
        self.scanned = 0;
        if self.peek().is_empty() {
            // An idle connection keeps no buffer.
            self.buffer = Secret::default();
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next line as text, `!` for one that is too long.
    fn next(lines: &mut Lines, max: usize) -> Option<String> {
        Some(match lines.next(max)? {
            Line::Complete(line) => String::from_utf8(line.expose().to_vec()).unwrap(),
            Line::TooLong => "!".into(),
        })
    }

    #[test]
    fn a_bare_lf_ends_no_line_where_that_is_asked_for() {
        let mut lines = Lines::new(true);
        lines.push(b"a\nb\r");
        assert_eq!(next(&mut lines, 9), None);
        lines.push(b"\nc\n\n\n");
        assert_eq!(next(&mut lines, 9).as_deref(), Some("a\nb"));
        assert_eq!(next(&mut lines, 2).as_deref(), Some("!"));
    }

    #[test]
    fn crlf_lf_and_split_lines() {
        let mut lines = Lines::default();
        lines.push(b"a\r\nb\nc");
        assert_eq!(next(&mut lines, 10).as_deref(), Some("a"));
        assert_eq!(next(&mut lines, 10).as_deref(), Some("b"));
        assert_eq!(next(&mut lines, 10), None);
        lines.push(b"c\r");
        assert_eq!(next(&mut lines, 10), None);
        lines.push(b"\n");
        assert_eq!(next(&mut lines, 10).as_deref(), Some("cc"));
        assert!(lines.is_empty());
    }

    #[test]
    fn an_over_long_line_is_reported_once_and_skipped() {
        let mut lines = Lines::default();
        lines.push(b"0123456789");
        assert_eq!(next(&mut lines, 4).as_deref(), Some("!"));
        lines.push(b"0123456789");
        assert_eq!(next(&mut lines, 4), None);
        assert!(lines.is_discarding());
        lines.push(b"89\r\nnext\r\n");
        assert_eq!(next(&mut lines, 4).as_deref(), Some("next"));
        assert!(!lines.is_discarding());
        lines.push(b"too long at once\r\nok\r\n");
        assert_eq!(next(&mut lines, 4).as_deref(), Some("!"));
        assert_eq!(next(&mut lines, 4).as_deref(), Some("ok"));
    }

    #[test]
    fn nothing_of_a_line_stays_behind_it() {
        let mut lines = Lines::default();
        lines.push(b"PASS hunter2\r\nNO");
        assert_eq!(next(&mut lines, 99).as_deref(), Some("PASS hunter2"));
        lines.push(b"OP\r\n");
        assert!(!lines.buffer.expose().starts_with(b"PASS"));
        assert_eq!(next(&mut lines, 99).as_deref(), Some("NOOP"));
        assert!(lines.buffer.expose().is_empty());
        assert_eq!((lines.start, lines.scanned), (0, 0));
    }

    #[test]
    fn debug_shows_neither_the_buffer_nor_a_line() {
        let mut lines = Lines::default();
        lines.push(b"PASS hunter2\r\nPASS hunter2");
        let line = lines.next(99);
        assert!(!format!("{line:?} {lines:?}").contains("hunter2"));
    }

    #[test]
    fn octets_and_lines_alternate() {
        let mut lines = Lines::default();
        lines.push(b"{3}\r\nxyz");
        assert_eq!(next(&mut lines, 9).as_deref(), Some("{3}"));
        assert!(lines.take(4).is_none());
        lines.push(b"ab\r\nleft");
        assert_eq!(lines.take(3).unwrap().expose(), b"xyz");
        assert_eq!(lines.discard(1), 1);
        assert_eq!(next(&mut lines, 9).as_deref(), Some("b"));
        assert_eq!(lines.into_leftover(), "left");
    }
}
