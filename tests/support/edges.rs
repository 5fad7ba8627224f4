//! Edges of a session that no transcript can show: what is TLS and what is not, and whose time it is.

use std::net::Ipv4Addr;
use std::path::Path;

use mailsluice::protocol::Protocol;
use tokio::time::{advance, timeout};

use super::clock::with_a_still_clock;
use super::peer::{PATIENCE, Peer};
use super::stage::{BEFORE_LOGIN, House, Stage};
use super::transcript::Transcript;

/// B.8 no. 15: a clean close, and no word of the protocol.
#[tokio::test]
async fn plain_text_on_a_tls_port_is_closed() {
    let house = House::build().await;
    for protocol in Protocol::ALL {
        let stage = stage(&house, protocol, "@ tls active\n").await;
        let mut client = stage.client().await;
        client.send(b"a LOGIN anna wonderland\r\n").await;
        assert!(client.read_to_end().await, "{protocol}");
        let alert = client.got.first().is_none_or(|first| *first == TLS_ALERT);
        assert!(alert, "{protocol}: {}", client.got.escape_ascii());
    }
}

/// C.2 (nginx CVE-2026-1642): what an upstream says before its TLS is never taken for its greeting.
#[tokio::test]
async fn plain_text_of_an_implicit_tls_upstream_is_no_greeting() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap, "").await;
    let mut client = stage.client().await;
    client.send(b"a LOGIN anna wonderland\r\n").await;
    let (tcp, _) = stage.upstream.accept().await.expect("a connection");
    let mut upstream = Peer::new(tcp).expect("a connection");
    upstream
        .send(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] up\r\nm1 OK in\r\n")
        .await;
    assert!(upstream.read_to_end().await);
    let said = upstream.got.escape_ascii().to_string();
    assert!(upstream.got.starts_with(&[TLS_HANDSHAKE]), "{said}");
    assert!(!said.contains("m1 "), "{said}");
    client.finish().await;
    assert!(client.read_to_end().await);
    let told = client.got.escape_ascii().to_string();
    assert!(told.contains("a NO [UNAVAILABLE] "), "{told}");
}

/// B.6: off the loopback a password is taken only under TLS, where that is on offer.
#[tokio::test]
async fn off_the_loopback_a_login_waits_for_starttls() {
    let house = House::build().await;
    let parsed = Transcript::parse(Path::new("edges"), Protocol::Imap, "@ tls offered\n").ok();
    let transcript = parsed.expect("settings");
    let stage = house.stage_on(Ipv4Addr::UNSPECIFIED, &transcript).await;
    let mut stage = stage.expect("a stage");
    stage.address.set_ip(Ipv4Addr::LOCALHOST.into());
    let mut client = stage.client().await;
    client.send(b"a LOGIN anna wonderland\r\n").await;
    until(&mut client, "a NO [PRIVACYREQUIRED] ").await;
    client.send(b"b STARTTLS\r\n").await;
    until(&mut client, "b OK ").await;
    client.connect_tls(&stage.trust).await.expect("TLS");
    client.send(b"c LOGIN anna wonderland\r\n").await;
    let upstream = timeout(PATIENCE, stage.upstream.accept()).await;
    assert!(upstream.expect("a login upstream").is_ok());
}

/// Reads until the client was told a line that starts with `start`.
async fn until(client: &mut Peer, start: &str) {
    loop {
        let told = client.got.escape_ascii().to_string();
        let lines = client.got.split(|b| *b == b'\n');
        if client.got.ends_with(b"\n")
            && lines.clone().any(|line| line.starts_with(start.as_bytes()))
        {
            return;
        }
        let before = client.got.len();
        client.read_until(before + 1).await;
        assert!(client.got.len() > before, "no {start:?} in {told}");
    }
}

/// B.2: an upstream that does not say what it can do is asked once; the next login says its credential at once.
#[tokio::test]
async fn what_an_upstream_can_do_is_asked_once() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap, "").await;
    for asks in [true, false] {
        let mut client = stage.client().await;
        client.send(b"a LOGIN anna wonderland\r\n").await;
        let mut upstream = stage.upstream().await;
        upstream.send(b"* OK up\r\n").await;
        if asks {
            until(&mut upstream, "m1 CAPABILITY").await;
            upstream
                .send(b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\nm1 OK\r\n")
                .await;
        }
        let tag = if asks { "m2" } else { "m1" };
        until(&mut upstream, &format!("{tag} AUTHENTICATE PLAIN ")).await;
        upstream.send(format!("{tag} OK in\r\n").as_bytes()).await;
        until(&mut client, "a OK ").await;
    }
}

/// B.7, and slowloris in C.2: the time before login is one sum, and a command now and then does not prolong it.
#[test]
fn commands_do_not_prolong_the_time_before_login() {
    for (protocol, command) in [
        (Protocol::Imap, "a NOOP\r\n"),
        (Protocol::Pop3, "CAPA\r\n"),
        (Protocol::Smtp, "NOOP\r\n"),
    ] {
        let ended = with_a_still_clock(async |house| {
            let stage = stage(house, protocol, "").await;
            let mut client = stage.client().await;
            client.read_until(1).await;
            let name = client.name();
            for _ in 0..3 {
                let before = client.got.len();
                advance(BEFORE_LOGIN / 3 - GRAIN).await;
                client.send(command.as_bytes()).await;
                client.read_until(before + 1).await;
                assert!(!client.ended, "{protocol}: too early");
            }
            advance(4 * GRAIN).await;
            assert!(client.read_to_end().await, "{protocol}");
            stage.ends.of(&name).await.cause
        });
        assert_eq!(ended.as_deref(), Some("no login in time"), "{protocol}");
    }
}

async fn stage(house: &House, protocol: Protocol, settings: &str) -> Stage {
    let parsed = Transcript::parse(Path::new("edges"), protocol, settings).ok();
    let transcript = parsed.expect("settings");
    house.stage(&transcript).await.expect("a stage")
}

/// RFC 8446 section 5.1.
const TLS_ALERT: u8 = 21;
const TLS_HANDSHAKE: u8 = 22;

/// A timer is not precise to the instant.
const GRAIN: std::time::Duration = std::time::Duration::from_secs(1);
