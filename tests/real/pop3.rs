//! POP3 as programs use it, through each route.

use crate::client::pop3::Pop3;
use crate::client::{assert_same, sha256};
use crate::fixture::{Target, seeds, small_seeds};

on_routes!(direct: Direct, implicit: Implicit, starttls: StartTls; {
    every_message_is_retrieved_as_it_is,
    a_thousand_messages_are_retrieved_in_a_pipeline,
    sizes_and_identities_agree,
    what_is_pipelined_behind_the_password_is_answered,
    quit_deletes_what_was_marked,
    a_lost_client_deletes_nothing,
});

fn every_message_is_retrieved_as_it_is(target: &Target) {
    let seeds = seeds();
    target
        .mailbox
        .seed("", seeds.iter().map(|seed| seed.stored.as_slice()));
    let mut pop3 = Pop3::login(target);
    for (number, seed) in (1..).zip(&seeds) {
        assert_same(
            &pop3.multi_line(&format!("RETR {number}")),
            &seed.in_lines(),
            seed.name,
        );
    }
    pop3.command("QUIT");
    assert_eq!(pop3.wire().line_or_end(), None, "closed after QUIT");
}

fn a_thousand_messages_are_retrieved_in_a_pipeline(target: &Target) {
    let messages: Vec<Vec<u8>> = (0..1000)
        .map(|number| {
            format!(
                "Subject: {number}\r\n\r\n{}",
                "..\r\n.\r\n".repeat(number % 20)
            )
            .into_bytes()
        })
        .collect();
    target.mailbox.seed("", messages.iter().map(Vec::as_slice));
    let mut pop3 = Pop3::login(target);
    for (batch, expected) in messages.chunks(100).enumerate() {
        let commands: String = (1..=100)
            .map(|number| format!("RETR {}\r\n", batch * 100 + number))
            .collect();
        pop3.send(&commands);
        for message in expected {
            pop3.ok();
            assert_eq!(sha256(&pop3.lines()), sha256(message));
        }
    }
}

fn sizes_and_identities_agree(target: &Target) {
    let seeds = small_seeds();
    target
        .mailbox
        .seed("", seeds.iter().map(|seed| seed.stored.as_slice()));
    let mut pop3 = Pop3::login(target);
    let sizes = String::from_utf8(pop3.multi_line("LIST")).expect("text");
    let expected: String = (1..)
        .zip(&seeds)
        .map(|(number, seed)| format!("{number} {}\r\n", seed.wire.len()))
        .collect();
    assert_eq!(sizes, expected);
    let identities = String::from_utf8(pop3.multi_line("UIDL")).expect("text");
    assert_eq!(identities.lines().count(), seeds.len());
    let top = pop3.multi_line("TOP 1 0");
    assert!(
        top.ends_with(b"\r\n\r\n"),
        "TOP ends with the empty line behind the header"
    );
    drop(pop3);
    // The second session over the same route, and the identities stay.
    let mut again = Pop3::login(target);
    assert_eq!(
        String::from_utf8(again.multi_line("UIDL")).expect("text"),
        identities
    );
}

fn what_is_pipelined_behind_the_password_is_answered(target: &Target) {
    target.mailbox.seed("", [&b"Subject: one\r\n\r\n.\r\n"[..]]);
    let mut pop3 = Pop3::connect(target.pop3);
    pop3.send(&format!(
        "USER {}\r\nPASS {}\r\nSTAT\r\nRETR 1\r\nQUIT\r\n",
        target.user, target.password
    ));
    pop3.ok();
    pop3.ok();
    assert_eq!(pop3.ok(), "1 19");
    pop3.ok();
    assert_same(&pop3.lines(), b"Subject: one\r\n\r\n.\r\n", "one");
    pop3.ok();
}

fn quit_deletes_what_was_marked(target: &Target) {
    target
        .mailbox
        .seed("", [&b"Subject: one\r\n\r\n"[..], b"Subject: two\r\n\r\n"]);
    let mut pop3 = Pop3::login(target);
    pop3.command("DELE 1");
    pop3.command("QUIT");
    assert_eq!(target.mailbox.count(), 1);
}

fn a_lost_client_deletes_nothing(target: &Target) {
    target
        .mailbox
        .seed("", [&b"Subject: one\r\n\r\n"[..], b"Subject: two\r\n\r\n"]);
    let mut pop3 = Pop3::login(target);
    pop3.command("DELE 1");
    drop(pop3);
    // The maildrop is locked until the first session has ended on the server.
    let mut again = Pop3::login(target);
    assert!(again.command("STAT").starts_with("2 "));
    assert_eq!(target.mailbox.count(), 2);
}
