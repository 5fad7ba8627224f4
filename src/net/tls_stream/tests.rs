//! Against rustls' buffered API, by tokio-rustls or by hand where the wire matters.

use std::io::{Read, Write};

use futures_util::FutureExt;
use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream as Peer;

use super::turn::RECORD_OVERHEAD;
use super::*;
use crate::net::Stream;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["mail.test".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, (far, _)) = (near.unwrap(), far.unwrap());
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("mail.test").unwrap()
}

/// Ours as the client, and tokio-rustls as the server.
async fn pair(version: &'static SupportedProtocolVersion) -> (TlsStream, Peer<TcpStream>) {
    let (client, server) = configs(version);
    let (near, far) = sockets().await;
    let acceptor = TlsAcceptor::from(server);
    let (ours, theirs) = tokio::join!(
        TlsStream::connect(client, name(), near.into()),
        acceptor.accept(far)
    );
    (ours.unwrap(), theirs.unwrap())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn both_directions_at_once_arrive_unchanged_whatever_the_reader_takes_at_a_time() {
    for version in VERSIONS {
        for step in [1, 7, 4096, 200_000] {
            let sent = pattern(if step < 10 { 40_000 } else { 3_000_000 });
            let (ours, theirs) = pair(version).await;
            let (mut our_read, mut our_write) = tokio::io::split(ours);
            let (mut their_read, mut their_write) = tokio::io::split(theirs);
            let up = async {
                our_write.write_all(&sent).await.unwrap();
                our_write.shutdown().await.unwrap();
            };
            let down = async {
                their_write.write_all(&sent).await.unwrap();
                their_write.shutdown().await.unwrap();
            };
            let get_up = async {
                let mut got = Vec::new();
                their_read.read_to_end(&mut got).await.unwrap();
                got
            };
            let get_down = async {
                let (mut got, mut buffer) = (Vec::new(), vec![0; step]);
                loop {
                    let n = our_read.read(&mut buffer).await.unwrap();
                    if n == 0 {
                        return got;
                    }
                    got.extend_from_slice(&buffer[..n]);
                }
            };
            let ((), (), went_up, came_down) = tokio::join!(up, down, get_up, get_down);
            assert!(went_up == sent, "{version:?}, {step}: up");
            assert!(came_down == sent, "{version:?}, {step}: down");
        }
    }
}

/// Our server, and a client whose records come byte by byte, several in a piece, and begun in the middle of another.
#[tokio::test]
async fn records_may_be_split_anywhere() {
    for version in VERSIONS {
        for step in [1, 5, 1000, 20_000] {
            let (client, server) = configs(version);
            let (near, far) = sockets().await;
            let sent = pattern(50_000);
            let theirs = sent.clone();
            let far = far.into_std().unwrap();
            far.set_nonblocking(false).unwrap();
            let peer = tokio::task::spawn_blocking(move || {
                let mut far = far;
                let mut tls = ClientConnection::new(client, name()).unwrap();
                let mut written = 0;
                while tls.is_handshaking() || tls.wants_write() || written < theirs.len() {
                    if !tls.is_handshaking() && written < theirs.len() {
                        written += tls.writer().write(&theirs[written..]).unwrap();
                    }
                    let mut records = Vec::new();
                    while tls.wants_write() {
                        tls.write_tls(&mut records).unwrap();
                    }
                    records
                        .chunks(step)
                        .for_each(|piece| far.write_all(piece).unwrap());
                    if tls.is_handshaking() {
                        tls.read_tls(&mut far).unwrap();
                        tls.process_new_packets().unwrap();
                    }
                }
                // Read until it closes, for a reset would take what is under way with it.
                let mut rest = [0; 4096];
                while far.read(&mut rest).unwrap() > 0 {}
            });
            let mut ours = TlsStream::accept(server, near.into()).await.unwrap();
            let mut got = vec![0; sent.len()];
            ours.read_exact(&mut got).await.unwrap();
            assert!(got == sent, "{version:?}, {step}");
            drop(ours);
            peer.await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_told_apart_from_one_with_it() {
    for version in VERSIONS {
        let (mut ours, theirs) = pair(version).await;
        let (tcp, _) = theirs.into_inner();
        drop(tcp);
        let error = ours.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);

        let (mut ours, mut theirs) = pair(version).await;
        theirs.write_all(b"last").await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut got = Vec::new();
        ours.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"last");
        assert_eq!(ours.read(&mut [0]).await.unwrap(), 0);
        // The other direction is still open.
        ours.write_all(b"and you").await.unwrap();
        ours.shutdown().await.unwrap();
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"and you");
        assert!(ours.write_all(b"late").await.is_err());
    }
}

#[tokio::test]
async fn keys_may_be_renewed_by_the_peer() {
    let (mut ours, mut theirs) = pair(&TLS13).await;
    for _ in 0..3 {
        theirs.get_mut().1.refresh_traffic_keys().unwrap();
        theirs.write_all(b"ping").await.unwrap();
        theirs.flush().await.unwrap();
        let mut got = [0; 4];
        ours.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"ping");
        ours.write_all(b"pong").await.unwrap();
        ours.flush().await.unwrap();
        theirs.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"pong");
    }
}

