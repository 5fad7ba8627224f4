//! The canned mail: one text of which every message is the beginning.
//!
//! Because of that the receiver of a message checks it by comparing memory, which costs a tenth of a hash; and because
//! both ends make the same text, nobody has to be told it.

use aws_lc_rs::digest;

/// KiB.
pub(crate) const KIB: usize = 1024;
/// MiB.
pub(crate) const MIB: usize = 1024 * KIB;
/// GiB, to divide by.
pub(crate) const GIB: f64 = (1024 * MIB) as f64;

/// The messages of the mailbox; the first has number 1.
pub(crate) const SIZES: [usize; 5] = [KIB, 10 * KIB, MIB, 10 * MIB, 25 * MIB];

/// Every line of the text, its CRLF with it.
const LINE: usize = 64;
/// One line in so many begins with a dot, to be stuffed in POP3 and SMTP.
const DOTTED: usize = 64;

/// The text.
#[derive(Debug)]
pub(crate) struct Mail {
    plain: Vec<u8>,
    stuffed: Vec<u8>,
}

impl Mail {
    /// Long enough for messages up to `size`.
    pub(crate) fn new(size: usize) -> Self {
        let lines = size.div_ceil(LINE);
        let mut plain = Vec::with_capacity(lines * LINE);
        let mut stuffed = Vec::with_capacity(lines * LINE + lines / DOTTED + 1);
        let mut random = SEED;
        for number in 0..lines {
            let line = line(number, &mut random);
            plain.extend_from_slice(&line);
            if line[0] == b'.' {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(&line);
        }
        Self { plain, stuffed }
    }

    /// The message of this size, a multiple of [`KIB`].
    pub(crate) fn message(&self, size: usize) -> &[u8] {
        &self.plain[..size.min(self.plain.len())]
    }

    /// The same with its dots stuffed, without the final dot.
    pub(crate) fn stuffed(&self, size: usize) -> &[u8] {
        let length = stuffed_length(size);
        &self.stuffed[..length.min(self.stuffed.len())]
    }

    /// Whether `piece` is the message's text at this offset.
    pub(crate) fn is_at(&self, offset: usize, piece: &[u8]) -> bool {
        self.plain.get(offset..offset + piece.len()) == Some(piece)
    }

    /// The same of the stuffed text.
    pub(crate) fn is_stuffed_at(&self, offset: usize, piece: &[u8]) -> bool {
        self.stuffed.get(offset..offset + piece.len()) == Some(piece)
    }
}

/// How long the message of `size` is when its dots are stuffed.
pub(crate) fn stuffed_length(size: usize) -> usize {
    size + size / LINE / DOTTED
}

/// SHA-256, in hexadecimal.
pub(crate) fn sha256(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    hex(context.finish().as_ref())
}

/// Octets as people compare them.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn line(number: usize, random: &mut u64) -> [u8; LINE] {
    let mut line = [b' '; LINE];
    if let Some(text) = HEADER.get(number) {
        line[..text.len()].copy_from_slice(text.as_bytes());
        if text.is_empty() {
            // The last line of the header is empty; what fills it up to the length of a line is a field of its own.
            line[..LINE - 4].fill(b'x');
            line[..PADDING.len()].copy_from_slice(PADDING.as_bytes());
            line[LINE - 4..LINE - 2].copy_from_slice(b"\r\n");
        }
    } else {
        for octet in &mut line {
            *octet = ALPHABET[(next(random) >> 58) as usize];
        }
        if number % DOTTED == DOTTED - 1 {
            line[0] = b'.';
        }
    }
    line[LINE - 2..].copy_from_slice(b"\r\n");
    line
}

/// xorshift64*: the same text in every process.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PADDING: &str = "X-Padding: ";
const HEADER: [&str; 5] = [
    "From: Bench <bench@localhost>",
    "To: Bench <bench@localhost>",
    "Date: Sun, 22 Nov 2026 12:00:00 +0000",
    "Subject: canned",
    "",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_a_beginning_of_lines() {
        let mail = Mail::new(64 * KIB);
        for size in [KIB, 10 * KIB, 64 * KIB] {
            let message = mail.message(size);
            assert_eq!(message.len(), size);
            assert!(message.ends_with(b"\r\n"));
            assert!(mail.is_at(0, message));
        }
        let text = String::from_utf8(mail.message(KIB).to_vec()).unwrap();
        let (header, _) = text.split_once("\r\n\r\n").unwrap();
        assert!(header.lines().all(|line| line.contains(": ")), "{header}");
    }

    #[test]
    fn stuffing_is_as_the_rfc_says() {
        let mail = Mail::new(64 * KIB);
        for size in [KIB, 10 * KIB, 64 * KIB] {
            let text = String::from_utf8(mail.message(size).to_vec()).unwrap();
            let stuffed: String = text
                .split_inclusive("\r\n")
                .map(|line| match line.strip_prefix('.') {
                    Some(rest) => format!("..{rest}"),
                    None => line.to_owned(),
                })
                .collect();
            assert_eq!(mail.stuffed(size), stuffed.as_bytes());
        }
        assert!(mail.stuffed(64 * KIB).len() > 64 * KIB);
    }

    #[test]
    fn hashes_are_known_ones() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&[b"a", b"bc"]), known);
    }
}
