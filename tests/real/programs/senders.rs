//! What scripts send with, and curl, which does everything.

use std::fs;

use super::Secured;
use super::desk::{Desk, MESSAGE, text};
use crate::client::assert_same;
use crate::client::imap::arrived;
use crate::fixture::{Route, Target};

pub(super) fn curl_lists_fetches_and_sends(target: &Target) {
    let desk = Desk::new();
    let login = format!("{}:{}", target.user, target.password);
    let curl = |arguments: &[&str]| {
        desk.run(
            desk.program("curl")
                .args(["-sS", "-m", "60", "-u", &login])
                .args(arguments),
        )
    };
    curl(&[
        &format!("smtp://{}", target.smtp),
        "--mail-from",
        &target.user,
        "--mail-rcpt",
        &target.user,
        "-T",
        desk.message().to_str().expect("UTF-8"),
    ]);
    assert!(arrived(target, 1)[0].ends_with(MESSAGE.as_bytes()));
    let listed = curl(&[&format!("imap://{}", target.imap)]);
    assert!(text(&listed).contains("INBOX"), "{}", text(&listed));
    let by_imap = curl(&[&format!("imap://{}/INBOX;MAILINDEX=1", target.imap)]);
    assert!(by_imap.ends_with(MESSAGE.as_bytes()), "{}", text(&by_imap));
    let by_pop3 = curl(&[&format!("pop3://{}/1", target.pop3)]);
    assert_same(&by_pop3, &by_imap, "the same message by POP3");
}

/// curl takes whatever is offered, so that each profile shows whether it can be lived with.
#[test]
fn every_profile_serves_a_program_that_takes_what_is_offered() {
    for profile in mailsluice::profile::names() {
        let target = Target::in_profile(Route::Implicit, profile);
        curl_lists_fetches_and_sends(&target);
        let target = Target::recoverable(profile);
        curl_lists_fetches_and_sends(&target);
    }
}

/// What curl prints that logs in by these options.
pub(super) fn curl_with(
    desk: &Desk,
    target: &Target,
    options: &str,
    arguments: &[&str],
) -> Vec<u8> {
    let login = format!("{}:{}", target.user, target.password);
    let mut curl = desk.program("curl");
    curl.args(["-sS", "-m", "60", "-u", &login, "--login-options", options]);
    desk.run(curl.args(arguments))
}

pub(super) fn curl_logs_in_with_each_mechanism(target: &Target) {
    target.mailbox.seed("", [MESSAGE.as_bytes()]);
    let desk = Desk::new();
    let curl = |options: &str, arguments: &[&str]| curl_with(&desk, target, options, arguments);
    let imap = format!("imap://{}/INBOX;MAILINDEX=1", target.imap);
    // What is offered on a plain port is LOGIN, the mechanism, the command, and USER and PASS.
    for options in ["AUTH=LOGIN", "AUTH=*"] {
        assert_same(&curl(options, &[&imap]), MESSAGE.as_bytes(), options);
    }
    let pop3 = format!("pop3://{}/1", target.pop3);
    for options in ["AUTH=LOGIN", "AUTH=*"] {
        assert_same(&curl(options, &[&pop3]), MESSAGE.as_bytes(), options);
    }
    let smtp = format!("smtp://{}", target.smtp);
    let (message, user) = (desk.message(), &target.user);
    let message = message.to_str().expect("UTF-8");
    for (sent, options) in (2..).zip(["AUTH=PLAIN", "AUTH=LOGIN", "AUTH=*"]) {
        let paths = ["--mail-from", user, "--mail-rcpt", user, "-T", message];
        curl(options, &[&[smtp.as_str()][..], &paths].concat());
        let came = arrived(target, sent);
        assert!(
            came.iter()
                .all(|message| message.ends_with(MESSAGE.as_bytes()))
        );
    }
}

