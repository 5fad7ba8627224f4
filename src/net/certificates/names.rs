//! What a certificate proves, and what an authority may vouch for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::runtime::{CertificateSource, Config};

/// What stands in a certificate's subjectAltName.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A host name, lower case.
    Host(String),
    /// An address.
    Address(IpAddr),
}

/// The names that an authority may vouch for (RFC 5280 section 4.2.1.10). What is not covered, it cannot impersonate,
/// not even for who got hold of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Permitted {
    /// These domains and what is below them.
    pub(super) domains: Vec<String>,
    /// Addresses in these networks.
    pub(super) networks: Vec<IpNet>,
}

impl Name {
    /// An address where it is one, else a host name.
    pub fn of(text: &str) -> Self {
        match text.parse() {
            Ok(address) => Self::Address(address),
            Err(_) => Self::Host(text.to_ascii_lowercase()),
        }
    }

    /// The name in greetings may be an address literal (RFC 5321 section 4.1.3).
    fn of_host(host: &str) -> Self {
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        Self::of(literal.map_or(host, |l| l.strip_prefix("IPv6:").unwrap_or(l)))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What our own certificate has to prove: whatever a person may type as the server, on this machine or elsewhere.
pub fn wanted(config: &Config) -> Vec<Name> {
    let ours = |tls: Option<&CertificateSource>| tls == Some(&CertificateSource::Generated);
    let mut names = vec![
        Name::Host("localhost".to_owned()),
        Name::Address(Ipv4Addr::LOCALHOST.into()),
        Name::Address(Ipv6Addr::LOCALHOST.into()),
        Name::of_host(&config.host),
    ];
    let presenting = config
        .listeners
        .iter()
        .filter(|l| ours(l.tls.certificate()));
    let addresses = presenting.filter_map(|l| l.address.tcp().map(|address| address.ip()));
    names.extend(
        addresses
            .filter(|ip| !ip.is_unspecified())
            .map(Name::Address),
    );
    names.extend(config.certificates.names.iter().map(|name| Name::of(name)));
    without_repeats(names)
}

fn without_repeats(names: Vec<Name>) -> Vec<Name> {
    let mut seen = std::collections::HashSet::new();
    let mut kept = names;
    kept.retain(|name| seen.insert(name.clone()));
    kept
}

impl Permitted {
    /// For an authority that is made now: everything local, so that names that are added later need no new one, and
    /// beyond that exactly what is `wanted`.
    pub(super) fn new(wanted: &[Name]) -> Self {
        let mut permitted = Self {
            domains: LOCAL_DOMAINS.map(str::to_owned).into(),
            networks: LOCAL_NETWORKS
                .iter()
                .filter_map(|n| n.parse().ok())
                .collect(),
        };
        for name in wanted {
            if permitted.covers(name) {
                continue;
            }
            match name {
                Name::Host(host) => permitted.domains.push(host.clone()),
                Name::Address(address) => permitted.networks.push(IpNet::from(*address)),
            }
        }
        permitted
    }

    /// Whether it may vouch for `name`.
    pub(super) fn covers(&self, name: &Name) -> bool {
        match name {
            Name::Host(host) => self.domains.iter().any(|domain| is_within(host, domain)),
            Name::Address(address) => self.networks.iter().any(|n| n.contains(address)),
        }
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    let above = host.strip_suffix(domain);
    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Names that nobody on the Internet can own: RFC 6761 and 6762 with its appendix G, RFC 8375, ICANN's `internal`.
const LOCAL_DOMAINS: [&str; 9] = [
    "localhost",
    "local",
    "home.arpa",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
];

/// Addresses that mean another machine in every network: loopback, private (RFC 1918, RFC 4193), link-local, and shared
/// ones (RFC 6598), which overlay networks use.
const LOCAL_NETWORKS: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_local_is_covered_and_the_rest_only_where_it_was_wanted() {
        let permitted = Permitted::new(&["mail.firma.example", "203.0.113.5"].map(Name::of));
        assert_eq!(permitted.networks.len(), LOCAL_NETWORKS.len() + 1);
        for good in [
            "localhost",
            "mailsluice.localhost",
            "mail.lan",
            "127.0.0.5",
            "192.168.1.2",
            "fd00::1",
            "mail.firma.example",
            "203.0.113.5",
        ] {
            assert!(permitted.covers(&Name::of(good)), "{good}");
        }
        for bad in [
            "imap.gmail.com",
            "firma.example",
            "notlocalhost",
            "203.0.113.6",
            "8.8.8.8",
            "2000::1",
        ] {
            assert!(!permitted.covers(&Name::of(bad)), "{bad}");
        }
    }

    #[test]
    fn a_literal_is_the_address_in_it() {
        let said = ["[192.0.2.1]", "[IPv6:2001:db8::1]", "Mail.Example"].map(Name::of_host);
        assert_eq!(
            said,
            ["192.0.2.1", "2001:db8::1", "mail.example"].map(Name::of)
        );
    }
}
