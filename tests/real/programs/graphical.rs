//! What people read mail with in windows.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Secured;
use super::desk::{Desk, MESSAGE, OTHER, body, files, on_the_wire, text};
use crate::client::imap::{Imap, arrived};
use crate::fixture::Target;

pub(super) fn sylpheed_sends_and_fetches(target: &Target) {
    sylpheed(target, "PLAIN");
}

/// Everything by commands that a running Sylpheed takes: receive, send what is queued, open a message. It chooses the
/// mechanism by itself, and its log tells of it.
pub(super) fn sylpheed(target: &Target, sends_by: &str) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    let desk = Desk::new();
    let display = Display::open();
    sylpheed_files(&desk, target);
    let sylpheed = |argument: &[&str]| {
        let mut sylpheed = desk.program("sylpheed");
        sylpheed.env("DISPLAY", &display.name);
        // The socket by which one start of it finds the other.
        sylpheed.env("TMPDIR", desk.path("")).args(argument);
        sylpheed
    };
    let mut window = Window(
        sylpheed(&["--receive-all"])
            .stdout(Stdio::null())
            .spawn()
            .expect("timeout"),
    );
    for message in [MESSAGE, OTHER] {
        wait_for_message(&desk.path("Mail/inbox"), message);
    }
    desk.run(&mut sylpheed(&["--send"]));
    let sent = &arrived(target, 3)[2];
    assert!(
        sent.ends_with(b"\r\n\r\n.dot\r\nfrom sylpheed\r\n"),
        "{}",
        text(sent)
    );
    desk.run(&mut sylpheed(&["--open", "#imap/imap/INBOX/1"]));
    wait_for_message(&desk.path(".sylpheed-2.0/imapcache"), MESSAGE);
    desk.run(&mut sylpheed(&["--exit"]));
    assert!(window.0.wait().expect("wait").success());
    let log = fs::read_to_string(desk.path(".sylpheed-2.0/sylpheed.log")).expect("a log");
    assert!(log.contains(&format!("ESMTP> AUTH {sends_by}")), "{log}");
}

/// An account for POP3 and SMTP, one for IMAP, and a message in the queue.
fn sylpheed_files(desk: &Desk, target: &Target) {
    for folder in ["inbox", "sent", "draft", "queue", "trash"] {
        fs::create_dir_all(desk.path("Mail").join(folder)).expect("a folder");
    }
    fs::create_dir(desk.path(".sylpheed-2.0")).expect("a folder");
    let (user, password) = (&target.user, &target.password);
    let person = format!(
        "name=Anna\naddress={user}\nreceive_server=127.0.0.1\nsmtp_server=127.0.0.1\nuser_id={user}\n\
         password={password}\nreceive_at_get_all=1\n"
    );
    desk.write(
        ".sylpheed-2.0/accountrc",
        &format!(
            "[Account: 1]\naccount_name=pop3\nis_default=1\nprotocol=0\n{person}inbox=inbox\nremove_mail=0\nget_all_mail=1\n\
             set_popport=1\npop_port={}\nset_smtpport=1\nsmtp_port={}\nuse_smtp_auth=1\nsmtp_user_id={user}\n\
             smtp_password={password}\n\n\
             [Account: 2]\naccount_name=imap\nprotocol=2\n{person}set_imapport=1\nimap_port={}\n",
            target.pop3.port(),
            target.smtp.port(),
            target.imap.port()
        ),
    );
    desk.write(
        ".sylpheed-2.0/sylpheedrc",
        "[Common]\ncheck_on_startup=0\nauto_update_check=0\n",
    );
    desk.write(".sylpheed-2.0/folderlist.xml", FOLDERS);
    desk.write(
        "Mail/queue/1",
        &format!(
            "S:{user}\nSSV:127.0.0.1\nR:<{user}>\nAID:1\n\nFrom: {user}\nTo: {user}\nSubject: from Sylpheed\n\
             Date: Thu, 1 Jan 2026 12:00:00 +0100\n\n.dot\nfrom sylpheed\n"
        ),
    );
}

