//! Signing in: with a browser, with a device code, not at all; and what a browser must not get away with.

use std::thread;

use crate::client::browser::{Browser, Page, split};
use crate::client::imap::Imap;
use crate::client::pop3::Pop3;
use crate::client::smtp::Smtp;
use crate::fixture::{Account, Mailbox, OAuthServers, Proxy, Target, oauth_servers, servers};

/// A mailbox behind a proxy that nobody has signed in to.
pub(super) fn target(oauth: &OAuthServers, settings: &str) -> Target {
    let mailbox = Mailbox::new(servers());
    let account = Account::oauth(&mailbox.user, oauth);
    Target::through(mailbox, Proxy::start_with(settings, &[account]))
}

/// The same, signed in with a browser.
pub(super) fn signed_in(oauth: &OAuthServers, settings: &str) -> Target {
    let target = target(oauth, settings);
    let page = sign_in(&target);
    assert_eq!(page.status, 200, "{page:?}");
    target
}

/// A person signs in with a browser; the page that the browser ends at.
pub(super) fn sign_in(target: &Target) -> Page {
    let mut last = None;
    let proxy = target.proxy.as_ref().expect("a proxy");
    let output = proxy.sign_in(&target.user, &[], |line| {
        if !line.starts_with("http") {
            return false;
        }
        let mut browser = Browser::default();
        let (home, path) = split(&browser.sign_in(line, &target.user));
        last = Some(browser.get(home, &path));
        true
    });
    assert!(output.status.success(), "{output:?}");
    last.expect("a page")
}

#[test]
fn a_person_signs_in_once_and_programs_fetch_and_send() {
    let target = signed_in(oauth_servers(), "");
    target
        .mailbox
        .seed("", [&b"Subject: seeded\r\n\r\nhello\r\n"[..]]);
    let mut imap = Imap::inbox(&target);
    let fetched = imap.command("FETCH 1 BODY.PEEK[]").literals();
    assert_eq!(fetched, [b"Subject: seeded\r\n\r\nhello\r\n"]);
    let stat = Pop3::login(&target).command("STAT");
    assert!(stat.starts_with("1 "), "{stat}");
    let mut smtp = Smtp::login(&target);
    smtp.submit(&target.user, b"Subject: sent\r\n\r\nhello again\r\n")
        .expect(250);
    smtp.command("QUIT").expect(221);
    assert_eq!(oauth_servers().issuer.requests(&target.user), 1);
}

#[test]
fn who_logs_in_before_anybody_signed_in_is_told_so_and_not_blamed() {
    let target = target(oauth_servers(), "");
    let mut imap = Imap::connect(target.imap);
    let first = imap.try_login(&target.user, &target.password);
    assert!(first.status.starts_with("NO [UNAVAILABLE]"), "{first:?}");
    let alert = first.untagged("* OK [ALERT] ");
    assert!(alert.contains("sign-in"), "{alert}");
    let second = Imap::connect(target.imap).try_login(&target.user, &target.password);
    assert!(second.status.starts_with("NO [UNAVAILABLE]"), "{second:?}");
    assert!(second.untagged.is_empty(), "{second:?}");
    let mut pop3 = Pop3::connect(target.pop3);
    pop3.command(&format!("USER {}", target.user));
    let refused = pop3.attempt(&format!("PASS {}", target.password));
    assert!(refused.starts_with("-ERR [SYS/TEMP]"), "{refused}");
    let mut smtp = Smtp::connect(target.smtp);
    smtp.command("EHLO client.example.org").expect(250);
    smtp.auth_plain(&target.user, &target.password).expect(454);
    let log = target.proxy().log();
    let refused = log.lines().filter(|line| line.contains("login refused"));
    let of_account = refused.map(|line| line.contains(&format!("account=\"{}\"", target.user)));
    assert_eq!(of_account.collect::<Vec<_>>(), [true; 4], "{log}");
    sign_in(&target);
    imap.try_login(&target.user, &target.password).ok();
}

