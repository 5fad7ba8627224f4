//! The tokens of a command, RFC 3501 section 9. Each method carries the name of its ABNF rule.

use std::borrow::Cow;

/// What a command is not: the one error of this parser. The client gets BAD with these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub(super) struct Expected(pub(super) &'static str);

/// A place in a complete command.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(super) fn new(command: &'a [u8]) -> Self {
        Self { rest: command }
    }

    /// What follows, without taking it.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes `token` if it is next, whatever its case.
    pub(super) fn accept(&mut self, token: &str) -> bool {
        let Some((head, rest)) = self.rest.split_at_checked(token.len()) else {
            return false;
        };
        let found = head.eq_ignore_ascii_case(token.as_bytes());
        if found {
            self.rest = rest;
        }
        found
    }

    pub(super) fn expect(&mut self, token: &'static str) -> Result<(), Expected> {
        self.accept(token).then_some(()).ok_or(Expected(token))
    }

    pub(super) fn sp(&mut self) -> Result<(), Expected> {
        self.accept(" ").then_some(()).ok_or(Expected("a space"))
    }

    /// The end of the command. quirk: trailing spaces are let pass, old programs leave them behind.
    pub(super) fn end(&self) -> Result<(), Expected> {
        if self.rest.iter().all(|&b| b == b' ') {
            Ok(())
        } else {
            Err(Expected("the end of the command"))
        }
    }

    /// `tag = 1*<any ASTRING-CHAR except "+">`, bounded.
    pub(super) fn tag(&mut self) -> Result<String, Expected> {
        let tag = self.take_while(|b| is_astring_char(b) && b != b'+');
        if tag.is_empty() || tag.len() > TAG_MAX {
            return Err(Expected("a tag"));
        }
        Ok(String::from_utf8_lossy(tag).into_owned())
    }

    /// `atom`, as upper-case text: names of commands, items and keys.
    pub(super) fn keyword(&mut self) -> Result<String, Expected> {
        let word =
            self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'='));
        if word.is_empty() {
            return Err(Expected("a word"));
        }
        Ok(String::from_utf8_lossy(word).to_ascii_uppercase())
    }

    /// `astring = 1*ASTRING-CHAR / string`
    pub(super) fn astring(&mut self) -> Result<Cow<'a, [u8]>, Expected> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self.one_or_more(is_astring_char, "a string"),
        }
    }

    /// `list-mailbox = 1*list-char / string`
    pub(super) fn list_mailbox(&mut self) -> Result<Cow<'a, [u8]>, Expected> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self.one_or_more(
                |b| is_astring_char(b) || matches!(b, b'%' | b'*'),
                "a mailbox pattern",
            ),
        }
    }

    /// `nstring = string / nil`
    pub(super) fn nstring(&mut self) -> Result<Option<Cow<'a, [u8]>>, Expected> {
        if self.accept("NIL") {
            return Ok(None);
        }
        self.string().map(Some)
    }

    /// `string = quoted / literal`
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, Expected> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => Err(Expected("a quoted string or a literal")),
        }
    }

    /// `flag`: an atom, with a backslash before a system flag.
    pub(super) fn flag(&mut self) -> Result<&'a str, Expected> {
        let start = self.rest;
        self.accept("\\");
        self.take_while(is_atom_char);
        let taken = start.len() - self.rest.len();
        let flag = start.get(..taken).unwrap_or_default();
        match std::str::from_utf8(flag) {
            Ok(flag) if flag.len() > 1 || !matches!(flag, "" | "\\") => Ok(flag),
            _ => Err(Expected("a flag")),
        }
    }

    /// `number`, 32 bits.
    pub(super) fn number(&mut self) -> Result<u32, Expected> {
        let digits = self.take_while(|b| b.is_ascii_digit());
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or(Expected("a number"))
    }

    /// The longest run of octets that fit.
    pub(super) fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let n = self
            .rest
            .iter()
            .position(|&b| !fits(b))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(n).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// `"(" item *(SP item) ")"`; an empty list is let pass where the caller lets it.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Expected>,
    ) -> Result<Vec<T>, Expected> {
        self.expect("(")?;
        let mut items = Vec::new();
        if self.accept(")") {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.accept(")") {
                return Ok(items);
            }
            self.sp()?;
        }
    }

    fn one_or_more(
        &mut self,
        fits: impl Fn(u8) -> bool,
        what: &'static str,
    ) -> Result<Cow<'a, [u8]>, Expected> {
        let taken = self.take_while(fits);
        if taken.is_empty() {
            return Err(Expected(what));
        }
        Ok(Cow::Borrowed(taken))
    }

    /// `quoted`. quirk: 8-bit octets are let pass, programs send Latin-1 and UTF-8 passwords.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, Expected> {
        self.expect("\"")?;
        let mut text = Cow::Borrowed(self.take_while(is_quoted_char));
        loop {
            if self.accept("\"") {
                return Ok(text);
            }
            if !self.accept("\\") {
                return Err(Expected("a closing quotation mark"));
            }
            let escaped = self.peek().filter(|b| matches!(b, b'"' | b'\\'));
            let Some((escaped, rest)) = escaped.zip(self.rest.get(1..)) else {
                return Err(Expected("a quotation mark or backslash behind a backslash"));
            };
            self.rest = rest;
            let text = text.to_mut();
            text.push(escaped);
            text.extend_from_slice(self.take_while(is_quoted_char));
        }
    }

    /// `literal = "{" number ["+"] "}" CRLF *CHAR8`; the framer has put exactly that many octets behind it.
    fn literal(&mut self) -> Result<Cow<'a, [u8]>, Expected> {
        self.expect("{")?;
        let octets = self.number()? as usize;
        self.accept("+");
        self.expect("}")?;
        self.expect("\r\n")?;
        let (literal, rest) = self
            .rest
            .split_at_checked(octets)
            .ok_or(Expected("the octets of a literal"))?;
        self.rest = rest;
        Ok(Cow::Borrowed(literal))
    }
}

