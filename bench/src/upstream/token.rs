//! The token endpoint (RFC 6749, section 3.2): gives the access token to whoever asks, over HTTP on the loopback.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use super::LOOPBACK;
use super::world::token;
use crate::wire::Wire;

/// Opens it.
pub(super) async fn listen() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(LOOPBACK).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(Wire::new(stream, 16 * 1024)));
        }
    });
    Ok(address)
}

async fn answer(mut wire: Wire<TcpStream>) -> io::Result<()> {
    let mut length = 0;
    loop {
        let line = String::from_utf8_lossy(wire.line().await?).to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    wire.take(length, |_| {}).await?;
    wire.write(reply().as_bytes()).await?;
    wire.finish().await
}

fn reply() -> String {
    let body = serde_json::json!({
        "access_token": token(),
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token": "bench-refresh",
        "scope": "mail",
    })
    .to_string();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_token_request_gets_the_token() {
        let mut stream = TcpStream::connect(listen().await.unwrap()).await.unwrap();
        let request = "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 29\r\n\r\ngrant_type=client_credentials";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["access_token"], token());
    }
}
