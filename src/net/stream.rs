//! One leg's byte stream, plain or TLS on either side of the handshake.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Socket, TlsStream};

/// A leg's byte stream.
#[derive(Debug)]
pub enum Stream {
    /// No TLS (yet).
    Plain(Socket),
    /// TLS, with us as the server on the client leg and as the client on the upstream leg.
    Tls(Box<TlsStream>),
    /// Nothing: the connection is away at a handshake. Reads end, writes fail.
    Away,
}

impl Stream {
    /// Whether the bytes are encrypted on the wire.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The connection below, unless it is away.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(tls) => Some(tls.socket()),
            Self::Away => None,
        }
    }

    /// Whether the peer has said nothing that is not read yet, and has not closed. Asks the system, which may know more
    /// than the runtime does.
    pub fn is_silent(&self) -> bool {
        let buffered = matches!(self, Self::Tls(tls) if tls.has_unread());
        let peeked = self
            .socket()
            .map(|socket| socket.options().peek(&mut [MaybeUninit::uninit()]));
        let nothing = |peeked: io::Result<usize>| {
            peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        !buffered && peeked.is_some_and(nothing)
    }

    /// The same connection, served by the runtime of this thread from now on. Another's would have to wake it each time.
    pub fn brought_here(self) -> io::Result<Self> {
        match self {
            Self::Plain(socket) => Ok(Self::Plain(socket.detach()?.attach()?)),
            Self::Tls(tls) => Ok(Self::Tls(Box::new(tls.brought_here()?))),
            Self::Away => Ok(Self::Away),
        }
    }

    /// Takes the plain connection out for a handshake; `None` where TLS is active already.
    pub fn take_plain(&mut self) -> Option<Socket> {
        match std::mem::replace(self, Self::Away) {
            Self::Plain(socket) => Some(socket),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// What every connection gets: no Nagle delay, and keepalives that find a peer gone behind a NAT or a suspended laptop.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Home routers forget idle connections after some minutes; a minute keeps them (PROTOCOL B.7).
const KEEPALIVE: Duration = Duration::from_secs(60);

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr, away => $away:expr) => {
        match $self.get_mut() {
            Self::Plain($stream) => $call,
            Self::Tls($stream) => $call,
            Self::Away => Poll::Ready($away),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf), away => Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf), away => Err(io::ErrorKind::NotConnected.into()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs), away => Err(io::ErrorKind::NotConnected.into()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx), away => Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx), away => Ok(()))
    }
}
