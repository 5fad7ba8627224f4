//! The libraries of languages, inside ticket systems, web applications and scripts. Each has a script beside this file
//! that takes the same arguments, keeps what it fetches as `imap-1`, `pop3-1` and so on, and sends a message once by each
//! mechanism.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::desk::{Desk, MESSAGE, OTHER, body, text};
use crate::client::imap::arrived;
use crate::fixture::{Target, servers};

pub(super) fn the_three_python_libraries_send_and_fetch(target: &Target) {
    let desk = Desk::new();
    let mut python = desk.program("python3");
    python
        .arg(Desk::script("python.py"))
        .args([&target.user, &target.password])
        .arg(desk.message());
    python.args([target.imap, target.pop3, target.smtp].map(|address| address.port().to_string()));
    assert_eq!(text(&desk.run(&mut python)), "done\n");
    assert!(
        arrived(target, 2)
            .iter()
            .all(|message| message.ends_with(MESSAGE.as_bytes()))
    );
}

pub(super) fn python_challenged(target: &Target) {
    let desk = Desk::new();
    let mut python = desk.program("python3");
    python.arg(Desk::script("challenges.py"));
    fetches_and_sends(target, &desk, &mut python, &["imap", "pop3"], 1);
}

pub(super) fn perl_sends_and_fetches(target: &Target) {
    perl(target, &["PLAIN", "LOGIN"]);
}

pub(super) fn perl(target: &Target, mechanisms: &[&str]) {
    let desk = Desk::new();
    let mut perl = desk.program("perl");
    perl.arg(Desk::script("perl.pl"))
        .env("MECHANISMS", mechanisms.join(" "));
    let count = mechanisms.len();
    fetches_and_sends(target, &desk, &mut perl, &["imap", "pop3"], count);
}

pub(super) fn php_sends_and_fetches(target: &Target) {
    let desk = Desk::new();
    let mut php = desk.program("php");
    php.arg(Desk::script("php.php"));
    // Told where PLAIN is named in the clear, applications give up.
    let complaints = fetches_and_sends(target, &desk, &mut php, &["imap", "pop3"], 2);
    assert_eq!(complaints, "");
}

pub(super) fn java_sends_and_fetches(target: &Target) {
    let desk = Desk::new();
    let mut java = desk.program("java");
    java.args(["-cp", JAKARTA_MAIL])
        .arg(Desk::script("JakartaMail.java"));
    fetches_and_sends(target, &desk, &mut java, &["imap", "pop3"], 2);
}

pub(super) fn ruby_sends_and_fetches(target: &Target) {
    ruby(target, &["PLAIN", "LOGIN"]);
}

pub(super) fn ruby(target: &Target, mechanisms: &[&str]) {
    let desk = Desk::new();
    let mut ruby = desk.program("ruby");
    ruby.arg(Desk::script("ruby.rb"))
        .env("MECHANISMS", mechanisms.join(" "));
    let count = mechanisms.len();
    fetches_and_sends(target, &desk, &mut ruby, &["imap", "pop3"], count);
}

/// It has no POP3.
pub(super) fn node_sends_and_fetches(target: &Target) {
    let desk = Desk::new();
    let mut node = desk.program("node");
    node.arg(Desk::script("node/node.cjs"));
    node.env("NODE_PATH", built().join("clients/node_modules"));
    fetches_and_sends(target, &desk, &mut node, &["imap"], 2);
}

/// It has neither IMAP nor POP3.
pub(super) fn go_sends(target: &Target) {
    go(target, &["PLAIN", "LOGIN"]);
}

pub(super) fn go(target: &Target, mechanisms: &[&str]) {
    let desk = Desk::new();
    let mut go = desk.program("go");
    go.arg("run").arg(Desk::script("go.go"));
    go.env("GOCACHE", built().join("go"))
        .env("CGO_ENABLED", "0")
        .env("SSL_CERT_FILE", &servers().ca_file);
    go.env("MECHANISMS", mechanisms.join(" "));
    fetches_and_sends(target, &desk, &mut go, &[], mechanisms.len());
}

/// Runs a script, and looks whether it fetched what was there and what it sent `count` times is there now. Gives what it
/// printed.
fn fetches_and_sends(
    target: &Target,
    desk: &Desk,
    script: &mut Command,
    protocols: &[&str],
    count: usize,
) -> String {
    // Dovecot counts what it delivers before what it finds, so a mailbox that nobody has read from stays empty.
    let there: &[&str] = if protocols.is_empty() {
        &[]
    } else {
        &[MESSAGE, OTHER]
    };
    if !there.is_empty() {
        let messages = there.iter().map(|message| message.as_bytes());
        target.mailbox.seed("", messages);
    }
    script.args([&target.user, &target.password]);
    script.args([target.imap, target.pop3, target.smtp].map(|address| address.port().to_string()));
    script.arg(desk.message()).arg(desk.path("delivered"));
    let said = text(&desk.run(script));
    for protocol in protocols {
        desk.assert_fetched(protocol, there);
    }
    let sent = &arrived(target, there.len() + count)[there.len()..];
    let end = body(MESSAGE).trim_end().as_bytes();
    for message in sent {
        // PHPMailer ends a message with an empty line.
        let whole = message.trim_ascii_end().ends_with(end);
        assert!(whole, "{}", text(message));
    }

    said
}

/// What the tests' build keeps from run to run.
fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).to_path_buf()
}

/// Where Debian puts it.
const JAKARTA_MAIL: &str =
    "/usr/share/java/jakarta-mail.jar:/usr/share/java/jakarta-activation.jar";
