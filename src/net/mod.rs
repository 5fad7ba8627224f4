//! Bytes in and out: listening, dialling, directly or through a proxy, TLS on both legs.
//!
//! Knows no protocol: what STARTTLS looks like on the wire is `proto`'s business, only the handshake is ours.

pub mod certificates;
mod dial;
mod inherited;
mod listen;
#[cfg(target_os = "linux")]
mod owner;
mod proxy;
mod proxy_header;
mod socket;
mod stream;
mod tls;
mod tls_stream;
#[cfg(unix)]
mod unix_socket;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use self::certificates::CertificateError;
pub use self::certificates::Certificates;
pub use self::dial::Dialler;
pub use self::inherited::Inherited;
pub use self::listen::{Bound, adjust, bind, probe};
#[cfg(target_os = "linux")]
pub use self::owner::owner;
pub use self::proxy::{ProxyError, dial_through};
pub use self::proxy_header::{HeaderError, announced};
pub use self::socket::{Detached, Socket};
pub use self::stream::Stream;
pub use self::tls::{Acceptor, ClientTlsConfigs, acceptor, handshake};
pub use self::tls_stream::TlsStream;
use crate::address::authority;
use crate::config::runtime::ListenAddress;

/// What can go wrong below the protocols. Each variant says whose fault it probably is.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The port or path is taken, or needs a privilege.
    #[error("cannot listen on {address}")]
    Bind {
        /// What was asked for.
        address: ListenAddress,
        /// What the system said.
        source: io::Error,
    },
    /// systemd's variables name what is not there.
    #[error("LISTEN_FDS and LISTEN_PID do not fit what this process was started with")]
    Activation,
    /// systemd has not opened what a listener names.
    #[error(
        "systemd handed over no socket called \"{name}\", {}: write FileDescriptorName={name} into the socket unit, \
         and start mailsluice by it",
        others(given)
    )]
    NotGiven {
        /// The name.
        name: String,
        /// The names that came.
        given: Vec<String>,
    },
    /// What systemd opened is of the wrong kind.
    #[error("the socket \"{name}\" that systemd handed over cannot be used: {why}")]
    Unfit {
        /// The name.
        name: String,
        /// What is wrong with it, and what to write.
        why: &'static str,
    },
    /// The system does not let us have what systemd opened.
    #[error("the socket \"{name}\" that systemd handed over cannot be used")]
    Inherit {
        /// The name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The name does not resolve: no network, or a typing error in the configuration.
    #[error("the name {host} cannot be resolved")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The resolver gave no address.
    #[error("the name {host} has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// No address of the host took the connection; the last one's reason.
    #[error("{} does not take connections", authority(host, *port))]
    Connect {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// What the last address said.
        source: io::Error,
    },
    /// The proxy on the way to the upstream gives no connection.
    #[error("no way through {proxy}")]
    Proxy {
        /// Its URL, without user and password.
        proxy: String,
        /// Why.
        source: ProxyError,
    },
    /// The upstream is this program: connecting would go round in circles.
    #[error("{address} is a listener of mailsluice itself")]
    Loop {
        /// The address.
        address: SocketAddr,
    },
    /// The host name cannot stand in a certificate.
    #[error("{host} is not a valid host name for TLS")]
    HostName {
        /// The name.
        host: String,
    },
    /// The certificate does not prove the name, or nobody trusted signed it. Never worked around.
    #[error("the certificate of {host} is not trusted")]
    Untrusted {
        /// The name it should have proved.
        host: String,
        /// What rustls said.
        source: io::Error,
    },
    /// The handshake failed otherwise: no common version, no TLS at all, connection lost.
    #[error("the TLS handshake with {host} failed")]
    Handshake {
        /// The peer.
        host: String,
        /// What rustls said.
        source: io::Error,
    },
    /// A CA file cannot be used.
    #[error("{} cannot be used", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A listener's certificate cannot be had.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The TLS library refused the settings: no roots on this system.
    #[error("TLS cannot be set up")]
    TlsSetup(#[source] rustls::Error),
}

impl NetError {
    /// What kind of trouble the system reported, where it was the system.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Bind { source, .. }
            | Self::Inherit { source, .. }
            | Self::Resolve { source, .. }
            | Self::Connect { source, .. }
            | Self::Untrusted { source, .. }
            | Self::Handshake { source, .. } => Some(source.kind()),
            Self::NoAddress { .. }
            | Self::Activation
            | Self::NotGiven { .. }
            | Self::Unfit { .. }
            | Self::Loop { .. }
            | Self::Proxy { .. }
            | Self::HostName { .. }
            | Self::CertificateFile { .. }
            | Self::Certificate(_)
            | Self::TlsSetup(_) => None,
        }
    }

    /// The phase of a login it belongs to.
    pub fn phase(&self) -> &'static str {
        match self {
            Self::Bind { .. }
            | Self::Activation
            | Self::NotGiven { .. }
            | Self::Unfit { .. }
            | Self::Inherit { .. } => "bind",
            Self::Resolve { .. } | Self::NoAddress { .. } => "dns",
            Self::Connect { .. } | Self::Loop { .. } => "connect",
            Self::Proxy {
                source: ProxyError::LoginRefused,
                ..
            } => PROXY_LOGIN,
            Self::Proxy { .. } => PROXY,
            Self::HostName { .. }
            | Self::Untrusted { .. }
            | Self::Handshake { .. }
            | Self::CertificateFile { .. }
            | Self::Certificate(_)
            | Self::TlsSetup(_) => "tls",
        }
    }
}

/// The phase of a login in which a proxy is on its way to the upstream.
pub const PROXY: &str = "proxy";

/// The phase in which it refused our login there.
pub const PROXY_LOGIN: &str = "proxy-login";
/// Whose program is at the other end of a connection: not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn owner(_: &Socket) -> io::Result<Option<u32>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What came in place of what was named.
fn others(given: &[String]) -> String {
    match given {
        [] => "and no other".to_owned(),
        given => format!("but \"{}\"", given.join("\" and \"")),
    }
}
