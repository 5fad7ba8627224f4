//! DATA → the message, RFC 5321 section 4.5.2. Only CRLF, dot, CRLF ends it.
//!
//! A lone CR or LF becomes CRLF, and a dot behind one begins no end: whoever hides a second message behind `\n.\n`
//! has hidden it from nobody (PROTOCOL C.2, SMTP smuggling).

use bytes::{Bytes, BytesMut};

/// Takes DATA apart, in any split.
#[derive(Debug)]
pub(super) struct DataDecoder {
    state: State,
    message: BytesMut,
    max: u64,
    too_large: bool,
}

/// What the last octets were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// CRLF, or the beginning.
    LineStart,
    /// A dot at the start of a line.
    Dot,
    /// A dot at the start of a line, and CR.
    DotCr,
    /// Text.
    Text,
    /// CR in or behind text.
    Cr,
    /// The end.
    Done,
}

impl DataDecoder {
    pub(super) fn new(max: u64) -> Self {
        Self {
            state: State::LineStart,
            message: BytesMut::new(),
            max,
            too_large: false,
        }
    }

    /// Takes octets up to the end of DATA and says how many.
    pub(super) fn feed(&mut self, input: &[u8]) -> usize {
        for (i, &b) in input.iter().enumerate() {
            if self.is_done() {
                return i;
            }
            self.state = self.step(b);
        }
        input.len()
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The message; `None` where it was larger than allowed.
    pub(super) fn into_message(self) -> Option<Bytes> {
        (!self.too_large).then(|| self.message.freeze())
    }

    fn step(&mut self, b: u8) -> State {
        match (self.state, b) {
            (State::LineStart, b'.') => State::Dot,
            (State::Dot, b'\r') => State::DotCr,
            (State::DotCr, b'\n') => State::Done,
            (State::DotCr, b) => {
                // The dot was stuffed and the CR is a lone one.
                self.put(b"\r\n");
                self.text(b)
            }
            (State::Cr, b'\n') => {
                self.put(b"\r\n");
                State::LineStart
            }
            (State::Cr, b) => {
                self.put(b"\r\n");
                self.text(b)
            }
            (_, b) => self.text(b),
        }
    }

    fn text(&mut self, b: u8) -> State {
        match b {
            b'\r' => State::Cr,
            b'\n' => {
                self.put(b"\r\n");
                State::Text
            }
            b => {
                self.put(&[b]);
                State::Text
            }
        }
    }

    fn put(&mut self, octets: &[u8]) {
        if self.message.len() as u64 + octets.len() as u64 > self.max {
            self.too_large = true;
            self.message.clear();
        }
        if !self.too_large {
            self.message.extend_from_slice(octets);
        }
    }
}

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
            fed += decoder.feed(&input[at..]);
            prop_assert_eq!(fed, used);
            prop_assert_eq!(decoder.into_message().unwrap(), whole);
        }
    }
}
