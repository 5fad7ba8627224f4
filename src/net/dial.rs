//! Connecting to a host by name: every address it has, IPv6 and IPv4 in turn (Happy Eyeballs, RFC 8305).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};

use super::NetError;
use super::stream::prepare;

/// Connects, and refuses to connect to ourselves.
#[derive(Clone, Debug, Default)]
pub struct Dialler {
    /// Our own listeners: an account that points at one of them would log in in circles.
    pub own: Arc<ArcSwap<Vec<SocketAddr>>>,
    /// By `host:port`, which are those of the configuration.
    recent: Arc<DashMap<String, Recent>>,
}

/// An address that took a connection a moment ago.
#[derive(Clone, Copy, Debug)]
struct Recent {
    address: SocketAddr,
    /// When the name was resolved.
    since: Instant,
}

impl Dialler {
    /// Connects to `host`. The caller sets the deadline.
    ///
    /// Programs that log in for each message would have the name resolved each time, which takes a thread and some files
    /// at least. So the address that answered last is tried first, for a few seconds.
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, NetError> {
        let name = format!("{host}:{port}");
        let stream = match self.dial_recent(&name).await {
            Some(stream) => stream,
            None => {
                let since = Instant::now();
                let stream = dial_anew(host, port).await?;
                if let Ok(address) = stream.peer_addr() {
                    self.recent.insert(name, Recent { address, since });
                }
                stream
            }
        };
        match stream.peer_addr() {
            Ok(address) if self.is_own(address) => Err(NetError::Loop { address }),
            _ => Ok(stream),
        }
    }

    /// Whatever is wrong with the address: the long way round will find another, or say what it is.
    async fn dial_recent(&self, name: &str) -> Option<TcpStream> {
        let recent = self.recent.get(name).map(|entry| *entry)?;
        if recent.since.elapsed() >= RECENT {
            return None;
        }
        let connected = timeout(ATTEMPT_DELAY, TcpStream::connect(recent.address)).await;
        let stream = connected.ok().and_then(Result::ok);
        let stream = stream.filter(|stream| prepare(stream).is_ok());
        if stream.is_none() {
            self.recent.remove(name);
        }
        stream
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
async fn dial_anew(host: &str, port: u16) -> Result<TcpStream, NetError> {
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

/// How long an address is tried before its name is resolved again. Far below the time to live of any name in use, so a
/// provider that moves is followed as soon.
const RECENT: Duration = Duration::from_secs(10);

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
            ..Dialler::default()
        };
        let error = dialler.dial("127.0.0.1", address.port()).await.unwrap_err();
        assert!(matches!(error, NetError::Loop { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_ipv6_is_a_host_like_any_other() {
        let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dialler = Dialler::default();
        let stream = dialler.dial("::1", address.port()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        drop(listener);
        let error = dialler.dial("::1", address.port()).await.unwrap_err();
        let told = format!("{address} does not take connections");
        assert_eq!(error.to_string(), told);
    }

    /// A dialler that knows `address` under a name that no resolver does.
    fn knows(address: SocketAddr, since: Instant) -> Dialler {
        let dialler = Dialler::default();
        let recent = Recent { address, since };
        dialler.recent.insert("mail.invalid:993".into(), recent);
        dialler
    }

    #[tokio::test]
    async fn an_address_is_remembered_for_some_seconds() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let now = Instant::now();
        let dialler = knows(address, now);
        assert!(dialler.dial("mail.invalid", 993).await.is_ok());
        let error = dialler.dial("mail.invalid", 143).await.unwrap_err();
        assert!(matches!(error, NetError::Resolve { .. }), "{error}");
        let dialler = knows(address, now - RECENT);
        let error = dialler.dial("mail.invalid", 993).await.unwrap_err();
        assert!(matches!(error, NetError::Resolve { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_fails_is_looked_for_anew() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let dialler = Dialler::default();
        let name = format!("127.0.0.1:{}", good.port());
        let recent = Recent {
            address: closed,
            since: Instant::now(),
        };
        dialler.recent.insert(name.clone(), recent);
        let stream = dialler.dial("127.0.0.1", good.port()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_eq!(dialler.recent.get(&name).unwrap().address, good);
    }
}
