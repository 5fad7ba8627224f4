//! What becomes of tokens: they end, are refused, are revoked, and their issuer falls ill.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::illness::assert_temporary;
use super::sign_ins::{sign_in, signed_in};
use crate::client::imap::Imap;
use crate::client::pop3::Pop3;
use crate::client::smtp::Smtp;
use crate::fixture::{
    Account, CLIENT_ID, Front, Mailbox, Proxy, Target, answer, oauth_servers, servers,
};

#[test]
fn a_token_that_the_upstream_refuses_is_renewed_and_no_client_notices() {
    let oauth = oauth_servers();
    // A mailbox each: a token that is refused when it is hardly there is not renewed again and again.
    for log_in in [log_in_by_imap, log_in_by_pop3, log_in_by_smtp] {
        let target = signed_in(oauth, EACH_LOGIN_UPSTREAM);
        log_in(&target);
        assert_eq!(oauth.issuer.requests(&target.user), 1);
        oauth.issuer.expire(&target.user);
        log_in(&target);
        log_in(&target);
        assert_eq!(oauth.issuer.requests(&target.user), 2);
    }
}

/// A session that waits would serve the next login without a token.
pub(super) const EACH_LOGIN_UPSTREAM: &str = "[warm]\nsessions = 0\n";

pub(super) fn log_in_by_imap(target: &Target) {
    Imap::inbox(target).command("LOGOUT");
}

pub(super) fn log_in_by_pop3(target: &Target) {
    Pop3::login(target).command("QUIT");
}

pub(super) fn log_in_by_smtp(target: &Target) {
    Smtp::login(target).command("QUIT").expect(221);
}

/// Reuse of a refresh token would be detected, and the grant lost.
#[test]
fn a_hundred_logins_with_a_refused_token_make_one_request() {
    let oauth = oauth_servers();
    let target = signed_in(oauth, "");
    oauth.issuer.expire(&target.user);
    let before = oauth.issuer.requests(&target.user);
    log_in_many(&[&target], 100);
    assert_eq!(oauth.issuer.requests(&target.user), before + 1);
    log_in_by_imap(&target);
}

#[test]
fn two_proxies_on_one_store_make_one_request() {
    let oauth = oauth_servers();
    let target = signed_in(oauth, EACH_LOGIN_UPSTREAM);
    let second = target.proxy.as_ref().expect("a proxy").start_beside();
    let other = Target::through(target.mailbox.clone(), second);
    log_in_many(&[&target, &other], 2);
    oauth.issuer.expire(&target.user);
    let before = oauth.issuer.requests(&target.user);
    log_in_many(&[&target, &other], 40);
    assert_eq!(oauth.issuer.requests(&target.user), before + 1);
    log_in_by_imap(&other);
}

/// That many logins at once, in turn over the targets.
fn log_in_many(targets: &[&Target], count: usize) {
    thread::scope(|scope| {
        for target in targets.iter().cycle().take(count) {
            scope.spawn(|| log_in_by_imap(target));
        }
    });
}

#[test]
fn a_wrong_local_password_asks_the_issuer_for_nothing() {
    let oauth = oauth_servers();
    let target = signed_in(oauth, "");
    oauth.issuer.expire(&target.user);
    let before = oauth.issuer.requests(&target.user);
    let refused = Imap::connect(target.imap).try_login(&target.user, "wrong");
    assert!(
        refused.status.starts_with("NO [AUTHENTICATIONFAILED]"),
        "{refused:?}"
    );
    assert_eq!(oauth.issuer.requests(&target.user), before);
    log_in_by_imap(&target);
}

#[test]
fn a_revoked_grant_asks_for_a_sign_in_and_is_well_after_it() {
    let oauth = oauth_servers();
    let target = signed_in(oauth, "");
    oauth.issuer.revoke(&target.user);
    let refused = Imap::connect(target.imap).try_login(&target.user, &target.password);
    assert!(
        refused.status.starts_with("NO [UNAVAILABLE]"),
        "{refused:?}"
    );
    let alert = refused.untagged("* OK [ALERT] ");
    assert!(alert.contains("sign-in"), "{alert}");
    sign_in(&target);
    log_in_by_imap(&target);
}

/// A token for something else than mail: as good as any to the issuer, and none to the mail server.
#[test]
fn a_token_for_another_audience_is_renewed_once_and_no_client_is_blamed() {
    let oauth = oauth_servers();
    let mailbox = Mailbox::new(servers());
    let issuer = oauth.issuer.url();
    let lines = format!(
        "discover = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\nscopes = [\"calendar\", \"offline_access\"]\n"
    );
    let account = Account::oauth(&mailbox.user, oauth).with_issuer(lines);
    let target = Target::through(mailbox, Proxy::start_with(EACH_LOGIN_UPSTREAM, &[account]));
    sign_in(&target);
    for _ in 0..3 {
        assert_temporary(&target);
    }
    assert_eq!(oauth.issuer.requests(&target.user), 2);
    let log = target.proxy().log();
    assert!(log.contains("refused a fresh access token too"), "{log}");
}

/// A token that ends soon, and a refresh token that ends soon where it is not used: both are seen to while nobody logs in.
#[test]
fn what_would_end_is_renewed_without_a_login() {
    for lifetimes in [
        json!({"expires_in": 2}),
        json!({"expires_in": 3600, "refresh_token_expires_in": 2}),
    ] {
        let oauth = oauth_servers();
        let front = Front::before(oauth.issuer.address);
        front.answers(move |exchange| {
            let mut document = exchange.forward_json()?;
            let all = document.as_object_mut().expect("an object");
            all.extend(lifetimes.as_object().expect("an object").clone());
            exchange.say(answer(200, "", &document.to_string()).as_bytes())
        });
        let mailbox = Mailbox::new(servers());
        let account = Account::oauth_behind(&mailbox.user, oauth, &front);
        let target = Target::through(mailbox, Proxy::start_with(EACH_LOGIN_UPSTREAM, &[account]));
        sign_in(&target);
        let deadline = Instant::now() + PATIENCE;
        while oauth.issuer.requests(&target.user) < 3 {
            assert!(Instant::now() < deadline, "nothing is renewed");
            thread::sleep(BETWEEN_LOOKS);
        }
        log_in_by_imap(&target);
    }
}

/// The background looks every few seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
