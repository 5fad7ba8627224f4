//! Whole conversations with the server over a stream in memory.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

use crate::bridge::mailbox::{Envelope, INBOX, Mailbox};
use crate::bridge::memory::MemoryMailbox;
use crate::bridge::testing::{Door, converse};
use crate::protocol::Protocol;

/// What is said behind the login to commands sent at once.
async fn logged_in(mailbox: &Arc<MemoryMailbox>, commands: &str) -> String {
    let input = format!("l LOGIN anna secret\r\n{commands}");
    let heard = converse(Protocol::Imap, mailbox, input).await;
    let (_, behind) = heard.split_once("Logged in\r\n").unwrap();
    behind.to_owned()
}

async fn with_messages(texts: &[&'static str]) -> Arc<MemoryMailbox> {
    let mailbox = Arc::new(MemoryMailbox::new());
    for text in texts {
        deliver(&mailbox, text).await;
    }
    mailbox
}

async fn deliver(mailbox: &MemoryMailbox, text: &'static str) {
    let envelope = Envelope {
        from: "a@x".into(),
        to: vec!["b@y".into()],
    };
    mailbox.submit(envelope, text.into()).await.unwrap();
}

#[tokio::test]
async fn login_takes_every_form_of_string() {
    let mailbox = with_messages(&[]).await;
    for login in [
        "a login anna secret\r\n",
        "a LOGIN \"anna\" \"secret\"\r\n",
        "a LOGIN {4}\r\nanna {6+}\r\nsecret\r\n",
        "a AUTHENTICATE PLAIN AGFubmEAc2VjcmV0\r\n",
        "a authenticate plain\r\nAGFubmEAc2VjcmV0\r\n",
    ] {
        let heard = converse(Protocol::Imap, &mailbox, login).await;
        assert!(
            heard.contains("a OK [CAPABILITY IMAP4rev1"),
            "{login}: {heard}"
        );
    }
}

#[tokio::test]
async fn a_wrong_password_and_trouble_upstream_are_told_apart() {
    let mailbox = with_messages(&[]).await;
    let heard = converse(
        Protocol::Imap,
        &mailbox,
        "a LOGIN anna wrong\r\nb LOGIN down x\r\nc AUTHENTICATE PLAIN\r\n*\r\nd SELECT INBOX\r\ne LOGOUT\r\n",
    )
    .await;
    for line in [
        "a NO [AUTHENTICATIONFAILED]",
        "b NO [UNAVAILABLE]",
        "c BAD the exchange was cancelled",
        "d BAD",
        "* BYE",
        "e OK",
    ] {
        assert!(heard.contains(line), "{line}: {heard}");
    }
}

#[tokio::test]
async fn guessing_ends_the_connection() {
    let heard = converse(
        Protocol::Imap,
        &with_messages(&[]).await,
        "a LOGIN anna x\r\n".repeat(9),
    )
    .await;
    assert_eq!(heard.matches("a NO").count(), 5);
    assert!(heard.ends_with("* BYE Too many errors\r\n"));
}

#[tokio::test]
async fn an_oversized_literal_is_refused_before_it_is_sent() {
    let mailbox = with_messages(&[]).await;
    let heard = logged_in(
        &mailbox,
        "a APPEND INBOX {4294967297}\r\nb NOOP\r\nc SELECT {99999}\r\nd APPEND INBOX {4294967297+}\r\ne NOOP\r\n",
    )
    .await;
    assert!(heard.starts_with("a NO [TOOBIG]"), "{heard}");
    assert!(heard.contains("b OK") && heard.contains("c BAD"), "{heard}");
    assert!(
        heard.ends_with("* BYE [TOOBIG] Literal too large\r\n"),
        "{heard}"
    );
}

#[tokio::test]
async fn the_literals_of_one_append_share_a_limit() {
    let mailbox = with_messages(&[]).await;
    let max = mailbox.max_message_size();
    let heard = logged_in(
        &mailbox,
        &format!("a APPEND {{5+}}\r\nINBOX {{{max}}}\r\nb APPEND INBOX {{{max}}}\r\n"),
    )
    .await;
    // The second one is asked for, and never comes.
    assert!(heard.starts_with("a NO [TOOBIG]"), "{heard}");
    assert!(heard.ends_with("+ Ready for literal data\r\n"), "{heard}");
}

#[tokio::test]
async fn append_keeps_octets_and_says_where_they_are() {
    let mailbox = with_messages(&[]).await;
    let heard = logged_in(
        &mailbox,
        "a APPEND INBOX (\\Seen) {7+}\r\na OK\r\n.\r\nb APPEND nowhere {1+}\r\nx\r\n\
         c EXAMINE INBOX\r\nd FETCH 1 (FLAGS RFC822.SIZE BODY[])\r\n",
    )
    .await;
    assert!(heard.starts_with("a OK [APPENDUID 1 1]"), "{heard}");
    assert!(heard.contains("b NO [TRYCREATE]"), "{heard}");
    let fetched = "* 1 FETCH (FLAGS (\\Seen) RFC822.SIZE 7 BODY[] {7}\r\na OK\r\n.)\r\n";
    assert!(heard.contains(fetched), "{heard}");
}

#[tokio::test]
async fn reading_marks_as_seen_and_peeking_does_not() {
    let mailbox = with_messages(&["A: b\r\n\r\ntext"]).await;
    let heard = logged_in(
        &mailbox,
        "a SELECT INBOX\r\nb FETCH 1 BODY.PEEK[TEXT]<1.2>\r\nc FETCH 1 FLAGS\r\nd UID FETCH 1 BODY[1]\r\n",
    )
    .await;
    assert!(heard.contains("* OK [UNSEEN 1]"), "{heard}");
    assert!(
        heard.contains("* 1 FETCH (BODY[TEXT]<1> {2}\r\nex)\r\n"),
        "{heard}"
    );
    assert!(heard.contains("* 1 FETCH (FLAGS ())\r\n"), "{heard}");
    let read = "* 1 FETCH (UID 1 BODY[1] {4}\r\ntext FLAGS (\\Seen))\r\nd OK";
    assert!(heard.contains(read), "{heard}");
}

#[tokio::test]
async fn a_partial_of_the_whole_message_stays_within_it() {
    let mailbox = with_messages(&["0123456789"]).await;
    let heard = logged_in(
        &mailbox,
        "a EXAMINE INBOX\r\nb FETCH 1 BODY[]<8.100>\r\nc FETCH 1 BODY[]<99.1>\r\nd FETCH 1 BODY[7]\r\n",
    )
    .await;
    assert!(heard.contains("BODY[]<8> {2}\r\n89)\r\n"), "{heard}");
    assert!(heard.contains("BODY[]<99> {0}\r\n)\r\n"), "{heard}");
    assert!(heard.contains("BODY[7] NIL)\r\n"), "{heard}");
}

#[tokio::test]
async fn messages_are_copied_moved_and_expunged() {
    let mailbox = with_messages(&["one", "two", "three", "four"]).await;
    let heard = logged_in(
        &mailbox,
        "a CREATE Entw&APw-rfe\r\nb SELECT INBOX\r\nc COPY 1:2 Entw&APw-rfe\r\nd UID MOVE 2:3 Entw&APw-rfe\r\n\
         e STORE 1 +FLAGS.SILENT (\\Deleted $x)\r\nf UID EXPUNGE 4\r\ng EXPUNGE\r\nh COPY 1 gone\r\n",
    )
    .await;
    for said in [
        "c OK [COPYUID 2 1:2 1:2]",
        "* OK [COPYUID 2 2:3 3:4] Moved\r\n* 2 EXPUNGE\r\n* 2 EXPUNGE\r\nd OK",
        "\r\ne OK STORE completed\r\nf OK EXPUNGE completed\r\n* 1 EXPUNGE\r\ng OK",
        "h NO [TRYCREATE]",
    ] {
        assert!(heard.contains(said), "{said}: {heard}");
    }
}

#[tokio::test]
async fn a_folder_open_for_reading_is_not_changed() {
    let mailbox = with_messages(&["one"]).await;
    let heard = logged_in(
        &mailbox,
        "a EXAMINE INBOX\r\nb STORE 1 FLAGS (\\Deleted)\r\nc EXPUNGE\r\nd MOVE 1 INBOX\r\ne FETCH 1 RFC822\r\nf CLOSE\r\n",
    )
    .await;
    for refused in [
        "b NO [READ-ONLY]",
        "c NO [READ-ONLY]",
        "d NO [READ-ONLY]",
        "f OK",
    ] {
        assert!(heard.contains(refused), "{refused}: {heard}");
    }
    let view = mailbox.view(INBOX).await.unwrap();
    assert!(view.messages[0].flags.is_empty());
}

#[tokio::test]
async fn folders_are_listed_as_a_tree() {
    let mailbox = with_messages(&[]).await;
    let heard = logged_in(
        &mailbox,
        "a CREATE x/y\r\nb LIST \"\" %\r\nc LIST \"x/\" *\r\nd LIST \"\" \"\"\r\ne UNSUBSCRIBE x/y\r\nf LSUB \"\" *\r\n\
         g STATUS inbox (MESSAGES UIDNEXT UNSEEN)\r\nh DELETE INBOX\r\ni SELECT nowhere\r\n",
    )
    .await;
    for said in [
        "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\r\n* LIST (\\Noselect \\HasChildren) \"/\" \"x\"\r\nb OK",
        "\r\n* LIST (\\HasNoChildren) \"/\" \"x/y\"\r\nc OK",
        "* LIST (\\Noselect) \"/\" \"\"\r\nd OK",
        "\r\n* LSUB (\\HasNoChildren) \"/\" \"INBOX\"\r\nf OK",
        "* STATUS \"INBOX\" (MESSAGES 0 UIDNEXT 1 UNSEEN 0)\r\n",
        "h NO [CANNOT]",
        "i NO [NONEXISTENT]",
    ] {
        assert!(heard.contains(said), "{said}: {heard}");
    }
}

#[tokio::test]
async fn search_finds_by_flag_text_size_and_number() {
    let mailbox = with_messages(&[
        "Subject: Gr=\r\nDate: Mon, 5 Jan 2026 09:30:00 +0100\r\n\r\nhello",
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nworld and more",
    ])
    .await;
    let heard = logged_in(
        &mailbox,
        "a SELECT INBOX\r\nb STORE 1 +FLAGS ($Work)\r\nc SEARCH KEYWORD $work\r\n\
         d UID SEARCH CHARSET UTF-8 SUBJECT {7+}\r\ngr\u{fc}\u{df}e\r\ne SEARCH OR BODY HELLO TEXT \"and more\" 1\r\n\
         f SEARCH SENTON 5-Jan-2026 NOT DELETED\r\ng SEARCH CHARSET X ALL\r\nh SEARCH LARGER 100000\r\n",
    )
    .await;
    for said in [
        "* SEARCH 1\r\nc OK",
        "* SEARCH 2\r\nd OK",
        "* SEARCH 1\r\ne OK",
        "* SEARCH 1\r\nf OK",
        "g NO [BADCHARSET",
        "* SEARCH\r\nh OK",
    ] {
        assert!(heard.contains(said), "{said}: {heard}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_bad_and_goes_on() {
    let heard = logged_in(
        &with_messages(&[]).await,
        "\r\n+ x\r\na\r\nb XYZZY\r\nc FETCH 1 FLAGS\r\nd SELECT INBOX\r\ne FETCH 1 FLAGS\r\nf NOOP\r\n",
    )
    .await;
    for said in ["* BAD", "a BAD", "b BAD", "c BAD", "d OK", "e BAD", "f OK"] {
        assert!(heard.contains(said), "{said}: {heard}");
    }
}

#[tokio::test]
async fn idle_tells_of_new_mail_and_done_may_have_a_command_behind_it() {
    let mailbox = with_messages(&["one"]).await;
    let (client, server) = tokio::io::duplex(64 * 1024);
    let door = Door(mailbox.clone());
    let served =
        tokio::spawn(async move { super::serve(server, &door, CancellationToken::new()).await });
    let (read, mut write) = tokio::io::split(client);
    let mut lines = BufReader::new(read).lines();
    write
        .write_all(b"a LOGIN anna secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
        .await
        .unwrap();
    while lines.next_line().await.unwrap().unwrap() != "+ idling" {}
    deliver(&mailbox, "two").await;
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "* 2 EXISTS");
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "* 0 RECENT");
    mailbox.create("other").await.unwrap();
    write
        .write_all(b"done\r\nd NOOP\r\ne LOGOUT\r\n")
        .await
        .unwrap();
    assert_eq!(
        lines.next_line().await.unwrap().unwrap(),
        "c OK IDLE completed"
    );
    assert_eq!(
        lines.next_line().await.unwrap().unwrap(),
        "d OK NOOP completed"
    );
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn another_session_removing_the_folder_ends_this_one() {
    let mailbox = with_messages(&[]).await;
    mailbox.create("x").await.unwrap();
    let (client, server) = tokio::io::duplex(64 * 1024);
    let door = Door(mailbox.clone());
    let served =
        tokio::spawn(async move { super::serve(server, &door, CancellationToken::new()).await });
    let (read, mut write) = tokio::io::split(client);
    let mut lines = BufReader::new(read).lines();
    write
        .write_all(b"a LOGIN anna secret\r\nb SELECT x\r\n")
        .await
        .unwrap();
    while !lines
        .next_line()
        .await
        .unwrap()
        .unwrap()
        .starts_with("b OK")
    {}
    mailbox.delete("x").await.unwrap();
    write.write_all(b"c NOOP\r\n").await.unwrap();
    assert_eq!(
        lines.next_line().await.unwrap().unwrap(),
        "* BYE The selected folder is gone"
    );
    served.await.unwrap().unwrap();
}

/// A mailbox whose view fails as often as it is told to, as one behind a network does.
mod unsteady {
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use bytes::Bytes;
    use futures_util::future::{BoxFuture, FutureExt, ready};
    use tokio::sync::watch;

    use crate::bridge::Verifier;
    use crate::bridge::mailbox::*;
    use crate::bridge::memory::MemoryMailbox;
    use crate::proto::dialogue::LoginAttempt;
    use crate::proto::refusal::Refusal;

    #[derive(Default)]
    pub(super) struct Unsteady {
        pub(super) inner: MemoryMailbox,
        /// From the first message on, its folder cannot be looked at.
        pub(super) blind: AtomicBool,
    }

    impl Verifier for Arc<Unsteady> {
        fn verify<'a>(
            &'a self,
            _attempt: &'a LoginAttempt,
        ) -> BoxFuture<'a, Result<Arc<dyn Mailbox>, Refusal>> {
            ready(Ok(self.clone() as Arc<dyn Mailbox>)).boxed()
        }
    }

    impl Mailbox for Unsteady {
        fn folders(&self) -> Answer<'_, Vec<Folder>> {
            self.inner.folders()
        }
        fn view<'a>(&'a self, folder: &'a str) -> Answer<'a, FolderView> {
            if self.blind.load(Ordering::SeqCst) {
                let down = std::io::Error::other("down");
                return ready(Err(MailboxError::Unavailable(down.into()))).boxed();
            }
            self.inner.view(folder)
        }
        fn read<'a>(&'a self, folder: &'a str, uid: Uid, range: Range<u64>) -> Answer<'a, Bytes> {
            self.inner.read(folder, uid, range)
        }
        fn append<'a>(&'a self, folder: &'a str, message: NewMessage) -> Answer<'a, Placed> {
            self.blind.store(true, Ordering::SeqCst);
            self.inner.append(folder, message)
        }
        fn copy<'a>(&'a self, from: &'a str, uids: &'a [Uid], to: &'a str) -> Answer<'a, Copied> {
            self.inner.copy(from, uids, to)
        }
        fn move_to<'a>(
            &'a self,
            from: &'a str,
            uids: &'a [Uid],
            to: &'a str,
        ) -> Answer<'a, Copied> {
            self.inner.move_to(from, uids, to)
        }
        fn store<'a>(
            &'a self,
            folder: &'a str,
            uids: &'a [Uid],
            change: &'a FlagChange,
        ) -> Answer<'a, Vec<(Uid, Flags)>> {
            self.inner.store(folder, uids, change)
        }
        fn expunge<'a>(&'a self, folder: &'a str, uids: Option<&'a [Uid]>) -> Answer<'a, ()> {
            self.inner.expunge(folder, uids)
        }
        fn create<'a>(&'a self, folder: &'a str) -> Answer<'a, ()> {
            // A sign of life for the test: the network is back.
            self.blind.store(false, Ordering::SeqCst);
            self.inner.create(folder)
        }
        fn delete<'a>(&'a self, folder: &'a str) -> Answer<'a, ()> {
            self.inner.delete(folder)
        }
        fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, ()> {
            self.inner.rename(from, to)
        }
        fn subscribe<'a>(&'a self, folder: &'a str, wanted: bool) -> Answer<'a, ()> {
            self.inner.subscribe(folder, wanted)
        }
        fn changes(&self) -> watch::Receiver<u64> {
            self.inner.changes()
        }
        fn submit(&self, envelope: Envelope, message: Bytes) -> Answer<'_, ()> {
            self.inner.submit(envelope, message)
        }
        fn max_message_size(&self) -> u64 {
            self.inner.max_message_size()
        }
    }
}

#[tokio::test]
async fn what_was_done_is_no_failure_because_its_effect_cannot_be_told_yet() {
    let mailbox = Arc::new(unsteady::Unsteady::default());
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    client
        .write_all(
            b"a LOGIN x y\r\nb SELECT INBOX\r\nc APPEND INBOX {1+}\r\nx\r\nd NOOP\r\ne CREATE z\r\nf LOGOUT\r\n",
        )
        .await
        .unwrap();
    super::serve(server, &mailbox, CancellationToken::new())
        .await
        .unwrap();
    let mut lines = BufReader::new(client).lines();
    let mut heard = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        heard.push(line);
    }
    let behind: Vec<&str> = heard
        .iter()
        .map(String::as_str)
        .skip_while(|line| !line.starts_with("c "))
        .collect();
    assert_eq!(
        behind[..5],
        [
            "c OK [APPENDUID 1 1] APPEND completed",
            "d OK NOOP completed",
            "* 1 EXISTS",
            "* 0 RECENT",
            "e OK CREATE completed",
        ]
    );
}
