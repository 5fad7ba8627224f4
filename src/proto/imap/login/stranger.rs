//! Peers that speak something else: browsers, scripts made to talk to this port, TLS where plain IMAP is expected
//! (PROTOCOL B.8 no. 15). They are closed without a word, so that they can make nothing of the answer.

/// Whether a connection that begins with this octet cannot be IMAP: a TLS record starts with 0x16.
pub(super) fn is_foreign(first: u8) -> bool {
    !(first.is_ascii_graphic() || first.is_ascii_whitespace())
}

/// request-line = method SP request-target SP HTTP-version (RFC 9112 section 3)
pub(super) fn is_http(line: &[u8]) -> bool {
    let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let version = words.next().unwrap_or_default();
    METHODS.contains(&method) && (target.starts_with(b"/") || version.starts_with(b"HTTP/"))
}

const METHODS: [&[u8]; 10] = [
    b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"DELETE", b"PATCH", b"TRACE", b"PRI",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_a_tag_of_that_name() {
        assert!(is_http(b"GET /"));
        assert!(is_http(b"CONNECT mail.example.org:993 HTTP/1.1"));
        assert!(is_http(b"PRI * HTTP/2.0"));
        assert!(!is_http(b"GET NOOP"));
        assert!(!is_http(b"a1 LOGIN / HTTP/"));
    }
}
