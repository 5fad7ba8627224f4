//! Programs that do not say the password but show that they know it: CRAM-MD5, SCRAM-SHA-256 and APOP.

use super::desk::{Desk, MESSAGE};
use super::{fetchers, libraries, senders};
use crate::client::assert_same;
use crate::client::imap::arrived;
use crate::fixture::Target;

pub(super) fn swaks_answers_challenges(target: &Target) {
    senders::swaks(target, &["CRAM-MD5"]);
}

pub(super) fn msmtp_answers_challenges(target: &Target) {
    senders::msmtp_sends(target, &["cram-md5", "scram-sha-256"]);
}

pub(super) fn mpop_answers_challenges(target: &Target) {
    fetchers::mpop_fetches(target, &["apop", "cram-md5", "scram-sha-256"]);
}

pub(super) fn fetchmail_answers_challenges(target: &Target) {
    fetchers::fetchmail_fetches(target, "cram-md5", &[("imap", target.imap)]);
    fetchers::fetchmail_fetches(target, "any", &[("apop", target.pop3)]);
}

pub(super) fn curl_answers_challenges(target: &Target) {
    target.mailbox.seed("", [MESSAGE.as_bytes()]);
    let desk = Desk::new();
    let curl =
        |options: &str, arguments: &[&str]| senders::curl_with(&desk, target, options, arguments);
    let imap = format!("imap://{}/INBOX;MAILINDEX=1", target.imap);
    let pop3 = format!("pop3://{}/1", target.pop3);
    for (options, url) in [
        ("AUTH=CRAM-MD5", &imap),
        ("AUTH=CRAM-MD5", &pop3),
        ("AUTH=+APOP", &pop3),
    ] {
        assert_same(&curl(options, &[url]), MESSAGE.as_bytes(), options);
    }
    let (smtp, message) = (format!("smtp://{}", target.smtp), desk.message());
    let mut arguments = vec![smtp.as_str(), "--mail-from", &target.user];
    arguments.extend(["--mail-rcpt", &target.user, "-T"]);
    arguments.push(message.to_str().expect("UTF-8"));
    curl("AUTH=CRAM-MD5", &arguments);
    assert!(arrived(target, 2)[1].ends_with(MESSAGE.as_bytes()));
}

pub(super) fn python_answers_challenges(target: &Target) {
    libraries::python_challenged(target);
}

pub(super) fn perl_answers_challenges(target: &Target) {
    libraries::perl(target, &["CRAM-MD5"]);
}

pub(super) fn ruby_answers_challenges(target: &Target) {
    libraries::ruby(target, &["CRAM-MD5"]);
}

pub(super) fn go_answers_challenges(target: &Target) {
    libraries::go(target, &["CRAM-MD5"]);
}
