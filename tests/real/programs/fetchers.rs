//! What fetches mail without anybody looking: cron jobs, synchronisers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Secured;
use super::desk::{Desk, MESSAGE, OTHER, body, files, on_the_wire, text};
use crate::client::imap::Imap;
use crate::client::sha256;
use crate::fixture::{Target, small_seeds};

pub(super) fn mbsync_carries_changes_both_ways(target: &Target) {
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
        .map(|file| {
            sha256(&without_tuid(&on_the_wire(
                &fs::read(file).expect("readable"),
            )))
        })
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
    assert!(
        last[0].ends_with(body(MESSAGE).as_bytes()),
        "{}",
        text(&last[0])
    );
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

pub(super) fn offlineimap_carries_changes_both_ways(target: &Target) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    let desk = Desk::new();
    let here = desk.path("mail");
    let config = desk.write(
        "offlineimaprc",
        &format!(
            "[general]\naccounts = both\nmetadata = {metadata}\n\n\
             [Account both]\nlocalrepository = near\nremoterepository = far\n\n\
             [Repository near]\ntype = Maildir\nlocalfolders = {here}\n\n\
             [Repository far]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {port}\nremoteuser = {user}\n\
             remotepass = {password}\nssl = no\nstarttls = no\nauth_mechanisms = PLAIN, LOGIN\n",
            metadata = desk.path("metadata").display(),
            here = here.display(),
            port = target.imap.port(),
            user = target.user,
            password = target.password
        ),
    );
    let sync = || {
        desk.run(
            desk.program("offlineimap")
                .args(["-o", "-u", "quiet", "-c"])
                .arg(&config),
        )
    };
    sync();
    let mut came: Vec<_> = files(&here)
        .iter()
        .map(|file| sha256(&on_the_wire(&fs::read(file).expect("readable"))))
        .collect();
    let mut there = [MESSAGE, OTHER].map(|message| sha256(message.as_bytes()));
    came.sort_unstable();
    there.sort_unstable();
    assert!(came == there, "what came here is not what was there");

    let new = MESSAGE.replace('\r', "").replace("<a@", "<new@");
    fs::write(here.join("INBOX/new/1700000000.1.here"), new).expect("a message");
    sync();
    let mut imap = Imap::inbox(target);
    let last = imap.command("FETCH 3 BODY.PEEK[]").literals();
    assert!(
        last[0].ends_with(body(MESSAGE).as_bytes()),
        "{}",
        text(&last[0])
    );
}

pub(super) fn fetchmail_fetches_by_pop3_and_imap(target: &Target) {
    let ways = [("pop3", target.pop3), ("imap", target.imap)];
    fetchmail_fetches(target, "password", &ways);
}

pub(super) fn fetchmail_fetches(target: &Target, auth: &str, ways: &[(&str, SocketAddr)]) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    for (protocol, address) in ways {
        let desk = Desk::new();
        let config = desk.write(
            "fetchmailrc",
            &format!(
                "set invisible\npoll 127.0.0.1 protocol {protocol} service {} auth {auth}\n  user \"{}\" password \"{}\"\n  \
                 sslproto \"\" fetchall keep no rewrite\n  mda \"{}\"\n",
                address.port(),
                target.user,
                target.password,
                desk.deliver().display()
            ),
        );
        desk.run(&mut fetchmail(&desk, &config));
        desk.assert_delivered(protocol);
    }
}

/// UIDL tells what was fetched before; where nothing is new, fetchmail ends with 1.
pub(super) fn fetchmail_keeps_and_fetches_nothing_twice(target: &Target) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    let desk = Desk::new();
    let config = desk.write(
        "fetchmailrc",
        &format!(
            "set invisible\npoll 127.0.0.1 protocol pop3 service {} uidl auth password\n  user \"{}\" password \"{}\"\n  \
             sslproto \"\" keep no rewrite\n  mda \"{}\"\n",
            target.pop3.port(),
            target.user,
            target.password,
            desk.deliver().display()
        ),
    );
    desk.run(&mut fetchmail(&desk, &config));
    desk.assert_delivered("the first time");
    let again = fetchmail(&desk, &config).output().expect("timeout");
    assert_eq!(again.status.code(), Some(NO_MAIL), "{again:?}");
    desk.assert_delivered("the second time");
    assert_eq!(target.mailbox.count(), 2);
}

