//! The URL of a proxy, and which hosts are reached without one.
//!
//! Written by hand and not with the `url` crate, which hides a port that is the scheme's own and leaves copies of a
//! password behind.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::check::is_host;
use super::runtime::ProxyKind;
use crate::secret::Secret;

/// What a proxy's URL says.
#[derive(Debug)]
pub(super) struct ProxyUrl {
    pub(super) kind: ProxyKind,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
}

impl ProxyUrl {
    /// `socks5://user:password@host:port`, or `http://…`; only the scheme and the host must be there. `socks5h` and
    /// `socks` mean the same: names are always resolved by the proxy.
    pub(super) fn parse(url: &Secret) -> Option<Self> {
        let text = std::str::from_utf8(url.expose()).ok()?;
        let (scheme, rest) = text.split_once("://")?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "socks5" | "socks5h" | "socks" => ProxyKind::Socks5,
            "http" => ProxyKind::Http,
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let (host, port) = host_and_port(place)?;
        let (user, password) = match login.map(|login| (login, login.split_once(':'))) {
            None | Some(("", _)) => (None, None),
            Some((user, None)) => (Some(decoded(user)?), None),
            Some((_, Some((user, password)))) => (Some(decoded(user)?), Some(decoded(password)?)),
        };
        let user = match user {
            Some(user) => Some(String::from_utf8(user.expose().to_vec()).ok()?),
            None => None,
        };
        Some(Self {
            kind,
            host,
            port: port.unwrap_or(match kind {
                ProxyKind::Socks5 => SOCKS_PORT,
                ProxyKind::Http => HTTP_PORT,
            }),
            user,
            password,
        })
    }
}

/// The password in the URL of a proxy as an environment variable holds it; empty where there is none.
pub fn password_in(url: &Secret) -> Secret {
    let password = ProxyUrl::parse(&with_scheme(url)).and_then(|url| url.password);
    password.unwrap_or_default()
}

/// `host:port` alone is an HTTP proxy in the environment, as for curl.
pub(super) fn with_scheme(url: &Secret) -> Secret {
    let bytes = url.expose();
    let named = bytes.windows(3).any(|three| three == b"://");
    let mut whole = Secret::new(Vec::new());
    if !named {
        whole.append(b"http://");
    }
    whole.append(bytes.trim_ascii());
    whole
}

/// Whether `host` is on this machine, where no proxy leads.
pub(super) fn is_loopback(host: &str) -> bool {
    let named = host == "localhost" || host.ends_with(".localhost");
    let ip = host.parse::<IpAddr>();
    named || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether `list`, the value of `NO_PROXY`, names `host`. The rules of curl and of reqwest, which asks issuers: a name
/// stands for itself and all below it, an address or a network for addresses as they are written, `*` for everything.
pub(super) fn is_excepted(list: &str, host: &str) -> bool {
    let ip = host.parse::<IpAddr>().ok();
    let entries = list.split(|c: char| c == ',' || c.is_whitespace());
    entries.filter(|entry| !entry.is_empty()).any(|entry| {
        let bare = entry.strip_prefix('[').and_then(|e| e.strip_suffix(']'));
        let entry = bare.unwrap_or(entry);
        match ip {
            _ if entry == "*" => true,
            Some(ip) => {
                let network = entry.parse::<IpNet>();
                network.is_ok_and(|network| network.contains(&ip)) || entry.parse() == Ok(ip)
            }
            None => is_below(host, entry.trim_start_matches('.')),
        }
    })
}

fn is_below(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.to_lowercase(), domain.to_lowercase());
    let above = host.strip_suffix(&domain);
    !domain.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// RFC 3986 section 3.2: an IPv6 address stands in brackets.
fn host_and_port(place: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[').and_then(|p| p.split_once(']')) {
        Some((host, rest)) => {
            host.parse::<Ipv6Addr>().ok()?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':')?),
            };
            (host, port)
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = match port {
        Some(digits) => Some(digits.parse::<u16>().ok().filter(|port| *port != 0)?),
        None => None,
    };
    let odd = |c: char| "?#%\\".contains(c);
    let good = is_host(host) && !host.contains(odd);
    good.then(|| (host.to_lowercase(), port))
}

