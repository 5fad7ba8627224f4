//! Connecting to a host by name: every address it has, IPv6 and IPv4 in turn (Happy Eyeballs, RFC 8305).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;

use super::NetError;
use super::stream::prepare;

/// Connects, and refuses to connect to ourselves.
#[derive(Clone, Debug, Default)]
pub struct Dialler {
    /// Our own listeners: an account that points at one of them would log in in circles.
    pub own: Arc<ArcSwap<Vec<SocketAddr>>>,
}

impl Dialler {
    /// Connects to `host`. The caller sets the deadline.
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, NetError> {
        let stream = dial(host, port).await?;
        match stream.peer_addr() {
            Ok(address) if self.is_own(address) => Err(NetError::Loop { address }),
            _ => Ok(stream),
        }
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        self.own.load().iter().any(|own| {
            own.port() == address.port()
                && (own.ip() == address.ip()
                    || (own.ip().is_unspecified() && address.ip().is_loopback()))
        })
    }
}

/// Connects to the first address of `host` that takes it. The system's resolver is asked, so `/etc/hosts` and VPN
/// settings hold; it runs on a thread of its own and never blocks the listeners.
pub async fn dial(host: &str, port: u16) -> Result<TcpStream, NetError> {
    let addresses = lookup_host((host, port))
        .await
        .map_err(|source| NetError::Resolve {
            host: host.to_owned(),
            source,
        })?;
    let candidates = interleave(addresses.collect());
    if candidates.is_empty() {
        return Err(NetError::NoAddress {
            host: host.to_owned(),
        });
    }
    let stream = race(candidates)
        .await
        .and_then(|stream| prepare(&stream).map(|()| stream));
    stream.map_err(|source| NetError::Connect {
        host: host.to_owned(),
        port,
        source,
    })
}

/// RFC 8305 section 4: the families in turn, beginning with the resolver's first choice.
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut preferred, mut other): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = VecDeque::with_capacity(preferred.len() + other.len());
    while !preferred.is_empty() || !other.is_empty() {
        turns.extend(preferred.pop_front());
        turns.extend(other.pop_front());
    }
    turns
}

/// Starts one attempt after the other, the next as soon as one failed or [`ATTEMPT_DELAY`] has passed; the first
/// connection wins and the others are dropped.
async fn race(mut candidates: VecDeque<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = candidates.pop_front() {
            attempts.push(TcpStream::connect(address));
        }
        if attempts.is_empty() {
            return Err(last_error);
        }
        tokio::select! {
            Some(outcome) = attempts.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error,
            },
            () = sleep(ATTEMPT_DELAY), if !candidates.is_empty() => {}
        }
    }
}

/// RFC 8305 section 5 recommends 250 ms.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let of = |list: &[&str]| {
            list.iter()
                .map(|a| a.parse().unwrap())
                .collect::<Vec<SocketAddr>>()
        };
        let turns = interleave(of(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "2.2.2.2:1"]));
        assert_eq!(
            Vec::from(turns),
            of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1"])
        );
    }

    #[tokio::test]
    async fn a_refused_address_leads_to_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let stream = race(VecDeque::from([closed, good])).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(race(VecDeque::from([closed])).await.is_err());
    }

    #[tokio::test]
    async fn our_own_listener_is_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dialler = Dialler {
            own: Arc::new(ArcSwap::from_pointee(vec![address])),
        };
        let error = dialler.dial("127.0.0.1", address.port()).await.unwrap_err();
        assert!(matches!(error, NetError::Loop { .. }), "{error}");
    }
}
