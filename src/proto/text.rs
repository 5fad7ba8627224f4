//! Human text that a peer sent: made safe to log and to show.

/// The most characters of a peer's text that are kept.
///
/// Enough for every provider's error sentence seen in the field; short enough for a 512-octet reply line.
pub const TEXT_MAX: usize = 200;

/// Strips control characters, replaces what is no UTF-8 and cuts at [`TEXT_MAX`] characters.
pub fn sanitise(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TEXT_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The same for a line we send: 7-bit, since replies may not hold anything else.
pub fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii() && !c.is_ascii_control() {
                c
            } else {
                '?'
            }
        })
        .take(2 * TEXT_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_length_are_bounded() {
        assert_eq!(sanitise(b" a\r\nb\x1b[31m\xff "), "a  b [31m\u{fffd}");
        assert_eq!(sanitise(&[b'x'; 999]).len(), TEXT_MAX);
        assert_eq!(ascii("Gr\u{fc}\u{df}e\r\n"), "Gr??e??");
    }
}