pub(super) fn fetchmail_speaks_tls(secured: &Secured) {
    let target = &secured.target;
    for (protocol, address) in [("pop3", target.pop3), ("imap", target.imap)] {
        let desk = Desk::new();
        let config = desk.write(
            "fetchmailrc",
            &format!(
                "set invisible\npoll localhost protocol {protocol} service {} auth password\n  user \"{}\" password \"{}\"\n  \
                 {} sslproto \"tls1.2+\" sslcertck sslcertfile \"{}\" fetchall keep no rewrite\n  mda \"{}\"\n",
                address.port(),
                target.user,
                target.password,
                secured.choose("ssl", ""),
                secured.ca_file,
                desk.deliver().display()
            ),
        );
        desk.run(&mut fetchmail(&desk, &config));
        let came = files(&desk.path("delivered"));
        assert_eq!(came.len(), 1, "{protocol}");
        let came = on_the_wire(&fs::read(&came[0]).expect("readable"));
        assert!(came.ends_with(body(MESSAGE).as_bytes()), "{}", text(&came));
    }
}

/// Without a file of its own, one that root runs waits for every other.
fn fetchmail(desk: &Desk, config: &Path) -> Command {
    let mut fetchmail = desk.program("fetchmail");
    fetchmail.args(["--nodetach", "--nosyslog", "--pidfile"]);
    fetchmail
        .arg(desk.path("fetchmail.pid"))
        .arg("-f")
        .arg(config);
    fetchmail
}

/// fetchmail's exit code where there is nothing to fetch.
const NO_MAIL: i32 = 1;

pub(super) fn getmail_fetches_by_pop3_and_imap(target: &Target) {
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

pub(super) fn mpop_fetches_nothing_twice(target: &Target) {
    mpop_fetches(target, &["user", "login"]);
}

pub(super) fn mpop_fetches(target: &Target, mechanisms: &[&str]) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    let desk = Desk::new();
    for mechanism in mechanisms {
        let config = mpop_config(
            &desk,
            target,
            "127.0.0.1",
            &format!("auth {mechanism}\ntls off"),
        );
        for _ in 0..2 {
            desk.run(desk.program("mpop").arg("-C").arg(&config));
            desk.assert_fetched("", &[MESSAGE, OTHER]);
        }
        for file in files(&desk.path("delivered")) {
            fs::remove_file(file).expect("remove");
        }
        fs::remove_file(desk.path("uidls")).expect("what mpop has fetched");
    }
    assert_eq!(target.mailbox.count(), 2);
}

pub(super) fn mpop_speaks_tls(secured: &Secured) {
    let desk = Desk::new();
    let lines = format!(
        "auth user\ntls on\ntls_starttls {}\ntls_trust_file {}",
        secured.choose("off", "on"),
        secured.ca_file
    );
    let config = mpop_config(&desk, &secured.target, "localhost", &lines);
    desk.run(desk.program("mpop").arg("-C").arg(config));
    desk.assert_fetched("", &[MESSAGE]);
}

fn mpop_config(desk: &Desk, target: &Target, host: &str, lines: &str) -> PathBuf {
    let (user, password, port) = (&target.user, &target.password, target.pop3.port());
    let (deliver, uidls) = (desk.deliver(), desk.path("uidls"));
    desk.write(
        "mpoprc",
        &format!(
            "account default\nhost {host}\nport {port}\nuser {user}\npassword {password}\n{lines}\n\
             received_header off\nkeep on\ndelivery mda {deliver:?}\nuidls_file {uidls:?}\n"
        ),
    )
}
