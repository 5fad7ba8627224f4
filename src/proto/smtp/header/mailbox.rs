//! Whom a `From` names. Devices write anything there, so this reads more than RFC 5322 section 3.4 has, and says `None`
//! rather than guess: what cannot be read is nobody's.

/// One address of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mailbox {
    pub(super) address: Vec<u8>,
    /// The display name, as written but for comments.
    name: Vec<u8>,
    /// What is in the first parentheses; old programs put the name there.
    comment: Vec<u8>,
}

/// The mailboxes of an address list, groups and empty members left out. `None` where quotes, parentheses or angle
/// brackets do not fit together.
pub(super) fn mailboxes(value: &[u8]) -> Option<Vec<Mailbox>> {
    let mut list = Vec::new();
    let mut member = Member::default();
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let rest = value.get(at..).unwrap_or_default();
        let mut length = 1;
        match byte {
            b'"' => {
                length = quoted(rest)?;
                member.text(rest.get(..length)?);
            }
            b'(' => {
                length = comment(rest)?;
                if member.comment.is_empty() {
                    member.comment = rest.get(1..length - 1)?.to_vec();
                }
            }
            b')' | b'>' => return None,
            b'<' => {
                length = angle(rest)?;
                let inside = rest.get(1..length - 1)?;
                if member.angle.replace(inside.to_vec()).is_some() {
                    return None;
                }
            }
            // RFC 5322 section 3.4 has only the comma; Outlook's users write semicolons.
            b',' | b';' => list.extend(std::mem::take(&mut member).mailbox()),
            // What stood before it was the name of a group.
            b':' => member = Member::default(),
            b'\r' | b'\n' => {}
            other => member.text(&[other]),
        }
        at += length;
    }
    list.extend(member.mailbox());
    Some(list)
}

/// A member of the list, as far as it was read.
#[derive(Default)]
struct Member {
    before: Vec<u8>,
    angle: Option<Vec<u8>>,
    behind: Vec<u8>,
    comment: Vec<u8>,
}

impl Member {
    fn text(&mut self, text: &[u8]) {
        let part = match self.angle {
            None => &mut self.before,
            Some(_) => &mut self.behind,
        };
        part.extend_from_slice(text);
    }

    fn mailbox(self) -> Option<Mailbox> {
        let (address, mut name) = match self.angle {
            Some(address) => (address, self.before),
            None => (self.before, Vec::new()),
        };
        // Nothing belongs there; what is there is at best a name.
        name.extend_from_slice(&self.behind);
        let address = address.trim_ascii().to_vec();
        (!address.is_empty()).then_some(Mailbox {
            address,
            name: name.trim_ascii().to_vec(),
            comment: self.comment,
        })
    }
}

impl Mailbox {
    /// Whether everybody reads it alike: the name is a phrase, and no other address is in it.
    pub(super) fn is_plain(&self) -> bool {
        is_phrase(&self.name)
    }

    /// The display name as it stands in front of an address, with a space behind it; nothing where there is none.
    pub(super) fn display(&self) -> Vec<u8> {
        let name = match (&self.name, &self.comment) {
            (name, comment) if name.is_empty() => comment.trim_ascii(),
            (name, _) => name,
        };
        if name.is_empty() {
            return Vec::new();
        }
        let mut display = if is_phrase(name) {
            fold(name)
        } else {
            fold(&quote(name))
        };
        display.push(b' ');
        display
    }

    /// Whether an answer can get there: `scanner@localhost` and its like are known to the device alone.
    pub(super) fn can_be_replied_to(&self) -> bool {
        let Ok(address) = std::str::from_utf8(&self.address) else {
            return false;
        };
        let Some((local, domain)) = address.rsplit_once('@') else {
            return false;
        };
        let atom = |text: &str| !text.is_empty() && text.bytes().all(is_atom);
        let label = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let top = domain.rsplit('.').next().unwrap_or_default();
        address.len() <= ADDRESS_MAX
            && atom(local)
            && domain.contains('.')
            && domain.split('.').all(label)
            && !top.bytes().all(|b| b.is_ascii_digit())
            && !NOWHERE.iter().any(|it| top.eq_ignore_ascii_case(it))
    }
}

/// ```text
/// phrase = 1*word / obs-phrase
/// ```
/// RFC 5322 sections 3.2.5 and 4.1, with dots, and octets of eight bits as RFC 6532 section 3.2 has them. Its encoded words
/// (RFC 2047) are atoms, and stay what they are.
fn is_phrase(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += match byte {
            b'"' => match quoted(text.get(at..).unwrap_or_default()) {
                Some(length) => length,
                None => return false,
            },
            byte if is_atom(byte) || byte >= 0x80 || matches!(byte, b' ' | b'\t') => 1,
            _ => return false,
        };
    }
    true
}

/// `atext` and the dot.
fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte)
}

fn quote(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for &byte in text.iter().filter(|b| !b.is_ascii_control()) {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

/// Lines of a readable length, broken where white space is outside quotes.
fn fold(text: &[u8]) -> Vec<u8> {
    let (mut folded, mut line, mut at) = (Vec::new(), 0, 0);
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        let length = match byte {
            b'"' => quoted(rest).unwrap_or(1),
            b' ' | b'\t' if line > FOLD_AT => {
                folded.extend_from_slice(b"\r\n");
                line = 0;
                1
            }
            _ => 1,
        };
        folded.extend_from_slice(rest.get(..length).unwrap_or_default());
        line += length;
        at += length;
    }
    folded
}

/// The length of the quoted string at the start of `text`.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// The length of the comment at the start of `text`, with those inside it.
fn comment(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0usize);
    loop {
        match text.get(at)? {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// The length of the address in angle brackets at the start of `text`.
fn angle(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => at += quoted(text.get(at..)?)?,
            b'>' => return Some(at + 1),
            b'<' | b'(' => return None,
            _ => at += 1,
        }
    }
}

/// RFC 5321 section 4.5.3.1: 64 + 1 + 255.
const ADDRESS_MAX: usize = 320;

/// Where a line may be broken: below the 78 of RFC 5322 section 2.1.1 with the next word, as a rule.
const FOLD_AT: usize = 60;

/// Domains of nobody but the own network (RFC 6761, RFC 6762, RFC 8375, and what installers put there).
const NOWHERE: [&str; 9] = [
    "localhost",
    "localdomain",
    "local",
    "lan",
    "home",
    "internal",
    "intranet",
    "invalid",
    "arpa",
];
