//! Two clients, one after the other, on one upstream session: what the second one gets, and when it gets another.

use std::net::Ipv4Addr;
use std::path::Path;

use mailsluice::protocol::Protocol;
use tokio::net::TcpStream;
use tokio::time::advance;

use super::clock::with_a_still_clock;
use super::peer::Peer;
use super::stage::{House, Stage, WAITS};
use super::transcript::Transcript;

/// The list a client is told, and the upstream's.
const LIST: &str = "[CAPABILITY IMAP4rev1 UNSELECT IDLE]";

#[tokio::test]
async fn the_next_login_takes_over_the_session_and_sees_nothing_of_the_last() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap).await;
    let mut upstream = first_client(&stage).await;
    upstream.send(b"* 5 EXISTS\r\nm0 OK unselected\r\n").await;
    let mut second = stage.client().await;
    hear(&mut second, "ready\r\n").await;
    say(&mut second, "x LOGIN anna wonderland\r\n").await;
    hear(&mut second, &format!("x OK {LIST} Logged in\r\n")).await;
    say(&mut second, "y NOOP\r\n").await;
    hear(&mut upstream, "y NOOP\r\n").await;
    upstream.send(b"y OK done\r\n").await;
    hear(&mut second, "y OK done\r\n").await;
    let told = text(&second);
    assert!(!told.contains("EXISTS") && !told.contains("m0"), "{told}");
    assert!(nobody_else(&stage).await);
}

#[tokio::test]
async fn smtp_clients_send_one_after_the_other_on_one_session() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Smtp).await;
    let mut upstream = None;
    for number in 0..3 {
        let mut client = stage.client().await;
        say(&mut client, "EHLO old\r\n").await;
        hear(&mut client, "250 AUTH PLAIN LOGIN\r\n").await;
        say(&mut client, "AUTH PLAIN AGFubmEAd29uZGVybGFuZA==\r\n").await;
        let upstream = match &mut upstream {
            Some(upstream) => upstream,
            none => none.insert(smtp_login(&stage).await),
        };
        hear(&mut client, "235 2.7.0 Authentication succeeded\r\n").await;
        for (command, answer) in [
            (format!("MAIL FROM:<{number}@example.org>\r\n"), "250 a\r\n"),
            ("RCPT TO:<b@example.org>\r\n".to_owned(), "250 b\r\n"),
            ("DATA\r\n".to_owned(), "354 c\r\n"),
            ("Subject: x\r\n\r\n.\r\n".to_owned(), "250 d\r\n"),
        ] {
            say(&mut client, &command).await;
            hear(upstream, &command).await;
            upstream.send(answer.as_bytes()).await;
            hear(&mut client, answer).await;
        }
        say(&mut client, "EHLO again\r\n").await;
        hear(&mut client, "250 8BITMIME\r\n").await;
        leave(&stage, &mut client, "QUIT\r\n").await;
        hear(upstream, "RSET\r\n").await;
        upstream.send(b"250 2.0.0 Ok\r\n").await;
    }
    assert!(nobody_else(&stage).await);
}

#[tokio::test]
async fn a_wrong_local_password_is_wrong_while_a_session_waits() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap).await;
    let mut upstream = first_client(&stage).await;
    upstream.send(b"m0 OK unselected\r\n").await;
    let mut guessing = stage.client().await;
    say(&mut guessing, "x LOGIN anna wonderlanD\r\n").await;
    hear(&mut guessing, "x NO [AUTHENTICATIONFAILED]").await;
    say(&mut guessing, "y LOGIN bob wonderland\r\n").await;
    hear(&mut guessing, "y NO [AUTHENTICATIONFAILED]").await;
    say(&mut guessing, "z LOGIN anna wonderland\r\n").await;
    hear(&mut guessing, &format!("z OK {LIST}")).await;
    assert!(nobody_else(&stage).await);
}

