//! Addresses, as people write them and as peers are counted.

use std::net::{IpAddr, Ipv6Addr};

/// A host and its port as people and CONNECT write them: an IPv6 address in brackets (RFC 3986 section 3.2.2).
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Whom a peer counts as. An IPv6 /64 is one peer, since its owner can use each address of it; a mapped IPv4 address is
/// that address.
pub fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv6_addresses_stand_in_brackets() {
        for (host, written) in [
            ("mail.example", "mail.example:993"),
            ("192.0.2.1", "192.0.2.1:993"),
            ("2001:db8::1", "[2001:db8::1]:993"),
        ] {
            assert_eq!(authority(host, 993), written);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer_and_a_mapped_address_is_itself() {
        let of = |peer: &str| counted_as(peer.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::1"), "::1");
    }
}
