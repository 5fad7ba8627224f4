//! Submission as programs use it, through each route: what is sent arrives, once, byte for byte.

use crate::client::assert_same;
use crate::client::imap::arrived;
use crate::client::smtp::Smtp;
use crate::fixture::{Account, Mailbox, Proxy, Route, Target, Tls, seeds, servers};

on_routes!(direct: Direct, implicit: Implicit, starttls: StartTls; {
    every_message_arrives_as_it_was_sent,
    a_transaction_may_be_pipelined,
    a_refused_recipient_spares_the_others,
    one_session_sends_several_messages,
});

on_routes!(implicit_only: Implicit; {
    without_authentication_nothing_is_taken,
    hidden_ends_of_data_smuggle_nothing,
});

fn every_message_arrives_as_it_was_sent(target: &Target) {
    let sendable: Vec<_> = seeds()
        .into_iter()
        .filter(|seed| seed.can_be_sent())
        .collect();
    assert!(sendable.len() > 5, "seeds are missing");
    let mut smtp = Smtp::login(target);
    for seed in &sendable {
        smtp.submit(&target.user, &seed.wire).expect(250);
    }
    smtp.command("QUIT").expect(221);
    let mut delivered = arrived(target, sendable.len());
    for seed in &sendable {
        // Deliveries overtake each other; a message ends with what was sent, behind the trace headers.
        let found = delivered
            .iter()
            .position(|message| message.ends_with(&seed.wire));
        let Some(at) = found else {
            panic!("{}: not among what arrived", seed.name)
        };
        delivered.swap_remove(at);
    }
}

fn a_transaction_may_be_pipelined(target: &Target) {
    let mut smtp = Smtp::login(target);
    let user = &target.user;
    smtp.send(format!("RSET\r\nMAIL FROM:<{user}>\r\nRCPT TO:<{user}>\r\nDATA\r\n").as_bytes());
    for code in [250, 250, 250, 354] {
        smtp.reply().expect(code);
    }
    // The end of the data, the next command and half of one more in one segment.
    smtp.send(b"Subject: piped\r\nMessage-ID: <p@example.org>\r\n\r\n..\r\n.\r\nNOOP\r\nQU");
    smtp.reply().expect(250);
    smtp.reply().expect(250);
    smtp.send(b"IT\r\n");
    smtp.reply().expect(221);
    assert!(
        arrived(target, 1)[0].ends_with(b"\r\n\r\n.\r\n"),
        "unstuffed once"
    );
}

fn a_refused_recipient_spares_the_others(target: &Target) {
    let mut smtp = Smtp::login(target);
    let user = &target.user;
    smtp.send(
        format!(
            "MAIL FROM:<{user}>\r\nRCPT TO:<refused@example.org>\r\nRCPT TO:<{user}>\r\nDATA\r\n"
        )
        .as_bytes(),
    );
    for code in [250, 554, 250, 354] {
        smtp.reply().expect(code);
    }
    smtp.send(b"Subject: spared\r\n\r\n.\r\n");
    smtp.reply().expect(250);
    arrived(target, 1);
}

fn one_session_sends_several_messages(target: &Target) {
    let mut smtp = Smtp::login(target);
    for number in 0..20 {
        smtp.submit(
            &target.user,
            format!("Subject: {number}\r\n\r\n.{number}\r\n").as_bytes(),
        )
        .expect(250);
    }
    let messages = arrived(target, 20);
    for number in 0..20 {
        let body = format!("\r\n\r\n.{number}\r\n");
        assert_eq!(
            messages
                .iter()
                .filter(|message| message.ends_with(body.as_bytes()))
                .count(),
            1
        );
    }
}

fn without_authentication_nothing_is_taken(target: &Target) {
    let mut smtp = Smtp::connect(target.smtp);
    smtp.command("EHLO client.example.org").expect(250);
    let refused = smtp.command("MAIL FROM:<anna@example.org>");
    assert!(refused.text().starts_with("530 5.7.0"), "{refused:?}");
}

/// VU#302671: servers that take other sequences for the end of the data. The proxy has to decide where it ends, and the
/// upstream must not be able to see another end.
fn hidden_ends_of_data_smuggle_nothing(target: &Target) {
    let mut taken = 0;
    for end in [
        "\n.\n",
        "\r.\r",
        "\n.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r.\r\n",
        "\n.\r",
        "\r\n\x00.\r\n",
    ] {
        let mut smtp = Smtp::login(target);
        let user = &target.user;
        smtp.command(&format!("MAIL FROM:<{user}>")).expect(250);
        smtp.command(&format!("RCPT TO:<{user}>")).expect(250);
        smtp.command("DATA").expect(354);
        smtp.send(
            format!(
                "Subject: outer\r\n\r\nouter{end}MAIL FROM:<{user}>\r\nRCPT TO:<{user}>\r\nDATA\r\n\
                 Subject: smuggled\r\n\r\nsmuggled\r\n.\r\n"
            )
            .as_bytes(),
        );
        // Normalised and taken, or refused: one reply, and nothing of the inner transaction is one.
        let reply = smtp.reply();
        match reply.code {
            250 => taken += 1,
            500..=599 => continue,
            _ => panic!("{end:?}: {reply:?}"),
        }
        smtp.command("NOOP").expect(250);
        assert!(smtp.command("QUIT").expect(221).lines.len() == 1);
    }
    // A last message that certainly comes; whatever was smuggled was queued before it.
    Smtp::login(target)
        .submit(&target.user, b"Subject: last\r\n\r\n")
        .expect(250);
    let messages = arrived(target, taken + 1);
    let outer = messages
        .iter()
        .filter(|message| contains(message, b"Subject: outer"))
        .count();
    let alone = messages
        .iter()
        .filter(|message| !contains(message, b"\r\nouter") && contains(message, b"smuggled"));
    assert_eq!((outer, alone.count()), (taken, 0));
}

#[test]
fn dovecot_submission_takes_mail_too() {
    let servers = servers();
    let mailbox = Mailbox::new(servers);
    let mut account = Account::implicit(&mailbox.user, servers);
    account.smtp.port = servers.submission.port();
    account.smtp.tls = Tls::StartTls;
    let proxy = Proxy::start(&[account]);
    let mut smtp = Smtp::connect(proxy.smtp);
    smtp.command("EHLO client.example.org").expect(250);
    smtp.auth_plain(&mailbox.user, proxy.password(&mailbox.user))
        .expect(235);
    smtp.submit(&mailbox.user, b"Subject: through Dovecot\r\n\r\n.\r\n")
        .expect(250);
    let mut target = Target::new(Route::Direct);
    target.user.clone_from(&mailbox.user);
    target.mailbox = mailbox;
    let message = &arrived(&target, 1)[0];
    let body = message
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a header")
        + 4;
    assert_same(&message[body..], b".\r\n", "the body");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
