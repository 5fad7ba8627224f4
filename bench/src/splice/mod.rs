//! The baselines between a plain client and a TLS upstream: nothing is parsed, nothing is known. What remains is what any
//! proxy must pay: two sockets and TLS.
//!
//! The ideal one is [`ideal`]. [`buffered`] is what one writes first: `copy_bidirectional` over tokio-rustls, with large
//! reads. Both are one thread.

mod buffered;
mod ideal;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::error::BenchError;
use crate::helper;
use crate::tls;

/// How a splice's process is started.
#[derive(Debug, clap::Args)]
pub(crate) struct SpliceArguments {
    /// The authority of the upstream.
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// Use tokio-rustls.
    #[arg(long)]
    pub(crate) buffered: bool,
    /// Where to lead to; one port is opened for each.
    pub(crate) upstreams: Vec<SocketAddr>,
}

/// The splice's process.
pub(crate) fn main(arguments: &SpliceArguments) -> Result<(), BenchError> {
    let config = tls::client(&arguments.ca)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("a runtime"))?;
    runtime.block_on(async {
        let mut ports = Vec::new();
        for upstream in &arguments.upstreams {
            let port = listen(*upstream, config.clone(), arguments.buffered)
                .map_err(BenchError::io("opening the splice"))?;
            ports.push(port);
        }
        helper::ready(&ports)?;
        std::future::pending().await
    })
}

/// Opens a port that leads to `upstream`.
pub(crate) fn listen(
    upstream: SocketAddr,
    config: Arc<ClientConfig>,
    buffered: bool,
) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((client, _)) = listener.accept().await else {
                continue;
            };
            let config = config.clone();
            // How a session ends is seen at its ends.
            if buffered {
                tokio::spawn(async move {
                    let _ = buffered::session(client, upstream, config).await;
                });
            } else {
                tokio::spawn(async move {
                    let _ = ideal::session(client, upstream, config).await;
                });
            }
        }
    });
    Ok(address)
}

async fn connect(client: &TcpStream, upstream: SocketAddr) -> io::Result<TcpStream> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// More than all socket buffers together, so that both directions stop and go on.
    const SIZE: usize = 20 * 1024 * 1024;

    #[tokio::test]
    async fn both_splices_pass_every_byte_both_ways_and_the_ends() {
        let folder = tempfile::tempdir().unwrap();
        tls::make_certificates(folder.path()).unwrap();
        let client = tls::client(&folder.path().join(tls::CA_FILE)).unwrap();
        let upstream = echo(TlsAcceptor::from(tls::server(folder.path()).unwrap())).await;
        let sent: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
        for buffered in [false, true] {
            let splice = listen(upstream, client.clone(), buffered).unwrap();
            for _ in 0..2 {
                let stream = TcpStream::connect(splice).await.unwrap();
                let (mut reader, mut writer) = stream.into_split();
                let text = sent.clone();
                let writing = tokio::spawn(async move {
                    writer.write_all(&text).await.unwrap();
                    writer.shutdown().await.unwrap();
                });
                let mut came = Vec::new();
                reader.read_to_end(&mut came).await.unwrap();
                writing.await.unwrap();
                assert!(came == sent, "buffered: {buffered}, {} came", came.len());
            }
        }
    }

    async fn echo(acceptor: TlsAcceptor) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = acceptor.accept(stream).await.unwrap();
                tokio::spawn(copy_back(stream));
            }
        });
        address
    }

    async fn copy_back<S: AsyncRead + AsyncWrite>(stream: S) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        writer.shutdown().await.unwrap();
    }
}