/// RFC 3986 section 2.1. `None` where it is malformed, or holds what would end a header line.
fn decoded(text: &str) -> Option<Secret> {
    let mut octets = text.bytes();
    let mut plain = Secret::new(Vec::with_capacity(text.len()));
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'%' => {
                let mut digit = || char::from(octets.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            octet => octet,
        };
        if octet.is_ascii_control() {
            return None;
        }
        plain.append(&[octet]);
    }
    Some(plain)
}

/// RFC 1928 section 3.
const SOCKS_PORT: u16 = 1080;

/// RFC 9110 section 4.2.1.
const HTTP_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    /// `kind host port user password`, `-` for what is not there.
    fn read(url: &str) -> Option<String> {
        let url = ProxyUrl::parse(&Secret::from(url))?;
        let password = url.password.map(|p| p.expose().to_vec());
        let password = password.map(|p| String::from_utf8(p).unwrap());
        let or_none = |text: Option<String>| text.unwrap_or("-".to_owned());
        Some(format!(
            "{:?} {} {} {} {}",
            url.kind,
            url.host,
            url.port,
            or_none(url.user),
            or_none(password)
        ))
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, parts) in [
            ("socks5://Proxy.Example", "Socks5 proxy.example 1080 - -"),
            ("SOCKS5H://10.0.0.1:9/", "Socks5 10.0.0.1 9 - -"),
            ("socks://[2001:db8::1]:9050", "Socks5 2001:db8::1 9050 - -"),
            ("http://[2001:db8::1]", "Http 2001:db8::1 80 - -"),
            ("http://anna@p:3128", "Http p 3128 anna -"),
            ("http://anna:@p:3128", "Http p 3128 anna "),
            ("http://@p", "Http p 80 - -"),
            ("socks5://a%40b:c%3Ad%25@p:1", "Socks5 p 1 a@b c:d%"),
            ("socks5://a:b:c@d@p:1", "Socks5 p 1 a b:c@d"),
        ] {
            assert_eq!(read(url).as_deref(), Some(parts), "{url}");
        }
        for wrong in [
            "",
            "none",
            "p:1080",
            "https://p:443",
            "socks4://p",
            "socks5:p",
            "socks5://",
            "socks5://:1080",
            "socks5://p:0",
            "socks5://p:65536",
            "socks5://p:",
            "socks5://p:1/path",
            "http://p?x",
            "http://p#x",
            "http://::1:80",
            "http://[::1]80",
            "http://[p]:80",
            "http://[::1",
            "http://a%0d%0ab@p",
            "http://a%4@p",
            "http://a%zz@p",
            "http://a b",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_variable_may_hold_a_password_and_need_no_scheme() {
        for (value, password) in [
            ("socks5h://anna:s3cret@p:1", "s3cret"),
            ("anna:s3cret@p:3128", "s3cret"),
            ("http://anna@p", ""),
            ("nonsense:", ""),
        ] {
            let found = password_in(&Secret::from(value));
            assert_eq!(found.expose(), password.as_bytes(), "{value}");
        }
    }

    #[test]
    fn exceptions_are_names_and_what_is_below_addresses_and_networks() {
        let list = ".Firma.example, intern\t10.0.0.0/8,192.0.2.7,[2001:db8::7],fd00::/8";
        for host in [
            "firma.example",
            "Mail.firma.example",
            "intern",
            "imap.intern",
            "10.9.8.7",
            "192.0.2.7",
            "2001:db8::7",
            "fd12::1",
        ] {
            assert!(is_excepted(list, host), "{host}");
            assert!(is_excepted("*", host), "{host}");
            assert!(!is_excepted("", host), "{host}");
        }
        for host in [
            "notfirma.example",
            "firma.example.org",
            "11.0.0.1",
            "192.0.2.70",
            "2001:db8::8",
            "10.0.0.1.example",
        ] {
            assert!(!is_excepted(list, host), "{host}");
        }
    }

    #[test]
    fn this_machine_has_many_names() {
        for host in [
            "localhost",
            "a.localhost",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "128.0.0.1", "::2", "mail.example"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
