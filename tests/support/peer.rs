//! Our end of one leg's connection, and what it was told.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::FutureExt as _;
use mailsluice::config::runtime::Trust;
use mailsluice::net::{Acceptor, ClientTlsConfigs, Socket, Stream, handshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::stage::HOST;

/// One connection.
pub(crate) struct Peer {
    stream: Stream,
    /// Everything it was told, before TLS and behind it.
    pub(crate) got: Vec<u8>,
    /// Whether the other side has closed.
    pub(crate) ended: bool,
}

impl Peer {
    /// A client of the service at `address`. A log line names it by its address, so its port is bound before it connects:
    /// else the system may give the same one to connections that lead to different places.
    pub(crate) async fn dial(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
        Self::new(socket.connect(address).await?)
    }

    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        Ok(Self {
            stream: Stream::Plain(tcp.into()),
            got: Vec::new(),
            ended: false,
        })
    }

    /// The near end's address, by which a log line names a client.
    pub(crate) fn name(&self) -> String {
        let address = self.tcp().and_then(TcpStream::local_addr);
        address.map_or_else(|error| error.to_string(), |it| it.to_string())
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        match self.stream.socket() {
            Some(Socket::Tcp(tcp)) => Ok(tcp),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Sends `bytes`. Those for a connection that is closed are lost, as on any wire.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        if !matches!(timeout(PATIENCE, sent).await, Ok(Ok(()))) {
            self.read_what_is_there();
        }
    }

    /// Says that nothing more is sent.
    pub(crate) async fn finish(&mut self) {
        let _ = timeout(PATIENCE, self.stream.shutdown()).await;
    }

    /// Reads until at least `total` bytes were told in all, or the other side closes, or patience ends.
    pub(crate) async fn read_until(&mut self, total: usize) {
        while self.got.len() < total && !self.ended {
            let mut buffer = [0; 4096];
            match timeout(PATIENCE, self.stream.read(&mut buffer)).await {
                Ok(Ok(n)) if n > 0 => self.keep(&buffer, n),
                Ok(_) => self.ended = true,
                Err(_) => return,
            }
        }
        self.read_what_is_there();
    }

    /// Reads until the other side closes; false if it does not.
    pub(crate) async fn read_to_end(&mut self) -> bool {
        self.read_until(usize::MAX).await;
        self.ended
    }

    /// Reads without waiting.
    pub(crate) fn read_what_is_there(&mut self) {
        let mut buffer = [0; 4096];
        while !self.ended {
            match self.stream.read(&mut buffer).now_or_never() {
                Some(Ok(n)) if n > 0 => self.keep(&buffer, n),
                Some(_) => self.ended = true,
                None => return,
            }
        }
    }

    /// TLS with us as the client.
    pub(crate) async fn connect_tls(&mut self, trust: &Trust) -> io::Result<()> {
        let tcp = self.stream.take_plain().ok_or(io::ErrorKind::Other)?;
        let config = ClientTlsConfigs::default().of(trust).await;
        let config = config.map_err(io::Error::other)?;
        let done = timeout(PATIENCE, handshake(config, HOST, tcp)).await?;
        self.stream = done.map_err(io::Error::other)?;
        Ok(())
    }

    /// TLS with us as the server.
    pub(crate) async fn accept_tls(&mut self, acceptor: &Acceptor) -> io::Result<()> {
        let tcp = self.stream.take_plain().ok_or(io::ErrorKind::Other)?;
        self.stream = timeout(PATIENCE, acceptor.accept(tcp)).await??;
        Ok(())
    }

    /// Breaks the connection instead of closing it.
    pub(crate) fn reset(self) {
        if let Ok(tcp) = self.tcp() {
            let _ = tcp.set_zero_linger();
        }
    }

    fn keep(&mut self, buffer: &[u8], n: usize) {
        self.got
            .extend_from_slice(buffer.get(..n).unwrap_or_default());
    }
}

/// For anything that has to happen at once, or after the second that a wrong password takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
