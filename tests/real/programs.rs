//! Programs people use, as they use them: plain ports, a name and a password.

mod desk;
mod trust;

use std::fs;
use std::path::Path;

use self::desk::{Desk, MESSAGE, OTHER, files, on_the_wire, text};
use crate::client::imap::{Imap, arrived};
use crate::client::{assert_same, sha256};
use crate::fixture::{Target, small_seeds};

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
