//! The proxy as a service: what it shows, what it remembers, what it logs, and how it takes signals and a full disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Wire;
use crate::client::imap::Imap;
use crate::client::pop3::Pop3;
use crate::client::sha256;
use crate::client::smtp::Smtp;
use crate::fixture::{
    Account, Mailbox, ODD_PASSWORD, PROVIDER_PASSWORD, Proxy, Route, Target, printed_password,
    seeds, servers,
};

#[test]
fn capability_lists_hide_what_a_proxy_cannot_relay() {
    let target = Target::new(Route::Implicit);
    let mut imap = Imap::connect(target.imap);
    assert!(
        imap.greeting.starts_with("* OK [CAPABILITY IMAP4rev1 "),
        "{}",
        imap.greeting
    );
    let before = imap
        .command("CAPABILITY")
        .untagged("* CAPABILITY ")
        .to_owned();
    let login = imap.try_login(&target.user, &target.password).ok();
    let after = imap
        .command("CAPABILITY")
        .untagged("* CAPABILITY ")
        .to_owned();
    for shown in [&imap.greeting, &before, &login.status, &after] {
        for hidden in [
            "COMPRESS",
            "UNAUTHENTICATE",
            "REFERRALS",
            "URLAUTH",
            "STARTTLS",
            "XOAUTH2",
            "BEARER",
        ] {
            assert!(!shown.contains(hidden), "{hidden} in {shown}");
        }
    }
    assert!(before.contains("AUTH="), "{before}");
    for kept in ["IDLE", "UIDPLUS", "MOVE", "CONDSTORE"] {
        assert!(
            after.split(' ').any(|token| token == kept),
            "no {kept} in {after}"
        );
    }
    assert!(!after.contains("AUTH="), "{after}");

    let mut pop3 = Pop3::connect(target.pop3);
    let before = String::from_utf8(pop3.multi_line("CAPA")).expect("text");
    pop3.command(&format!("USER {}", target.user));
    pop3.command(&format!("PASS {}", target.password));
    let after = String::from_utf8(pop3.multi_line("CAPA")).expect("text");
    for shown in [&before, &after] {
        for hidden in ["STLS", "UTF8", "LANG", "XOAUTH2", "BEARER"] {
            assert!(
                !shown.lines().any(|line| line.starts_with(hidden)),
                "{hidden} in {shown}"
            );
        }
        assert!(shown.contains("UIDL\r\n"), "{shown}");
    }

    let mut smtp = Smtp::connect(target.smtp);
    smtp.command("EHLO client.example.org").expect(250);
    smtp.auth_plain(&target.user, &target.password).expect(235);
    let again = smtp.command("EHLO client.example.org").expect(250).lines;
    for hidden in [
        "STARTTLS",
        "CHUNKING",
        "BINARYMIME",
        "VRFY",
        "ETRN",
        "XCLIENT",
    ] {
        assert!(
            !again.iter().any(|line| line.starts_with(hidden)),
            "{hidden} in {again:?}"
        );
    }
    assert!(again.iter().any(|line| line == "8BITMIME"), "{again:?}");
}

#[test]
fn login_names_may_be_short_and_in_capitals() {
    let target = Target::new(Route::Implicit);
    let (local_part, _) = target.user.split_once('@').expect("an address");
    for name in [target.user.to_uppercase(), local_part.to_owned()] {
        Imap::connect(target.imap)
            .try_login(&name, &target.password)
            .ok();
    }
}

#[test]
fn fifty_sessions_log_in_at_once() {
    let target = Target::new(Route::Implicit);
    let sessions: Vec<Imap> = thread::scope(|scope| {
        let logins: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| Imap::inbox(&target)))
            .collect();
        logins
            .into_iter()
            .map(|login| login.join().expect("logged in"))
            .collect()
    });
    for mut session in sessions {
        session.command("NOOP");
        session.command("LOGOUT");
    }
}

