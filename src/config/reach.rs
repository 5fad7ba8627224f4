//! Where a listener stands, and whom it lets in besides what `networks` says.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

/// Where a listener stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// A port. A listener for both loopbacks is two of these.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
    /// The sockets that systemd opened under this name (`FileDescriptorName=`), of whichever kind they are.
    Systemd(String),
}

impl ListenAddress {
    /// The address and port, where they are known from the configuration alone.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Systemd(_) => None,
        }
    }

    /// Whether only programs of this machine can be at the other end. Of systemd's sockets that is not known.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
            Self::Systemd(_) => false,
        }
    }

    /// Whether the system chooses the port.
    pub fn is_any_port(&self) -> bool {
        self.tcp().is_some_and(|address| address.port() == 0)
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Self::Systemd(name) => write!(f, "{SYSTEMD}{name}"),
        }
    }
}

/// What is asked of who connects, before the protocol begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Load balancers that say by the PROXY protocol whom they connect for. Where there are any, nobody else may connect.
    pub balancers: Vec<IpNet>,
    /// The users whose programs may connect; `None` is everyone's. Never empty.
    pub users: Option<Vec<u32>>,
    /// The permission bits of a Unix socket.
    pub mode: u32,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            balancers: Vec::new(),
            users: None,
            mode: MODE,
        }
    }
}

/// The variables by which systemd tells of its sockets. They are meant for this process and not for those it starts.
pub const ACTIVATION_VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// How a Unix socket is written.
pub(super) const UNIX: &str = "unix:";

/// How a socket of systemd's is written.
pub(super) const SYSTEMD: &str = "systemd:";

/// For this user alone, as all that is ours; who wants others says so.
const MODE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::runtime::{CertificateSource, Listener, ListenerTls};
    use super::*;
    use crate::peer::Peer;
    use crate::protocol::Protocol;

    /// Behind STARTTLS at `address`.
    fn takes_plain_login(address: ListenAddress, peer: Peer) -> bool {
        let listener = Listener {
            protocol: Protocol::Imap,
            address,
            tls: ListenerTls::StartTls(CertificateSource::Generated),
            networks: Vec::new(),
            door: Door::default(),
            pin: None,
            profile: Arc::default(),
            no_login: None,
        };
        listener.takes_plain_login(peer)
    }

    #[test]
    fn a_login_may_be_plain_only_where_it_leaves_this_machine_nowhere() {
        let tcp = |text: &str| ListenAddress::Tcp(text.parse().unwrap());
        let peer = |text: &str| Peer::from(text.parse::<SocketAddr>().unwrap());
        let (here, away) = (peer("127.0.0.1:9"), peer("192.0.2.7:9"));
        let systemd = ListenAddress::Systemd("imap".to_owned());
        let unix = ListenAddress::Unix("/run/imap.sock".into());
        for (address, peer, may) in [
            (tcp("127.0.0.1:143"), here, true),
            // By a load balancer on this machine.
            (tcp("127.0.0.1:143"), away, false),
            (tcp("0.0.0.0:143"), here, false),
            (tcp("0.0.0.0:143"), away, false),
            (unix, Peer::User(1000), true),
            (systemd.clone(), Peer::User(1000), true),
            (systemd.clone(), here, true),
            (systemd, away, false),
        ] {
            let at = address.to_string();
            assert_eq!(takes_plain_login(address, peer), may, "{peer} at {at}");
        }
    }
}
