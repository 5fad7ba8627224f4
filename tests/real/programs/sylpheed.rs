//! Sylpheed and Claws Mail, which came of it, under Xvfb. A running one takes commands from the next that is started:
//! receive, send what is queued, show a message. Nobody clicks.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::desk::{Desk, MESSAGE, OTHER, files, on_the_wire, text};
use crate::client::imap::arrived;
use crate::fixture::Target;

/// What the two do differently.
struct Program {
    name: &'static str,
    /// Where it keeps its files.
    folder: &'static str,
    config: &'static str,
    log: &'static str,
    /// Its settings: nothing at the start but what it is told.
    settings: &'static str,
    /// How it numbers IMAP4.
    imap: u8,
    inbox: &'static str,
    /// What stands before a message in the queue, last.
    queued: &'static str,
    /// Shows a message.
    show: &'static str,
}

const SYLPHEED: Program = Program {
    name: "sylpheed",
    folder: ".sylpheed-2.0",
    config: "sylpheedrc",
    log: "sylpheed.log",
    settings: "[Common]\ncheck_on_startup=0\nauto_update_check=0\n",
    imap: 2,
    inbox: "inbox",
    queued: "AID:1\n\n",
    show: "--open",
};

const CLAWS: Program = Program {
    name: "claws-mail",
    folder: ".claws-mail",
    config: "clawsrc",
    log: "claws.log",
    // From an old version it takes over passwords that are not encrypted.
    settings: "[Common]\nconfig_version=0\n",
    imap: 3,
    inbox: "#mh/Mailbox/inbox",
    queued: "MAID:1\nX-Claws-End-Special-Headers: 1\n",
    show: "--select",
};

pub(super) fn sylpheed_sends_and_fetches(target: &Target) {
    sends_and_fetches(&SYLPHEED, target, "PLAIN");
}

pub(super) fn sylpheed_answers_challenges(target: &Target) {
    sends_and_fetches(&SYLPHEED, target, "CRAM-MD5");
}

pub(super) fn claws_sends_and_fetches(target: &Target) {
    sends_and_fetches(&CLAWS, target, "LOGIN");
}

pub(super) fn claws_answers_challenges(target: &Target) {
    sends_and_fetches(&CLAWS, target, "CRAM-MD5");
}

/// It chooses the mechanism by itself, and its log tells of it.
fn sends_and_fetches(program: &Program, target: &Target, mechanism: &str) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    let desk = Desk::new();
    let display = Display::open();
    let own = desk.path(program.folder);
    write_files(program, &desk, target);
    let start = |arguments: &[&str]| {
        let mut start = desk.program(program.name);
        start.env("DISPLAY", &display.name);
        // The socket by which one start of it finds the other.
        start.env("TMPDIR", desk.path("")).args(arguments);
        start
    };
    let mut window = Window(
        start(&["--receive-all"])
            .stdout(Stdio::null())
            .spawn()
            .expect("timeout"),
    );
    for message in [MESSAGE, OTHER] {
        wait_for_message(&desk.path("Mail/inbox"), message);
    }
    desk.run(&mut start(&["--send"]));
    let sent = &arrived(target, 3)[2];
    assert!(
        sent.ends_with(b"\r\n\r\n.dot\r\nfrom a queue\r\n"),
        "{}",
        text(sent)
    );
    desk.run(&mut start(&[program.show, "#imap/imap/INBOX/1"]));
    wait_for_message(&own.join("imapcache"), MESSAGE);
    desk.run(&mut start(&["--exit"]));
    assert!(window.0.wait().expect("wait").success());
    let log = fs::read_to_string(own.join(program.log)).expect("a log");
    assert!(log.contains(&format!("ESMTP> AUTH {mechanism}")), "{log}");
}

/// An account for POP3 and SMTP, one for IMAP, and a message in the queue.
fn write_files(program: &Program, desk: &Desk, target: &Target) {
    for folder in ["inbox", "sent", "draft", "queue", "trash"] {
        fs::create_dir_all(desk.path("Mail").join(folder)).expect("a folder");
    }
    let own = program.folder;
    fs::create_dir(desk.path(own)).expect("a folder");
    let (user, password) = (&target.user, &target.password);
    let person = format!(
        "name=Anna\naddress={user}\nreceive_server=127.0.0.1\nsmtp_server=127.0.0.1\nuser_id={user}\n\
         password={password}\nreceive_at_get_all=1\n"
    );
    desk.write(
        &format!("{own}/accountrc"),
        &format!(
            "[Account: 1]\naccount_name=pop3\nis_default=1\nprotocol=0\n{person}inbox={inbox}\nremove_mail=0\nget_all_mail=1\n\
             set_popport=1\npop_port={}\nset_smtpport=1\nsmtp_port={}\nuse_smtp_auth=1\nsmtp_user_id={user}\n\
             smtp_password={password}\n\n\
             [Account: 2]\naccount_name=imap\nprotocol={imap}\n{person}set_imapport=1\nimap_port={}\n",
            target.pop3.port(),
            target.smtp.port(),
            target.imap.port(),
            inbox = program.inbox,
            imap = program.imap
        ),
    );
    desk.write(&format!("{own}/{}", program.config), program.settings);
    desk.write(&format!("{own}/folderlist.xml"), FOLDERS);
    desk.write(
        "Mail/queue/1",
        &format!(
            "S:{user}\nSSV:127.0.0.1\nR:<{user}>\n{queued}From: {user}\nTo: {user}\nSubject: queued\n\
             Date: Thu, 1 Jan 2026 12:00:00 +0100\n\n.dot\nfrom a queue\n",
            queued = program.queued
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
