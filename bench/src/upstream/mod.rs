//! The upstream of the bench: a protocol-correct server for IMAP, POP3 and submission over TLS, with canned mail.
//!
//! It is a process of its own, so that what it uses is nobody else's, and it is as cheap as it can be: mail is written
//! from one static text and compared with it, and answers to pipelined commands are written at once.
//!
//! Each protocol has a second port that is far away: a forwarder delays what passes by half a round trip each way, and
//! the first octets of a client by a whole one more, which is what connecting takes.

mod forward;
mod imap;
mod pop3;
mod service;
mod smtp;
mod token;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

pub(crate) use world::{Counts, PASSWORD, USER};

use crate::error::BenchError;
use crate::helper;
use crate::tls;
use service::{Protocol, Service};
use world::World;

/// How the upstream's process is started.
#[derive(Debug, clap::Args)]
pub(crate) struct UpstreamArguments {
    /// Where the certificates are.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Octets of the largest message.
    #[arg(long)]
    pub(crate) largest: usize,
    /// Milliseconds of a round trip to the far ports.
    #[arg(long)]
    pub(crate) far: u64,
}

/// Where everything is: what the process says once it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// IMAP, POP3 and submission, TLS from the first byte.
    pub(crate) near: [SocketAddr; 3],
    /// The same, a round trip away.
    pub(crate) far: [SocketAddr; 3],
    /// The token endpoint, HTTP.
    pub(crate) token: SocketAddr,
    /// Tells the counters as JSON to whoever connects.
    pub(crate) control: SocketAddr,
}

/// The upstream's process.
pub(crate) fn main(arguments: &UpstreamArguments) -> Result<(), BenchError> {
    let config = tls::server(&arguments.dir)?;
    let service = Service::start(config, World::new(arguments.largest))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("a runtime"))?;
    runtime.block_on(async {
        let trip = Duration::from_millis(arguments.far);
        let addresses = open(&service, trip)
            .await
            .map_err(BenchError::io("opening the upstream"))?;
        helper::ready(&addresses)?;
        std::future::pending().await
    })
}

async fn open(service: &Service, trip: Duration) -> io::Result<Addresses> {
    let mut near = [LOOPBACK; 3];
    let mut far = [LOOPBACK; 3];
    for (index, protocol) in Protocol::ALL.into_iter().enumerate() {
        near[index] = service.listen(protocol)?;
        far[index] = forward::listen(near[index], trip).await?;
    }
    Ok(Addresses {
        near,
        far,
        token: token::listen().await?,
        control: control(service).await?,
    })
}

/// A whole upstream within a test.
#[cfg(test)]
pub(crate) async fn within_a_test(folder: &std::path::Path) -> Addresses {
    tls::make_certificates(folder).unwrap();
    let config = tls::server(folder).unwrap();
    let service = Service::start(config, World::new(crate::mail::MIB)).unwrap();
    open(&service, Duration::from_millis(20)).await.unwrap()
}

async fn control(service: &Service) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(LOOPBACK).await?;
    let address = listener.local_addr()?;
    let world = service.world();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let text = serde_json::to_vec(&world.seen.counts()).unwrap_or_default();
            let _ = stream.write_all(&text).await;
        }
    });
    Ok(address)
}

/// Any port there.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, DuplexStream};

    use super::*;
    use crate::mail::MIB;
    use crate::wire::Wire;

    /// A client in memory, opposite one session of the upstream.
    pub(super) struct Talk {
        wire: Wire<DuplexStream>,
        world: Arc<World>,
    }

    impl Talk {
        pub(super) fn start<F, R>(serve: F) -> Self
        where
            F: FnOnce(Wire<DuplexStream>, Arc<World>) -> R,
            R: Future<Output = io::Result<()>> + Send + 'static,
        {
            let world = Arc::new(World::new(MIB));
            let (near, far) = tokio::io::duplex(1000);
            tokio::spawn(serve(Wire::new(far, 4096), world.clone()));
            Self {
                wire: Wire::new(near, 4096),
                world,
            }
        }

        pub(super) async fn say(&mut self, text: &str) {
            self.send(text.as_bytes()).await;
        }

        pub(super) async fn send(&mut self, octets: &[u8]) {
            self.wire.write(octets).await.unwrap();
        }

        pub(super) async fn line(&mut self) -> String {
            String::from_utf8(self.wire.line().await.unwrap().to_vec()).unwrap()
        }

        /// Reads up to the first line that begins like this.
        pub(super) async fn until(&mut self, start: &str) {
            while !self.line().await.starts_with(start) {}
        }

        pub(super) async fn take(&mut self, count: usize) -> Vec<u8> {
            let mut all = Vec::new();
            let see = |piece: &[u8]| all.extend_from_slice(piece);
            self.wire.take(count, see).await.unwrap();
            all
        }

        pub(super) async fn ends(&mut self) {
            self.wire.drain().await.unwrap();
        }

        pub(super) fn counts(&self) -> Counts {
            self.world.seen.counts()
        }

        pub(super) fn world(&self) -> &World {
            &self.world
        }
    }

    #[tokio::test]
    async fn a_whole_upstream_serves_over_tls_and_far_away() {
        let folder = tempfile::tempdir().unwrap();
        let addresses = within_a_test(folder.path()).await;
        let trip = Duration::from_millis(20);
        let config = tls::client(&folder.path().join(tls::CA_FILE)).unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        for (near, far) in addresses.near.into_iter().zip(addresses.far) {
            for (address, least) in [(near, Duration::ZERO), (far, 2 * trip)] {
                let started = std::time::Instant::now();
                let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let stream = connector.connect(tls::server_name(), stream).await.unwrap();
                let mut wire = Wire::new(stream, 4096);
                let greeting = wire.line().await.unwrap();
                assert!(greeting.ends_with(b"bench ready"));
                // Connecting, the handshake and the greeting: never sooner than this, however busy the machine is.
                assert!(started.elapsed() >= least);
            }
        }
        let mut stream = tokio::net::TcpStream::connect(addresses.control)
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let counts: Counts = serde_json::from_str(&text).unwrap();
        assert_eq!(counts.sessions, 6);
    }
}