#[test]
fn sigterm_says_goodbye_to_everybody_and_ends() {
    let mut target = Target::new(Route::Implicit);
    let mut imap = Imap::inbox(&target);
    let mut pop3 = Pop3::login(&target);
    let mut smtp = Smtp::login(&target);
    let mut early_imap = Imap::connect(target.imap);
    let mut early_pop3 = Pop3::connect(target.pop3);
    let mut early_smtp = Smtp::connect(target.smtp);
    let mut proxy = target.proxy.take().expect("a proxy");
    proxy.signal(Signal::TERM);
    assert_last(imap.wire(), "* BYE [UNAVAILABLE]");
    assert_last(early_imap.wire(), "* BYE [UNAVAILABLE]");
    assert_last(early_smtp.wire(), "421 4.3.2");
    assert_last(smtp.wire(), "421 4.3.2");
    assert_last(early_pop3.wire(), "-ERR [SYS/TEMP]");
    // After login POP3 has no word that a client would not take for a reply: closing is one too (B.6 has `-ERR`).
    let rest = pop3.wire().rest();
    assert!(
        rest.is_empty() || rest.starts_with(b"-ERR [SYS/TEMP]"),
        "{:?}",
        String::from_utf8_lossy(&rest)
    );
    assert!(proxy.wait().success(), "{}", proxy.log());
}

#[test]
fn sigterm_lets_a_transfer_come_to_its_end() {
    let mut target = Target::new(Route::Implicit);
    let big = seeds()
        .into_iter()
        .find(|seed| seed.name == "30 MB")
        .expect("seeded");
    target.mailbox.seed("", [big.stored.as_slice()]);
    let mut imap = Imap::inbox(&target);
    imap.send(b"x FETCH 1 BODY.PEEK[]\r\n");
    let start = imap.wire().text_line();
    assert!(
        start.ends_with(&format!("{{{}}}", big.wire.len())),
        "{start}"
    );
    let mut proxy = target.proxy.take().expect("a proxy");
    proxy.signal(Signal::TERM);
    let message = imap.wire().exactly(big.wire.len());
    assert_eq!(sha256(&message), sha256(&big.wire));
    assert_eq!(imap.wire().text_line(), ")");
    imap.reply("x").ok();
    assert_last(imap.wire(), "* BYE [UNAVAILABLE]");
    assert!(proxy.wait().success(), "{}", proxy.log());
}

#[test]
fn sighup_keeps_sessions_and_learns_accounts() {
    let target = Target::new(Route::Implicit);
    let proxy = target.proxy.as_ref().expect("a proxy");
    let mut imap = Imap::inbox(&target);
    let newcomer = Mailbox::new(servers());
    let account = Account::implicit(&newcomer.user, servers());
    proxy.add_account(&account);
    let password = printed_password(&proxy.password_add(&newcomer.user, "test"));
    proxy.signal(Signal::HUP);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !Imap::connect(target.imap)
        .try_login(&newcomer.user, &password)
        .status
        .starts_with("OK")
    {
        assert!(
            Instant::now() < deadline,
            "the new account is not served:\n{}",
            proxy.log()
        );
        thread::sleep(Duration::from_millis(100));
    }
    imap.command("NOOP");
    imap.append("INBOX", b"Subject: still here\r\n\r\n");
}

#[test]
fn clients_that_stop_reading_cost_no_memory_and_lose_nothing() {
    let target = Target::new(Route::Implicit);
    let big = seeds()
        .into_iter()
        .find(|seed| seed.name == "30 MB")
        .expect("seeded");
    target.mailbox.seed("", [big.stored.as_slice()]);
    let proxy = target.proxy.as_ref().expect("a proxy");
    let fetch_all = || {
        Imap::inbox(&target)
            .command("FETCH 1 BODY.PEEK[]")
            .literals()
    };
    assert_eq!(sha256(&fetch_all()[0]), sha256(&big.wire));
    let before = proxy.peak_memory();
    let mut stalled: Vec<Imap> = (0..STALLED).map(|_| Imap::inbox(&target)).collect();
    for imap in &mut stalled {
        imap.send(b"x FETCH 1 BODY.PEEK[]\r\n");
    }
    // While three whole messages pass beside them, the stalled ones have all the time to fill what they can.
    for _ in 0..3 {
        assert_eq!(sha256(&fetch_all()[0]), sha256(&big.wire));
    }
    let grown = proxy.peak_memory() - before;
    assert!(
        grown < STALLED * MOST_FOR_ONE,
        "{grown} bytes more for {STALLED} stalled readers"
    );
    for imap in stalled.iter_mut().take(2) {
        assert_eq!(
            sha256(&imap.reply("x").ok().literals()[0]),
            sha256(&big.wire)
        );
    }
}

