//! Two logins in a row on one session at the provider, and all that must keep them apart. Which session serves a client is
//! told by Dovecot's process for it.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::imap::{Imap, arrived};
use crate::client::smtp::Smtp;
use crate::fixture::{Account, Mailbox, PROVIDER_PASSWORD, Proxy, Route, Target, servers};

#[test]
fn two_logins_in_a_row_are_one_at_the_provider() {
    for route in [Route::Implicit, Route::StartTls] {
        let target = Target::new(route);
        target.mailbox.seed("", [&b"Subject: one\r\n\r\n\r\n"[..]]);
        let (mut first, said) = login(&target);
        first.command("SELECT INBOX");
        first.command("STORE 1 +FLAGS.SILENT (\\Deleted)");
        let served_by = target.mailbox.served_by();
        log_out(first, proxy(&target));
        let (mut second, said_again) = login(&target);
        assert_eq!(target.mailbox.served_by(), served_by, "the same process");
        assert_eq!(said_again, said, "the same capabilities");
        let fetched = second.attempt("FETCH 1 FLAGS");
        assert!(fetched.status.starts_with("BAD"), "{fetched:?}");
        assert!(fetched.untagged.is_empty(), "{fetched:?}");
        // Marked by the first client, and expunged by nobody.
        let selected = second.command("SELECT INBOX");
        assert_eq!(selected.untagged("* 1 "), "EXISTS");
    }
}

#[test]
fn sessions_that_keep_something_end_with_their_client() {
    let target = Target::new(Route::Implicit);
    for says in [
        &["ENABLE CONDSTORE"][..],
        &["NOTIFY SET (SELECTED (MessageNew MessageExpunge))"],
        &["SELECT INBOX (CONDSTORE)"],
        &["SELECT INBOX", "FETCH 1:* (FLAGS MODSEQ)"],
        &["SELECT INBOX", "SEARCH RETURN (SAVE) ALL"],
        &["ID (\"name\" \"old\")"],
    ] {
        let (mut first, _) = login(&target);
        for command in says {
            first.attempt(command);
        }
        let served_by = target.mailbox.served_by();
        log_out(first, proxy(&target));
        let (second, _) = login(&target);
        let now = target.mailbox.served_by();
        assert!(now.iter().any(|pid| !served_by.contains(pid)), "{says:?}");
        log_out_for_good(second, &target);
    }
    let (mut idler, _) = login(&target);
    let tag = idler.tag();
    idler.send(format!("{tag} IDLE\r\n").as_bytes());
    assert!(idler.wire().text_line().starts_with('+'));
    idler.send(b"DONE\r\n");
    idler.reply(&tag).ok();
    log_out(idler, proxy(&target));
    target.mailbox.wait_until_left();
}

#[test]
fn a_revoked_password_is_wrong_while_a_session_waits() {
    let target = Target::new(Route::Implicit);
    let (first, _) = login(&target);
    log_out(first, proxy(&target));
    proxy(&target).password_revoke(&target.user, "test");
    let refused = Imap::connect(target.imap).try_login(&target.user, &target.password);
    assert!(
        refused.status.starts_with("NO [AUTHENTICATIONFAILED]"),
        "{refused:?}"
    );
}

#[test]
fn another_password_at_the_provider_is_another_session() {
    let target = Target::new(Route::Implicit);
    let (first, _) = login(&target);
    log_out(first, proxy(&target));
    let served_by = target.mailbox.served_by();
    assert!(!served_by.is_empty(), "it waits");
    proxy(&target).change_secret(&target.user, PROVIDER_PASSWORD);
    proxy(&target).signal(Signal::HUP);
    target.mailbox.wait_until_left();
    login(&target);
}

#[test]
fn a_session_that_dies_while_it_waits_is_a_login_like_any_other() {
    let target = Target::new(Route::Implicit);
    let (first, said) = login(&target);
    log_out(first, proxy(&target));
    target.mailbox.kill_sessions();
    target.mailbox.wait_until_left();
    // The process that speaks TLS closes a little after the one that was killed.
    proxy(&target).wait_until_alone();
    let (mut second, said_again) = login(&target);
    assert_eq!(said_again, said);
    second.command("SELECT INBOX");
}

