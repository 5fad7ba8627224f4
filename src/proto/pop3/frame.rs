//! Bytes → bounded POP3 frames: the limits on lines, and the scanner that finds where a multi-line response ends.
//!
//! Lines themselves are cut by [`crate::proto::lines`]; nothing here knows what a line means.

use memchr::memmem;

/// The longest command line.
///
/// RFC 2449 section 4 allows 255 octets with CRLF. Clients put the initial response of `AUTH PLAIN` into the command
/// even where it no longer fits, so this holds a name and a password of some 700 octets each in base64.
pub const COMMAND_MAX: usize = 2048;

/// The longest response line of an upstream that is read before the watch takes over.
///
/// RFC 2449 section 4 allows 512 octets with CRLF; providers append web addresses and session ids to refusals.
pub const RESPONSE_MAX: usize = 4096;

/// The most lines of a capability list. mpop stops at 50; the longest one seen in the field has 17.
pub const CAPA_LINES_MAX: usize = 128;

/// The longest capability line, in the watch: RFC 2449 section 3 allows 512 octets.
pub const CAPA_LINE_MAX: usize = RESPONSE_MAX;

/// Finds the end of a multi-line response (RFC 1939 section 3: a line that is a dot alone) however it is split.
///
/// It starts at the beginning of a line, behind the status line. Only CRLF `.` CRLF ends it: a bare LF is message data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOfBody {
    matched: usize,
}

impl EndOfBody {
    /// Behind the CRLF of the status line, where the dot may follow at once.
    pub fn at_line_start() -> Self {
        Self { matched: 2 }
    }

    /// Looks at the next bytes: the offset behind the end, or `None` when all of them belong to the body.
    pub fn find(&mut self, input: &[u8]) -> Option<usize> {
        let mut at = 0;
        while self.matched > 0 {
            self.advance(*input.get(at)?);
            at += 1;
            if self.matched == END.len() {
                return Some(at);
            }
        }
        let rest = input.get(at..).unwrap_or_default();
        if let Some(found) = memmem::find(rest, END) {
            return Some(at + found + END.len());
        }
        // The end may have begun in the last octets.
        let tail = rest.len().saturating_sub(END.len() - 1);
        for &byte in rest.get(tail..).unwrap_or_default() {
            self.advance(byte);
        }
        None
    }

    /// One octet: how much of [`END`] is matched now. Every partial match that fails can only begin again at a CR.
    fn advance(&mut self, byte: u8) {
        self.matched = match END.get(self.matched) {
            Some(wanted) if *wanted == byte => self.matched + 1,
            _ => usize::from(byte == b'\r'),
        };
    }
}

/// What ends a multi-line response.
const END: &[u8] = b"\r\n.\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(body: &[u8], cuts: &[usize]) -> Option<usize> {
        let mut scan = EndOfBody::at_line_start();
        let mut from = 0;
        for to in cuts.iter().copied().chain([body.len()]) {
            let to = to.clamp(from, body.len());
            if let Some(found) = scan.find(&body[from..to]) {
                return Some(from + found);
            }
            from = to;
        }
        None
    }

    #[test]
    fn only_a_dot_alone_between_crlfs_ends_a_body() {
        for (body, expected) in [
            (&b".\r\n"[..], Some(3)),
            (b"\r\n.\r\n+OK", Some(5)),
            (b"a\r\n..\r\n.\r\n", Some(10)),
            (b"a\n.\n\n.\r\n.\n\r\n.\r\n", Some(15)),
            (b"a\r\n.\r\r\n.\r\n", Some(10)),
            (b".a\r\n", None),
            (b"..\r\n", None),
            (b"a.\r\n", None),
        ] {
            assert_eq!(end(body, &[]), expected, "{}", body.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn the_end_is_the_same_however_it_is_split(
            body in "[\r\n.a]{0,40}",
            cuts in proptest::collection::vec(0_usize..40, 0..6),
        ) {
            let body = body.as_bytes();
            let mut cuts = cuts;
            cuts.sort_unstable();
            let whole = [b"\r\n", body].concat();
            let plain = whole.windows(5).position(|window| window == END).map(|at| at + 3);
            prop_assert_eq!(end(body, &cuts), plain);
            let bytewise: Vec<usize> = (0..body.len()).collect();
            prop_assert_eq!(end(body, &bytewise), plain);
        }
    }
}