pub(super) fn curl_speaks_tls(secured: &Secured) {
    let Secured {
        target, ca_file, ..
    } = secured;
    let user = target.user.as_str();
    let desk = Desk::new();
    let login = format!("{user}:{}", target.password);
    let (suffix, required) = secured.choose(("s", "-sS"), ("", "--ssl-reqd"));
    let curl = |arguments: &[&str]| {
        let mut curl = desk.program("curl");
        curl.args([
            "-sS", "-m", "60", required, "--cacert", ca_file, "-u", &login,
        ]);
        desk.run(curl.args(arguments))
    };
    let imap = format!(
        "imap{suffix}://localhost:{}/INBOX;MAILINDEX=1",
        target.imap.port()
    );
    assert_same(&curl(&[&imap]), MESSAGE.as_bytes(), &imap);
    let pop3 = format!("pop3{suffix}://localhost:{}/1", target.pop3.port());
    assert_same(&curl(&[&pop3]), MESSAGE.as_bytes(), &pop3);
    let message = desk.message();
    let message = message.to_str().expect("UTF-8");
    let smtp = format!("smtp{suffix}://localhost:{}", target.smtp.port());
    curl(&[
        &smtp,
        "--mail-from",
        user,
        "--mail-rcpt",
        user,
        "-T",
        message,
    ]);
    secured.assert_sent();
}

pub(super) fn msmtp_sends_with_each_mechanism(target: &Target) {
    msmtp_sends(target, &["plain", "login"]);
}

pub(super) fn msmtp_sends(target: &Target, mechanisms: &[&str]) {
    let desk = Desk::new();
    for (sent, mechanism) in (1..).zip(mechanisms) {
        msmtp(
            &desk,
            target,
            "127.0.0.1",
            &format!("auth {mechanism}\ntls off"),
        );
        let came = arrived(target, sent);
        assert!(
            came.iter()
                .all(|message| message.ends_with(MESSAGE.as_bytes()))
        );
    }
}

pub(super) fn msmtp_speaks_tls(secured: &Secured) {
    let desk = Desk::new();
    let lines = format!(
        "auth on\ntls on\ntls_starttls {}\ntls_trust_file {}",
        secured.choose("off", "on"),
        secured.ca_file
    );
    msmtp(&desk, &secured.target, "localhost", &lines);
    secured.assert_sent();
}

fn msmtp(desk: &Desk, target: &Target, host: &str, lines: &str) {
    let config = desk.write(
        "msmtprc",
        &format!(
            "account default\nhost {host}\nport {}\nfrom {user}\nuser {user}\npassword {}\n{lines}\n",
            target.smtp.port(),
            target.password,
            user = target.user
        ),
    );
    let message = fs::File::open(desk.message()).expect("the message");
    desk.run(
        desk.program("msmtp")
            .arg("-C")
            .arg(config)
            .arg(&target.user)
            .stdin(message),
    );
}

pub(super) fn swaks_sends_with_each_mechanism(target: &Target) {
    swaks(target, &["PLAIN", "LOGIN"]);
}

pub(super) fn swaks(target: &Target, mechanisms: &[&str]) {
    let desk = Desk::new();
    for (sent, mechanism) in (1..).zip(mechanisms) {
        let mut swaks = desk.program("swaks");
        swaks.args([
            "--server",
            "127.0.0.1",
            "--port",
            &target.smtp.port().to_string(),
            "--auth",
            mechanism,
        ]);
        swaks.args([
            "--auth-user",
            &target.user,
            "--auth-password",
            &target.password,
        ]);
        swaks.args(["--from", &target.user, "--to", &target.user, "--data"]);
        swaks.arg(format!("@{}", desk.message().display()));
        desk.run(&mut swaks);
        let messages = arrived(target, sent);
        assert!(
            messages
                .iter()
                .all(|message| text(message).contains("Gr\u{fc}\u{df}e\r\n.dot\r\n"))
        );
    }
}
