//! Programs people use, as they use them: plain ports, a name and a password.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::client::imap::{Imap, arrived};
use crate::client::{assert_same, sha256};
use crate::fixture::{Account, Mailbox, Proxy, Target, Tls, servers, small_seeds};

on_routes!(direct: Direct, implicit: Implicit; {
    curl_lists_fetches_and_sends,
    the_three_python_libraries_send_and_fetch,
    mbsync_carries_changes_both_ways,
    fetchmail_fetches_by_pop3_and_imap,
    getmail_fetches_by_pop3_and_imap,
    msmtp_sends,
    swaks_sends_with_each_mechanism,
    mutt_sends_and_reads,
});

fn curl_lists_fetches_and_sends(target: &Target) {
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

#[test]
fn curl_speaks_tls_to_the_proxy() {
    for (tls, suffix, required) in [
        (Tls::Implicit, "s", "-sS"),
        (Tls::StartTls, "", "--ssl-reqd"),
    ] {
        let servers = servers();
        let mailbox = Mailbox::new(servers);
        mailbox.seed("", [MESSAGE.as_bytes()]);
        let user = mailbox.user.as_str();
        let proxy = Proxy::start_with_tls(tls, &[Account::implicit(user, servers)]);
        let desk = Desk::new();
        let login = format!("{user}:{}", proxy.password(user));
        let ca_file = servers.ca_file.to_str().expect("UTF-8");
        let curl = |arguments: &[&str]| {
            let mut curl = desk.program("curl");
            desk.run(
                curl.args([
                    "-sS", "-m", "60", required, "--cacert", ca_file, "-u", &login,
                ])
                .args(arguments),
            )
        };
        let imap = format!(
            "imap{suffix}://localhost:{}/INBOX;MAILINDEX=1",
            proxy.imap.port()
        );
        assert_same(&curl(&[&imap]), MESSAGE.as_bytes(), &imap);
        let pop3 = format!("pop3{suffix}://localhost:{}/1", proxy.pop3.port());
        assert_same(&curl(&[&pop3]), MESSAGE.as_bytes(), &pop3);
        let message = desk.message();
        let message = message.to_str().expect("UTF-8");
        let smtp = format!("smtp{suffix}://localhost:{}", proxy.smtp.port());
        curl(&[
            &smtp,
            "--mail-from",
            user,
            "--mail-rcpt",
            user,
            "-T",
            message,
        ]);
    }
}

fn the_three_python_libraries_send_and_fetch(target: &Target) {
    let desk = Desk::new();
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/programs/three_libraries.py");
    let mut python = desk.program("python3");
    python
        .arg(script)
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

fn mbsync_carries_changes_both_ways(target: &Target) {
    // mbsync drops a bare CR itself, and leaves out a message whose header has no end.
    let seeds: Vec<_> = small_seeds()
        .into_iter()
        .filter(|seed| !matches!(seed.name, "bare CR" | "empty"))
        .collect();
    target
        .mailbox
        .seed("", seeds.iter().map(|seed| seed.stored.as_slice()));
    target.mailbox.seed("Entw&APw-rfe", [MESSAGE.as_bytes()]);
    let desk = Desk::new();
    let inbox = desk.path("mail/INBOX");
    fs::create_dir_all(desk.path("mail")).expect("a folder");
    let config = desk.write(
        "mbsyncrc",
        &format!(
            "IMAPAccount provider\nHost 127.0.0.1\nPort {}\nUser {}\nPass {}\nSSLType None\nAuthMechs LOGIN\n\n\
             IMAPStore far\nAccount provider\n\n\
             MaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\nSubFolders Verbatim\n\n\
             Channel both\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
            target.imap.port(),
            target.user,
            target.password,
            mail = desk.path("mail").display()
        ),
    );
    let sync = || desk.run(desk.program("mbsync").arg("-c").arg(&config).arg("-a"));
    sync();
    let here = files(&inbox);
    let mut came: Vec<_> = here
        .iter()
        .map(|file| sha256(&without_tuid(&on_the_wire(file))))
        .collect();
    let mut there: Vec<_> = seeds.iter().map(|seed| sha256(&seed.wire)).collect();
    came.sort_unstable();
    there.sort_unstable();
    assert!(came == there, "what came here is not what was there");
    assert!(desk.path("mail/Entw&APw-rfe/cur").is_dir());

    // One new message, one read, one deleted.
    fs::write(
        inbox.join("new/1700000000.1.here"),
        MESSAGE.replace('\r', ""),
    )
    .expect("a message");
    let set_flags = |file: &Path, flags: &str| {
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let (unique, _) = name.split_once(":2,").unwrap_or((&name, ""));
        fs::rename(file, inbox.join(format!("cur/{unique}:2,{flags}"))).expect("rename");
    };
    set_flags(&here[0], "S");
    set_flags(&here[1], "T");
    sync();
    let mut imap = Imap::login(target);
    imap.command("SELECT INBOX")
        .untagged(&format!("* {} EXISTS", seeds.len()));
    assert_eq!(
        imap.command("SEARCH SEEN")
            .untagged("* SEARCH")
            .split_whitespace()
            .count(),
        1
    );
    let last = imap.command("FETCH * BODY.PEEK[]").literals();
    let body = MESSAGE.split_once("\r\n\r\n").expect("a body").1;
    assert!(last[0].ends_with(body.as_bytes()), "{}", text(&last[0]));
}

/// mbsync marks what it carries with a header of its own.
fn without_tuid(message: &[u8]) -> Vec<u8> {
    message
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"X-TUID: "))
        .flatten()
        .copied()
        .collect()
}

