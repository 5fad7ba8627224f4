//! DATA → the message, RFC 5321 section 4.5.2: what [`crate::proto::smtp::data`] would say upstream, without its stuffing.
//!
//! What ends a message, and what becomes of bare CR and LF, is decided there, so that a message is the same whether it is
//! relayed or kept.

use bytes::{Bytes, BytesMut};

use crate::proto::flow::{Flow, Piece};
use crate::proto::smtp::data::Data;
use crate::protocol::Leg;

/// Takes DATA apart, in any split.
#[derive(Debug)]
pub(super) struct DataDecoder {
    data: Data,
    message: BytesMut,
    line_start: bool,
    done: bool,
    max: u64,
    too_large: bool,
}

impl DataDecoder {
    pub(super) fn new(max: u64) -> Self {
        Self {
            data: Data::new(),
            message: BytesMut::new(),
            line_start: true,
            done: false,
            max,
            too_large: false,
        }
    }

    /// Takes octets up to the end of DATA and says how many; a few whose meaning is not known yet may be left.
    pub(super) fn feed(&mut self, input: &[u8]) -> usize {
        if self.done {
            return 0;
        }
        let mut flow = Flow::default();
        let progress = self.data.read(input, 0, &mut flow);
        for piece in flow.pieces(Leg::Upstream) {
            match piece {
                Piece::Input(range) => self.put(input.get(range.clone()).unwrap_or_default()),
                Piece::Own(bytes) => self.put(bytes),
            }
        }
        if progress.ended {
            self.done = true;
            // What is left of the final dot is its line end.
            let end = self.message.len().saturating_sub(LINE_END);
            self.message.truncate(end);
        }
        progress.taken
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The message; `None` where it was larger than allowed.
    pub(super) fn into_message(self) -> Option<Bytes> {
        (!self.too_large).then(|| self.message.freeze())
    }

    /// Canonical lines, or a part of one.
    fn put(&mut self, octets: &[u8]) {
        for line in octets.split_inclusive(|&b| b == b'\n') {
            let stuffed = std::mem::replace(&mut self.line_start, line.ends_with(b"\n"));
            let text = line.strip_prefix(b".").filter(|_| stuffed).unwrap_or(line);
            let len = self.message.len() + text.len();
            if len as u64 > self.max.saturating_add(LINE_END as u64) {
                self.too_large = true;
                self.message.clear();
            }
            if !self.too_large {
                self.message.extend_from_slice(text);
            }
        }
    }
}

/// CRLF: that of the final dot is in the message until it is seen to be that.
const LINE_END: usize = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(input: &[u8]) -> Option<(Bytes, usize)> {
        let mut decoder = DataDecoder::new(1_000);
        let used = decoder.feed(input);
        decoder
            .is_done()
            .then(|| (decoder.into_message().unwrap(), used))
    }

    #[test]
    fn stuffed_dots_go_and_the_rest_is_left() {
        let (message, used) = decode(b"a\r\n..b\r\n.c\r\n.\r\nQUIT\r\n").unwrap();
        assert_eq!(message, "a\r\n.b\r\nc\r\n");
        assert_eq!(used, 15);
        assert_eq!(decode(b".\r\n").unwrap().0, "");
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message() {
        for fake in [
            &b"a\n.\nb"[..],
            b"a\r.\rb",
            b"a\n.\r\nb",
            b"a\r\n.\nb",
            b"a\r\n.\rb",
            b"a\r.\r\nb",
        ] {
            assert!(decode(fake).is_none(), "{fake:?}");
            let (message, _) = decode(&[fake, b"\r\n.\r\n"].concat()).unwrap();
            let lone = message
                .windows(2)
                .any(|w| (w[0] == b'\r') != (w[1] == b'\n'));
            assert!(!lone, "{message:?}");
        }
    }

    #[test]
    fn a_message_is_what_the_relay_would_make_of_it() {
        let sent = b"A: b\r\r\nC: d\r\n\r\nx\n..y\n.z\r\n.\r\n";
        let kept = "A: b\r\nC: d\r\n\r\nx\r\n.y\r\n.z\r\n";
        assert_eq!(decode(sent).unwrap().0, kept);
    }

    #[test]
    fn the_limit_counts_the_message_alone() {
        for (max, fits) in [(4, false), (5, true)] {
            let mut decoder = DataDecoder::new(max);
            decoder.feed(b"abc\r\n.\r\n");
            assert_eq!(decoder.into_message().is_some(), fits, "{max}");
        }
    }

    #[test]
    fn what_is_too_large_is_read_to_its_end_and_dropped() {
        let mut decoder = DataDecoder::new(3);
        assert_eq!(decoder.feed(b"abcdef\r\n.\r\n"), 11);
        assert!(decoder.is_done() && decoder.into_message().is_none());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(input in "[.\r\na]{0,24}", at in 0usize..24) {
            let input = [input.as_bytes(), b"\r\n.\r\n"].concat();
            let (whole, used) = decode(&input).unwrap();
            let mut decoder = DataDecoder::new(1_000);
            let at = at.min(input.len());
            let mut fed = decoder.feed(&input[..at]);
            fed += decoder.feed(&input[fed..]);
            prop_assert_eq!(fed, used);
            prop_assert_eq!(decoder.into_message().unwrap(), whole);
        }
    }
}
