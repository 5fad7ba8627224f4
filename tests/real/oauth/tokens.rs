//! What becomes of tokens: they end, are refused, are revoked, and their issuer falls ill.

use std::thread;

use super::sign_ins::{sign_in, signed_in};
use crate::client::imap::Imap;
use crate::client::pop3::Pop3;
use crate::client::smtp::Smtp;
use crate::fixture::{OAuthServers, Target, oauth_servers};

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
const EACH_LOGIN_UPSTREAM: &str = "[warm]\nsessions = 0\n";

fn log_in_by_imap(target: &Target) {
    Imap::inbox(target).command("LOGOUT");
}

fn log_in_by_pop3(target: &Target) {
    Pop3::login(target).command("QUIT");
}

fn log_in_by_smtp(target: &Target) {
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

#[test]
fn the_log_shows_no_token_at_any_level() {
    let oauth = OAuthServers::start();
    let target = signed_in(
        &oauth,
        "[log]\nfilter = \"trace\"\n\n[warm]\nsessions = 0\n",
    );
    log_in_by_imap(&target);
    let first = oauth.issuer.secrets();
    oauth.issuer.expire(&target.user);
    for log_in in [log_in_by_imap, log_in_by_pop3, log_in_by_smtp] {
        log_in(&target);
    }
    oauth.issuer.fault("html");
    oauth.issuer.expire(&target.user);
    Imap::connect(target.imap).try_login(&target.user, &target.password);
    let mut secrets = oauth.issuer.secrets();
    secrets.extend(first);
    assert!(secrets.len() > 4, "{} secrets", secrets.len());
    let proxy = target.proxy.as_ref().expect("a proxy");
    let log = proxy.log();
    assert!(log.contains("TRACE"), "no traces in the log:\n{log}");
    for secret in secrets {
        let start = secret.get(..20).expect("a long secret");
        assert!(!log.contains(start), "{start} in the log:\n{log}");
    }
}