/// `ATOM-CHAR`: any CHAR except atom-specials. quirk: 8-bit octets pass, as in quoted strings.
fn is_atom_char(b: u8) -> bool {
    !b.is_ascii_control()
        && !matches!(
            b,
            b'(' | b')' | b'{' | b' ' | b'%' | b'*' | b'"' | b'\\' | b']'
        )
}

/// `ASTRING-CHAR = ATOM-CHAR / resp-specials`
fn is_astring_char(b: u8) -> bool {
    is_atom_char(b) || b == b']'
}

fn is_quoted_char(b: u8) -> bool {
    !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0)
}

/// Octets of a tag, which we echo: PROTOCOL B.7.
const TAG_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_as_atom_quoted_or_literal() {
        let mut s = Scanner::new(b"a]b \"q \\\"\\\\\" {3+}\r\n\r\n) x");
        assert_eq!(s.astring().unwrap().as_ref(), b"a]b");
        s.sp().unwrap();
        assert_eq!(s.astring().unwrap().as_ref(), b"q \"\\");
        s.sp().unwrap();
        assert_eq!(s.astring().unwrap().as_ref(), b"\r\n)");
        assert_eq!(s.end(), Err(Expected("the end of the command")));
    }

    #[test]
    fn broken_strings_are_no_strings() {
        for broken in [
            &b"\"a"[..],
            b"\"a\\",
            b"\"\\n\"",
            b"{4}\r\nabc",
            b"{1}a",
            b"",
            b"(",
        ] {
            assert!(Scanner::new(broken).astring().is_err(), "{broken:?}");
        }
        assert!(Scanner::new(b"\\").flag().is_err());
        assert!(Scanner::new(&[b'a'; TAG_MAX + 1]).tag().is_err());
    }
}
