//! HTTP CONNECT (RFC 9110 section 9.3.6) with Basic (RFC 7617): one request, and the head of its response.
//!
//! Of the head only the status counts. A 2xx ends with its empty line and the tunnel begins, whatever its fields say
//! (`Content-Length` and `Transfer-Encoding` are to be ignored there); an interim 1xx is passed over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Opening, ProxyError, Turn};
use crate::address::authority;
use crate::secret::Secret;

/// One opening.
pub(super) struct Connect {
    request: Secret,
    has_login: bool,
    /// How much was heard, interim responses included.
    heard: usize,
    head: Head,
}

/// A response's head as far as it has come.
#[derive(Default)]
struct Head {
    /// Octets so far.
    length: usize,
    status: u16,
    line: Line,
}

/// What the line has that has not ended.
#[derive(Default, PartialEq, Eq)]
enum Line {
    #[default]
    Empty,
    OneCr,
    Text,
}

impl Connect {
    pub(super) fn new(host: &str, port: u16, login: Option<(&str, &Secret)>) -> Self {
        let place = authority(host, port);
        let mut request = Secret::from(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n"));
        if let Some((user, password)) = login {
            request.append(b"Proxy-Authorization: Basic ");
            request.append(basic(user, password).expose());
            request.append(b"\r\n");
        }
        request.append(b"\r\n");
        Self {
            request,
            has_login: login.is_some(),
            heard: 0,
            head: Head::default(),
        }
    }

    fn octet(&mut self, octet: u8) -> Result<Turn, ProxyError> {
        self.heard += 1;
        if self.heard > HEAD_MAX {
            return Err(ProxyError::TooLong);
        }
        match self.head.push(octet)? {
            None => Ok(Turn::More),
            Some(100..=199) => {
                self.head = Head::default();
                Ok(Turn::More)
            }
            Some(200..=299) => Ok(Turn::Open),
            // quirk: 401 is for servers, but tinyproxy 1.11 (Debian 12) says it to a wrong password, 407 only to none.
            Some(401 | 407) if self.has_login => Err(ProxyError::LoginRefused),
            Some(401 | 407) => Err(ProxyError::LoginNeeded),
            Some(code) => Err(ProxyError::Status { code }),
        }
    }
}

impl Opening for Connect {
    fn begin(&mut self) -> Secret {
        std::mem::take(&mut self.request)
    }

    fn take(&mut self, bytes: &[u8]) -> (usize, Result<Turn, ProxyError>) {
        for (before, octet) in bytes.iter().enumerate() {
            let turn = self.octet(*octet);
            if !matches!(turn, Ok(Turn::More)) {
                return (before + 1, turn);
            }
        }
        (bytes.len(), Ok(Turn::More))
    }
}

impl Head {
    /// The status once the head has ended. A line may end with a bare LF (RFC 9112 section 2.2).
    fn push(&mut self, octet: u8) -> Result<Option<u16>, ProxyError> {
        self.status_line(octet)?;
        self.length += 1;
        let ends = octet == b'\n' && self.line != Line::Text;
        self.line = match (octet, &self.line) {
            (b'\n', _) => Line::Empty,
            (b'\r', Line::Empty) => Line::OneCr,
            _ => Line::Text,
        };
        Ok(ends.then_some(self.status))
    }

    /// RFC 9112 section 4. Looked at octet by octet: what is no HTTP may never send a line.
    fn status_line(&mut self, octet: u8) -> Result<(), ProxyError> {
        let good = match STATUS_LINE.get(self.length) {
            Some(b'9') if octet.is_ascii_digit() => {
                // The digit of the version comes first, and out of the status again.
                self.status = (self.status % 100) * 10 + u16::from(octet - b'0');
                true
            }
            Some(b' ') => {
                self.status = 0;
                octet == b' '
            }
            Some(b'9') => false,
            Some(expected) => octet == *expected,
            None if self.length == STATUS_LINE.len() => matches!(octet, b' ' | b'\r' | b'\n'),
            None => true,
        };
        good.then_some(()).ok_or(ProxyError::Garbage("HTTP"))
    }
}

/// RFC 7617 section 2.
fn basic(user: &str, password: &Secret) -> Secret {
    let mut pair = Secret::from(user);
    pair.append(b":");
    pair.append(password.expose());
    Secret::from(STANDARD.encode(pair.expose()))
}

/// RFC 9110 section 15, the ones that proxies give.
pub(super) fn words(status: u16) -> &'static str {
    match status {
        400 => "it calls the request malformed",
        403 => "its rules do not allow this connection",
        404 => "the host is unknown",
        405 | 501 => "it does not connect for clients",
        429 => "too many requests",
        500 | 502 => "it cannot connect to the host",
        503 => "it is overloaded, or cannot connect to the host",
        504 => "the host did not answer it in time",
        300..=399 => "it sends us elsewhere",
        _ => "it does not say why in a way that mailsluice knows",
    }
}

/// `9` is any digit. Behind it come a space and the reason, or, at careless servers, the end of the line.
const STATUS_LINE: &[u8] = b"HTTP/1.9 999";

/// What a browser takes as well; the heads of proxies have some hundred octets.
pub(super) const HEAD_MAX: usize = 8 * 1024;