fn fetchmail_fetches_by_pop3_and_imap(target: &Target) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    for (protocol, address) in [("pop3", target.pop3), ("imap", target.imap)] {
        let desk = Desk::new();
        let config = desk.write(
            "fetchmailrc",
            &format!(
                "set invisible\npoll 127.0.0.1 protocol {protocol} service {} auth password\n  user \"{}\" password \"{}\"\n  \
                 sslproto \"\" fetchall keep no rewrite\n  mda \"{}\"\n",
                address.port(),
                target.user,
                target.password,
                desk.deliver().display()
            ),
        );
        desk.run(
            desk.program("fetchmail")
                .args(["--nodetach", "--nosyslog", "-f"])
                .arg(config),
        );
        desk.assert_delivered(protocol);
    }
}

fn getmail_fetches_by_pop3_and_imap(target: &Target) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    for (kind, address) in [
        ("SimplePOP3Retriever", target.pop3),
        ("SimpleIMAPRetriever", target.imap),
    ] {
        let desk = Desk::new();
        let config = desk.write(
            "getmailrc",
            &format!(
                "[retriever]\ntype = {kind}\nserver = 127.0.0.1\nport = {}\nusername = {}\npassword = {}\n\n\
                 [destination]\ntype = MDA_external\npath = {}\nallow_root_commands = true\n\n\
                 [options]\ndelete = false\nread_all = true\ndelivered_to = false\nreceived = false\n",
                address.port(),
                target.user,
                target.password,
                desk.deliver().display()
            ),
        );
        let folder = desk.path("");
        desk.run(
            desk.program("getmail")
                .arg("--getmaildir")
                .arg(folder)
                .arg("--rcfile")
                .arg(config),
        );
        desk.assert_delivered(kind);
    }
}

