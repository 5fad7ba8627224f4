//! Who is at the other end of a client's connection: an address, or a user of this machine.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::address::counted_as;

/// The client as logs and `status` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address and a port. An IPv4 address is never written as one of IPv6.
    Address(SocketAddr),
    /// A process of this user, at a Unix socket.
    User(u32),
}

/// Whom limits count and the throttle remembers: all connections of one are one peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// An address, as it is counted: a /64 of IPv6 is one.
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
}

impl Peer {
    /// Whose connection it is.
    pub fn who(self) -> Who {
        match self {
            Self::Address(address) => address.ip().into(),
            Self::User(uid) => Who::User(uid),
        }
    }

    /// Whether nothing between the two can be listened to: both are on this machine.
    pub fn is_local(self) -> bool {
        match self {
            Self::Address(address) => address.ip().to_canonical().is_loopback(),
            Self::User(_) => true,
        }
    }
}

impl Who {
    /// Whether this may be any program of this machine. A user is one of them and is told from others.
    pub fn is_anybody_here(self) -> bool {
        matches!(self, Self::Address(ip) if ip.is_loopback())
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Address(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl From<IpAddr> for Who {
    fn from(ip: IpAddr) -> Self {
        Self::Address(counted_as(ip))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::User(uid) => write!(f, "uid {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_the_one_it_maps() {
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:99".parse().unwrap();
        let peer = Peer::from(mapped);
        assert_eq!(peer.to_string(), "192.0.2.7:99");
        assert_eq!(
            peer.who(),
            Who::from("192.0.2.7".parse::<IpAddr>().unwrap())
        );
        let local: SocketAddr = "[::ffff:127.0.0.1]:99".parse().unwrap();
        assert!(Peer::Address(local).is_local() && Peer::from(local).who().is_anybody_here());
    }

    #[test]
    fn a_user_is_local_and_not_anybody() {
        let peer = Peer::User(1000);
        assert!(peer.is_local() && !peer.who().is_anybody_here());
        assert_eq!(peer.to_string(), "uid 1000");
    }
}
