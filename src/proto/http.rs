//! The little of HTTP/1.1 (RFC 9110, RFC 9112) that a page on loopback needs: one request's head in, one whole answer out.
//!
//! For the callback of a sign-in and for the demo's authorization server. Deliberately absent: keep-alive, chunks,
//! ranges, compression, anything that browsers do not need to show one plain page. What is ambiguous is refused.

/// A request's head, understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// As it was sent; methods are case-sensitive.
    pub method: String,
    /// Begins with `/`; not percent-decoded, so it can only be compared.
    pub path: String,
    /// What follows the `?`, as it was sent. It can hold an authorization code.
    pub query: String,
    /// The `Host` field in lower case.
    pub host: String,
    /// How many octets of content follow.
    pub content_length: usize,
}

impl std::fmt::Debug for Request {
    /// Without the query.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Not a request that we understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Not `METHOD /path HTTP/1.x`.
    #[error("the request line is malformed")]
    RequestLine,
    /// Not `name: value`, or a folded line (RFC 9112 section 5.2).
    #[error("a header field is malformed")]
    Field,
    /// No `Host`, or two of them (RFC 9112 section 3.2).
    #[error("there must be one Host field")]
    Host,
    /// Content whose length is not said in one number.
    #[error("the content has no plain length")]
    Length,
}

impl Request {
    /// Parses the lines of a head, without the empty one that ends it.
    pub fn parse<L: AsRef<[u8]>>(lines: &[L]) -> Result<Self, HttpError> {
        let (first, fields) = lines.split_first().ok_or(HttpError::RequestLine)?;
        let mut request = request_line(first.as_ref()).ok_or(HttpError::RequestLine)?;
        let (mut host, mut length) = (None, None);
        for line in fields {
            let (name, value) = field(line.as_ref()).ok_or(HttpError::Field)?;
            match name.as_str() {
                "host" if host.replace(value.to_ascii_lowercase()).is_some() => {
                    return Err(HttpError::Host);
                }
                "content-length" => {
                    let digits = value.bytes().all(|b| b.is_ascii_digit());
                    let octets = value.parse().ok().filter(|_| digits);
                    let octets = octets.ok_or(HttpError::Length)?;
                    if length.replace(octets).is_some() {
                        return Err(HttpError::Length);
                    }
                }
                "transfer-encoding" => return Err(HttpError::Length),
                _ => {}
            }
        }
        request.host = host.ok_or(HttpError::Host)?;
        request.content_length = length.unwrap_or(0);
        Ok(request)
    }

    /// Whether `Host` names a loopback by one of its own names: anything else is a foreign name that was made to lead
    /// here (DNS rebinding, PROTOCOL C.2).
    pub fn is_for_loopback(&self) -> bool {
        let name = match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => self.host.as_str(),
        };
        matches!(name, "127.0.0.1" | "localhost" | "[::1]")
    }
}

/// `METHOD SP origin-form SP HTTP/1.x`, RFC 9112 section 3.
fn request_line(line: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let token = !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphabetic());
    let visible = target.starts_with('/') && target.bytes().all(|b| b.is_ascii_graphic());
    let http = matches!(version, "HTTP/1.1" | "HTTP/1.0");
    if !token || !visible || !http || words.next().is_some() {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        host: String::new(),
        content_length: 0,
    })
}

/// `field-name ":" OWS field-value OWS`, RFC 9112 section 5; the name in lower case.
fn field(line: &[u8]) -> Option<(String, String)> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty()
        || !name.bytes().all(token)
        || value.chars().any(|c| c.is_control() && c != '\t')
    {
        return None;
    }
    Some((
        name.to_ascii_lowercase(),
        value.trim_matches([' ', '\t']).to_owned(),
    ))
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `200 OK`
    pub status: &'static str,
    /// `text/html; charset=utf-8`
    pub content_type: &'static str,
    /// Further fields; `Location` holds a code where an authorization server answers.
    pub fields: Vec<(&'static str, String)>,
    /// What follows the head.
    pub content: String,
}

