//! Whole conversations with the server over a stream in memory.

use std::sync::Arc;

use crate::bridge::mailbox::{Envelope, INBOX, Mailbox};
use crate::bridge::memory::MemoryMailbox;
use crate::bridge::testing::converse;
use crate::protocol::Protocol;

async fn with_messages(texts: &[&'static str]) -> Arc<MemoryMailbox> {
    let mailbox = Arc::new(MemoryMailbox::new());
    for text in texts {
        let envelope = Envelope {
            from: String::new(),
            to: vec!["b@y".into()],
        };
        mailbox.submit(envelope, (*text).into()).await.unwrap();
    }
    mailbox
}

async fn logged_in(mailbox: &Arc<MemoryMailbox>, commands: &str) -> String {
    let input = format!("USER anna\r\nPASS secret\r\n{commands}");
    let heard = converse(Protocol::Pop3, mailbox, input).await;
    let (_, behind) = heard.split_once("+OK Logged in\r\n").unwrap();
    behind.to_owned()
}

#[tokio::test]
async fn logins_by_password_and_by_plain() {
    let mailbox = with_messages(&[]).await;
    for login in [
        "user anna\r\npass secret\r\n",
        "AUTH PLAIN AGFubmEAc2VjcmV0\r\n",
        "AUTH PLAIN\r\nAGFubmEAc2VjcmV0\r\n",
        "PASS secret\r\nUSER anna\r\nPASS wrong\r\nUSER anna\r\nPASS secret\r\n",
    ] {
        let heard = converse(Protocol::Pop3, &mailbox, login).await;
        assert!(heard.contains("+OK Logged in"), "{login}: {heard}");
    }
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let input = "USER anna\r\nPASS wrong\r\nUSER down\r\nPASS x\r\nAUTH PLAIN\r\n*\r\nSTAT\r\nAUTH NTLM\r\nQUIT\r\n";
    let heard = converse(Protocol::Pop3, &with_messages(&[]).await, input).await;
    for line in [
        "-ERR [AUTH] ",
        "-ERR [SYS/TEMP] ",
        "-ERR the exchange was cancelled",
        "-ERR Log in first",
        "-ERR Only PLAIN",
    ] {
        assert!(heard.contains(line), "{line}: {heard}");
    }
}

/// Programs forget a saved password when they see that code.
#[tokio::test]
async fn only_a_wrong_local_password_is_called_one() {
    let input = "USER old\r\nPASS x\r\nUSER off\r\nPASS x\r\nQUIT\r\n";
    let heard = converse(Protocol::Pop3, &with_messages(&[]).await, input).await;
    assert_eq!(heard.matches("-ERR [SYS/PERM] ").count(), 2, "{heard}");
    assert!(!heard.contains("[AUTH]"), "{heard}");
}

#[tokio::test]
async fn a_message_comes_with_its_dots_doubled_and_ends_in_one() {
    let mailbox = with_messages(&["A: b\r\n\r\n.x\r\n.\r\ny", "bare\n.\nlines\n"]).await;
    let heard = logged_in(&mailbox, "RETR 1\r\nTOP 1 1\r\nRETR 2\r\nTOP 1 0\r\n").await;
    assert_eq!(
        heard,
        "+OK 16 octets\r\nA: b\r\n\r\n..x\r\n..\r\ny\r\n.\r\n\
         +OK 16 octets\r\nA: b\r\n\r\n..x\r\n.\r\n\
         +OK 13 octets\r\nbare\r\n..\r\nlines\r\n.\r\n\
         +OK 16 octets\r\nA: b\r\n\r\n.\r\n"
    );
}

#[tokio::test]
async fn listings_leave_out_what_is_marked() {
    let mailbox = with_messages(&["one", "three", "five5"]).await;
    let heard = logged_in(
        &mailbox,
        "DELE 2\r\nSTAT\r\nLIST\r\nUIDL 3\r\nRETR 2\r\nDELE 2\r\nRSET\r\nSTAT\r\nLIST 9\r\nLIST x\r\nTOP 1\r\n",
    )
    .await;
    assert_eq!(
        heard,
        "+OK Will go at QUIT\r\n+OK 2 8\r\n+OK 2 messages\r\n1 3\r\n3 5\r\n.\r\n+OK 3 1.3\r\n\
         -ERR No such message\r\n-ERR No such message\r\n+OK Nothing goes\r\n+OK 3 13\r\n-ERR No such message\r\n\
         -ERR A number is expected here\r\n-ERR No such command, or not with these arguments\r\n"
    );
}

#[tokio::test]
async fn messages_go_at_quit_and_at_no_other_end() {
    let mailbox = with_messages(&["one", "two"]).await;
    logged_in(&mailbox, "DELE 1\r\n").await;
    assert_eq!(mailbox.view(INBOX).await.unwrap().messages.len(), 2);
    logged_in(&mailbox, "DELE 1\r\nQUIT\r\n").await;
    assert_eq!(mailbox.view(INBOX).await.unwrap().messages.len(), 1);
    assert!(logged_in(&mailbox, "RETR 1\r\n").await.contains("two"));
}

#[tokio::test]
async fn guessing_ends_the_connection() {
    let input = "USER anna\r\nPASS x\r\n".repeat(50);
    let heard = converse(Protocol::Pop3, &with_messages(&[]).await, input).await;
    assert!(heard.ends_with("-ERR Too many errors\r\n"), "{heard}");
    assert!(heard.matches("-ERR [AUTH]").count() < 10);
}