#[tokio::test]
async fn a_session_that_says_something_while_it_waits_is_given_to_nobody() {
    let house = House::build().await;
    for said in ["* 1 EXISTS\r\n", "* BYE too long\r\n", "*"] {
        let stage = stage(&house, Protocol::Imap).await;
        let mut upstream = first_client(&stage).await;
        upstream.send(b"m0 OK unselected\r\n").await;
        upstream.send(said.as_bytes()).await;
        hear(&mut upstream, "m0 LOGOUT\r\n").await;
        let told = cold_login(&stage).await;
        assert!(!told.contains("EXISTS") && !told.contains("BYE"), "{told}");
    }
}

#[tokio::test]
async fn a_session_that_is_closed_while_it_waits_is_given_to_nobody() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap).await;
    let mut upstream = first_client(&stage).await;
    upstream.send(b"m0 OK unselected\r\n").await;
    upstream.finish().await;
    assert!(upstream.read_to_end().await);
    cold_login(&stage).await;
}

#[tokio::test]
async fn a_session_that_cannot_be_put_right_is_given_to_nobody() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap).await;
    let mut upstream = first_client(&stage).await;
    // Whoever asks while the reset is under way gets a session of its own.
    let mut second = stage.client().await;
    say(&mut second, "x LOGIN anna wonderland\r\n").await;
    upstream.send(b"m0 NO no\r\n").await;
    hear(&mut upstream, "m0 LOGOUT\r\n").await;
    let _second_upstream = imap_login(&stage).await;
    hear(&mut second, &format!("x OK {LIST}")).await;
}

#[tokio::test]
async fn nobody_waits_on_after_a_reload() {
    let house = House::build().await;
    let mut stage = stage(&house, Protocol::Imap).await;
    let mut upstream = first_client(&stage).await;
    upstream.send(b"m0 OK unselected\r\n").await;
    let service = stage.service.as_mut().expect("it runs");
    let config = service.overview().config();
    service.reload(config).expect("the same again");
    // It was told to take any free port, and so it did again.
    let addresses = service.overview().addresses();
    stage.address = addresses.first().expect("a listener").1;
    hear(&mut upstream, "m0 LOGOUT\r\n").await;
    cold_login(&stage).await;
}

#[tokio::test]
async fn another_password_upstream_is_another_session() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap).await;
    let mut upstream = first_client(&stage).await;
    upstream.send(b"m0 OK unselected\r\n").await;
    house.change_app_password("app-secret-2");
    let mut second = stage.client().await;
    say(&mut second, "x LOGIN anna wonderland\r\n").await;
    let other = imap_login(&stage).await;
    let said = text(&other);
    // base64 of NUL anna@example.org NUL app-secret-2
    let plain = "AGFubmFAZXhhbXBsZS5vcmcAYXBwLXNlY3JldC0y";
    assert!(said.contains(plain), "{said}");
    hear(&mut upstream, "m0 LOGOUT\r\n").await;
    hear(&mut second, &format!("x OK {LIST}")).await;
}

#[test]
fn a_session_that_nobody_wants_in_time_is_told_goodbye() {
    let told = with_a_still_clock(async |house| {
        let stage = stage(house, Protocol::Imap).await;
        let mut upstream = first_client(&stage).await;
        upstream.send(b"m0 OK unselected\r\n").await;
        // The reset is over when a login has been served by the session, and the next client has left it again.
        let mut second = stage.client().await;
        say(&mut second, "x LOGIN anna wonderland\r\n").await;
        hear(&mut second, &format!("x OK {LIST}")).await;
        leave(&stage, &mut second, "y LOGOUT\r\n").await;
        hear(&mut upstream, "m0 NOOP\r\n").await;
        upstream.send(b"m0 OK still here\r\n").await;
        let early = text(&upstream).contains("m0 LOGOUT");
        while !text(&upstream).contains("m0 LOGOUT") {
            advance(WAITS / 4).await;
            upstream.read_what_is_there();
        }
        early
    });
    assert_eq!(told, Some(false));
}

