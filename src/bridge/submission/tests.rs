//! Whole conversations with the server over a stream in memory.

use std::sync::Arc;

use crate::bridge::mailbox::{INBOX, Mailbox};
use crate::bridge::memory::MemoryMailbox;
use crate::bridge::testing::converse;
use crate::protocol::Protocol;

const LOGIN: &str = "EHLO me\r\nAUTH PLAIN AGFubmEAc2VjcmV0\r\n";

async fn say(mailbox: &Arc<MemoryMailbox>, input: &str) -> String {
    converse(Protocol::Smtp, mailbox, input).await
}

async fn received(mailbox: &MemoryMailbox) -> Vec<String> {
    let mut messages = Vec::new();
    for message in mailbox.view(INBOX).await.unwrap().messages.iter() {
        let raw = mailbox.read(INBOX, message.uid, 0..u64::MAX).await.unwrap();
        messages.push(String::from_utf8_lossy(&raw).into_owned());
    }
    messages
}

#[tokio::test]
async fn logins_in_every_form() {
    let mailbox = Arc::new(MemoryMailbox::new());
    for login in [
        "AUTH PLAIN AGFubmEAc2VjcmV0",
        "auth plain  AGFubmEAc2VjcmV0",
        "AUTH PLAIN\r\nAGFubmEAc2VjcmV0",
        "AUTH LOGIN\r\nYW5uYQ==\r\nc2VjcmV0",
        "AUTH LOGIN YW5uYQ==\r\nc2VjcmV0",
    ] {
        let heard = say(&mailbox, &format!("HELO x\r\n{login}\r\n")).await;
        assert!(heard.contains("\r\n235 "), "{login}: {heard}");
    }
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let mailbox = Arc::new(MemoryMailbox::new());
    let heard = say(
        &mailbox,
        "MAIL FROM:<a@x>\r\nAUTH NTLM\r\nAUTH LOGIN\r\n*\r\nAUTH PLAIN AGFubmEAd3Jvbmc=\r\n\
         AUTH PLAIN AGRvd24AeA==\r\nDATA\r\nXYZZY\r\nEHLO\r\n",
    )
    .await;
    let codes: Vec<&str> = heard.lines().map(|line| &line[..3]).collect();
    assert_eq!(
        codes,
        [
            "220", "530", "504", "334", "501", "535", "454", "503", "502", "501"
        ]
    );
}

/// Programs forget a saved password when they see that code.
#[tokio::test]
async fn only_a_wrong_local_password_is_called_one() {
    let mailbox = Arc::new(MemoryMailbox::new());
    let heard = say(
        &mailbox,
        "EHLO me\r\nAUTH PLAIN AG9sZAB4\r\nAUTH PLAIN AG9mZgB4\r\n",
    )
    .await;
    assert!(heard.contains("\r\n534 5.7.9 "), "{heard}");
    assert!(heard.contains("\r\n525 5.7.13 "), "{heard}");
}

#[tokio::test]
async fn a_pipelined_transaction_arrives_without_its_stuffing() {
    let mailbox = Arc::new(MemoryMailbox::new());
    let heard = say(
        &mailbox,
        &format!(
            "{LOGIN}MAIL FROM:<a@x.org> BODY=8BITMIME\r\nRCPT TO:<b@y.org>\r\nRCPT TO:<bad>\r\nDATA\r\n\
             Subject: x\r\n\r\n..dot\r\nGr\u{fc}\u{df}e\r\n.\r\nNOOP\r\nQUIT\r\n"
        ),
    )
    .await;
    let (_, behind) = heard.split_once("235 ").unwrap();
    let codes: Vec<&str> = behind.lines().skip(1).map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "553", "354", "250", "250", "221"]);
    assert_eq!(
        received(&mailbox).await,
        ["Subject: x\r\n\r\n.dot\r\nGr\u{fc}\u{df}e\r\n"]
    );
}

#[tokio::test]
async fn a_second_message_cannot_be_smuggled_in() {
    let mailbox = Arc::new(MemoryMailbox::new());
    let smuggled = "MAIL FROM:<evil@x.org>\r\nRCPT TO:<b@y.org>\r\nDATA\r\nevil\r\n";
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n"] {
        say(
            &mailbox,
            &format!("{LOGIN}MAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\nDATA\r\ngood{end}{smuggled}.\r\n"),
        )
        .await;
    }
    let messages = received(&mailbox).await;
    assert_eq!(messages.len(), 6);
    assert!(
        messages
            .iter()
            .all(|m| m.starts_with("good") && m.contains("evil@x.org"))
    );
}

#[tokio::test]
async fn a_message_cut_off_is_not_taken() {
    let mailbox = Arc::new(MemoryMailbox::new());
    say(
        &mailbox,
        &format!("{LOGIN}MAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\nDATA\r\nhalf\r\n"),
    )
    .await;
    assert!(received(&mailbox).await.is_empty());
}

#[tokio::test]
async fn bdat_closes_and_sizes_are_checked_early() {
    let mailbox = Arc::new(MemoryMailbox::new());
    let heard = say(
        &mailbox,
        &format!("{LOGIN}MAIL FROM:<a@x.org> SIZE=99999999999\r\nMAIL FROM:<>\r\nRSET\r\nRCPT TO:<b@y>\r\nBDAT 5\r\nQUIT\r\n"),
    )
    .await;
    let (_, behind) = heard.split_once("235 ").unwrap();
    let codes: Vec<&str> = behind.lines().skip(1).map(|line| &line[..3]).collect();
    assert_eq!(codes, ["552", "250", "250", "503", "502"]);
}

#[tokio::test]
async fn guessing_ends_the_connection() {
    let mailbox = Arc::new(MemoryMailbox::new());
    let heard = say(&mailbox, &"AUTH PLAIN AGFubmEAd3Jvbmc=\r\n".repeat(50)).await;
    assert_eq!(heard.matches("\r\n535 ").count(), 5);
    assert!(heard.ends_with("421 4.7.0 Too many errors\r\n"), "{heard}");
}
