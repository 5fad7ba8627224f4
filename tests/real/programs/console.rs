//! What people read mail with in a terminal.

use std::fs;
use std::path::{Path, PathBuf};

use super::Secured;
use super::desk::{Desk, MESSAGE, body};
use super::terminal::Terminal;
use crate::client::imap::arrived;
use crate::fixture::Target;

pub(super) fn mutt_sends_and_reads(target: &Target) {
    sends_and_reads("mutt", target);
}

pub(super) fn neomutt_sends_and_reads(target: &Target) {
    sends_and_reads("neomutt", target);
}

pub(super) fn mutt_fetches_by_pop3(target: &Target) {
    fetches_by_pop3("mutt", target);
}

pub(super) fn neomutt_fetches_by_pop3(target: &Target) {
    fetches_by_pop3("neomutt", target);
}

fn sends_and_reads(mutt: &str, target: &Target) {
    let desk = Desk::new();
    let config = mutt_config(&desk, target, "127.0.0.1", PLAIN);
    let sent = fs::File::open(desk.write("body", ".dot\nfrom mutt\n")).expect("the body");
    desk.run(
        desk.program(mutt)
            .arg("-F")
            .arg(&config)
            .args(["-s", "from mutt", &target.user])
            .stdin(sent),
    );
    assert!(arrived(target, 1)[0].ends_with(b"\r\n\r\n.dot\r\nfrom mutt\r\n"));

    let saved = mutt_saves_all(mutt, &desk, &config, "");
    assert!(saved.contains(".dot\nfrom mutt\n"), "{saved}");
    assert_eq!(target.mailbox.count(), 0, "mutt deleted the message");
}

fn fetches_by_pop3(mutt: &str, target: &Target) {
    target.mailbox.seed("", [MESSAGE.as_bytes()]);
    let desk = Desk::new();
    let config = mutt_config(&desk, target, "127.0.0.1", PLAIN);
    let pop3 = format!(
        "set spoolfile=\"pop://127.0.0.1:{}/\" pop_delete=yes\n",
        target.pop3.port()
    );
    let saved = mutt_saves_all(mutt, &desk, &config, &pop3);
    let body = body(MESSAGE).replace('\r', "");
    assert!(saved.contains(&body), "{saved}");
    assert_eq!(target.mailbox.count(), 0, "mutt deleted the message");
}

pub(super) fn mutt_speaks_tls(secured: &Secured) {
    let desk = Desk::new();
    let mut config = mutt_config(
        &desk,
        &secured.target,
        "localhost",
        secured.choose(("s", "no"), ("", "yes")),
    );
    let trust = format!(
        "source {}\nset certificate_file=\"{}\" ssl_usesystemcerts=no\n",
        config.display(),
        secured.ca_file
    );
    config = desk.write("muttrc-trust", &trust);
    let saved = mutt_saves_all("mutt", &desk, &config, "");
    let body = body(MESSAGE).replace('\r', "");
    assert!(saved.contains(&body), "{saved}");
}

/// Scheme and STARTTLS of plain ports.
const PLAIN: (&str, &str) = ("", "no");

fn mutt_config(desk: &Desk, target: &Target, host: &str, (s, starttls): (&str, &str)) -> PathBuf {
    let user = &target.user;
    desk.write(
        "muttrc",
        &format!(
            "set from=\"{user}\"\nset use_envelope_from=yes envelope_from_address=\"{user}\"\n\
             set ssl_starttls={starttls} ssl_force_tls={starttls}\n\
             set imap_user=\"{user}\" imap_pass=\"{password}\" pop_user=\"{user}\" pop_pass=\"{password}\"\n\
             set smtp_url=\"smtp{s}://{local}%40example.org:{password}@{host}:{smtp}/\" smtp_pass=\"{password}\"\n\
             set smtp_authenticators=\"plain\" copy=no header_cache=\"\" message_cachedir=\"\" crypt_use_gpgme=no\n\
             set folder=\"imap{s}://{host}:{imap}/\" spoolfile=\"imap{s}://{host}:{imap}/INBOX\"\n\
             set quit=yes delete=yes move=no wait_key=no charset=utf-8 send_charset=utf-8\n",
            local = user.split_once('@').expect("an address").0,
            password = target.password,
            smtp = target.smtp.port(),
            imap = target.imap.port()
        ),
    )
}

/// Reading wants a terminal; `script` makes one. Everything is tagged, saved into a file, and deleted.
fn mutt_saves_all(mutt: &str, desk: &Desk, config: &Path, lines: &str) -> String {
    let saved = desk.path("saved");
    let keys = format!(
        "push \"<tag-pattern>~A<enter><tag-prefix><copy-message>{}<enter><delete-message><sync-mailbox><quit>\"",
        saved.display()
    );
    let config = desk.write(
        "muttrc-read",
        &format!(
            "source {}\n{lines}set confirmcreate=no confirmappend=no\n{keys}\n",
            config.display()
        ),
    );
    let command = format!("{mutt} -F {}", config.display());
    desk.run(desk.program("script").args(["-qec", &command, "/dev/null"]));
    fs::read_to_string(saved).expect("mutt saved the message")
}

pub(super) fn alpine_reads_by_imap(target: &Target) {
    alpine_reads(target, target.imap.port(), "imap");
}