const FOLDERS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<folderlist>
    <folder type="mh" name="Mailbox" path="Mail">
        <folderitem type="inbox" name="inbox" path="inbox" mtime="0" new="0" unread="0" total="0"/>
        <folderitem type="outbox" name="sent" path="sent" mtime="0" new="0" unread="0" total="0"/>
        <folderitem type="draft" name="draft" path="draft" mtime="0" new="0" unread="0" total="0"/>
        <folderitem type="queue" name="queue" path="queue" mtime="0" new="0" unread="0" total="1"/>
        <folderitem type="trash" name="trash" path="trash" mtime="0" new="0" unread="0" total="0"/>
    </folder>
    <folder type="imap" name="imap" account_id="2">
        <folderitem type="inbox" name="INBOX" path="INBOX" mtime="0" new="0" unread="0" total="0"/>
    </folder>
</folderlist>
"#;

/// Waits until a file below `folder` is this message.
fn wait_for_message(folder: &Path, message: &str) {
    let deadline = Instant::now() + PATIENCE;
    let is_there = || {
        let found = if folder.is_dir() {
            files(folder)
        } else {
            Vec::new()
        };
        found
            .iter()
            .filter_map(|file| fs::read(file).ok())
            .any(|kept| on_the_wire(&kept) == message.as_bytes())
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "nothing came to {folder:?}");
        thread::sleep(BETWEEN_LOOKS);
    }
}

pub(super) fn thunderbird_sends_and_fetches(target: &Target) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    let ca_file = crate::fixture::servers().ca_file.to_str().expect("UTF-8");
    thunderbird(
        target,
        &[MESSAGE, OTHER],
        ["127.0.0.1", "plain", ca_file, "cleartext"],
    );
}

/// "Encrypted password" in its settings.
pub(super) fn thunderbird_encrypts_its_password(target: &Target) {
    target.mailbox.seed("", [MESSAGE.as_bytes()]);
    let ca_file = crate::fixture::servers().ca_file.to_str().expect("UTF-8");
    thunderbird(
        target,
        &[MESSAGE],
        ["127.0.0.1", "plain", ca_file, "encrypted"],
    );
}

pub(super) fn thunderbird_speaks_tls(secured: &Secured) {
    let tls = secured.choose("implicit", "starttls");
    thunderbird(
        &secured.target,
        &[MESSAGE],
        ["localhost", tls, secured.ca_file, "cleartext"],
    );
}

/// Reads what is there by IMAP and POP3, sends, and keeps a copy in Sent.
fn thunderbird(target: &Target, there: &[&str], arguments: [&str; 4]) {
    let desk = Desk::new();
    let mut python = desk.program("python3");
    python.arg(Desk::script("thunderbird.py"));
    python.args([&target.user, &target.password]);
    python.args([target.imap, target.pop3, target.smtp].map(|address| address.port().to_string()));
    python.arg(desk.message()).arg(desk.path("delivered"));
    desk.run(python.args(arguments));
    for protocol in ["imap", "pop3"] {
        desk.assert_fetched(protocol, there);
    }
    let provider = target.at_the_provider();
    let sent = &arrived(&provider, there.len() + 1)[there.len()];
    let mut imap = Imap::login(&provider);
    imap.command("SELECT Sent");
    let kept = &imap.command("FETCH 1 BODY.PEEK[]").literals()[0];
    for message in [sent, kept] {
        let whole = message.ends_with(body(MESSAGE).as_bytes());
        assert!(whole, "{}", text(message));
    }
}

/// A screen nobody sees. It goes with this.
struct Display {
    name: String,
    server: Child,
}

impl Display {
    fn open() -> Self {
        let mut server = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                "1024x768x24",
                "-nolisten",
                "tcp",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb; tests/run installs it");
        let mut number = String::new();
        let mut output = BufReader::new(server.stdout.as_mut().expect("piped"));
        output.read_line(&mut number).expect("a line");
        let number = number.trim();
        assert!(!number.is_empty(), "Xvfb does not start");
        Self {
            name: format!(":{number}"),
            server,
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A program that would run on. It ends with this.
struct Window(Child);

impl Drop for Window {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
