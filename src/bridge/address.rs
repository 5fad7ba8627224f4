//! Who is in an address field, RFC 5322 section 3.4, for ENVELOPE: display names stay encoded as they were sent.

/// An entry of an address list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Somebody.
    Mailbox(Address),
    /// `name:`, before its members.
    GroupStart(Vec<u8>),
    /// `;`, behind them.
    GroupEnd,
}

/// Somebody's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The display name.
    pub name: Option<Vec<u8>>,
    /// The local part.
    pub local: Vec<u8>,
    /// The domain; `None` where there is no `@`.
    pub domain: Option<Vec<u8>>,
}

/// The entries of an unfolded field value. Never fails; what is no address is left out.
pub fn parse(value: &[u8]) -> Vec<Entry> {
    let mut list = List::default();
    for token in tokens(value).into_iter().take(TOKENS_MAX) {
        list.take(token);
    }
    list.end_entry();
    list.end_group();
    list.entries
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// An atom, a domain literal, or a dot between atoms.
    Word(Vec<u8>),
    /// A quoted string, unquoted.
    Quoted(Vec<u8>),
    /// A comment, without its parentheses.
    Comment(Vec<u8>),
    Special(u8),
}

/// The list so far and the entry that is being read.
#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    in_group: bool,
    /// Words outside angle brackets: a display name, or a bare address.
    phrase: Vec<Vec<u8>>,
    comment: Option<Vec<u8>>,
    /// What is between the angle brackets, once they have opened.
    angle: Option<Vec<u8>>,
    in_angle: bool,
}

impl List {
    fn take(&mut self, token: Token) {
        let continues = self.ends_open();
        match (token, self.angle.as_mut().filter(|_| self.in_angle)) {
            (Token::Special(b'>'), Some(_)) => self.in_angle = false,
            // `<@relay:anna@example.org>`: the route goes, RFC 5322 section 4.4.
            (Token::Special(b':'), Some(angle)) => angle.clear(),
            (Token::Special(b), Some(angle)) => angle.push(b),
            (Token::Word(w) | Token::Quoted(w), Some(angle)) => angle.extend_from_slice(&w),
            (Token::Comment(text), _) => self.comment = Some(text),
            (Token::Special(b'<'), None) => {
                self.angle = Some(Vec::new());
                self.in_angle = true;
            }
            (Token::Special(b','), None) => self.end_entry(),
            (Token::Special(b';'), None) => {
                self.end_entry();
                self.end_group();
            }
            (Token::Special(b':'), None) => {
                let name = self.phrase.join(&b' ');
                self.phrase.clear();
                self.entries.push(Entry::GroupStart(name));
                self.in_group = true;
            }
            (Token::Special(b'@'), None) => self.glue(b"@"),
            (Token::Special(_), None) => {}
            (Token::Word(w), None) if continues || w.starts_with(b".") => self.glue(&w),
            (Token::Word(w) | Token::Quoted(w), None) => self.phrase.push(w),
        }
    }

    /// Appends to the last word without a space: `anna`, `@`, `example`, `.org`.
    fn glue(&mut self, piece: &[u8]) {
        match self.phrase.last_mut() {
            Some(last) => last.extend_from_slice(piece),
            None => self.phrase.push(piece.to_vec()),
        }
    }

    fn ends_open(&self) -> bool {
        self.phrase.last().is_some_and(|last| last.ends_with(b"@"))
    }

    fn end_entry(&mut self) {
        let phrase = std::mem::take(&mut self.phrase);
        let comment = self.comment.take();
        self.in_angle = false;
        let (name, spec) = match self.angle.take() {
            Some(angle) => (Some(phrase.join(&b' ')).filter(|n| !n.is_empty()), angle),
            // `anna@example.org (Anna)`: the comment is the name, as it was before there were display names.
            None => (comment, phrase.join(&b' ')),
        };
        if spec.is_empty() && name.is_none() {
            return;
        }
        let (local, domain) = match memchr::memrchr(b'@', &spec) {
            Some(at) => {
                let (local, domain) = spec.split_at_checked(at).unwrap_or_default();
                (
                    local.to_vec(),
                    Some(domain.get(1..).unwrap_or_default().to_vec()),
                )
            }
            None => (spec, None),
        };
        self.entries.push(Entry::Mailbox(Address {
            name,
            local,
            domain,
        }));
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.entries.push(Entry::GroupEnd);
        }
    }
}

