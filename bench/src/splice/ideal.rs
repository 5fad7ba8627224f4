//! The ideal splice, on rustls' unbuffered API: records are decrypted in the buffer they were read into, by all sessions
//! the same one, and what a session keeps while nothing flows is its TLS state alone.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use socket2::SockRef;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::connect;
use crate::tls;

/// Passes everything until both ends have ended.
pub(super) async fn session(
    client: TcpStream,
    upstream: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<()> {
    let server = connect(&client, upstream).await?;
    let tls = UnbufferedClientConnection::new(config, tls::server_name()).map_err(other)?;
    let mut session = Box::new(Session {
        client,
        server,
        tls,
        received: Vec::new(),
        to_client: Vec::new(),
        to_server: Vec::new(),
        client_ended: false,
        server_ended: false,
    });
    session.handshake().await?;
    poll_fn(|cx| session.poll(cx)).await
}

struct Session {
    client: TcpStream,
    server: TcpStream,
    tls: UnbufferedClientConnection,
    /// The beginning of a record whose end has not come.
    received: Vec<u8>,
    /// What a socket did not take at once; nothing is read for it until it did.
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    client_ended: bool,
    server_ended: bool,
}

/// The buffers of this thread.
struct Scratch {
    /// What a socket gave; records are decrypted where they lie.
    read: Vec<u8>,
    /// What the records of one read held. One write of it costs less than one for each record, though it is a copy
    /// (measured: a tenth to a fifth of the CPU time).
    plain: Vec<u8>,
    /// Records made of what the client said.
    sealed: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: vec![0; READ + RECORD],
        plain: Vec::with_capacity(READ + RECORD),
        sealed: vec![0; READ + RECORD],
    });
}

impl Session {
    async fn handshake(&mut self) -> io::Result<()> {
        let mut read = Vec::new();
        loop {
            let mut plain = Vec::new();
            let (used, open) = self.records(&mut read, &mut plain)?;
            self.to_client.append(&mut plain);
            read.drain(..used);
            self.flush_server().await?;
            if open {
                break;
            }
            if self.server.read_buf(&mut read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        read.shrink_to_fit();
        self.received = read;
        Ok(())
    }

    async fn flush_server(&mut self) -> io::Result<()> {
        poll_fn(|cx| flush(&self.server, &mut self.to_server, cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = self.poll_up(cx)?;
        let down = self.poll_down(cx)?;
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Client to server; ready when the client has ended and the server was told.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(flush(&self.server, &mut self.to_server, cx))?;
            if self.client_ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.client.poll_read_ready(cx))?;
            SCRATCH.with_borrow_mut(|scratch| self.pass_up(scratch))?;
        }
    }

    /// Server to client; ready when the server has ended and the client was told.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(flush(&self.client, &mut self.to_client, cx))?;
            if self.server_ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.server.poll_read_ready(cx))?;
            SCRATCH.with_borrow_mut(|scratch| self.pass_down(scratch))?;
        }
    }

    fn pass_up(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        let count = match self.client.try_read(&mut scratch.read[..READ]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut []);
        let ConnectionState::WriteTraffic(mut traffic) = state.map_err(other)? else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let sealed = if count == 0 {
            self.client_ended = true;
            traffic.queue_close_notify(&mut scratch.sealed)
        } else {
            traffic.encrypt(&scratch.read[..count], &mut scratch.sealed)
        };
        let sealed = sealed.map_err(other)?;
        write(&self.server, &scratch.sealed[..sealed], &mut self.to_server)
    }

    fn pass_down(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        let kept = self.received.len();
        scratch.read[..kept].copy_from_slice(&self.received);
        let count = match self.server.try_read(&mut scratch.read[kept..kept + READ]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.server_ended |= count == 0;
        let filled = kept + count;
        scratch.plain.clear();
        let (used, _) = self.records(&mut scratch.read[..filled], &mut scratch.plain)?;
        self.received = scratch.read[used..filled].to_vec();
        write(&self.client, &scratch.plain, &mut self.to_client)?;
        if self.server_ended {
            SockRef::from(&self.client).shutdown(std::net::Shutdown::Write)?;
        }
        Ok(())
    }

    /// Takes whole records from `read`; what they hold goes to `plain`. Returns how much was taken, and whether mail may
    /// be sent.
    fn records(&mut self, read: &mut [u8], plain: &mut Vec<u8>) -> io::Result<(usize, bool)> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.tls.process_tls_records(&mut read[used..]);
            let more = match state.map_err(other)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(other)?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    None
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let start = self.to_server.len();
                    self.to_server.resize(start + RECORD, 0);
                    let encoded = data.encode(&mut self.to_server[start..]).map_err(other)?;
                    self.to_server.truncate(start + encoded);
                    None
                }
                // It lies in `to_server`, which is written before anything else is.
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::BlockedHandshake => Some(false),
                ConnectionState::WriteTraffic(_) => Some(true),
                ConnectionState::PeerClosed => {
                    self.server_ended = true;
                    None
                }
                _ => Some(false),
            };
            used += discard;
            if let Some(open) = more {
                return Ok((used, open));
            }
        }
    }
}

/// Writes what it can, and keeps the rest.
fn write(socket: &TcpStream, mut bytes: &[u8], rest: &mut Vec<u8>) -> io::Result<()> {
    while rest.is_empty() && !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    rest.extend_from_slice(bytes);
    Ok(())
}

/// Writes what was kept; ready when nothing is left.
fn flush(socket: &TcpStream, rest: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut start = 0;
    while start < rest.len() {
        if socket.poll_write_ready(cx)?.is_pending() {
            rest.drain(..start);
            return Poll::Pending;
        }
        match socket.try_write(&rest[start..]) {
            Ok(count) => start += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    if rest.capacity() > 0 {
        *rest = Vec::new();
    }
    Poll::Ready(Ok(()))
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

/// What is read at once.
const READ: usize = 64 * 1024;
/// A record with all around it, and what the records of one read add.
const RECORD: usize = 18 * 1024;