#[test]
fn only_the_browser_that_was_sent_out_comes_back_and_only_once() {
    let target = target(oauth_servers(), "");
    let proxy = target.proxy.as_ref().expect("a proxy");
    let mut ends = None;
    let output = proxy.sign_in(&target.user, &[], |line| {
        if !line.starts_with("http") {
            return false;
        }
        let mut browser = Browser::default();
        let back = browser.sign_in(line, &target.user);
        let (home, path) = split(&back);
        for forged in [
            with_parameter(
                &path,
                "state",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            with_parameter(&path, "iss", "http%3A%2F%2F127.0.0.1%3A1"),
            "/favicon.ico".to_owned(),
            "/".to_owned(),
        ] {
            let page = browser.get(home, &forged);
            assert!(page.status >= 400, "{forged}: {page:?}");
        }
        ends = Some((home, path));
        true
    });
    // A wrong issuer ends the sign-in it was for; a wrong state ends none.
    assert!(!output.status.success(), "{output:?}");
    let (home, path) = ends.expect("an address");
    let page = Browser::default().get(home, &path);
    assert!(
        page.status >= 400,
        "a code came in after its sign-in ended: {page:?}"
    );
    assert_eq!(oauth_servers().issuer.requests(&target.user), 0);

    let used = sign_in_and_keep_the_address(&target);
    let (home, path) = split(&used);
    let replayed = Browser::default().get(home, &path);
    assert!(replayed.status >= 400, "{replayed:?}");
    assert_eq!(oauth_servers().issuer.requests(&target.user), 1);
    Imap::inbox(&target).command("NOOP");
}

/// A sign-in that works; where the browser ended.
fn sign_in_and_keep_the_address(target: &Target) -> String {
    let mut ended = None;
    let proxy = target.proxy.as_ref().expect("a proxy");
    let output = proxy.sign_in(&target.user, &[], |line| {
        if !line.starts_with("http") {
            return false;
        }
        let mut browser = Browser::default();
        let back = browser.sign_in(line, &target.user);
        let (home, path) = split(&back);
        let wrong = with_parameter(&path, "state", "wrong");
        assert!(browser.get(home, &wrong).status >= 400);
        assert_eq!(browser.get(home, &path).status, 200);
        ended = Some(back);
        true
    });
    assert!(output.status.success(), "{output:?}");
    ended.expect("an address")
}

/// `path` with another value for one parameter of its query.
fn with_parameter(path: &str, name: &str, value: &str) -> String {
    let start = format!("{name}=");
    let (path, query) = path.split_once('?').expect("a query");
    assert!(query.contains(&start), "no {name} in {query}");
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.starts_with(&start) {
            true => format!("{start}{value}"),
            false => pair.to_owned(),
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

/// Two tabs with the same address, or a browser that loads a page twice: the code is good for one of them.
#[test]
fn the_same_sign_in_completed_twice_at_once_is_one() {
    let target = target(oauth_servers(), "");
    let mut pages = Vec::new();
    let output = target.proxy().sign_in(&target.user, &[], |line| {
        if !line.starts_with("http") {
            return false;
        }
        let (home, path) = split(&Browser::default().sign_in(line, &target.user));
        let open = || Browser::default().get(home, &path);
        pages = thread::scope(|scope| {
            let tabs = [scope.spawn(open), scope.spawn(open)];
            tabs.map(|tab| tab.join().expect("a page")).into()
        });
        true
    });
    assert!(output.status.success(), "{output:?}");
    pages.sort_by_key(|page| page.status);
    let [signed_in, second] = &pages[..] else {
        panic!("not two pages: {pages:?}");
    };
    let name = &target.user;
    assert_eq!((signed_in.status, second.status), (200, 410));
    assert!(
        signed_in.body.contains(&format!("{name} is signed in")),
        "{signed_in:?}"
    );
    assert!(second.body.contains("finished before"), "{second:?}");
    assert_eq!(oauth_servers().issuer.requests(name), 1);
    Imap::inbox(&target).command("NOOP");
}

/// Two people, or one who has forgotten the first tab. Each is told the truth, and the later one counts.
#[test]
fn two_sign_ins_of_one_account_at_once_are_one_grant() {
    let target = target(oauth_servers(), "");
    let mut inner = None;
    let output = target.proxy().sign_in(&target.user, &[], |line| {
        if !line.starts_with("http") {
            return false;
        }
        let (home, path) = split(&Browser::default().sign_in(line, &target.user));
        inner = Some(sign_in(&target));
        let page = Browser::default().get(home, &path);
        assert_eq!(page.status, 200, "{page:?}");
        true
    });
    assert!(output.status.success(), "{output:?}");
    let inner = inner.expect("a page");
    assert_eq!(inner.status, 200, "{inner:?}");
    let issuer = &oauth_servers().issuer;
    assert_eq!(issuer.requests(&target.user), 2);
    let status = target.proxy().command(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let grants = status["grants"].as_array().expect("grants");
    let states: Vec<_> = grants.iter().map(|grant| &grant["state"]).collect();
    assert_eq!(states, ["active"]);
    Imap::inbox(&target).command("NOOP");
    issuer.expire(&target.user);
    Imap::inbox(&target).command("NOOP");
    assert_eq!(issuer.requests(&target.user), 3);
}

#[test]
fn signing_out_gives_the_grant_back_and_forgets_it() {
    let issuer = &oauth_servers().issuer;
    let target = signed_in(oauth_servers(), "");
    Imap::inbox(&target).command("LOGOUT");
    assert_eq!(issuer.held(&target.user), 1);
    let output = target.proxy().command(&["sign-out", &target.user]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(issuer.held(&target.user), 0);
    let refused = Imap::connect(target.imap).try_login(&target.user, &target.password);
    assert!(
        refused.status.starts_with("NO [UNAVAILABLE]"),
        "{refused:?}"
    );
    assert!(refused.untagged("* OK [ALERT] ").contains("sign-in"));
    sign_in(&target);
    Imap::inbox(&target).command("LOGOUT");
}