/// A client that selects a mailbox and logs out, and the upstream, which has been asked to put it right.
async fn first_client(stage: &Stage) -> Peer {
    let mut client = stage.client().await;
    say(&mut client, "a LOGIN anna wonderland\r\n").await;
    let mut upstream = imap_login(stage).await;
    hear(&mut client, &format!("a OK {LIST} Logged in\r\n")).await;
    say(&mut client, "b SELECT INBOX\r\n").await;
    hear(&mut upstream, "b SELECT INBOX\r\n").await;
    upstream
        .send(b"* 4 EXISTS\r\nb OK [READ-WRITE] done\r\n")
        .await;
    hear(&mut client, "b OK [READ-WRITE] done\r\n").await;
    leave(stage, &mut client, "c LOGOUT\r\n").await;
    let told = text(&client);
    assert!(
        told.ends_with("* BYE Logging out\r\nc OK LOGOUT completed\r\n"),
        "{told}"
    );
    hear(&mut upstream, "m0 UNSELECT\r\n").await;
    upstream
}

/// Says `goodbye` and waits until the session has ended, here and in the log.
async fn leave(stage: &Stage, client: &mut Peer, goodbye: &str) {
    say(client, goodbye).await;
    let name = client.name();
    assert!(client.read_to_end().await, "{}", text(client));
    assert_eq!(stage.ends.of(&name).await.cause, "logged out");
}

/// A login that the upstream is asked about; what the client was told.
async fn cold_login(stage: &Stage) -> String {
    let mut client = stage.client().await;
    say(&mut client, "x LOGIN anna wonderland\r\n").await;
    let _upstream = imap_login(stage).await;
    hear(&mut client, &format!("x OK {LIST} Logged in\r\n")).await;
    text(&client)
}

/// The upstream's side of a login.
async fn imap_login(stage: &Stage) -> Peer {
    let mut upstream = stage.upstream().await;
    upstream
        .send(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] up\r\n")
        .await;
    hear(&mut upstream, "m1 AUTHENTICATE PLAIN ").await;
    hear(&mut upstream, "\r\n").await;
    upstream
        .send(format!("m1 OK {LIST} in\r\n").as_bytes())
        .await;
    upstream
}

async fn smtp_login(stage: &Stage) -> Peer {
    let mut upstream = stage.upstream().await;
    upstream.send(b"220 mx ESMTP\r\n").await;
    hear(&mut upstream, "EHLO sluice.test\r\n").await;
    upstream
        .send(b"250-mx\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n")
        .await;
    hear(&mut upstream, "AUTH PLAIN ").await;
    hear(&mut upstream, "\r\n").await;
    upstream.send(b"235 in\r\n").await;
    upstream
}

/// Whether no other connection has come to the upstream: one that is on its way would be before ours.
async fn nobody_else(stage: &Stage) -> bool {
    let address = stage.upstream.local_addr().expect("it listens");
    let ours = TcpStream::connect(address).await.expect("it listens");
    let (_, from) = stage.upstream.accept().await.expect("a connection");
    ours.local_addr().is_ok_and(|ours| ours == from)
}

async fn say(peer: &mut Peer, text: &str) {
    peer.send(text.as_bytes()).await;
}

/// Reads until `peer` was told a text that ends in `ending`, or holds it where it is no whole line.
async fn hear(peer: &mut Peer, ending: &str) {
    loop {
        let told = text(peer);
        let heard = if ending.ends_with('\n') {
            told.ends_with(ending)
        } else {
            told.contains(ending)
        };
        if heard {
            return;
        }
        let before = peer.got.len();
        peer.read_until(before + 1).await;
        assert!(peer.got.len() > before, "no {ending:?} in {told:?}");
    }
}

fn text(peer: &Peer) -> String {
    String::from_utf8_lossy(&peer.got).into_owned()
}

async fn stage(house: &House, protocol: Protocol) -> Stage {
    let parsed = Transcript::parse(Path::new("warm"), protocol, "@ keep\n").ok();
    let transcript = parsed.expect("settings");
    let stage = house.stage_on(Ipv4Addr::LOCALHOST, &transcript).await;
    stage.expect("a stage")
}