fn msmtp_sends(target: &Target) {
    let desk = Desk::new();
    let config = desk.write(
        "msmtprc",
        &format!(
            "account default\nhost 127.0.0.1\nport {}\nfrom {user}\nauth plain\nuser {user}\npassword {}\ntls off\n",
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
    assert!(arrived(target, 1)[0].ends_with(MESSAGE.as_bytes()));
}

fn swaks_sends_with_each_mechanism(target: &Target) {
    let desk = Desk::new();
    for (sent, mechanism) in (1..).zip(["PLAIN", "LOGIN"]) {
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

fn mutt_sends_and_reads(target: &Target) {
    let desk = Desk::new();
    let user = &target.user;
    let config = desk.write(
        "muttrc",
        &format!(
            "set from=\"{user}\"\nset use_envelope_from=yes envelope_from_address=\"{user}\"\n\
             set ssl_starttls=no ssl_force_tls=no\nset imap_user=\"{user}\" imap_pass=\"{password}\"\n\
             set smtp_url=\"smtp://{local}%40example.org:{password}@127.0.0.1:{smtp}/\" smtp_pass=\"{password}\"\n\
             set smtp_authenticators=\"plain\" copy=no header_cache=\"\" message_cachedir=\"\" crypt_use_gpgme=no\n\
             set folder=\"imap://127.0.0.1:{imap}/\" spoolfile=\"imap://127.0.0.1:{imap}/INBOX\"\n\
             set quit=yes delete=yes move=no wait_key=no charset=utf-8 send_charset=utf-8\n",
            local = user.split_once('@').expect("an address").0,
            password = target.password,
            smtp = target.smtp.port(),
            imap = target.imap.port()
        ),
    );
    let body = fs::File::open(desk.write("body", ".dot\nfrom mutt\n")).expect("the body");
    desk.run(
        desk.program("mutt")
            .arg("-F")
            .arg(&config)
            .args(["-s", "from mutt", user])
            .stdin(body),
    );
    assert!(arrived(target, 1)[0].ends_with(b"\r\n\r\n.dot\r\nfrom mutt\r\n"));

    // Reading wants a terminal; `script` makes one. Everything is tagged, saved into a file, and deleted.
    let saved = desk.path("saved");
    let keys = format!(
        "push \"<tag-pattern>~A<enter><tag-prefix><copy-message>{}<enter><delete-message><sync-mailbox><quit>\"",
        saved.display()
    );
    let config = desk.write(
        "muttrc-read",
        &format!(
            "source {}\nset confirmcreate=no confirmappend=no\n{keys}\n",
            config.display()
        ),
    );
    let command = format!("mutt -F {}", config.display());
    desk.run(desk.program("script").args(["-qec", &command, "/dev/null"]));
    let saved = fs::read_to_string(saved).expect("mutt saved the message");
    assert!(saved.contains(".dot\nfrom mutt\n"), "{saved}");
    assert_eq!(target.mailbox.count(), 0, "mutt deleted the message");
}

/// A folder in which a program finds its configuration and leaves what it fetched.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("mailsluice-desk-")
            .tempdir()
            .expect("a temporary folder");
        fs::create_dir(folder.path().join("delivered")).expect("a folder");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration file only its owner reads, or the programs refuse it.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("chmod");
        path
    }

    fn message(&self) -> PathBuf {
        self.write("message", MESSAGE)
    }

    /// A delivery agent that keeps each message in a file of its own.
    fn deliver(&self) -> PathBuf {
        let folder = self.path("delivered");
        self.write(
            "deliver",
            &format!(
                "#!/bin/sh\ncat >\"$(mktemp {}/XXXXXX)\"\n",
                folder.display()
            ),
        )
    }

    /// Both messages came; fetching programs add headers of their own and keep LF.
    fn assert_delivered(&self, how: &str) {
        let delivered: Vec<_> = files(&self.path("delivered"))
            .iter()
            .map(|file| on_the_wire(file))
            .collect();
        assert_eq!(delivered.len(), 2, "{how}");
        for message in [MESSAGE, OTHER] {
            let body = message.split_once("\r\n\r\n").expect("a body").1;
            let came = delivered
                .iter()
                .any(|delivered| delivered.ends_with(body.as_bytes()));
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

    /// A program at home here, ended when it takes too long.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", PATIENCE, name]);
        command
            .env("HOME", self.folder.path())
            .env("TERM", "xterm")
            .stdin(Stdio::null());
        command
    }

    /// Runs a program to its end and gives what it printed.
    fn run(&self, program: &mut Command) -> Vec<u8> {
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

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What a program keeps with LF, with CRLF.
fn on_the_wire(file: &Path) -> Vec<u8> {
    let kept = fs::read(file).expect("readable");
    let mut wire = Vec::with_capacity(kept.len());
    let mut last = 0;
    for byte in kept {
        if byte == b'\n' && last != b'\r' {
            wire.push(b'\r');
        }
        wire.push(byte);
        last = byte;
    }
    wire
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const MESSAGE: &str = "From: Anna <anna@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: a message\r\n\
    Date: Thu, 1 Jan 2026 12:00:00 +0100\r\nMessage-ID: <a@programs.example.org>\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    Gr\u{fc}\u{df}e\r\n.dot\r\n..\r\nA1 OK [CAPABILITY IMAP4rev1]\r\n";

const OTHER: &str = "From: Bob <bob@example.org>\r\nTo: Anna <anna@example.org>\r\nSubject: another\r\n\
    Date: Thu, 1 Jan 2026 13:00:00 +0100\r\nMessage-ID: <b@programs.example.org>\r\n\r\n\
    * CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\n+OK\r\n";
