//! What goes wrong upstream, and what the client is told: PROTOCOL B.6. Trouble upstream never looks like a wrong
//! password, nothing is cut off silently, and the next account is not touched.

mod scripts;

use std::io;
use std::sync::mpsc;
use std::thread;

use self::scripts::{
    Before, LostAt, imap_before_tls, pop3_before_tls, smtp_before_tls, submission,
};
use crate::client::imap::Imap;
use crate::client::pop3::Pop3;
use crate::client::smtp::Smtp;
use crate::client::{assert_same, sha256};
use crate::fixture::{
    Account, Auth, Authority, Identity, Line, Mailbox, Proxy, Route, Scripted, Target, read_line,
    refused_port, say, seeds, servers,
};

on_routes!(direct: Direct, implicit: Implicit, starttls: StartTls; {
    a_server_killed_while_it_sends_a_message_cuts_it_and_adds_nothing,
    a_server_killed_while_it_sends_a_maildrop_cuts_it_and_deletes_nothing,
});

#[test]
fn a_refused_port_is_temporary() {
    let (port, _held) = refused_port();
    assert_temporary(&Account::at(BROKEN, port));
}

/// RFC 6761: `.invalid` never resolves.
#[test]
fn a_name_that_does_not_resolve_is_temporary() {
    let mut account = Account::implicit(BROKEN, servers());
    for upstream in [&mut account.imap, &mut account.pop3, &mut account.smtp] {
        upstream.host = "mail.nowhere.invalid";
    }
    assert_temporary(&account);
}

#[test]
fn a_certificate_of_another_authority_is_temporary_and_gets_no_password() {
    assert_untrusted(&Authority::new("another CA").identity("localhost"));
}

#[test]
fn a_certificate_for_another_name_is_temporary_and_gets_no_password() {
    assert_untrusted(&servers().authority.identity("imap.example.net"));
}

#[test]
fn an_expired_certificate_is_temporary_and_gets_no_password() {
    assert_untrusted(&servers().authority.expired("localhost"));
}

#[test]
fn a_stripped_starttls_is_temporary_and_gets_no_password() {
    assert_nothing_said(&Before {
        imap: "",
        pop3: "",
        smtp: "",
        behind: "",
    });
}

/// CVE-2011-0411 and its kin: what stands behind the answer to STARTTLS was never under TLS.
#[test]
fn bytes_behind_starttls_are_temporary_and_get_no_password() {
    assert_nothing_said(&Before {
        imap: " STARTTLS",
        pop3: "STLS\r\n",
        smtp: "250-STARTTLS\r\n",
        behind: "* injected\r\n",
    });
}

#[test]
fn a_greeting_that_never_comes_is_temporary() {
    let silent = scripted(|line| read_line(line).map(drop));
    assert_temporary(&Account::at(BROKEN, silent.address));
}

#[test]
fn an_upstream_that_closes_at_once_is_temporary() {
    let closing = scripted(|_| Ok(()));
    assert_temporary(&Account::at(BROKEN, closing.address));
}

#[test]
fn an_upstream_that_says_nonsense_is_temporary() {
    let odd = scripted(|line| {
        say(line, "SSH-2.0-OpenSSH_9.2p1\r\n")?;
        read_line(line).map(drop)
    });
    assert_temporary(&Account::at(BROKEN, odd.address));
}

#[test]
fn a_provider_that_says_bye_is_temporary() {
    let busy = scripted(|line| say(line, "* BYE too many connections\r\n"));
    let proxy = proxy_with(&Account::at(BROKEN, busy.address));
    let refused = Imap::connect(proxy.imap).try_login(BROKEN, proxy.password(BROKEN));
    assert!(refused.status.starts_with("NO ["), "{refused:?}");
    assert!(
        !refused.status.contains("AUTHENTICATIONFAILED"),
        "{refused:?}"
    );
    assert!(
        refused.untagged.is_empty(),
        "a BYE of the provider's is not the client's: {refused:?}"
    );
}

#[test]
fn a_preauthenticated_upstream_is_refused() {
    let preauth = scripted(|line| {
        say(line, "* PREAUTH you are in\r\n")?;
        read_line(line).map(drop)
    });
    let proxy = proxy_with(&Account::at(BROKEN, preauth.address));
    let refused = Imap::connect(proxy.imap).try_login(BROKEN, proxy.password(BROKEN));
    assert!(
        refused.status.starts_with("NO [UNAVAILABLE]"),
        "{refused:?}"
    );
}

#[test]
fn a_password_the_provider_rejects_is_temporary() {
    let servers = servers();
    let mailbox = Mailbox::new(servers);
    let mut account = Account::implicit(&mailbox.user, servers);
    account.auth = Auth::Password("changed-at-the-provider".to_owned());
    assert_temporary(&account);
}

