//! Listening sockets and the accept loop, which only accepts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::NetError;
use super::stream::prepare;

/// A socket that listens.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Opens `address`. Port 0 asks for a free one; [`Bound::address`] tells which it became.
pub fn bind(address: SocketAddr) -> Result<Bound, NetError> {
    open(address).map_err(|source| NetError::Bind { address, source })
}

/// Whether `address` could be listened on now, and the system's reason if not. Opens no port.
pub fn probe(address: SocketAddr) -> Result<(), io::ErrorKind> {
    match socket(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.kind()),
    }
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection. Never fails: what is wrong with one connection is that connection's trouble, and running
    /// out of descriptors is waited out, so that the listener outlives a burst.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if prepare(&stream).is_ok() {
                        return (stream, peer);
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(address = %self.address, cause = %error, "cannot accept for now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn open(address: SocketAddr) -> io::Result<Bound> {
    let socket = socket(address)?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok(Bound { listener, address })
}

/// Bound, but not listening yet: nobody can connect to it.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
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
const BACKLOG: i32 = 1024;

/// How long to wait when the system has no descriptors left (EMFILE).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_it() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(first.address()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot listen on {}", first.address())
        );
    }

    #[tokio::test]
    async fn a_probe_tells_a_taken_port_and_takes_none() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(probe(taken.address()), Err(io::ErrorKind::AddrInUse));
        let elsewhere = probe("192.0.2.1:0".parse().unwrap());
        assert_eq!(elsewhere, Err(io::ErrorKind::AddrNotAvailable));
        let address = taken.address();
        drop(taken);
        assert_eq!(probe(address), Ok(()));
        bind(address).unwrap();
    }

    #[tokio::test]
    async fn both_loopbacks_take_the_same_port() {
        let v6 = bind("[::1]:0".parse().unwrap()).unwrap();
        let v4 = SocketAddr::from(([127, 0, 0, 1], v6.address().port()));
        bind(v4).unwrap();
    }
}
