//! Senders that cannot log in, through the whole program to the Postfix: scanners, faxes, monitors, scripts.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::client::imap::{Imap, arrived};
use crate::client::smtp::{Reply, Smtp};
use crate::client::{assert_same, sha256};
use crate::fixture::{Account, Auth, Mailbox, Proxy, Target, refused_port, servers};

/// What a device sends. All but its From is to arrive as it is.
const SCAN: &str = "From: \"Scanner, 3. OG\" <scanner@localhost>\r\nTo: office@example.org\r\n\
    Date: Mon, 5 Jan 2026 08:00:00 +0100\r\nMessage-ID: <scan-1@localhost>\r\nSubject: =?utf-8?Q?Scan_=C3=BC?=\r\n\
    Content-Type: text/plain;\r\n\tcharset=utf-8\r\n\r\n.one dot\r\n..two dots\r\ntext\r\n";

const OUR_FROM: &str = "From: \"Scanner, 3. OG\" <";

#[test]
fn swaks_sends_without_a_login() {
    let target = device("");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("scan");
    // swaks ends the last line itself.
    std::fs::write(&file, SCAN.trim_end()).expect("a file");
    run(Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port"])
        .arg(target.smtp.port().to_string())
        .args([
            "--from",
            "scanner@localhost",
            "--ehlo",
            "scanner",
            "--to",
            &target.user,
        ])
        .arg("--data")
        .arg(format!("@{}", file.display())));
    let message = &arrived(&target, 1)[0];
    assert_same(&body(message), &body(SCAN.as_bytes()), "the body");
    assert_eq!(sha256(&body(message)), sha256(&body(SCAN.as_bytes())));
    let header = header(message);
    assert!(
        header.contains(&format!("\r\n{OUR_FROM}{}>\r\n", target.user)),
        "{header}"
    );
    assert!(
        header.contains(&format!("Return-Path: <{}>\r\n", target.user)),
        "{header}"
    );
    let unchanged = SCAN.split_once("\r\n").expect("lines").1;
    let unchanged = unchanged.split_once("\r\n\r\n").expect("a body").0;
    assert!(header.contains(unchanged), "{header}");
    assert!(!header.contains("localhost>\r\nReply-To"), "{header}");
}

#[test]
fn python_sends_two_messages_in_one_session_and_each_is_told() {
    let target = device("");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("scan");
    std::fs::write(&file, "Subject: disk full\r\n\r\n/var is full\r\n").expect("a file");
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/devices/smtplib_without_login.py");
    run(Command::new("python3")
        .arg(script)
        .args([&target.smtp.port().to_string(), &target.user])
        .arg(file));
    for message in arrived(&target, 2) {
        let header = header(&message);
        for added in ["\r\nDate: ", "\r\nMessage-ID: <"] {
            assert_eq!(header.matches(added).count(), 1, "{header}");
        }
        assert!(
            header.contains(&format!("\r\nFrom: <{}>\r\n", target.user)),
            "{header}"
        );
        assert_eq!(body(&message), b"/var is full\r\n");
    }
    let log = target.proxy().log();
    for sender in ["root@localhost", "monitor@localhost"] {
        let line = audit(&log, sender);
        for field in [
            format!("account=\"{}\"", target.user),
            "peer=\"127.0.0.1:".to_owned(),
            "recipients=1".to_owned(),
            format!("to=\"{}\"", target.user),
            "octets=36".to_owned(),
            "reply=250".to_owned(),
            "by=\"upstream\"".to_owned(),
        ] {
            assert!(line.contains(&field), "{field}: {line}");
        }
    }
}

#[test]
fn a_fax_without_ehlo_and_with_bare_line_feeds_is_served() {
    let target = device("");
    let mut fax = Smtp::connect(target.smtp);
    let user = &target.user;
    fax.send(b"HELO fax\n");
    fax.reply().expect(250);
    fax.send(format!("MAIL FROM: fax\nRCPT TO: {user}\n").as_bytes());
    fax.reply().expect(250);
    fax.reply().expect(250);
    fax.send(b"DATA\n");
    fax.reply().expect(354);
    let long = "0123456789".repeat(200);
    fax.send(format!("Subject: page\n\na\n.\n..b\n{long}\r\n.\r\n").as_bytes());
    fax.reply().expect(250);
    fax.send(b"QUIT\n");
    fax.reply().expect(221);
    let message = &arrived(&target, 1)[0];
    // Postfix breaks what is over 998 (`smtp_line_length_limit`); nothing of it is lost.
    let came = String::from_utf8_lossy(&body(message)).replace("\r\n ", "");
    assert_eq!(came, format!("a\r\n.\r\n.b\r\n{long}\r\n"));
}

