//! The first words of a line that may not be complete.

/// Walks along a line from its start, word by word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    line: &'a [u8],
    complete: bool,
    at: usize,
}

impl<'a> Words<'a> {
    /// `line` without its LF if `complete`, else what is there of it.
    pub(super) fn new(line: &'a [u8], complete: bool) -> Self {
        let line = match line.strip_suffix(b"\r") {
            Some(stripped) if complete => stripped,
            _ => line,
        };
        Self {
            line,
            complete,
            at: 0,
        }
    }

    /// The next word and where it starts; empty at the line's end, `None` while its end is not known.
    pub(super) fn word(&mut self) -> Option<(usize, &'a [u8])> {
        self.until(|b| b == b' ')
    }

    /// The name of a response code, behind its `[`, and where the `[` stands; empty if there is no code.
    pub(super) fn code_name(&mut self) -> Option<(usize, &'a [u8])> {
        let at = self.skip_spaces();
        match self.line.get(at) {
            Some(b'[') => {
                self.at = at + 1;
                let (_, name) = self.until(|b| matches!(b, b' ' | b']'))?;
                Some((at, name))
            }
            None if !self.complete => None,
            _ => Some((at, b"")),
        }
    }

    /// How far it has come: behind the last word.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn until(&mut self, ends: impl Fn(u8) -> bool) -> Option<(usize, &'a [u8])> {
        let start = self.skip_spaces();
        let rest = self.line.get(start..).unwrap_or_default();
        let end = match rest.iter().position(|&b| ends(b)) {
            Some(end) => end,
            None if self.complete => rest.len(),
            None => return None,
        };
        self.at = start + end;
        Some((start, rest.get(..end).unwrap_or_default()))
    }

    fn skip_spaces(&self) -> usize {
        let rest = self.line.get(self.at..).unwrap_or_default();
        self.at + rest.iter().take_while(|&&b| b == b' ').count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_known_when_its_end_is() {
        let mut words = Words::new(b"a  LOG", false);
        assert_eq!(words.word(), Some((0, &b"a"[..])));
        assert_eq!(words.word(), None);
        let mut words = Words::new(b"a  LOG\r", true);
        assert_eq!(words.word(), Some((0, &b"a"[..])));
        assert_eq!(words.word(), Some((3, &b"LOG"[..])));
        assert_eq!(words.word(), Some((6, &b""[..])));
    }

    #[test]
    fn a_code_name_needs_its_bracket() {
        let code = |line, complete| Words::new(line, complete).code_name();
        assert_eq!(code(b" [READ-ONLY] x", true), Some((1, &b"READ-ONLY"[..])));
        assert_eq!(code(b" text", false), Some((1, &b""[..])));
        assert_eq!(code(b" [REA", false), None);
        assert_eq!(code(b" ", false), None);
    }
}