#[test]
fn a_wrong_local_password_is_told_and_never_leaves_the_house() {
    let silent = scripted(|line| read_line(line).map(drop));
    let proxy = Proxy::start(&[Account::at(BROKEN, silent.address)]);
    for user in [BROKEN, "nobody@example.net"] {
        let refused = Imap::connect(proxy.imap).try_login(user, "wrong");
        assert!(
            refused.status.starts_with("NO [AUTHENTICATIONFAILED]"),
            "{refused:?}"
        );
        let mut pop3 = Pop3::connect(proxy.pop3);
        pop3.command(&format!("USER {user}"));
        let refused = pop3.attempt("PASS wrong");
        assert!(refused.starts_with("-ERR [AUTH]"), "{refused}");
        let mut smtp = Smtp::connect(proxy.smtp);
        smtp.command("EHLO client.example.org").expect(250);
        let refused = smtp.auth_plain(user, "wrong");
        assert!(refused.text().starts_with("535 5.7.8"), "{refused:?}");
    }
    assert_eq!(
        silent.connections(),
        0,
        "the upstream was asked about a local password"
    );
}

fn a_server_killed_while_it_sends_a_message_cuts_it_and_adds_nothing(target: &Target) {
    let big = big_message();
    target.mailbox.seed("", [big.as_slice()]);
    let mut imap = Imap::inbox(target);
    imap.send(b"x FETCH 1 BODY.PEEK[]\r\n");
    let start = imap.wire().text_line();
    assert!(start.ends_with(&format!("{{{}}}", big.len())), "{start}");
    let mut got = imap.wire().exactly(ENOUGH_TO_BE_IN_THE_MIDDLE);
    target.mailbox.kill_sessions();
    got.extend(imap.wire().rest());
    assert!(got.len() < big.len(), "the server was killed too late");
    assert_same(&got, &big[..got.len()], "the part that came");
    assert_whole(target, &big);
}

fn a_server_killed_while_it_sends_a_maildrop_cuts_it_and_deletes_nothing(target: &Target) {
    let big = big_message();
    target
        .mailbox
        .seed("", [big.as_slice(), b"Subject: small\r\n\r\n"]);
    let mut pop3 = Pop3::login(target);
    pop3.command("DELE 2");
    pop3.command("RETR 1");
    let mut got = pop3.wire().exactly(ENOUGH_TO_BE_IN_THE_MIDDLE);
    target.mailbox.kill_sessions();
    got.extend(pop3.wire().rest());
    assert!(got.len() < big.len(), "the server was killed too late");
    assert!(!got.ends_with(b"\r\n.\r\n"), "an end was made up");
    assert_eq!(target.mailbox.count(), 2);
    assert_whole(target, &big);
}

#[test]
fn a_server_killed_between_commands_is_said_with_bye() {
    let target = Target::new(Route::Implicit);
    let mut imap = Imap::inbox(&target);
    target.mailbox.kill_sessions();
    let last = imap.wire().text_line();
    assert!(last.starts_with("* BYE"), "{last}");
    assert_eq!(imap.wire().line_or_end(), None);
}

#[test]
fn an_upstream_lost_between_commands_is_said_with_421() {
    let upstream = scripted(|line| submission(line, LostAt::Recipient));
    let proxy = Proxy::start(&[Account::at(BROKEN, upstream.address)]);
    let mut smtp = authenticated(&proxy);
    smtp.command("MAIL FROM:<anna@example.org>").expect(250);
    smtp.send(b"RCPT TO:<bob@example.org>\r\n");
    let reply = smtp.reply();
    assert_eq!(reply.code, 421, "{reply:?}");
}

/// RFC 5321 section 6.1: the client sends again and there may be two; a made-up 250 loses the message.
#[test]
fn an_upstream_lost_behind_the_last_dot_is_never_taken_for_success() {
    let upstream = scripted(|line| submission(line, LostAt::Dot));
    let proxy = Proxy::start(&[Account::at(BROKEN, upstream.address)]);
    let mut smtp = authenticated(&proxy);
    let reply = smtp.submit("anna@example.org", b"Subject: lost\r\n\r\nlost?\r\n");
    assert!(reply.text().starts_with("451 4.4.2"), "{reply:?}");
}

#[test]
fn an_upstream_lost_amid_the_data_is_never_taken_for_success() {
    let upstream = scripted(|line| submission(line, LostAt::Data));
    let proxy = Proxy::start(&[Account::at(BROKEN, upstream.address)]);
    let mut smtp = authenticated(&proxy);
    smtp.command("MAIL FROM:<anna@example.org>").expect(250);
    smtp.command("RCPT TO:<bob@example.org>").expect(250);
    smtp.command("DATA").expect(354);
    smtp.send(b"Subject: half\r\n\r\nhalf\r\n");
    if let Some(reply) = smtp.reply_or_end() {
        assert!((400..500).contains(&reply.code), "{reply:?}");
    }
}

/// An account whose upstream is odd; the healthy one in the same proxy has another name.
const BROKEN: &str = "broken@example.org";

/// Far enough into the message that the server is busy with it, far from its end.
const ENOUGH_TO_BE_IN_THE_MIDDLE: usize = 1_000_000;