/// 16 times 30 MB are on offer.
const STALLED: u64 = 16;

/// 128 KiB per direction (DESIGN section 5), rustls' buffers, and as much again for what the allocator keeps. Measured:
/// 72 KiB.
const MOST_FOR_ONE: u64 = 512 * 1024;

#[test]
fn the_log_has_the_session_and_no_secret() {
    let target = Target::new(Route::Implicit);
    target
        .mailbox
        .seed("", [&b"Subject: canary-subject\r\n\r\ncanary-body\r\n"[..]]);
    let mut imap = Imap::inbox(&target);
    imap.command("FETCH 1 BODY.PEEK[]");
    imap.command("LOGOUT");
    Pop3::login(&target).command("QUIT");
    let mut smtp = Smtp::login(&target);
    smtp.submit(
        &target.user,
        b"Subject: canary-subject\r\n\r\ncanary-body\r\n",
    )
    .expect(250);
    smtp.command("QUIT").expect(221);
    Imap::connect(target.imap).try_login(&target.user, "canary-wrong-password");
    let mut proxy = target.proxy.expect("a proxy");
    proxy.signal(Signal::TERM);
    assert!(proxy.wait().success());
    let log = proxy.log();
    assert!(log.contains(&target.user), "no session line:\n{log}");
    let plain = |user: &str, password: &str| STANDARD.encode(format!("\0{user}\0{password}"));
    for secret in [
        ODD_PASSWORD,
        PROVIDER_PASSWORD,
        &target.password,
        &STANDARD.encode(ODD_PASSWORD),
        &plain(&target.user, ODD_PASSWORD),
        &plain(&target.user, &target.password),
        "canary",
    ] {
        assert!(!log.contains(secret), "{secret:?} in the log:\n{log}");
    }
}

#[test]
fn a_full_disk_under_the_store_loses_nothing() {
    let disk = SmallDisk::mount();
    let mailbox = Mailbox::new(servers());
    let user = mailbox.user.as_str();
    let proxy = Proxy::start_in(
        disk.path().join("state"),
        &[Account::implicit(user, servers())],
    );
    disk.fill();
    // Reading needs no room: the clients do not notice.
    Imap::connect(proxy.imap)
        .try_login(user, proxy.password(user))
        .ok();
    let wrong = Imap::connect(proxy.imap).try_login(user, "wrong");
    assert!(
        wrong.status.starts_with("NO [AUTHENTICATIONFAILED]"),
        "{wrong:?}"
    );
    let refused = proxy.password_add(user, "second");
    assert!(
        !refused.status.success(),
        "a password was promised that cannot be kept"
    );
    assert!(
        refused.stdout.is_empty(),
        "a password was shown that is not kept"
    );
    assert!(!refused.stderr.is_empty(), "nothing said why");
    disk.free();
    let second = printed_password(&proxy.password_add(user, "second"));
    for password in [proxy.password(user), &second] {
        Imap::connect(proxy.imap).try_login(user, password).ok();
    }
}

/// A tmpfs small enough to be filled.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("mailsluice-disk-")
            .tempdir()
            .expect("a mount point");
        mount_command(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs"])
                .arg(folder.path()),
        );
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        let piece = vec![0_u8; 4096];
        let mut file = File::create(self.filler()).expect("the disk takes a file");
        while file.write_all(&piece).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("the filler");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: when a case fails the proxy may still have files open.
        mount_command(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

fn mount_command(command: &mut Command) {
    let status = command.status().expect("mount");
    assert!(
        status.success(),
        "{command:?} failed; it needs root and CAP_SYS_ADMIN"
    );
}

/// The last line before the end of the stream begins with `start`.
fn assert_last(wire: &mut Wire, start: &str) {
    let rest = wire.rest();
    let text = String::from_utf8_lossy(&rest);
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with(start), "{text:?} instead of {start}");
}