impl Answer {
    /// A page that no cache keeps, no other page frames, that loads nothing and tells nobody where it was.
    pub fn page(status: &'static str, content: String) -> Self {
        let safe = [
            ("Content-Security-Policy", PAGE_POLICY),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ];
        Self {
            status,
            content_type: "text/html; charset=utf-8",
            fields: safe.map(|(name, value)| (name, value.to_owned())).into(),
            content,
        }
    }

    /// As it is sent. The connection ends after it.
    pub fn encode(&self) -> String {
        let mut text = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n",
            self.status,
            self.content_type,
            self.content.len()
        );
        for (name, value) in &self.fields {
            text.push_str(name);
            text.push_str(": ");
            // A value is one line, whatever it was made from.
            text.extend(value.chars().filter(|c| !c.is_control()));
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.push_str(&self.content);
        text
    }
}

/// Text as it stands in a page.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// The longest head: an authorization response has a code and a state, of a few KiB at the wordiest issuer; nginx and
/// Apache take 8 KiB a line.
pub const HEAD_MAX: usize = 16 * 1024;

/// Nothing is loaded and nothing frames it; a style within the page is fine.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request, HttpError> {
        Request::parse(&head.split("\r\n").collect::<Vec<_>>())
    }

    #[test]
    fn a_request_is_its_method_path_query_host_and_length() {
        let request =
            parse("GET /a?b=c?d HTTP/1.1\r\nhOST:  LocalHost:8080 \r\nContent-Length: 3").unwrap();
        assert_eq!(
            (
                request.method.as_str(),
                request.path.as_str(),
                request.query.as_str()
            ),
            ("GET", "/a", "b=c?d")
        );
        assert_eq!(
            (request.host.as_str(), request.content_length),
            ("localhost:8080", 3)
        );
        assert!(request.is_for_loopback());
    }

    #[test]
    fn the_ambiguous_is_refused() {
        for (head, error) in [
            ("", HttpError::RequestLine),
            ("GET / HTTP/2", HttpError::RequestLine),
            ("GET  / HTTP/1.1", HttpError::RequestLine),
            ("GET http://evil/ HTTP/1.1", HttpError::RequestLine),
            ("GET /\u{1} HTTP/1.1", HttpError::RequestLine),
            ("GET / HTTP/1.1", HttpError::Host),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b", HttpError::Host),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded: x", HttpError::Field),
            ("GET / HTTP/1.1\r\nHost : a", HttpError::Field),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1",
                HttpError::Length,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1",
                HttpError::Length,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked",
                HttpError::Length,
            ),
        ] {
            assert_eq!(parse(head).unwrap_err(), error, "{head}");
        }
    }

    #[test]
    fn only_the_names_of_loopback_are_ours() {
        let host = |host: &str| {
            parse(&format!("GET / HTTP/1.1\r\nHost: {host}"))
                .unwrap()
                .is_for_loopback()
        };
        assert!(host("127.0.0.1") && host("[::1]:9") && host("localhost"));
        assert!(
            !host("evil.example")
                && !host("localhost.evil.example:80")
                && !host("127.0.0.1.evil")
                && !host("")
        );
    }

    #[test]
    fn an_answer_cannot_be_split_and_a_page_not_be_scripted() {
        let mut answer = Answer::page("200 OK", escaped("<b>&'\""));
        answer
            .fields
            .push(("Location", "http://x/\r\nSet-Cookie: y".to_owned()));
        let text = answer.encode();
        assert!(
            text.contains("Location: http://x/Set-Cookie: y\r\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\r\n\r\n&lt;b&gt;&amp;&#39;&quot;"),
            "{text}"
        );
        assert!(
            text.contains("Cache-Control: no-store\r\n")
                && text.contains("Referrer-Policy: no-referrer\r\n")
        );
    }

    #[test]
    fn a_query_is_not_in_debug() {
        let request = parse("GET /?code=canary HTTP/1.1\r\nHost: a").unwrap();
        assert!(!format!("{request:?}").contains("canary"));
    }
}
