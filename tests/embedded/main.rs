//! Real programs against the embedded provider, over TLS: curl, Python's three libraries, and mutt; and the demo.
//!
//! The programs show that the servers of `bridge` speak as programs expect, without a proxy in between. `tests/run`
//! installs what they need; a program that is missing fails its case by name.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "test code: what is not as expected has to stop the case"
)]

mod demo;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use mailsluice::bridge::mailbox::{INBOX, Mailbox};
use mailsluice::bridge::provider::Provider;
use mailsluice::protocol::Protocol;
use tokio::process::Command;
use tokio::time::timeout;

/// A provider, its certificate as a file, and a folder for programs to work in.
struct Desk {
    provider: Provider,
    password: String,
    folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let provider = Provider::start().await.expect("the provider starts");
        let password = provider.app_password().expose().to_vec();
        let desk = Self {
            provider,
            password: String::from_utf8(password).expect("an app password in ASCII"),
            folder: tempfile::tempdir().expect("a folder"),
        };
        desk.write("ca.pem", desk.provider.ca_pem());
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).expect("a file is written");
        self.path(name)
    }

    fn url(&self, protocol: Protocol, rest: &str) -> String {
        let scheme = match protocol {
            Protocol::Imap => "imaps",
            Protocol::Pop3 => "pop3s",
            Protocol::Smtp => "smtps",
        };
        format!(
            "{scheme}://localhost:{}/{rest}",
            self.provider.port(protocol)
        )
    }

    /// Runs a program in the folder and returns what it printed; a failure shows all of it.
    async fn run<A: AsRef<OsStr>>(&self, program: &str, arguments: &[A], input: Stdio) -> Vec<u8> {
        let running = Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("TERM", "xterm")
            .stdin(input)
            .kill_on_drop(true)
            .output();
        let output = timeout(PATIENCE, running)
            .await
            .unwrap_or_else(|_| panic!("{program} does not end"))
            .unwrap_or_else(|error| panic!("{program} cannot be run, is it installed? {error}"));
        assert!(
            output.status.success(),
            "{program}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    async fn curl(&self, url: &str, more: &[&str]) -> Vec<u8> {
        let user = format!("{}:{}", Provider::USER, self.password);
        let ca = self.path("ca.pem");
        let ca = ca.to_str().expect("a path in UTF-8");
        let fixed = [
            "--silent",
            "--show-error",
            "--cacert",
            ca,
            "--user",
            &user,
            url,
        ];
        self.run("curl", &[&fixed, more].concat(), Stdio::null())
            .await
    }

    async fn kept(&self, folder: &str) -> Vec<Bytes> {
        let mailbox = self.provider.mailbox();
        let mut all = Vec::new();
        for message in mailbox
            .view(folder)
            .await
            .expect("the folder")
            .messages
            .iter()
        {
            let raw = mailbox.read(folder, message.uid, 0..u64::MAX).await;
            all.push(raw.expect("the message"));
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_lists_fetches_searches_and_sends() {
    let desk = Desk::new().await;
    let kept = desk.kept(INBOX).await;
    assert_eq!(kept.len(), 6, "the provider is seeded");
    let listed = desk.curl(&desk.url(Protocol::Imap, ""), &[]).await;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    assert!(
        listed.contains("\\Drafts") && listed.contains("Entw&APw-rfe"),
        "{listed}"
    );
    for (number, raw) in (1..).zip(&kept) {
        let by_uid = desk.url(Protocol::Imap, &format!("INBOX;UID={number}"));
        assert_eq!(desk.curl(&by_uid, &[]).await, *raw, "IMAP {number}");
        let by_number = desk.url(Protocol::Pop3, &number.to_string());
        assert_eq!(desk.curl(&by_number, &[]).await, *raw, "POP3 {number}");
    }
    let search = desk.url(Protocol::Imap, "INBOX?SUBJECT%20dots");
    assert_eq!(desk.curl(&search, &[]).await, b"* SEARCH 4\r\n");

    let message = "Subject: from curl\r\n\r\n.dot\r\nGr\u{fc}\u{df}e\r\n";
    let file = desk.write("message", message);
    let file = file.to_str().expect("a path in UTF-8");
    let send = [
        "--mail-from",
        Provider::USER,
        "--mail-rcpt",
        "b@example.org",
        "--upload-file",
        file,
    ];
    desk.curl(&desk.url(Protocol::Smtp, "me"), &send).await;
    assert_eq!(desk.kept(INBOX).await.last().expect("a message"), message);
    let append = ["--upload-file", file];
    desk.curl(&desk.url(Protocol::Imap, "Entw%26APw-rfe"), &append)
        .await;
    assert_eq!(
        desk.kept("Entw\u{fc}rfe").await.last().expect("a draft"),
        message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_refused_with_a_wrong_password_and_an_unknown_certificate() {
    let desk = Desk::new().await;
    for (protocol, refused) in [
        (Protocol::Imap, 67),
        (Protocol::Pop3, 67),
        (Protocol::Smtp, 67),
    ] {
        for (arguments, wanted) in [
            (["--insecure", "--user", "anna@example.org:no"], refused),
            (["--silent", "--user", "x:y"], 60),
        ] {
            let status = Command::new("curl")
                .args(["--silent", "--output", "/dev/null"])
                .args(arguments)
                .arg(desk.url(protocol, ""))
                .status();
            let status = status.await.expect("curl runs, is it installed?");
            assert_eq!(status.code(), Some(wanted), "{protocol}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_libraries_read_change_and_send() {
    let desk = Desk::new().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/embedded/client.py");
    let port = |protocol| desk.provider.port(protocol).to_string();
    let arguments = [
        script.into_os_string(),
        desk.path("ca.pem").into_os_string(),
        port(Protocol::Imap).into(),
        port(Protocol::Pop3).into(),
        port(Protocol::Smtp).into(),
        Provider::USER.into(),
        desk.password.clone().into(),
    ];
    desk.run("python3", &arguments, Stdio::null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutt_sends_keeps_a_copy_and_reads() {
    let desk = Desk::new().await;
    let (user, password) = (Provider::USER, &desk.password);
    let imap = desk.url(Protocol::Imap, "");
    let smtp = format!("smtps://localhost:{}/", desk.provider.port(Protocol::Smtp));
    let settings = format!(
        "set from=\"{user}\" realname=Anna use_envelope_from=yes\n\
         set imap_user=\"{user}\" imap_pass=\"{password}\" smtp_pass=\"{password}\"\n\
         set smtp_url=\"{}\" smtp_authenticators=plain\n\
         set certificate_file=\"{ca}\" ssl_ca_certificates_file=\"{ca}\" ssl_verify_host=yes\n\
         set folder=\"{imap}\" spoolfile=\"{imap}INBOX\" record=\"{imap}Sent\" copy=yes\n\
         set header_cache=\"\" message_cachedir=\"\" crypt_use_gpgme=no charset=utf-8 send_charset=utf-8\n\
         set quit=yes delete=yes move=no wait_key=no confirmcreate=no confirmappend=no\n",
        smtp.replace(
            "smtps://",
            &format!("smtps://{}@", user.replace('@', "%40"))
        ),
        ca = desk.path("ca.pem").display(),
    );
    desk.write("muttrc", &settings);
    let body = std::fs::File::open(desk.write("body", ".dot\nfrom mutt\n")).expect("the body");
    let (inbox, sent) = (desk.kept(INBOX).await.len(), desk.kept("Sent").await.len());
    let send = ["-F", "muttrc", "-s", "from mutt", "b@example.org"];
    desk.run("mutt", &send, Stdio::from(body)).await;
    let ends = |all: Vec<Bytes>, count: usize| {
        assert_eq!(all.len(), count + 1);
        let last = all.last().expect("a message").to_vec();
        assert!(last.ends_with(b"\r\n\r\n.dot\r\nfrom mutt\r\n"));
    };
    ends(desk.kept(INBOX).await, inbox);
    ends(desk.kept("Sent").await, sent);

    // Reading wants a terminal, which `script` makes. Every message is copied into a file, the last one deleted.
    let keys = "push \"<tag-pattern>~A<enter><tag-prefix><copy-message>saved<enter><last-entry><delete-message>\
                <sync-mailbox><quit>\"\n";
    desk.write(
        "muttrc-read",
        &format!("{settings}set mbox_type=mbox\n{keys}"),
    );
    let read = ["-qec", "mutt -F muttrc-read", "/dev/null"];
    desk.run("script", &read, Stdio::null()).await;
    let saved = std::fs::read_to_string(desk.path("saved")).expect("mutt saved the messages");
    let subjects = saved
        .lines()
        .filter(|line| line.starts_with("Subject: "))
        .count();
    assert_eq!(subjects, inbox + 1, "{saved}");
    assert_eq!(
        desk.kept(INBOX).await.len(),
        inbox,
        "mutt deleted the last message"
    );
}

/// For any one program; they take less than two seconds.
const PATIENCE: Duration = Duration::from_secs(120);
