//! Accepts TLS and hands connections to two threads with a runtime each: no task ever moves, no lock is taken.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_rustls::TlsAcceptor;

use super::world::World;
use super::{LOOPBACK, imap, pop3, smtp};
use crate::error::BenchError;
use crate::wire::Wire;

/// What a port speaks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// Submission.
    Smtp,
}

impl Protocol {
    /// In the order of [`super::Addresses`].
    pub(super) const ALL: [Self; 3] = [Self::Imap, Self::Pop3, Self::Smtp];
}

/// The threads, and what they share.
#[derive(Debug)]
pub(super) struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    world: Arc<World>,
    acceptor: TlsAcceptor,
    threads: Vec<Handle>,
    next: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Service {
    /// Starts the threads. They live as long as the process.
    pub(super) fn start(config: Arc<ServerConfig>, world: World) -> Result<Self, BenchError> {
        let threads = (0..THREADS)
            .map(|_| worker())
            .collect::<io::Result<_>>()
            .map_err(BenchError::io("a runtime"))?;
        let shared = Shared {
            world: Arc::new(world),
            acceptor: TlsAcceptor::from(config),
            threads,
            next: AtomicUsize::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The upstream's state.
    pub(super) fn world(&self) -> Arc<World> {
        self.shared.world.clone()
    }

    /// Opens a port. A thread of its own accepts, as nothing else would be quicker for a burst.
    pub(super) fn listen(&self, protocol: Protocol) -> io::Result<SocketAddr> {
        let listener = listener()?;
        let address = listener.local_addr()?;
        let shared = self.shared.clone();
        thread::spawn(move || {
            loop {
                // EMFILE and what a client did before it was accepted: the next one may go better.
                if let Ok((stream, _)) = listener.accept() {
                    shared.hand_over(stream, protocol);
                }
            }
        });
        Ok(address)
    }
}

impl Shared {
    fn hand_over(self: &Arc<Self>, stream: std::net::TcpStream, protocol: Protocol) {
        let thread = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        let shared = self.clone();
        self.threads[thread].spawn(async move {
            // An end in the middle is the client's business, and seen there.
            let _ = shared.serve(stream, protocol).await;
        });
    }

    async fn serve(&self, stream: std::net::TcpStream, protocol: Protocol) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(READ, TcpStream::from_std(stream)?);
        let mut stream = self.acceptor.accept(stream).await?;
        stream.get_mut().1.set_buffer_limit(Some(WRITE));
        self.world.seen.session();
        let wire = Wire::new(stream, READ);
        match protocol {
            Protocol::Imap => imap::serve(wire, &self.world).await,
            Protocol::Pop3 => pop3::serve(wire, &self.world).await,
            Protocol::Smtp => smtp::serve(wire, &self.world).await,
        }
    }
}

fn worker() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("upstream".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

fn listener() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&LOOPBACK.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

const THREADS: usize = 2;
/// A burst of clients must not be lost here.
const BACKLOG: i32 = 4096;
/// Octets read at once.
const READ: usize = 32 * 1024;
/// Octets encrypted before they are written.
const WRITE: usize = 256 * 1024;