#[test]
fn who_is_not_in_the_networks_is_closed_without_a_word() {
    let target = device("networks = [\"127.0.0.2\"]\n");
    let mut stranger = TcpStream::connect(target.smtp).expect("connect");
    let mut heard = Vec::new();
    // A reset says as much.
    let _ = stranger.read_to_end(&mut heard);
    assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
    let mut known = connect_from(Ipv4Addr::new(127, 0, 0, 2), target.smtp);
    let mut greeting = [0; 4];
    known.read_exact(&mut greeting).expect("a greeting");
    assert_eq!(&greeting, b"220 ");
    assert!(target.proxy().log().contains("network not allowed"));
}

#[test]
fn the_hour_of_one_peer_is_not_that_of_another() {
    let target = device(
        "networks = [\"127.0.0.0/8\"]\nlimits = { messages_per_hour = 2, recipients = 1, size = 2000 }\n",
    );
    let user = &target.user;
    let mut device = Smtp::connect(target.smtp);
    let hello = device.command("EHLO scanner").expect(250);
    assert!(
        hello.lines.contains(&"SIZE 2000".to_owned()),
        "{:?}",
        hello.lines
    );
    device
        .command("MAIL FROM:<a@localhost> SIZE=2001")
        .expect(552);
    assert_eq!(submit(&mut device, user, "x\r\n").code, 250);
    device.command("MAIL FROM:<a@localhost>").expect(250);
    device.command(&format!("RCPT TO:<{user}>")).expect(250);
    device.command(&format!("RCPT TO:<{user}>")).expect(452);
    device.command("DATA").expect(354);
    let large = "x".repeat(2001);
    device.send(format!("Subject: x\r\n\r\n{large}\r\n.\r\n").as_bytes());
    let refused = device.reply();
    assert!(refused.text().starts_with("552 5.3.4"), "{refused:?}");
    assert!(device.reply_or_end().is_none(), "the session ends");

    let mut device = Smtp::connect(target.smtp);
    let refused = device.command("MAIL FROM:<a@localhost>");
    assert!(refused.text().starts_with("451 4.7.1"), "{refused:?}");
    let mut other = connect_from(Ipv4Addr::new(127, 0, 0, 3), target.smtp);
    other
        .write_all(b"MAIL FROM:<a@localhost>\r\n")
        .expect("write");
    let mut heard = String::new();
    let mut buffer = [0; 256];
    while heard.matches("\r\n").count() < 2 {
        let n = other.read(&mut buffer).expect("two replies");
        assert!(n > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(heard.contains("\r\n250 "), "{heard}");
    assert_eq!(arrived(&target, 1).len(), 1);
    assert!(target.proxy().log().contains("reply=552 by=\"mailsluice\""));
}

#[test]
fn nobody_else_can_be_the_sender() {
    let mailboxes = [0, 1].map(|_| Mailbox::new(servers()));
    let accounts = mailboxes
        .each_ref()
        .map(|mailbox| Account::implicit(&mailbox.user, servers()));
    let [mailbox, boss] = mailboxes;
    let proxy = Proxy::start_without_login("from = { header = \"rewrite\" }\n", &accounts);
    let password = proxy.password(&boss.user).to_owned();
    let target = Target::through(mailbox, proxy);
    let mut device = Smtp::connect(target.smtp);
    device.command("EHLO scanner").expect(250);
    let refused = device.auth_plain(&boss.user, &password);
    assert!(refused.text().starts_with("504 "), "{refused:?}");
    device.command("AUTH LOGIN").expect(504);
    let boss = &boss.user;
    device
        .command(&format!("MAIL FROM:<{boss}> AUTH=<>"))
        .expect(250);
    device
        .command(&format!("RCPT TO:<{}>", target.user))
        .expect(250);
    device.command("DATA").expect(354);
    device.send(
        format!(
            "DKIM-Signature: x\r\nSubject: x\r\nFrom: Boss <{boss}>\r\nfrom : {boss}\r\nSender: {boss}\r\nno field\r\nFrom: {boss}\r\n\r\n\
             .\r\n"
        )
        .as_bytes(),
    );
    device.reply().expect(250);
    let message = &arrived(&target, 1)[0];
    let header = header(message);
    assert!(
        header.contains(&format!("\r\nFrom: Boss <{}>\r\n", target.user)),
        "{header}"
    );
    assert!(
        header.contains(&format!("Return-Path: <{}>", target.user)),
        "{header}"
    );
    let of_boss: Vec<&str> = header.lines().filter(|line| line.contains(boss)).collect();
    assert_eq!(of_boss, [format!("Reply-To: {boss}")], "{header}");
}

#[test]
fn a_pinned_sender_is_refused_in_envelope_and_header() {
    let target = device("from = \"pin\"\n");
    let user = &target.user;
    let mut device = Smtp::connect(target.smtp);
    device.command("HELO scanner").expect(250);
    device.command("MAIL FROM:<boss@example.org>").expect(550);
    device.command("MAIL FROM:<>").expect(550);
    device.command(&format!("MAIL FROM:<{user}>")).expect(250);
    device.command(&format!("RCPT TO:<{user}>")).expect(250);
    device.command("DATA").expect(354);
    device.send(b"From: boss@example.org\r\n\r\nx\r\n.\r\n");
    device.reply().expect(550);
    assert!(device.reply_or_end().is_none(), "the session ends");
    let mut device = Smtp::connect(target.smtp);
    device.command(&format!("MAIL FROM:<{user}>")).expect(250);
    device.command(&format!("RCPT TO:<{user}>")).expect(250);
    device.command("DATA").expect(354);
    device.send(format!("From: {user}\r\n\r\nx\r\n.\r\n").as_bytes());
    device.reply().expect(250);
    assert_eq!(arrived(&target, 1).len(), 1);
    let log = target.proxy().log();
    assert_eq!(log.matches("reply=550 by=\"mailsluice\"").count(), 3);
}

#[test]
fn trouble_at_the_provider_is_temporary() {
    let mailbox = Mailbox::new(servers());
    let (nowhere, _held) = refused_port();
    let mut down = Account::implicit(&mailbox.user, servers());
    down.smtp.port = nowhere.port();
    let mut wrong = Account::implicit(&mailbox.user, servers());
    wrong.auth = Auth::Password("wrong".to_owned());
    for (account, reply) in [(down, "451 4.4.1 "), (wrong, "451 4.7.0 ")] {
        let proxy = Proxy::start_without_login("", &[account]);
        let mut device = Smtp::connect(proxy.smtp);
        device.command("EHLO scanner").expect(250);
        for _ in 0..2 {
            let refused = device.command("MAIL FROM:<scanner@localhost>");
            assert!(refused.text().starts_with(reply), "{refused:?}");
        }
        device.command("QUIT").expect(221);
        assert!(proxy.log().contains("no login"), "{}", proxy.log());
    }
    assert_eq!(mailbox.count(), 0);
}

#[test]
fn check_says_who_may_send_as_whom() {
    let target = device("networks = [\"127.0.0.0/8\", \"127.9.9.9\"]\n");
    let said = target.proxy().command(&["check"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let expected = format!(
        "smtp on {}: without a login, 127.0.0.0/8, 127.9.9.9 may send as {}\n",
        target.smtp, target.user
    );
    assert!(said.contains(&expected), "{said}");
}

/// A mailbox, and an SMTP port where nobody logs in. Mail is read by IMAP, with a login.
fn device(lines: &str) -> Target {
    let mailbox = Mailbox::new(servers());
    let account = Account::implicit(&mailbox.user, servers());
    let target = Target::through(mailbox, Proxy::start_without_login(lines, &[account]));
    drop(Imap::login(&target));
    target
}

fn submit(device: &mut Smtp, to: &str, text: &str) -> Reply {
    device.command("MAIL FROM:<scanner@localhost>").expect(250);
    device.command(&format!("RCPT TO:<{to}>")).expect(250);
    device.command("DATA").expect(354);
    device.send(format!("Subject: x\r\n\r\n{text}.\r\n").as_bytes());
    device.reply()
}

fn connect_from(ip: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((ip, 0)).into())
        .expect("loopback");
    socket.connect(&to.into()).expect("connect");
    let stream = TcpStream::from(socket);
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("timeout");
    stream
}

fn run(command: &mut Command) {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}\n{said}\n{complained}");
}

/// The audit line of what was sent as `sender`.
fn audit(log: &str, sender: &str) -> String {
    let sender = format!("sender=\"{sender}\"");
    let found: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("message without a login") && line.contains(&sender))
        .collect();
    assert_eq!(found.len(), 1, "{log}");
    found[0].to_owned()
}

fn header(message: &[u8]) -> String {
    let end = message.len() - body(message).len();
    String::from_utf8_lossy(&message[..end]).into_owned()
}

fn body(message: &[u8]) -> Vec<u8> {
    let at = message
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a header");
    message[at + 4..].to_vec()
}
