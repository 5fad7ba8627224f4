//! IMAP as programs use it, message by message, through each route.

use crate::client::imap::Imap;
use crate::client::{Wire, assert_same, sha256};
use crate::fixture::{Target, seeds, small_seeds};

on_routes!(direct: Direct, implicit: Implicit, starttls: StartTls; {
    every_message_is_fetched_as_it_is,
    a_thousand_messages_come_in_one_fetch,
    what_is_appended_comes_back,
    a_literal_of_100_mb_goes_both_ways,
    a_folder_with_an_umlaut_lives_its_life,
    messages_are_copied_moved_flagged_and_found,
    idle_tells_of_new_mail,
    what_is_pipelined_behind_login_is_answered,
    half_a_command_behind_login_is_kept,
    a_literal_login_may_be_pipelined,
    many_commands_may_be_pipelined,
    a_client_that_vanishes_leaves_no_session_upstream,
});

// Not on the direct route: a FIN that reaches Dovecot's login process before it has handed the connection on ends it.
on_routes!(implicit_half: Implicit, starttls_half: StartTls; {
    a_half_closed_client_gets_the_whole_answer,
});

fn every_message_is_fetched_as_it_is(target: &Target) {
    let seeds = seeds();
    target
        .mailbox
        .seed("", seeds.iter().map(|seed| seed.stored.as_slice()));
    let mut imap = Imap::inbox(target);
    for (number, seed) in (1..).zip(&seeds) {
        let fetched = imap
            .command(&format!("FETCH {number} (UID BODY.PEEK[])"))
            .untagged;
        let [message] = fetched.as_slice() else {
            panic!("{}: {} responses", seed.name, fetched.len())
        };
        // Dovecot says "" for nothing.
        let body = message.literals.first().map_or(&[][..], Vec::as_slice);
        assert_same(body, &seed.wire, seed.name);
    }
    imap.command("LOGOUT");
    assert_eq!(imap.wire().line_or_end(), None, "closed after LOGOUT");
}

fn a_thousand_messages_come_in_one_fetch(target: &Target) {
    let messages: Vec<Vec<u8>> = (0..1000)
        .map(|number| {
            format!(
                "Subject: {number}\r\n\r\n{}\r\n",
                "line\r\n.\r\n".repeat(number % 50)
            )
            .into_bytes()
        })
        .collect();
    target.mailbox.seed("", messages.iter().map(Vec::as_slice));
    let mut imap = Imap::login(target);
    assert_eq!(imap.command("SELECT INBOX").untagged("* 1000 "), "EXISTS");
    let fetched = imap.command("FETCH 1:* (FLAGS UID BODY.PEEK[])").literals();
    let sums = |messages: &[Vec<u8>]| {
        messages
            .iter()
            .map(|message| sha256(message))
            .collect::<Vec<_>>()
    };
    assert_eq!(sums(&fetched), sums(&messages));
}

fn what_is_appended_comes_back(target: &Target) {
    let mut imap = Imap::inbox(target);
    // Dovecot refuses to append nothing, and drops a CR before a CRLF.
    let whole: Vec<_> = small_seeds()
        .into_iter()
        .filter(|seed| !matches!(seed.name, "empty" | "bare CR"))
        .collect();
    for (number, seed) in (1..).zip(&whole) {
        imap.append(
            "INBOX (\\Seen $Label) \"01-Feb-2020 12:34:56 +0000\"",
            &seed.wire,
        );
        let fetched = imap.command(&format!("FETCH {number} (FLAGS INTERNALDATE BODY.PEEK[])"));
        let text = &fetched
            .untagged
            .iter()
            .find(|response| !response.literals.is_empty())
            .expect("a body")
            .text;
        assert!(text.contains("\\Seen") && text.contains("$Label"), "{text}");
        assert!(text.contains("01-Feb-2020 12:34:56 +0000"), "{text}");
        assert_same(&fetched.literals()[0], &seed.wire, seed.name);
    }
    let tag = imap.tag();
    imap.send(format!("{tag} APPEND INBOX {{5+}}\r\na\r\n\r\n\r\n").as_bytes());
    imap.reply(&tag).ok();
}

