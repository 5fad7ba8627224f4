//! The load generator: clients that are as cheap as possible. Plain TCP to proxies, TLS to the upstream itself; one
//! buffer a connection, literals passed over by count.

mod imap;
mod pop3;
mod smtp;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use imap::Imap;
pub(crate) use pop3::Pop3;
pub(crate) use smtp::Smtp;

use crate::error::BenchError;
use crate::tls;
use crate::wire::Wire;

/// How a client reaches a target.
#[derive(Clone)]
pub(crate) struct Way {
    /// Where to.
    pub(crate) address: SocketAddr,
    /// Set where the client speaks TLS itself.
    pub(crate) tls: Option<TlsConnector>,
    /// The size of the client's buffer.
    pub(crate) buffer: usize,
}

impl Way {
    /// The same with a buffer of this size.
    pub(crate) fn with_buffer(mut self, buffer: usize) -> Self {
        self.buffer = buffer;
        self
    }

    async fn connect(&self) -> Result<Wire<Stream>, BenchError> {
        self.connect_from(0).await
    }

    /// From one of several addresses of this machine: one has no more than 28 000 ports.
    async fn connect_from(&self, number: usize) -> Result<Wire<Stream>, BenchError> {
        let socket = TcpSocket::new_v4()?;
        if number >= PER_ADDRESS {
            let last = 1 + u8::try_from(number / PER_ADDRESS).unwrap_or(u8::MAX - 1);
            socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(connector) => {
                let stream = BufReader::with_capacity(self.buffer.min(TLS_BUFFER), stream);
                let stream = connector.connect(tls::server_name(), stream).await?;
                Stream::Tls(Box::new(stream))
            }
        };
        Ok(Wire::new(stream, self.buffer))
    }
}

/// Either kind of connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// To a proxy.
    Plain(TcpStream),
    /// To the upstream.
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Whether a line begins like this, or the error that says it does not.
fn expect(phase: &'static str, line: &[u8], start: &str) -> Result<(), BenchError> {
    if line.starts_with(start.as_bytes()) {
        return Ok(());
    }
    let shown = &line[..line.len().min(SHOWN)];
    Err(BenchError::Answer {
        phase,
        line: String::from_utf8_lossy(shown).into_owned(),
    })
}

/// A buffer for bulk: what the socket has is taken at once.
pub(crate) const BULK: usize = 256 * 1024;
/// A buffer for commands and their answers.
pub(crate) const SMALL: usize = 4 * 1024;
const TLS_BUFFER: usize = 64 * 1024;
const SHOWN: usize = 200;
const PER_ADDRESS: usize = 20_000;
