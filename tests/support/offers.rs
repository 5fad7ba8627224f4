//! What the real service shows before a login and after it: what upstreams are known to name, who can answer a challenge,
//! and whose profile holds.

use mailsluice::auth::Making;
use mailsluice::profile::builtin;
use mailsluice::protocol::Protocol;
use std::path::Path;
use std::sync::Arc;

use super::peer::Peer;
use super::stage::{House, Stage};
use super::transcript::Transcript;

/// Python's imaplib asks before the login and never again.
#[tokio::test]
async fn what_the_upstream_named_is_promised_to_the_next_client_and_never_more() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap).await;
    let bare = "IMAP4rev1 SASL-IR LITERAL- ID AUTH=LOGIN";
    assert_eq!(greeting(&stage).await, bare);
    log_in(
        &stage,
        "wonderland",
        "IMAP4rev1 IDLE UIDPLUS COMPRESS=DEFLATE UNSELECT",
    )
    .await;
    let more = "IMAP4rev1 SASL-IR LITERAL- ID IDLE UIDPLUS UNSELECT AUTH=LOGIN";
    assert_eq!(greeting(&stage).await, more);
    // Another login there is told less: only what both were told is promised from now on.
    log_in(&stage, "wonderland", "IMAP4rev1 MOVE UIDPLUS").await;
    let less = "IMAP4rev1 SASL-IR LITERAL- ID UIDPLUS AUTH=LOGIN";
    assert_eq!(greeting(&stage).await, less);
}

#[tokio::test]
async fn challenges_are_offered_as_long_as_everybody_can_answer_them() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap).await;
    let plain = "IMAP4rev1 SASL-IR LITERAL- ID AUTH=LOGIN";
    assert_eq!(greeting(&stage).await, plain);
    let recoverable = |name: &str| Making {
        recoverable: true,
        ..Making::from(name)
    };
    // A mailbox that is not served here is nobody's business.
    house
        .add("eve@example.org", recoverable("tablet"), "wonderland")
        .await;
    assert_eq!(greeting(&stage).await, plain);
    house
        .add(
            "anna@example.org",
            recoverable("tablet"),
            "through-the-glass",
        )
        .await;
    let all = "IMAP4rev1 SASL-IR LITERAL- ID AUTH=SCRAM-SHA-256 AUTH=CRAM-MD5 AUTH=LOGIN";
    assert_eq!(greeting(&stage).await, all);
    // Both passwords can be sent as they are.
    log_in(&stage, "through-the-glass", "IMAP4rev1").await;
    log_in(&stage, "wonderland", "IMAP4rev1").await;
    house.revoke("anna@example.org", "tablet").await;
    assert_eq!(greeting(&stage).await, plain);
}

#[tokio::test]
async fn a_digest_of_the_wrong_password_is_a_wrong_password() {
    let house = House::build().await;
    let stage = stage(&house, Protocol::Imap).await;
    let tablet = Making {
        recoverable: true,
        ..Making::from("tablet")
    };
    house
        .add("anna@example.org", tablet, "through-the-glass")
        .await;
    let mut client = stage.client().await;
    client.send(b"a AUTHENTICATE CRAM-MD5\r\n").await;
    hear(&mut client, "+ ").await;
    // anna, and a digest of nothing in particular.
    client
        .send(b"YW5uYSAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMA==\r\n")
        .await;
    hear(&mut client, "a NO [AUTHENTICATIONFAILED]").await;
}

#[tokio::test]
async fn the_profile_of_the_password_comes_before_that_of_the_account_and_the_listener() {
    let house = House::build().await;
    let theirs = "IMAP4rev1 IDLE UIDPLUS NAMESPACE UIDONLY";
    let making = Making {
        profile: Some("ancient".to_owned()),
        ..Making::from("old pc")
    };
    house
        .add("anna@example.org", making, "through-the-glass")
        .await;
    let mut stage = stage(&house, Protocol::Imap).await;
    let told = log_in(&stage, "wonderland", theirs).await;
    assert!(
        told.contains("a OK [CAPABILITY IMAP4rev1 IDLE UIDPLUS NAMESPACE] "),
        "{told}"
    );
    let told = log_in(&stage, "through-the-glass", theirs).await;
    assert!(told.contains("a OK Logged in"), "{told}");
    stage.change_account(|account| account.profile = builtin("outlook-express").map(Arc::new));
    let told = log_in(&stage, "wonderland", theirs).await;
    assert!(
        told.contains("a OK [CAPABILITY IMAP4rev1 UIDPLUS NAMESPACE] "),
        "{told}"
    );
    let told = log_in(&stage, "through-the-glass", theirs).await;
    assert!(told.contains("a OK Logged in"), "{told}");
}

/// The capability list that a new client is greeted with.
async fn greeting(stage: &Stage) -> String {
    let mut client = stage.client().await;
    let told = hear(&mut client, "\r\n").await;
    let list = told
        .split_once("[CAPABILITY ")
        .and_then(|(_, rest)| rest.split_once(']'));
    list.map(|(list, _)| list.to_owned()).expect("a list")
}

/// Logs in at an upstream that names `capabilities`, and goes. What the client was told.
async fn log_in(stage: &Stage, password: &str, capabilities: &str) -> String {
    let mut client = stage.client().await;
    client
        .send(format!("a LOGIN anna {password}\r\n").as_bytes())
        .await;
    let mut upstream = stage.upstream().await;
    upstream
        .send(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] up\r\n")
        .await;
    hear(&mut upstream, "m1 AUTHENTICATE PLAIN ").await;
    upstream
        .send(format!("m1 OK [CAPABILITY {capabilities}] in\r\n").as_bytes())
        .await;
    hear(&mut client, "a OK ").await
}

/// Reads until `peer` was told `text` and a line's end behind it; everything it was told.
async fn hear(peer: &mut Peer, text: &str) -> String {
    loop {
        let told = String::from_utf8_lossy(&peer.got).into_owned();
        if told.contains(text) && told.ends_with("\r\n") {
            return told;
        }
        let before = peer.got.len();
        peer.read_until(before + 1).await;
        assert!(peer.got.len() > before, "no {text:?} in {told:?}");
    }
}

async fn stage(house: &House, protocol: Protocol) -> Stage {
    let parsed = Transcript::parse(Path::new("offers"), protocol, "").ok();
    house
        .stage(&parsed.expect("settings"))
        .await
        .expect("a stage")
}