fn a_literal_of_100_mb_goes_both_ways(target: &Target) {
    let line: Vec<u8> = (0..98)
        .map(|byte| b'!' + byte % 90)
        .chain(*b"\r\n")
        .collect();
    let message = [
        b"Subject: big\r\n\r\n".to_vec(),
        line.repeat(HUNDRED_MB / line.len()),
    ]
    .concat();
    let mut imap = Imap::inbox(target);
    imap.append("INBOX", &message);
    let fetched = imap.command("FETCH 1 BODY.PEEK[]").literals();
    assert_same(&fetched[0], &message, "100 MB");
}

const HUNDRED_MB: usize = 100_000_000;

fn a_folder_with_an_umlaut_lives_its_life(target: &Target) {
    target
        .mailbox
        .seed("Entw&APw-rfe", [&b"Subject: seeded\r\n\r\n\r\n"[..]]);
    let mut imap = Imap::login(target);
    let listed = |imap: &mut Imap| {
        let reply = imap.command("LIST \"\" *");
        reply
            .untagged
            .iter()
            .map(|response| response.text.clone())
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(
        listed(&mut imap).contains("Entw&APw-rfe"),
        "{}",
        listed(&mut imap)
    );
    imap.command("CREATE \"Gel&APY-scht &- fort/&MFcwXzBM-\"");
    assert!(
        listed(&mut imap).contains("\"Gel&APY-scht &- fort/&MFcwXzBM-\""),
        "{}",
        listed(&mut imap)
    );
    imap.append(
        "\"Gel&APY-scht &- fort/&MFcwXzBM-\"",
        b"Subject: there\r\n\r\n\r\n",
    );
    // The name as a literal.
    let tag = imap.tag();
    imap.send(format!("{tag} RENAME {{12+}}\r\nEntw&APw-rfe \"Alte Entw&APw-rfe\"\r\n").as_bytes());
    imap.reply(&tag).ok();
    let selected = imap.command("SELECT \"Alte Entw&APw-rfe\"");
    assert_eq!(selected.untagged("* 1 "), "EXISTS");
    imap.command("CLOSE");
    imap.command("DELETE \"Alte Entw&APw-rfe\"");
    assert!(!listed(&mut imap).contains("Entw"), "{}", listed(&mut imap));
}

fn messages_are_copied_moved_flagged_and_found(target: &Target) {
    let seeds = small_seeds();
    target
        .mailbox
        .seed("", seeds.iter().map(|seed| seed.stored.as_slice()));
    let mut imap = Imap::inbox(target);
    imap.command("CREATE Archive");
    imap.command("COPY 1:3 Archive");
    imap.command("MOVE 4 Archive");
    let flagged = imap.command("STORE 1 +FLAGS (\\Flagged)");
    assert!(flagged.untagged("* 1 FETCH ").contains("\\Flagged"));
    assert_eq!(imap.command("SEARCH FLAGGED").untagged("* SEARCH"), " 1");
    // The search term as a literal of 8-bit text.
    let tag = imap.tag();
    imap.send(format!("{tag} SEARCH CHARSET UTF-8 BODY {{8}}\r\n").as_bytes());
    assert!(imap.wire().text_line().starts_with('+'));
    imap.send("Grüße,\r\n".as_bytes());
    assert_eq!(imap.reply(&tag).ok().untagged("* SEARCH"), " 3");
    imap.command("STORE 1 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(imap.command("EXPUNGE").untagged("* 1 "), "EXPUNGE");
    let archive = imap.command("SELECT Archive");
    assert_eq!(archive.untagged("* 4 "), "EXISTS");
    for (copy, seed) in imap
        .command("FETCH 1:4 BODY.PEEK[]")
        .literals()
        .iter()
        .zip(&seeds)
    {
        assert_same(copy, &seed.wire, seed.name);
    }
}

fn idle_tells_of_new_mail(target: &Target) {
    let mut waiting = Imap::inbox(target);
    let mut other = Imap::login(target);
    let seen = waiting.idle_until(
        "* 1 EXISTS",
        || {
            other.append("INBOX", b"Subject: new\r\n\r\nhere\r\n");
        },
        "FETCH 1 BODY.PEEK[]",
    );
    assert_same(
        &seen.ok().literals()[0],
        b"Subject: new\r\n\r\nhere\r\n",
        "the new message",
    );
}

fn what_is_pipelined_behind_login_is_answered(target: &Target) {
    target.mailbox.seed("", [&b"Subject: one\r\n\r\n\r\n"[..]]);
    let mut imap = Imap::connect(target.imap);
    let (user, password) = (&target.user, &target.password);
    imap.send(
        format!("a LOGIN {user} {password}\r\nb SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\n")
            .as_bytes(),
    );
    imap.reply("a").ok();
    assert_eq!(imap.reply("b").ok().untagged("* 1 "), "EXISTS");
    assert_same(
        &imap.reply("c").ok().literals()[0],
        b"Subject: one\r\n\r\n\r\n",
        "one",
    );
}

fn half_a_command_behind_login_is_kept(target: &Target) {
    let mut imap = Imap::connect(target.imap);
    let (user, password) = (&target.user, &target.password);
    imap.send(format!("a LOGIN {user} {password}\r\nb SEL").as_bytes());
    imap.reply("a").ok();
    imap.send(b"ECT INBOX\r\n");
    assert_eq!(imap.reply("b").ok().untagged("* 0 "), "EXISTS");
}

fn a_literal_login_may_be_pipelined(target: &Target) {
    let mut imap = Imap::connect(target.imap);
    let (user, password) = (&target.user, &target.password);
    let login = format!(
        "a LOGIN {{{}+}}\r\n{user} {{{}+}}\r\n{password}\r\n",
        user.len(),
        password.len()
    );
    imap.send(format!("{login}b SELECT INBOX\r\n").as_bytes());
    imap.reply("a").ok();
    imap.reply("b").ok();
}

fn many_commands_may_be_pipelined(target: &Target) {
    let mut imap = Imap::login(target);
    let commands: String = (0..200)
        .map(|number| format!("p{number} STATUS INBOX (MESSAGES)\r\n"))
        .collect();
    imap.send(commands.as_bytes());
    for number in 0..200 {
        imap.reply(&format!("p{number}")).ok();
    }
}

fn a_half_closed_client_gets_the_whole_answer(target: &Target) {
    let seeds = seeds();
    let big = seeds
        .iter()
        .find(|seed| seed.name == "30 MB")
        .expect("seeded");
    target.mailbox.seed("", [big.stored.as_slice()]);
    let mut wire = Wire::connect(target.imap);
    let (user, password) = (&target.user, &target.password);
    wire.send(
        format!(
            "a LOGIN {user} {password}\r\nb SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\nd LOGOUT\r\n"
        )
        .as_bytes(),
    );
    wire.finish();
    let answer = wire.rest();
    let body = answer
        .windows(3)
        .position(|window| window == b"}\r\n")
        .expect("a literal")
        + 3;
    assert_same(
        &answer[body..body + big.wire.len()],
        &big.wire,
        "the message",
    );
    let tail = String::from_utf8_lossy(&answer[body + big.wire.len()..]).into_owned();
    assert!(tail.contains("c OK ") && tail.contains("d OK "), "{tail}");
}

fn a_client_that_vanishes_leaves_no_session_upstream(target: &Target) {
    let imap = Imap::inbox(target);
    assert!(target.mailbox.is_served());
    drop(imap);
    target.mailbox.wait_until_left();
}
