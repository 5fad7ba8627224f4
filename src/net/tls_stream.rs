//! A TLS connection on rustls' unbuffered API: records are decrypted and encrypted in buffers that belong to the thread,
//! and a connection keeps only what its socket or its reader did not take. So an idle connection holds no buffer, a bulk
//! transfer costs one system call for several records, and what a peer sends is bounded by what is read from it.
//!
//! What rustls is asked in one pass is in `turn`.
//!
//! It is no general TLS stream: there is no early data, and what a write accepts is encrypted at once, so a writer flushes
//! before it trusts that the peer can have it.

mod turn;

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::turn::{Message, Standing, Turn, run};
use super::Socket;

/// A TLS connection after its handshake.
#[derive(Debug)]
pub struct TlsStream {
    socket: Socket,
    session: Session,
    /// The beginning of a record whose rest is still to come.
    incoming: Vec<u8>,
    /// Decrypted, for a reader whose buffer was smaller than a record.
    plain: BytesMut,
    /// Encrypted, and not taken by the socket yet.
    outgoing: BytesMut,
    /// The peer said close_notify.
    peer_closed: bool,
    /// We did.
    closed: bool,
    /// rustls gave up: it is asked nothing more.
    failed: bool,
}

/// rustls' side of the connection. After the handshake the two differ in nothing that matters here.
enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl TlsStream {
    /// The handshake as the client of `name`, whose certificate `config` judges. The caller sets the deadline.
    pub(super) async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: Socket,
    ) -> io::Result<Self> {
        let session = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
        Self::shake_hands(Session::Client(session), socket).await
    }

    /// The handshake as the server. The caller sets the deadline.
    pub(super) async fn accept(config: Arc<ServerConfig>, socket: Socket) -> io::Result<Self> {
        let session = UnbufferedServerConnection::new(config).map_err(invalid)?;
        Self::shake_hands(Session::Server(session), socket).await
    }

    /// The connection below.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The same connection, served by the runtime of this thread from now on.
    pub(super) fn brought_here(self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.detach()?.attach()?,
            ..self
        })
    }

    /// Whether something was received and not read, be it only the beginning of a record.
    pub(super) fn has_unread(&self) -> bool {
        !self.plain.is_empty() || !self.incoming.is_empty() || self.peer_closed
    }

    async fn shake_hands(session: Session, socket: Socket) -> io::Result<Self> {
        let mut stream = Self {
            socket,
            session,
            incoming: Vec::new(),
            plain: BytesMut::new(),
            outgoing: BytesMut::new(),
            peer_closed: false,
            closed: false,
            failed: false,
        };
        let mut standing = poll_fn(|cx| Poll::Ready(stream.say(cx, Message::Nothing))).await;
        poll_fn(|cx| stream.poll_handshake(cx, &mut standing)).await?;
        Ok(stream)
    }

    fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        standing: &mut io::Result<Standing>,
    ) -> Poll<io::Result<()>> {
        loop {
            // Also when it has failed: the alert tells the peer why.
            let sent = ready!(self.poll_send(cx));
            match std::mem::replace(standing, Ok(Standing::Handshake)) {
                Err(error) => return Poll::Ready(Err(error)),
                Ok(Standing::Traffic) => return Poll::Ready(sent),
                Ok(Standing::Closed) => return Poll::Ready(Err(cut_off())),
                Ok(Standing::Handshake) => sent?,
            }
            *standing = ready!(self.poll_receive(cx, &mut ReadBuf::new(&mut [])));
            if self.peer_closed {
                return Poll::Ready(Err(cut_off()));
            }
        }
    }

    /// Reads from the socket once and decrypts what has come: into `out`, and what does not fit into `plain`.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Standing>> {
        if self.failed {
            return Poll::Ready(Err(cut_off()));
        }
        INCOMING.with_borrow_mut(|scratch| {
            let held = self.incoming.len();
            // What is decrypted is shorter than what was read, so a large `out` takes all of it.
            let room = out.remaining().clamp(held + RECORD_MAX, held + READ_MAX);
            let room = room.min(scratch.len());
            let (Some(front), true) = (scratch.get_mut(..held), held < room) else {
                return Poll::Ready(Err(invalid("a handshake message over the limit")));
            };
            front.copy_from_slice(&self.incoming);
            let mut received = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
            received.set_filled(held);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut received))?;
            let filled = received.filled().len();
            if filled == held {
                return Poll::Ready(Err(cut_off()));
            }
            let records = scratch.get_mut(..filled).unwrap_or_default();
            let (used, standing) = self.process(cx, records, Message::Nothing, Some(out));
            let rest = records.get(used..).unwrap_or_default();
            self.incoming.clear();
            self.incoming.extend_from_slice(rest);
            if rest.is_empty() {
                self.incoming = Vec::new();
            }
            Poll::Ready(standing)
        })
    }

    /// Lets rustls go on without new input, and encrypts `message` if the handshake is over.
    fn say(&mut self, cx: &mut Context<'_>, message: Message<'_>) -> io::Result<Standing> {
        // What is held has to be shown again: rustls knows how far into it it has looked.
        let mut held = std::mem::take(&mut self.incoming);
        let (used, standing) = self.process(cx, &mut held, message, None);
        held.drain(..used);
        self.incoming = held;
        standing
    }

    /// Shows `records` to rustls until it has no more to do with them, sends what it says and says `message`. Also tells how
    /// many bytes were used.
    fn process(
        &mut self,
        cx: &mut Context<'_>,
        records: &mut [u8],
        message: Message<'_>,
        mut out: Option<&mut ReadBuf<'_>>,
    ) -> (usize, io::Result<Standing>) {
        OUTGOING.with_borrow_mut(|outgoing| {
            let plain = &mut self.plain;
            let mut turn = Turn {
                message,
                outgoing,
                written: 0,
                peer_closed: &mut self.peer_closed,
                take: |decrypted: &[u8]| {
                    let room = out.as_ref().map_or(0, |out| out.remaining());
                    let (now, later) = decrypted.split_at(decrypted.len().min(room));
                    if let Some(out) = &mut out {
                        out.put_slice(now);
                    }
                    plain.extend_from_slice(later);
                },
            };
            let (used, standing) = match &mut self.session {
                Session::Client(session) => run!(turn, session, records),
                Session::Server(session) => run!(turn, session, records),
            };
            let written = turn.written;
            self.failed = standing.is_err();
            let sent = self.send(cx, outgoing.get(..written).unwrap_or_default());
            (used, standing.and_then(|standing| sent.map(|()| standing)))
        })
    }

    /// Sends as much of `records` as the socket takes at once and keeps the rest.
    fn send(&mut self, cx: &mut Context<'_>, mut records: &[u8]) -> io::Result<()> {
        while self.outgoing.is_empty() && !records.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, records) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => records.advance(n),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.outgoing.extend_from_slice(records);
        Ok(())
    }

    /// Sends what was kept.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.outgoing))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(n);
            if self.outgoing.is_empty() {
                self.outgoing = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.outgoing.is_empty() {
            // A reader that never writes must not keep rustls' own answers back.
            let _ = this.poll_send(cx)?;
        }
        let before = buf.filled().len();
        while this.plain.is_empty() && !this.peer_closed && buf.filled().len() == before {
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_receive(cx, buf))?;
        }
        let n = this.plain.len().min(buf.remaining());
        buf.put_slice(this.plain.get(..n).unwrap_or_default());
        this.plain.advance(n);
        if this.plain.is_empty() && this.plain.capacity() > 0 {
            this.plain = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.closed || this.failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(this.poll_send(cx))?;
        let now = buf.get(..WRITE_MAX).unwrap_or(buf);
        if now.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.say(cx, Message::Data(now))?;
        Poll::Ready(Ok(now.len()))
    }

    /// Small slices share a record.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut full = slices.iter().filter(|slice| !slice.is_empty());
        match (full.next(), full.next()) {
            (None, _) => Poll::Ready(Ok(0)),
            (Some(only), None) => self.poll_write(cx, only),
            (Some(first), Some(_)) if first.len() >= RECORD_DATA => self.poll_write(cx, first),
            _ => GATHERED.with_borrow_mut(|gathered| {
                gathered.clear();
                for slice in slices {
                    let room = WRITE_MAX - gathered.len();
                    gathered.extend_from_slice(slice.get(..room).unwrap_or(slice));
                }
                self.poll_write(cx, gathered)
            }),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    /// Says close_notify and closes the writing side.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        if !this.closed && !this.failed {
            this.closed = true;
            this.say(cx, Message::CloseNotify)?;
            ready!(this.poll_send(cx))?;
        }
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "Client",
            Self::Server(_) => "Server",
        })
    }
}

/// As tokio-rustls has it: what rustls says is found again behind the `io::Error`.
fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The peer went without close_notify; whether something is missing, the protocol above knows.
fn cut_off() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

thread_local! {
    /// Records from a socket. Borrowed only between two awaits, as are the others.
    static INCOMING: RefCell<Box<[u8]>> = RefCell::new(vec![0; INCOMING_SIZE].into());
    /// Records for a socket.
    static OUTGOING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Slices that become one record.
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Data in one record, RFC 8446 section 5.1.
const RECORD_DATA: usize = 1 << 14;

/// The longest record, RFC 5246 section 6.2.3.
const RECORD_MAX: usize = 5 + RECORD_DATA + 2048;

/// The longest handshake message that rustls accepts (64 KiB) has to fit in its records, and a read behind it.
const INCOMING_SIZE: usize = 128 * 1024;

/// One read. Larger ones seldom find more, and a read that is filled tells the runtime that there is more without asking
/// the system.
const READ_MAX: usize = 4 * RECORD_DATA;

/// One write: four full records.
const WRITE_MAX: usize = 4 * RECORD_DATA;

#[cfg(test)]
mod tests;