/// A TLS server with the right certificate.
fn scripted(script: impl Fn(&mut Line) -> io::Result<()> + Send + Sync + 'static) -> Scripted {
    Scripted::start(&servers().authority.identity("localhost"), script)
}

/// A proxy with the account and a healthy one.
fn proxy_with(account: &Account) -> Proxy {
    Proxy::start(&[account.clone(), Account::implicit(HEALTHY, servers())])
}

const HEALTHY: &str = "healthy@example.org";

/// All three protocols say that it is temporary, and the healthy account works on. They are asked side by side, since
/// some upstreams use up the whole login budget.
fn assert_temporary(account: &Account) {
    let proxy = &proxy_with(account);
    refused_everywhere(proxy, &account.address);
    Imap::connect(proxy.imap)
        .try_login(HEALTHY, proxy.password(HEALTHY))
        .ok();
}

/// All three protocols say to `user` that it is temporary.
pub(crate) fn refused_everywhere(proxy: &Proxy, user: &str) {
    let password = proxy.password(user);
    thread::scope(|scope| {
        scope.spawn(|| {
            let refused = Imap::connect(proxy.imap).try_login(user, password);
            assert!(
                refused.status.starts_with("NO [UNAVAILABLE]"),
                "{refused:?}"
            );
        });
        scope.spawn(|| {
            let mut pop3 = Pop3::connect(proxy.pop3);
            pop3.command(&format!("USER {user}"));
            let refused = pop3.attempt(&format!("PASS {password}"));
            assert!(refused.starts_with("-ERR [SYS/TEMP]"), "{refused}");
        });
        scope.spawn(|| {
            let mut smtp = Smtp::connect(proxy.smtp);
            smtp.command("EHLO client.example.org").expect(250);
            let refused = smtp.auth_plain(user, password);
            assert!(refused.text().starts_with("454 4.7.0"), "{refused:?}");
        });
    });
}

/// Refused like any trouble upstream; and the script behind the handshake never reads a byte.
fn assert_untrusted(identity: &Identity) {
    let (said, heard) = mpsc::channel();
    let upstream = Scripted::start(identity, move |line| {
        let first = read_line(line)?;
        said.send(first).map_err(io::Error::other)
    });
    assert_temporary(&Account::at(BROKEN, upstream.address));
    assert!(upstream.connections() >= 3, "it was tried");
    assert!(
        heard.try_recv().is_err(),
        "something was said to an upstream that proved nothing"
    );
}

/// Refused like any trouble upstream, and neither the name nor the password was said, nor a handshake begun.
fn assert_nothing_said(before: &Before) {
    let (said, heard) = mpsc::channel();
    let upstream = |greeting: &'static str, answer: fn(&Before, &str) -> String| {
        let (said, before) = (said.clone(), *before);
        Scripted::plain(move |line| {
            say(line, greeting)?;
            loop {
                // A handshake is no text and ends the script.
                let command = read_line(line).inspect_err(|error| {
                    if error.kind() == io::ErrorKind::InvalidData {
                        let _ = said.send("a handshake".to_owned());
                    }
                })?;
                let reply = answer(&before, &command);
                said.send(command).map_err(io::Error::other)?;
                say(line, &reply)?;
            }
        })
    };
    let imap = upstream("* OK hello\r\n", imap_before_tls);
    let pop3 = upstream("+OK hello\r\n", pop3_before_tls);
    let smtp = upstream("220 hello\r\n", smtp_before_tls);
    let mut account = Account::starttls(BROKEN, servers());
    account.imap.port = imap.address.port();
    account.pop3.port = pop3.address.port();
    account.smtp.port = smtp.address.port();
    assert_temporary(&account);
    let heard: Vec<String> = heard.try_iter().collect();
    assert!(heard.len() >= 3, "the upstreams were not asked: {heard:?}");
    for line in heard {
        let verbs = [
            "CAPABILITY",
            "STARTTLS",
            "CAPA",
            "STLS",
            "EHLO",
            "LOGOUT",
            "QUIT",
        ];
        assert!(
            verbs.iter().any(|verb| line.contains(verb)),
            "said before TLS: {line:?}"
        );
        assert!(
            !line.contains(BROKEN),
            "the name was said before TLS: {line:?}"
        );
    }
}

fn authenticated(proxy: &Proxy) -> Smtp {
    let mut smtp = Smtp::connect(proxy.smtp);
    smtp.command("EHLO client.example.org").expect(250);
    smtp.auth_plain(BROKEN, proxy.password(BROKEN)).expect(235);
    smtp
}

/// More than the 10 MB that fit into socket buffers between server, proxy and client.
fn big_message() -> Vec<u8> {
    seeds()
        .into_iter()
        .find(|seed| seed.name == "30 MB")
        .expect("seeded")
        .wire
}

/// A new session gets the whole message.
fn assert_whole(target: &Target, message: &[u8]) {
    let fetched = Imap::inbox(target)
        .command("FETCH 1 BODY.PEEK[]")
        .literals();
    assert_eq!(sha256(&fetched[0]), sha256(message));
}
