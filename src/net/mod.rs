//! Bytes in and out: listening, dialling, directly or through a proxy, TLS on both legs.
//!
//! Knows no protocol: what STARTTLS looks like on the wire is `proto`'s business, only the handshake is ours.

pub mod certificates;
mod dial;
mod listen;
mod proxy;
mod stream;
mod tls;
mod tls_stream;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use self::certificates::CertificateError;
pub use self::certificates::Certificates;
pub use self::dial::Dialler;
pub use self::listen::{Bound, bind, probe};
pub use self::proxy::{ProxyError, dial_through};
pub use self::stream::Stream;
pub use self::tls::{Acceptor, ClientTlsConfigs, acceptor, handshake};
pub use self::tls_stream::TlsStream;
use crate::address::authority;

/// What can go wrong below the protocols. Each variant says whose fault it probably is.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The port is taken, or needs a privilege.
    #[error("cannot listen on {address}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
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
            | Self::Resolve { source, .. }
            | Self::Connect { source, .. }
            | Self::Untrusted { source, .. }
            | Self::Handshake { source, .. } => Some(source.kind()),
            Self::NoAddress { .. }
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
            Self::Bind { .. } => "bind",
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
