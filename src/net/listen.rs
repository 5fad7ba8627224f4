//! Listening sockets and the accept loop, which only accepts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use super::inherited::Inherited;
use super::stream::prepare;
#[cfg(unix)]
use super::unix_socket::{self, SocketFile};
use super::{NetError, Socket};
use crate::config::runtime::{Door, ListenAddress};
use crate::peer::Peer;

/// A socket that listens.
#[derive(Debug)]
pub struct Bound {
    listening: Listening,
    address: ListenAddress,
    /// Where the file is ours, it goes with the socket.
    #[cfg(unix)]
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// Opens `address`. Port 0 asks for a free one; [`Bound::address`] tells which it became. What systemd opened is taken
/// from `inherited`; one of its names may stand for several sockets.
pub fn bind(
    address: &ListenAddress,
    door: &Door,
    inherited: &Inherited,
) -> Result<Vec<Bound>, NetError> {
    #[cfg(not(unix))]
    let _ = door;
    let bound = match address {
        ListenAddress::Tcp(tcp) => open(*tcp),
        #[cfg(unix)]
        ListenAddress::Unix(path) => unix_socket::bind(path, door.mode)
            .and_then(|(socket, file)| Bound::new(socket, Some(file))),
        #[cfg(not(unix))]
        ListenAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        ListenAddress::Systemd(name) => return inherited.open(name),
    };
    let bound = bound.map_err(|source| NetError::Bind {
        address: address.clone(),
        source,
    })?;
    Ok(vec![bound])
}

/// Makes what is open already fit `door`, where the configuration was read again.
pub fn adjust(address: &ListenAddress, door: &Door) -> io::Result<()> {
    #[cfg(not(unix))]
    let _ = door;
    match address {
        #[cfg(unix)]
        ListenAddress::Unix(path) => unix_socket::permit(path, door.mode),
        _ => Ok(()),
    }
}

/// Whether `address` could be listened on now, and the system's reason if not. Opens and changes nothing. What systemd
/// opens only the service can have.
pub fn probe(address: &ListenAddress) -> Result<(), io::ErrorKind> {
    let probed = match address {
        ListenAddress::Tcp(address) => socket(*address).map(drop),
        #[cfg(unix)]
        ListenAddress::Unix(path) => unix_socket::probe(path),
        #[cfg(not(unix))]
        ListenAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        ListenAddress::Systemd(_) => Ok(()),
    };
    probed.map_err(|error| error.kind())
}

impl Bound {
    /// A socket that listens already.
    #[cfg(unix)]
    pub(super) fn new(socket: socket2::Socket, file: Option<SocketFile>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let (listening, address) = if let Some(address) = local.as_socket() {
            let listener = TcpListener::from_std(socket.into())?;
            (Listening::Tcp(listener), ListenAddress::Tcp(address))
        } else {
            let listener = UnixListener::from_std(socket.into())?;
            let path = local.as_pathname().unwrap_or(UNNAMED.as_ref());
            (
                Listening::Unix(listener),
                ListenAddress::Unix(path.to_owned()),
            )
        };
        Ok(Self {
            listening,
            address,
            _file: file,
        })
    }

    /// A socket that listens already.
    #[cfg(not(unix))]
    pub(super) fn new(socket: socket2::Socket, _: Option<()>) -> io::Result<Self> {
        let listener = TcpListener::from_std(socket.into())?;
        let address = ListenAddress::Tcp(listener.local_addr()?);
        let listening = Listening::Tcp(listener);
        Ok(Self { listening, address })
    }

    /// Where it listens: a port or a path.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The next connection. Never fails: what is wrong with one connection is that connection's trouble, and running
    /// out of descriptors is waited out, so that the listener outlives a burst.
    pub async fn accept(&self) -> (Socket, Peer) {
        loop {
            match self.listening.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(address = %self.address, cause = %error, "cannot accept for now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Listening {
    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                prepare(&stream).map_err(|_| io::ErrorKind::ConnectionAborted)?;
                Ok((stream.into(), peer.into()))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred();
                let uid = credentials
                    .map_err(|_| io::ErrorKind::ConnectionAborted)?
                    .uid();
                Ok((stream.into(), Peer::User(uid)))
            }
        }
    }
}

fn open(address: SocketAddr) -> io::Result<Bound> {
    let socket = socket(address)?;
    socket.listen(BACKLOG)?;
    Bound::new(socket, None)
}

/// Bound, but not listening yet: nobody can connect to it.
fn socket(address: SocketAddr) -> io::Result<socket2::Socket> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if domain == Domain::IPV6 {
        // Both loopbacks are bound one by one; a dual-stack socket would clash with the IPv4 one.
        socket.set_only_v6(true)?;
    }
    // Only so that a restart need not wait for TIME-WAIT. On Windows the option would let others take the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// The peer was gone before it was accepted: nothing is wrong with the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// A burst of mail programs after a network outage must not overflow the accept queue: with a backlog of 5, 26 of 50
/// connections were lost in the closest peer.
pub(super) const BACKLOG: i32 = 1024;

/// How long to wait when the system has no descriptors left (EMFILE).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket of systemd's in the abstract name space, or none at all.
#[cfg(unix)]
const UNNAMED: &str = "(no path)";

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> ListenAddress {
        ListenAddress::Tcp(address.parse().unwrap())
    }

    fn open(address: &ListenAddress) -> Result<Bound, NetError> {
        let bound = bind(address, &Door::default(), &Inherited::default());
        bound.map(|mut all| all.remove(0))
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_it() {
        let first = open(&tcp("127.0.0.1:0")).unwrap();
        let error = open(first.address()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot listen on {}", first.address())
        );
    }

    #[tokio::test]
    async fn a_probe_tells_a_taken_port_and_takes_none() {
        let taken = open(&tcp("127.0.0.1:0")).unwrap();
        assert_eq!(probe(taken.address()), Err(io::ErrorKind::AddrInUse));
        let elsewhere = probe(&tcp("192.0.2.1:0"));
        assert_eq!(elsewhere, Err(io::ErrorKind::AddrNotAvailable));
        let address = taken.address().clone();
        drop(taken);
        assert_eq!(probe(&address), Ok(()));
        open(&address).unwrap();
    }

    #[tokio::test]
    async fn both_loopbacks_take_the_same_port() {
        let v6 = open(&tcp("[::1]:0")).unwrap();
        let port = v6.address().tcp().unwrap().port();
        open(&tcp(&format!("127.0.0.1:{port}"))).unwrap();
    }
}
