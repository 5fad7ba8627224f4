//! Where a program sits: its configuration, the messages it sends, what it fetched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::client::sha256;

/// A folder in which a program finds its configuration and leaves what it fetched.
pub(super) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(super) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("mailsluice-desk-")
            .tempdir()
            .expect("a temporary folder");
        fs::create_dir(folder.path().join("delivered")).expect("a folder");
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration file only its owner reads, or the programs refuse it.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        path
    }

    pub(super) fn message(&self) -> PathBuf {
        self.write("message", MESSAGE)
    }

    /// A delivery agent that keeps each message in a file of its own.
    pub(super) fn deliver(&self) -> PathBuf {
        let folder = self.path("delivered");
        let script = format!(
            "#!/bin/sh\ncat >\"$(mktemp {}/XXXXXX)\"\n",
            folder.display()
        );
        let path = self.write("deliver", &script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("chmod");
        path
    }

    /// Both messages came; fetching programs add headers of their own and keep LF.
    pub(super) fn assert_delivered(&self, how: &str) {
        let delivered: Vec<_> = files(&self.path("delivered"))
            .iter()
            .map(|file| on_the_wire(&fs::read(file).expect("readable")))
            .collect();
        assert_eq!(delivered.len(), 2, "{how}");
        for message in [MESSAGE, OTHER] {
            let came = delivered
                .iter()
                .any(|delivered| delivered.ends_with(body(message).as_bytes()));
            assert!(
                came,
                "{how}: {:?}",
                delivered
                    .iter()
                    .map(|message| text(message))
                    .collect::<Vec<_>>()
            );
        }
    }

    /// Everything `what` names was delivered as it lies at the provider, byte for byte: `imap` means the files `imap-1`,
    /// `imap-2` and so on, empty all files.
    pub(super) fn assert_fetched(&self, what: &str, expected: &[&str]) {
        let sum = |message: &[u8]| sha256(&on_the_wire(message));
        let mut came: Vec<_> = files(&self.path("delivered"))
            .iter()
            .filter(|file| name(file).starts_with(what))
            .map(|file| sum(&fs::read(file).expect("readable")))
            .collect();
        let mut there: Vec<_> = expected.iter().map(|text| sum(text.as_bytes())).collect();
        came.sort_unstable();
        there.sort_unstable();
        assert_eq!(came, there, "{what}: not what lies there");
    }

    /// A program at home here, ended when it takes too long.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", PATIENCE, name]);
        command
            .env("HOME", self.folder.path())
            .env("TERM", "xterm")
            .stdin(Stdio::null());
        command
    }

    /// A script of ours that stands beside this file.
    pub(super) fn script(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/real/programs")
            .join(name)
    }

    /// Runs a program to its end and gives what it printed.
    pub(super) fn run(&self, program: &mut Command) -> Vec<u8> {
        let output = program.output().expect("timeout");
        assert!(
            output.status.success(),
            "{program:?}: {}\n{}\n{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        output.stdout
    }
}

/// Seconds; none of the programs needs ten.
const PATIENCE: &str = "120";

pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !name(&path).starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(super) fn name(file: &Path) -> String {
    let name = file.file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

/// What a program keeps with LF, with CRLF.
pub(super) fn on_the_wire(kept: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(kept.len());
    let mut last = 0;
    for &byte in kept {
        if byte == b'\n' && last != b'\r' {
            wire.push(b'\r');
        }
        wire.push(byte);
        last = byte;
    }
    wire
}

/// What follows the header of a message.
pub(super) fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").expect("a body").1
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) const MESSAGE: &str = "From: Anna <anna@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: a message\r\n\
    Date: Thu, 1 Jan 2026 12:00:00 +0100\r\nMessage-ID: <a@programs.example.org>\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    Gr\u{fc}\u{df}e\r\n.dot\r\n..\r\nA1 OK [CAPABILITY IMAP4rev1]\r\n";

pub(super) const OTHER: &str = "From: Bob <bob@example.org>\r\nTo: Anna <anna@example.org>\r\nSubject: another\r\n\
    Date: Thu, 1 Jan 2026 13:00:00 +0100\r\nMessage-ID: <b@programs.example.org>\r\n\r\n\
    * CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\n+OK\r\n";
