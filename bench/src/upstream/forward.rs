//! Makes a port far away: what passes comes out later, in order, however much is under way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::LOOPBACK;

/// Opens a port that leads to `target`, `trip` away.
pub(super) async fn listen(target: SocketAddr, trip: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(LOOPBACK).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            if let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target, trip));
            }
        }
    });
    Ok(address)
}

async fn forward(client: TcpStream, target: SocketAddr, trip: Duration) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Connecting to a far host takes a round trip; on the loopback it took none.
    let connected = Instant::now() + trip;
    tokio::spawn(late(from_server, to_client, connected, trip / 2));
    late(from_client, to_server, connected, trip / 2).await
}

/// Passes on what is read no sooner than `delay` later, and counts nothing as read before `connected`.
async fn late(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    connected: Instant,
    delay: Duration,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    tokio::spawn(async move {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    });
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        if from.read_buf(&mut piece).await? == 0 {
            return Ok(());
        }
        let due = Instant::now().max(connected) + delay;
        if sender.send((due, piece)).await.is_err() {
            return Ok(());
        }
    }
}

const PIECE: usize = 32 * 1024;
/// Pieces that wait at once; more are not read.
const UNDER_WAY: usize = 64;
