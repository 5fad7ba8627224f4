//! A browser as far as a sign-in needs one: cookies, redirects, and forms filled in and sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Wire;

/// One browser window.
#[derive(Default)]
pub(crate) struct Browser {
    cookies: BTreeMap<String, String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

impl Browser {
    /// Opens `url`, signs in as `user` and consents, until the way leads somewhere else: that URL.
    pub(crate) fn sign_in(&mut self, url: &str, user: &str) -> String {
        let (home, mut path) = split(url);
        let mut page = self.get(home, &path);
        for _ in 0..MOST_STEPS {
            if let Some(location) = page.location.take() {
                if location.starts_with("http") && split(&location).0 != home {
                    return location;
                }
                path = split_or_same(&location);
                page = self.get(home, &path);
                continue;
            }
            let prompt = attribute(&page.body, "name=\"prompt\" value=\"");
            let fields: &[(&str, &str)] = match prompt.as_deref() {
                Some("login") => &[("prompt", "login"), ("login", user), ("password", "x")],
                Some(other) => &[("prompt", other)],
                None => panic!("no form to fill in: {page:?}"),
            };
            let action = attribute(&page.body, "action=\"").expect("a form");
            page = self.post(home, &split_or_same(&action), fields);
        }
        panic!("the sign-in does not end: {page:?}");
    }

    /// Opens the `url` of a device authorization, with the code in it, signs in as `user` and consents. The last page.
    pub(crate) fn approve_device(&mut self, url: &str, user: &str) -> Page {
        let (home, path) = split(url);
        let mut page = self.get(home, &path);
        for _ in 0..MOST_STEPS {
            if let Some(location) = page.location.take() {
                page = self.get(home, &split_or_same(&location));
                continue;
            }
            let Some(action) = attribute(&page.body, "action=\"") else {
                return page;
            };
            let mut fields = hidden(&page.body);
            if fields.iter().any(|(_, value)| value == "login") {
                fields.extend(
                    [("login", user), ("password", "x")]
                        .map(|(name, value)| (name.to_owned(), value.to_owned())),
                );
            }
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            page = self.post(home, &split_or_same(&action), &fields);
        }
        panic!("the sign-in does not end: {page:?}");
    }

    pub(crate) fn get(&mut self, home: SocketAddr, path: &str) -> Page {
        self.request(home, &format!("GET {path} HTTP/1.0\r\n"), "")
    }

    pub(crate) fn post(&mut self, home: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Page {
        let head =
            format!("POST {path} HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n");
        self.request(home, &head, &form(fields))
    }

    /// HTTP/1.0, so that no answer comes in chunks.
    pub(crate) fn request(&mut self, home: SocketAddr, head: &str, body: &str) -> Page {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut wire = Wire::connect(home);
        let request = format!(
            "{head}Host: {home}\r\nCookie: {}\r\nContent-Length: {}\r\n\r\n{body}",
            cookies.join("; "),
            body.len()
        );
        wire.send(request.as_bytes());
        let status = wire.text_line();
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut location = None;
        loop {
            let line = wire.text_line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect("a header");
            match name.to_ascii_lowercase().as_str() {
                "location" => location = Some(value.to_owned()),
                "set-cookie" => self.keep(value),
                _ => {}
            }
        }
        Page {
            status: status.expect("a status"),
            location,
            body: String::from_utf8_lossy(&wire.rest()).into_owned(),
        }
    }

    /// Paths are not looked at: there is one site only.
    fn keep(&mut self, cookie: &str) {
        let pair = cookie.split(';').next().unwrap_or_default();
        let (name, value) = pair.split_once('=').expect("a cookie");
        if value.is_empty() {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// The server, which is an address here, and what is asked of it.
pub(crate) fn split(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://").expect("a plain URL");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut host = host.replace("localhost", "127.0.0.1");
    if !host.contains(':') {
        host.push_str(":80");
    }
    (host.parse().expect("an address"), format!("/{path}"))
}

fn split_or_same(url: &str) -> String {
    if url.starts_with("http") {
        split(url).1
    } else {
        url.to_owned()
    }
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|b| match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    char::from(b).to_string()
                }
                b => format!("%{b:02X}"),
            })
            .collect()
    };
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

/// What stands behind `start`, up to the next quotation mark.
fn attribute(html: &str, start: &str) -> Option<String> {
    let (_, rest) = html.split_once(start)?;
    let (value, _) = rest.split_once('"')?;
    Some(value.replace("&amp;", "&"))
}

/// The fields of a form that nobody fills in.
fn hidden(html: &str) -> Vec<(String, String)> {
    let inputs = html.split("<input type=\"hidden\" ").skip(1);
    let pairs =
        inputs.map(|input| Some((attribute(input, "name=\"")?, attribute(input, "value=\"")?)));
    pairs.map(|pair| pair.expect("a field")).collect()
}

/// Two forms with a redirect before and behind each are a handful.
const MOST_STEPS: usize = 16;
