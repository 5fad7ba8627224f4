//! URLs: endpoints, issuer identifiers, redirects.

use oauth2::url::{Host, Url};

use super::super::super::fault::Fault;

/// What is wrong with an endpoint. It has no fragment (RFC 6749 section 3.1), and since secrets go there it has TLS,
/// unless it is on this machine.
pub(super) fn endpoint_fault(text: &str) -> Option<Fault> {
    let Some(url) = parse(text).filter(|url| url.fragment().is_none()) else {
        return Some(Fault::NotAUrl);
    };
    (!is_protected(&url)).then_some(Fault::PlainUrl)
}

/// What is wrong with an issuer identifier: as an endpoint, and no query either (RFC 8414 section 2).
pub(super) fn identifier_fault(text: &str) -> Option<Fault> {
    let query = parse(text).is_some_and(|url| url.query().is_some());
    match endpoint_fault(text) {
        None if !query => None,
        Some(Fault::PlainUrl) => Some(Fault::PlainUrl),
        _ => Some(Fault::NotAnIdentifier),
    }
}

/// What is wrong with a redirect. Plain it leads to this machine (RFC 8252 section 7.3); an `https` one ends in a
/// browser, from where it is pasted.
pub(super) fn redirect_fault(text: &str) -> Option<Fault> {
    let good = parse(text).is_some_and(|url| url.fragment().is_none() && is_protected(&url));
    (!good).then_some(Fault::NotARedirect)
}

fn parse(text: &str) -> Option<Url> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if text.contains(odd) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let named = url.username().is_empty() && url.password().is_none();
    (named && url.host().is_some()).then_some(url)
}

fn is_protected(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            // RFC 6761 section 6.3 keeps the name for the own machine.
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https_or_on_this_machine() {
        for good in [
            "https://login.example/token",
            "https://login.example/token?p=1",
            "http://127.0.0.1:9000/token",
            "http://[::1]:9000/token",
            "http://localhost/token",
        ] {
            assert_eq!(endpoint_fault(good), None, "{good}");
        }
        for plain in [
            "http://login.example/token",
            "http://127.0.0.1.example/token",
            "http://localhost.example/",
            "http://192.168.1.2/token",
            "ftp://login.example/token",
        ] {
            assert_eq!(endpoint_fault(plain), Some(Fault::PlainUrl), "{plain}");
        }
        for odd in [
            "",
            "login.example/token",
            "https://",
            "https://login.example/#token",
            "https://anna:hunter2@login.example/",
            "https://login.example/to ken",
            "urn:ietf:wg:oauth:2.0:oob",
        ] {
            assert_eq!(endpoint_fault(odd), Some(Fault::NotAUrl), "{odd}");
        }
    }

    #[test]
    fn an_identifier_has_no_query() {
        assert_eq!(identifier_fault("https://login.example/realm"), None);
        let query = identifier_fault("https://login.example/?realm=1");
        assert_eq!(query, Some(Fault::NotAnIdentifier));
    }

    #[test]
    fn a_plain_redirect_stays_on_this_machine() {
        for good in [
            "http://localhost:8143/",
            "http://127.0.0.1:8143/callback",
            "https://127.0.0.1",
            "https://firma.example/signed-in",
        ] {
            assert_eq!(redirect_fault(good), None, "{good}");
        }
        for bad in ["http://firma.example/", "localhost:8143", "firma:/back"] {
            assert_eq!(redirect_fault(bad), Some(Fault::NotARedirect), "{bad}");
        }
    }
}
