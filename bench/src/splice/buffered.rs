//! A splice as one writes it first: tokio-rustls, with a reader of 64 KiB between socket and TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::{BufReader, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connect;
use crate::tls;

/// Passes everything until both ends have ended.
pub(super) async fn session(
    mut client: TcpStream,
    upstream: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<()> {
    let server = BufReader::with_capacity(SIZE, connect(&client, upstream).await?);
    let mut server = TlsConnector::from(config)
        .connect(tls::server_name(), server)
        .await?;
    copy_bidirectional_with_sizes(&mut client, &mut server, SIZE, SIZE).await?;
    Ok(())
}

const SIZE: usize = 64 * 1024;