#[test]
fn the_account_of_another_does_not_get_it() {
    let mailboxes = [0, 1].map(|_| Mailbox::new(servers()));
    let accounts = mailboxes
        .each_ref()
        .map(|mailbox| Account::implicit(&mailbox.user, servers()));
    let proxy = Proxy::start(&accounts);
    for mailbox in &mailboxes {
        let mut imap = Imap::connect(proxy.imap);
        imap.try_login(&mailbox.user, proxy.password(&mailbox.user))
            .ok();
        imap.command("SELECT INBOX");
        imap.append(
            "INBOX",
            format!("To: {}\r\n\r\n\r\n", mailbox.user).as_bytes(),
        );
        let found = imap.command("FETCH 1:* BODY.PEEK[]").literals();
        assert_eq!(found.len(), 1);
        assert!(String::from_utf8_lossy(&found[0]).contains(&mailbox.user));
        log_out(imap, &proxy);
    }
}

#[test]
fn submissions_share_a_session_and_a_transaction_is_nobody_elses() {
    let mailbox = Mailbox::new(servers());
    let account = Account::implicit(&mailbox.user, servers());
    let settings = "[log]\nfilter = \"info,mailsluice::relay=debug\"\n";
    let target = Target::through(mailbox, Proxy::start_with(settings, &[account]));
    let shared = || proxy(&target).log().matches("took over a session").count();
    for before in 0..2 {
        let mut smtp = Smtp::login(&target);
        assert_eq!(shared(), before);
        smtp.submit(&target.user, b"Subject: x\r\n\r\nx\r\n")
            .expect(250);
        leave(smtp, proxy(&target));
    }
    let mut dirty = Smtp::login(&target);
    assert_eq!(shared(), 2);
    let user = &target.user;
    dirty.command(&format!("MAIL FROM:<{user}>")).expect(250);
    dirty.command(&format!("RCPT TO:<{user}>")).expect(250);
    leave(dirty, proxy(&target));
    let mut after = Smtp::login(&target);
    assert_eq!(shared(), 2, "amid a transaction");
    after.command("DATA").expect(503);
    leave(after, proxy(&target));
    assert_eq!(arrived(&target, 2).len(), 2);
}

/// A session, and what the proxy said to its login.
fn login(target: &Target) -> (Imap, String) {
    let mut imap = Imap::connect(target.imap);
    let reply = imap.try_login(&target.user, &target.password).ok();
    (imap, reply.status)
}

/// Logs out and waits until the proxy's log has the end: what the next client does comes after it.
fn log_out(mut imap: Imap, proxy: &Proxy) {
    let ended = ended(proxy);
    let bye = imap.command("LOGOUT");
    assert!(bye.untagged("* BYE").starts_with(' '), "{bye:?}");
    assert_eq!(imap.wire().line_or_end(), None, "closed after LOGOUT");
    wait_for_more(proxy, ended);
}

/// Logs out so that the session at the provider ends, too.
fn log_out_for_good(mut imap: Imap, target: &Target) {
    imap.command("ID NIL");
    log_out(imap, proxy(target));
    target.mailbox.wait_until_left();
}

/// The same for SMTP.
fn leave(mut smtp: Smtp, proxy: &Proxy) {
    let ended = ended(proxy);
    smtp.command("QUIT").expect(221);
    assert_eq!(smtp.wire().line_or_end(), None, "closed after QUIT");
    wait_for_more(proxy, ended);
}

fn ended(proxy: &Proxy) -> usize {
    proxy.log().matches("session ended").count()
}

fn wait_for_more(proxy: &Proxy, before: usize) {
    let deadline = Instant::now() + PATIENCE;
    while ended(proxy) == before {
        assert!(Instant::now() < deadline, "the session does not end");
        thread::sleep(BETWEEN_LOOKS);
    }
}

fn proxy(target: &Target) -> &Proxy {
    target.proxy.as_ref().expect("through the proxy")
}

const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
