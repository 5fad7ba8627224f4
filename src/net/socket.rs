//! A connected socket, TCP or Unix, as everything above sees it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A connection.
#[derive(Debug)]
pub enum Socket {
    /// To another machine or this one.
    Tcp(TcpStream),
    /// To a program of this machine.
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A connection that no runtime serves: on its way from one to another.
#[derive(Debug)]
pub struct Detached(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

macro_rules! each {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self {
            Self::Tcp($socket) => $call,
            #[cfg(unix)]
            Self::Unix($socket) => $call,
        }
    };
}

impl Socket {
    /// Takes it from the runtime of this thread.
    pub fn detach(self) -> io::Result<Detached> {
        Ok(Detached(match self {
            Self::Tcp(tcp) => Kind::Tcp(tcp.into_std()?),
            #[cfg(unix)]
            Self::Unix(unix) => Kind::Unix(unix.into_std()?),
        }))
    }

    /// Waits until there is something to read, be it the end.
    pub async fn readable(&self) -> io::Result<()> {
        each!(self, socket => socket.readable().await)
    }

    /// The socket's options.
    pub(super) fn options(&self) -> SockRef<'_> {
        each!(self, socket => SockRef::from(socket))
    }
}

impl Detached {
    /// Gives it to the runtime of this thread.
    pub fn attach(self) -> io::Result<Socket> {
        Ok(match self.0 {
            Kind::Tcp(tcp) => Socket::Tcp(TcpStream::from_std(tcp)?),
            #[cfg(unix)]
            Kind::Unix(unix) => Socket::Unix(UnixStream::from_std(unix)?),
        })
    }
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

#[cfg(unix)]
impl From<UnixStream> for Socket {
    fn from(unix: UnixStream) -> Self {
        Self::Unix(unix)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        each!(this, socket => Pin::new(socket).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        each!(this, socket => Pin::new(socket).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        each!(this, socket => Pin::new(socket).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        each!(this, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        each!(this, socket => Pin::new(socket).poll_shutdown(cx))
    }
}