#[tokio::test]
async fn a_record_that_was_tampered_with_ends_the_connection_and_the_peer_hears_why() {
    for version in VERSIONS {
        let (mut ours, mut theirs) = pair(version).await;
        theirs.write_all(b"good").await.unwrap();
        theirs.flush().await.unwrap();
        ours.read_exact(&mut [0; 4]).await.unwrap();
        let forged = [&[0x17, 3, 3, 0, 32][..], &[7; 32]].concat();
        theirs.get_mut().0.write_all(&forged).await.unwrap();
        let error = ours.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(ours.read_u8().await.is_err());
        assert!(ours.write_all(b"more").await.is_err());
        let _ = ours.shutdown().await;
        let told = theirs.read_u8().await.unwrap_err().to_string();
        assert!(told.contains("BadRecordMac"), "{told}");
    }
}

#[tokio::test]
async fn what_is_no_tls_is_refused() {
    let (client, server) = configs(&TLS13);
    for said in [&b"* OK ready\r\n"[..], b"220 mail ESMTP\r\n", &[0; 64]] {
        let (near, mut far) = sockets().await;
        far.write_all(said).await.unwrap();
        let error = TlsStream::connect(Arc::clone(&client), name(), near.into())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let (near, mut far) = sockets().await;
        far.write_all(said).await.unwrap();
        let error = TlsStream::accept(Arc::clone(&server), near.into())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
    let (near, far) = sockets().await;
    drop(far);
    let error = TlsStream::connect(client, name(), near.into())
        .await
        .unwrap_err();
    assert!(
        [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe
        ]
        .contains(&error.kind()),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_owed_one_write_and_no_more() {
    let (mut ours, mut theirs) = pair(&TLS13).await;
    let block = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while let Some(written) = ours.write(&block).now_or_never() {
        let n = written.unwrap();
        assert!(n <= WRITE_MAX);
        sent += n;
        assert!(sent < 256 << 20, "no back-pressure");
    }
    assert!(!ours.outgoing.is_empty());
    assert!(ours.outgoing.len() <= WRITE_MAX + 8 * RECORD_OVERHEAD);
    let mut got = 0;
    let mut buffer = vec![0; 1 << 16];
    while got < sent {
        got += tokio::select! {
            n = theirs.read(&mut buffer) => n.unwrap(),
            flushed = ours.flush(), if !ours.outgoing.is_empty() => {
                flushed.unwrap();
                0
            }
        };
    }
}

#[tokio::test]
async fn slices_share_a_record_and_an_idle_connection_holds_no_buffer() {
    let (mut ours, mut theirs) = pair(&TLS13).await;
    let slices: Vec<_> = [&b"a "[..], b"", b"1 ", b"OK\r\n"]
        .into_iter()
        .map(IoSlice::new)
        .collect();
    assert_eq!(ours.write_vectored(&slices).await.unwrap(), 8);
    ours.flush().await.unwrap();
    let mut buffer = [0; 100];
    assert_eq!(theirs.read(&mut buffer).await.unwrap(), 8);
    assert_eq!(&buffer[..8], b"a 1 OK\r\n");
    theirs.write_all(&pattern(100_000)).await.unwrap();
    theirs.flush().await.unwrap();
    let mut got = vec![0; 100_000];
    ours.read_exact(&mut got).await.unwrap();
    assert_eq!(
        (
            ours.incoming.capacity(),
            ours.plain.capacity(),
            ours.outgoing.capacity()
        ),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn silence_is_told_by_the_system() {
    let (ours, mut theirs) = pair(&TLS13).await;
    let mut ours = Stream::Tls(Box::new(ours));
    // Its tickets come behind the handshake; with what is said then, they have been read.
    theirs.write_all(b"x").await.unwrap();
    theirs.flush().await.unwrap();
    assert_eq!(ours.read_u8().await.unwrap(), b'x');
    assert!(ours.is_silent());
    // A read that goes no further leaves the rest behind, on our side of the socket.
    theirs.write_all(b"yz").await.unwrap();
    theirs.flush().await.unwrap();
    assert_eq!(ours.read_u8().await.unwrap(), b'y');
    assert!(!ours.is_silent());
    assert_eq!(ours.read_u8().await.unwrap(), b'z');
    assert!(ours.is_silent());
    drop(theirs);
    // Once the end is there it is seen, though nothing was read.
    ours.socket().unwrap().readable().await.unwrap();
    assert!(!ours.is_silent());
    assert!(!Stream::Away.is_silent());
}