fn tokens(value: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = value;
    while let Some((&first, behind)) = rest.split_first() {
        rest = match first {
            b' ' | b'\t' | b'\r' | b'\n' => behind,
            b'"' => {
                let (text, behind) = quoted(behind);
                tokens.push(Token::Quoted(text));
                behind
            }
            b'(' => {
                let (text, behind) = comment(behind);
                tokens.push(Token::Comment(text));
                behind
            }
            b'<' | b'>' | b',' | b';' | b':' | b'@' => {
                tokens.push(Token::Special(first));
                behind
            }
            _ => {
                let ends = |b: &u8| b" \t\r\n\"(<>,;:@".contains(b);
                let n = rest.iter().position(ends).unwrap_or(rest.len());
                let (word, behind) = rest.split_at_checked(n).unwrap_or((rest, &[]));
                tokens.push(Token::Word(word.to_vec()));
                behind
            }
        };
    }
    tokens
}

/// Up to the closing quotation mark, with quoted pairs resolved.
fn quoted(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    let mut rest = bytes;
    while let Some((&b, behind)) = rest.split_first() {
        rest = behind;
        match b {
            b'"' => break,
            b'\\' => {
                if let Some((&escaped, behind)) = rest.split_first() {
                    text.push(escaped);
                    rest = behind;
                }
            }
            b => text.push(b),
        }
    }
    (text, rest)
}

/// Up to the parenthesis that closes the first; comments nest.
fn comment(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    let mut rest = bytes;
    let mut depth = 0usize;
    while let Some((&b, behind)) = rest.split_first() {
        rest = behind;
        match b {
            b')' if depth == 0 => break,
            b')' => depth -= 1,
            b'(' => depth += 1,
            b'\\' => {
                if let Some((&escaped, behind)) = rest.split_first() {
                    text.push(escaped);
                    rest = behind;
                }
                continue;
            }
            _ => {}
        }
        text.push(b);
    }
    (text, rest)
}

/// Tokens of one field; some thousand recipients.
const TOKENS_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mailbox(name: Option<&str>, local: &str, domain: Option<&str>) -> Entry {
        Entry::Mailbox(Address {
            name: name.map(Into::into),
            local: local.into(),
            domain: domain.map(Into::into),
        })
    }

    #[test]
    fn addresses_of_the_field() {
        assert_eq!(
            parse(b"\"Doe, \\\"J\\\"\" <j@x.org>, =?utf-8?q?=C3=A4?= B <@r,@s:a.b@[1.2.3.4]>, z @ y.de (Z (z))"),
            [
                mailbox(Some("Doe, \"J\""), "j", Some("x.org")),
                mailbox(Some("=?utf-8?q?=C3=A4?= B"), "a.b", Some("[1.2.3.4]")),
                mailbox(Some("Z (z)"), "z", Some("y.de")),
            ]
        );
        assert_eq!(parse(b"root"), [mailbox(None, "root", None)]);
        assert_eq!(
            parse(b"\"a b\"@x.org"),
            [mailbox(None, "a b", Some("x.org"))]
        );
        assert_eq!(parse(b" , ,"), []);
    }

    #[test]
    fn groups_have_a_start_and_an_end() {
        assert_eq!(
            parse(b"Friends: a@x, b@y; c@z"),
            [
                Entry::GroupStart(b"Friends".to_vec()),
                mailbox(None, "a", Some("x")),
                mailbox(None, "b", Some("y")),
                Entry::GroupEnd,
                mailbox(None, "c", Some("z")),
            ]
        );
        assert_eq!(
            parse(b"undisclosed recipients:;"),
            [
                Entry::GroupStart(b"undisclosed recipients".to_vec()),
                Entry::GroupEnd
            ]
        );
    }

    proptest! {
        #[test]
        fn every_group_that_starts_ends(value in "[a<>@:;,\"\\\\() .]{0,40}") {
            let entries = parse(value.as_bytes());
            let starts = entries.iter().filter(|e| matches!(e, Entry::GroupStart(_))).count();
            let ends = entries.iter().filter(|e| **e == Entry::GroupEnd).count();
            prop_assert!(ends <= starts);
        }
    }
}
