//! Canned bytes of the workloads without sockets: what an upstream or a client says after login.
//!
//! Everything is made from counters, so that two runs see the same bytes.

/// What a relay reads at once at most, and so the largest window a watch is shown.
pub(crate) const WINDOW: usize = 64 * 1024;

/// Text of `octets` in CRLF lines of 78, none of which starts with a dot.
pub(crate) fn text(octets: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(octets + LINE);
    let mut number = 0_u64;
    while text.len() < octets {
        let line = format!("{number:08} {FILLER}\r\n");
        text.extend_from_slice(line.as_bytes());
        number += 1;
    }
    text.truncate(octets);
    text
}

/// IMAP: one FETCH response with a literal of `octets`, and the tagged OK.
pub(crate) fn fetch(octets: usize) -> Vec<u8> {
    let mut response = format!("* 1 FETCH (UID 1 BODY[] {{{octets}}}\r\n").into_bytes();
    response.extend(text(octets));
    response.extend_from_slice(b")\r\na1 OK FETCH completed\r\n");
    response
}

/// IMAP: `count` FETCH responses with a literal of `octets` each, and the tagged OK.
pub(crate) fn small_fetches(count: usize, octets: usize) -> Vec<u8> {
    let mut responses = Vec::new();
    let body = text(octets);
    for number in 1..=count {
        let start =
            format!("* {number} FETCH (UID {number} FLAGS (\\Seen) BODY[] {{{octets}}}\r\n");
        responses.extend_from_slice(start.as_bytes());
        responses.extend_from_slice(&body);
        responses.extend_from_slice(b")\r\n");
    }
    responses.extend_from_slice(b"a1 OK FETCH completed\r\n");
    responses
}

/// IMAP: `count` FETCH responses without any literal, as a mail program asks for after opening a folder.
pub(crate) fn flags(count: usize) -> Vec<u8> {
    let mut responses = Vec::new();
    for number in 1..=count {
        let line = format!("* {number} FETCH (UID {number} FLAGS (\\Seen) RFC822.SIZE 4096)\r\n");
        responses.extend_from_slice(line.as_bytes());
    }
    responses.extend_from_slice(b"a1 OK FETCH completed\r\n");
    responses
}

/// IMAP: an APPEND that waits for nobody (LITERAL+), with a message of `octets`.
pub(crate) fn append(octets: usize) -> Vec<u8> {
    let mut command = format!("a1 APPEND Sent (\\Seen) {{{octets}+}}\r\n").into_bytes();
    command.extend(text(octets));
    command.extend_from_slice(b"\r\n");
    command
}

/// POP3: the answer to RETR with a message of `octets` or a little more; every 16th line was stuffed with a dot.
pub(crate) fn retr(octets: usize) -> Vec<u8> {
    let mut response = format!("+OK {octets} octets\r\n").into_bytes();
    response.extend(stuffed(octets));
    response
}

/// SMTP: what follows the 354, a message of `octets` or a little more; every 16th line was stuffed with a dot.
pub(crate) fn stuffed(octets: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(octets + LINE);
    for (number, line) in text(octets).chunks(LINE).enumerate() {
        if number % 16 == 0 {
            data.extend_from_slice(b"..");
        }
        data.extend_from_slice(line);
    }
    if !data.ends_with(b"\r\n") {
        data.extend_from_slice(b"\r\n");
    }
    data.extend_from_slice(b".\r\n");
    data
}

/// With its number, space and CRLF a line of 78 octets, the most that RFC 5322 section 2.1.1 recommends plus CRLF.
const FILLER: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=()";

/// A line with its CRLF.
pub(crate) const LINE: usize = 8 + 1 + FILLER.len() + 2;