pub(super) fn alpine_reads_by_pop3(target: &Target) {
    alpine_reads(target, target.pop3.port(), "pop3");
}

fn alpine_reads(target: &Target, port: u16, protocol: &str) {
    target.mailbox.seed("", [MESSAGE.as_bytes()]);
    let desk = Desk::new();
    let inbox = format!(
        "{{127.0.0.1:{port}/{protocol}/notls/user={}}}INBOX",
        target.user
    );
    let config = alpine_config(&desk, target, &inbox);
    let alpine = Terminal::open(&desk, &format!("alpine -p {} -i", config.display()));
    alpine_password(&alpine, target);
    alpine.wait_for("a message");
    alpine.write("S");
    alpine.wait_for("to folder [saved-messages]");
    alpine.write("saved");
    alpine.wait_for(": saved");
    alpine.press("Enter");
    // It asks only now and then. What is saved is marked as deleted.
    if alpine.wait_for_any(&["Create?", SAVED]).contains("Create?") {
        alpine.write("y");
    }
    alpine.wait_for(SAVED);
    alpine.write("q");
    alpine.wait_until_closed();
    let saved = fs::read_to_string(desk.path("mail/saved")).expect("alpine saved the message");
    assert!(saved.contains(&body(MESSAGE).replace('\r', "")), "{saved}");
}

pub(super) fn alpine_sends(target: &Target) {
    let desk = Desk::new();
    let config = alpine_config(&desk, target, "");
    let sent = desk.write("body", ".dot\nfrom alpine\n");
    let alpine = Terminal::open(
        &desk,
        &format!(
            "alpine -p {} {} <{}",
            config.display(),
            target.user,
            sent.display()
        ),
    );
    alpine.wait_for("from alpine");
    alpine.press("C-x");
    alpine_password(&alpine, target);
    alpine.wait_until_closed();
    let came = &arrived(target, 1)[0];
    let came = String::from_utf8_lossy(came);
    assert!(came.contains("\r\n\r\n.dot\r\nfrom alpine\r\n"), "{came}");
}

/// In Alpine's title line.
const SAVED: &str = "Message 1 of 1 DEL";

fn alpine_config(desk: &Desk, target: &Target, inbox: &str) -> PathBuf {
    fs::create_dir(desk.path("mail")).expect("a folder");
    desk.write(
        "pinerc",
        &format!(
            "inbox-path={inbox}\nfolder-collections=Mail {}/[]\nsmtp-server=127.0.0.1:{}/notls/user={}\npersonal-name=Anna\nuser-domain=example.org\n\
             feature-list=quit-without-confirm,send-without-confirm,disable-password-file-saving,expunge-without-confirm\n\
             customized-hdrs=From: {}\ndefault-fcc=\"\"\npruning-rule=no-no\ncharacter-set=UTF-8\nlast-version-used=7.00\n",
            // Whatever HOME says, Alpine would take the home that the system knows.
            desk.path("mail").display(),
            target.smtp.port(),
            target.user,
            target.user
        ),
    )
}

/// Types the password where it is asked for. Before that the c-client library has looked at the mechanisms, and Alpine
/// shows for seconds what it holds against them: a complaint comes instead of the question.
fn alpine_password(alpine: &Terminal, target: &Target) {
    let screen = alpine.wait_for_any(&["PASSWORD:", "SECURITY PROBLEM"]);
    assert!(!screen.contains("SECURITY PROBLEM"), "{screen}");
    alpine.write(&target.password);
    alpine.press("Enter");
}

pub(super) fn s_nail_sends_and_fetches(target: &Target) {
    let desk = Desk::new();
    let login = format!("{}:{}", target.user.replace('@', "%40"), target.password);
    let s_nail = |settings: &[&str]| {
        let mut s_nail = desk.program("s-nail");
        s_nail.args(["-n", "-#", "-Sv15-compat"]).args(settings);
        s_nail
    };
    for (sent, mechanism) in (1..).zip(["plain", "login"]) {
        let text = fs::File::open(desk.write("body", ".dot\nfrom s-nail\n")).expect("the body");
        let server = format!("-Smta=smtp://{login}@{}", target.smtp);
        let (auth, from) = (
            format!("-Ssmtp-auth={mechanism}"),
            format!("-Sfrom={}", target.user),
        );
        desk.run(s_nail(&[&server, &auth, &from, "-s", "from s-nail", &target.user]).stdin(text));
        let came = arrived(target, sent);
        let whole = |message: &Vec<u8>| message.ends_with(b"\r\n\r\n.dot\r\nfrom s-nail\r\n");
        assert!(came.iter().all(whole));
    }
    for (folder, auth) in [
        (
            format!("imap://{login}@{}/INBOX", target.imap),
            "-Simap-auth=login",
        ),
        (
            format!("pop3://{login}@{}", target.pop3),
            "-Spop3-auth=plain",
        ),
    ] {
        let saved = desk.path("saved");
        let save = format!("copy * {}", saved.display());
        desk.run(&mut s_nail(&[
            "-R", auth, "-Y", &save, "-Y", "exit", "-f", &folder,
        ]));
        let kept = fs::read_to_string(&saved).expect("s-nail saved the messages");
        assert_eq!(
            kept.matches("\n\n.dot\nfrom s-nail\n").count(),
            2,
            "{folder}: {kept}"
        );
        fs::remove_file(saved).expect("remove");
    }
}
