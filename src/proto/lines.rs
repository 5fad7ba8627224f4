//! Bytes → bounded lines. The one buffer for partial input of the line-based dialogues.
//!
//! Scans each byte once however it is split, so a line that comes byte by byte costs what a whole one costs.

use bytes::{Buf, Bytes, BytesMut};

/// Unread bytes of one leg, cut into lines on demand.
#[derive(Default)]
pub struct Lines {
    buffer: BytesMut,
    /// How far the buffer is known to hold no LF.
    scanned: usize,
    /// Inside an over-long line, whose rest is thrown away.
    discarding: bool,
}

/// One framed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Without its CRLF. A bare LF ends a line too: devices send it (PROTOCOL A.0 rule 7).
    Complete(Bytes),
    /// Longer than allowed; reported once, when the limit is passed. Its rest is discarded up to the next LF.
    TooLong,
}

impl Lines {
    /// Appends what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line of at most `max` octets without its line end; `None` when more bytes are needed.
    pub fn next(&mut self, max: usize) -> Option<Line> {
        loop {
            let unscanned = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', unscanned) else {
                return self.partial(max);
            };
            let mut line = self.buffer.split_to(self.scanned + at);
            self.buffer.advance(1);
            self.scanned = 0;
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if std::mem::take(&mut self.discarding) {
                continue;
            }
            return Some(if line.len() > max {
                Line::TooLong
            } else {
                Line::Complete(line.freeze())
            });
        }
    }

    /// Takes exactly `n` octets, as for a literal; `None` when they are not there yet.
    pub fn take(&mut self, n: usize) -> Option<Bytes> {
        if self.buffer.len() < n {
            return None;
        }
        self.scanned = 0;
        Some(self.buffer.split_to(n).freeze())
    }

    /// Throws away up to `n` octets and says how many.
    pub fn discard(&mut self, n: usize) -> usize {
        let n = n.min(self.buffer.len());
        self.buffer.advance(n);
        self.scanned = 0;
        n
    }

    /// What is unread, without taking it.
    pub fn peek(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether nothing is unread and no over-long line is being discarded.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && !self.discarding
    }

    /// Whether the rest of an over-long line is still to be thrown away, so that what is unread begins inside a line.
    pub fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// Everything unread, for a hand-over.
    pub fn into_leftover(self) -> Bytes {
        self.buffer.freeze()
    }

    fn partial(&mut self, max: usize) -> Option<Line> {
        self.scanned = self.buffer.len();
        if self.discarding {
            self.buffer.clear();
            self.scanned = 0;
            return None;
        }
        // One more for the CR that may already be here.
        if self.buffer.len() > max + 1 {
            self.buffer.clear();
            self.scanned = 0;
            self.discarding = true;
            return Some(Line::TooLong);
        }
        None
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the bytes: a password may be among them.
        f.debug_struct("Lines")
            .field("unread", &self.buffer.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &'static str) -> Option<Line> {
        Some(Line::Complete(text.into()))
    }

    #[test]
    fn crlf_lf_and_split_lines() {
        let mut lines = Lines::default();
        lines.push(b"a\r\nb\nc");
        assert_eq!(lines.next(10), complete("a"));
        assert_eq!(lines.next(10), complete("b"));
        assert_eq!(lines.next(10), None);
        lines.push(b"c\r");
        assert_eq!(lines.next(10), None);
        lines.push(b"\n");
        assert_eq!(lines.next(10), complete("cc"));
        assert!(lines.is_empty());
    }

    #[test]
    fn an_over_long_line_is_reported_once_and_skipped() {
        let mut lines = Lines::default();
        lines.push(b"0123456789");
        assert_eq!(lines.next(4), Some(Line::TooLong));
        lines.push(b"0123456789");
        assert_eq!(lines.next(4), None);
        assert!(lines.is_discarding());
        lines.push(b"89\r\nnext\r\n");
        assert_eq!(lines.next(4), complete("next"));
        assert!(!lines.is_discarding());
        lines.push(b"too long at once\r\nok\r\n");
        assert_eq!(lines.next(4), Some(Line::TooLong));
        assert_eq!(lines.next(4), complete("ok"));
    }
}
