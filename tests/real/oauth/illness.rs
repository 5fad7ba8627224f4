//! An issuer that falls ill: clients are told to come back, the grant stays, and mail flows again by itself.

use std::thread;
use std::time::{Duration, Instant};

use super::sign_ins::sign_in;
use super::tokens::{EACH_LOGIN_UPSTREAM, log_in_by_imap};
use crate::client::imap::Imap;
use crate::client::pop3::Pop3;
use crate::client::smtp::Smtp;
use crate::fixture::{
    Account, Exchange, Front, Mailbox, Proxy, Target, answer, oauth_servers, servers,
};

#[test]
fn an_issuer_that_refuses_connections() {
    survive(Front::refuse);
}

#[test]
fn an_issuer_that_closes_without_an_answer() {
    survive(|front| front.answers(|_| Ok(())));
}

#[test]
fn an_issuer_that_never_answers() {
    survive(|front| front.answers(Exchange::until_gone));
}

#[test]
fn an_issuer_that_breaks_off_amid_its_answer() {
    survive(|front| {
        front.answers(|exchange| {
            exchange.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"access_token\": \"a")
        });
    });
}

#[test]
fn an_issuer_in_trouble_of_its_own() {
    survive(|front| says(front, 500, "", "{\"error\": \"server_error\"}"));
}

#[test]
fn an_issuer_in_trouble_that_calls_it_a_dead_grant() {
    survive(|front| says(front, 503, "", "{\"error\": \"invalid_grant\"}"));
}

#[test]
fn an_issuer_that_is_not_available_for_the_moment() {
    survive(|front| says(front, 400, "", "{\"error\": \"temporarily_unavailable\"}"));
}

#[test]
fn an_issuer_that_speaks_garbage() {
    survive(|front| says(front, 200, "", "\u{0}\u{ff} not json"));
}

#[test]
fn an_issuer_behind_a_page_for_people() {
    let page = "<html><body>invalid_grant? No: the cat sits on the <b>server</b>.</body></html>";
    survive(|front| says(front, 400, "Content-Type: text/html\r\n", page));
}

#[test]
fn an_issuer_that_sends_elsewhere() {
    let front = survive(|front| {
        let elsewhere = format!("Location: {}\r\n", front.url("/elsewhere"));
        says(front, 307, &elsewhere, "");
    });
    let seen = front.seen();
    assert!(seen.iter().all(|seen| seen.path == "/token"), "{seen:?}");
}

/// Unix seconds are counted here, so of a wait the first second may be gone already.
#[test]
fn an_issuer_that_wants_fewer_requests_is_left_alone_for_as_long_as_it_says() {
    let slow_down = "{\"error\": \"slow_down\"}";
    let front = survive(|front| says(front, 429, "Retry-After: 4\r\n", slow_down));
    let seen = front.seen();
    let refreshes: Vec<_> = seen
        .iter()
        .filter(|seen| seen.fields["grant_type"] == "refresh_token")
        .collect();
    let [refused, taken] = refreshes[..] else {
        panic!("not two requests: {refreshes:?}");
    };
    let gap = taken.at.duration_since(refused.at);
    assert!(gap >= Duration::from_secs(3), "it came back after {gap:?}");
}

/// Logs in while the front is as `fall_ill` makes it, and after it has recovered.
fn survive(fall_ill: impl FnOnce(&Front)) -> Front {
    let oauth = oauth_servers();
    let front = Front::before(oauth.issuer.address);
    let mailbox = Mailbox::new(servers());
    let account = Account::oauth_behind(&mailbox.user, oauth, &front);
    let target = Target::through(mailbox, Proxy::start_with(EACH_LOGIN_UPSTREAM, &[account]));
    sign_in(&target);
    log_in_by_imap(&target);
    oauth.issuer.expire(&target.user);
    fall_ill(&front);
    assert_temporary(&target);
    front.recover();
    log_in_again(&target);
    assert_eq!(oauth.issuer.requests(&target.user), 2);
    front
}

fn says(front: &Front, status: u16, fields: &str, body: &str) {
    let answer = answer(status, fields, body);
    front.answers(move |exchange| exchange.say(answer.as_bytes()));
}

/// A login is refused in every protocol, and in none as one with a wrong password.
pub(super) fn assert_temporary(target: &Target) {
    let refused = Imap::connect(target.imap).try_login(&target.user, &target.password);
    let status = &refused.status;
    assert!(status.starts_with("NO [UNAVAILABLE]"), "{refused:?}");
    let mut pop3 = Pop3::connect(target.pop3);
    pop3.command(&format!("USER {}", target.user));
    let refused = pop3.attempt(&format!("PASS {}", target.password));
    assert!(refused.starts_with("-ERR [SYS/TEMP]"), "{refused}");
    let mut smtp = Smtp::connect(target.smtp);
    smtp.command("EHLO client.example.org").expect(250);
    smtp.auth_plain(&target.user, &target.password).expect(454);
}

/// As a mail program does it: again and again, and nobody is asked for anything.
fn log_in_again(target: &Target) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = Imap::connect(target.imap).try_login(&target.user, &target.password);
        if reply.status.starts_with("OK ") {
            return;
        }
        let status = &reply.status;
        assert!(status.starts_with("NO [UNAVAILABLE]"), "{reply:?}");
        assert!(Instant::now() < deadline, "still {reply:?}");
        thread::sleep(BETWEEN_TRIES);
    }
}

/// A wait after a failure has some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
