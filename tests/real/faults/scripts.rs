//! What the scripted upstreams say: a submission server that goes away, and what stands before STARTTLS.

use std::io;

use crate::fixture::{Line, read_line, say};

/// Where the scripted submission server goes away.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum LostAt {
    Recipient,
    Data,
    Dot,
}

pub(super) fn submission(line: &mut Line, lost: LostAt) -> io::Result<()> {
    say(line, "220 scripted.example.org ESMTP\r\n")?;
    loop {
        let command = read_line(line)?.to_ascii_uppercase();
        let verb = command
            .split_ascii_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned();
        match verb.as_str() {
            "EHLO" => say(
                line,
                "250-scripted.example.org\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n",
            )?,
            "AUTH" => {
                if command.split_ascii_whitespace().count() < 3 {
                    say(line, "334 \r\n")?;
                    read_line(line)?;
                }
                say(line, "235 2.7.0 in\r\n")?;
            }
            "RCPT" if lost == LostAt::Recipient => return Ok(()),
            "DATA" => {
                say(line, "354 go on\r\n")?;
                while read_line(line)? != ".\r\n" {
                    if lost == LostAt::Data {
                        return Ok(());
                    }
                }
                return Ok(());
            }
            _ => say(line, "250 2.0.0 fine\r\n")?,
        }
    }
}

/// What plain upstreams say before TLS: what they offer, and what they add behind their consent.
#[derive(Clone, Copy)]
pub(super) struct Before {
    pub(super) imap: &'static str,
    pub(super) pop3: &'static str,
    pub(super) smtp: &'static str,
    pub(super) behind: &'static str,
}

pub(super) fn imap_before_tls(before: &Before, command: &str) -> String {
    let (tag, rest) = command.split_once(' ').unwrap_or_default();
    match rest.trim_end() {
        "CAPABILITY" => format!(
            "* CAPABILITY IMAP4rev1 AUTH=PLAIN{}\r\n{tag} OK done\r\n",
            before.imap
        ),
        "STARTTLS" => format!("{tag} OK begin\r\n{}", before.behind),
        _ => format!("{tag} BAD no\r\n"),
    }
}

pub(super) fn pop3_before_tls(before: &Before, command: &str) -> String {
    match command.trim_end() {
        "CAPA" => format!("+OK\r\nUSER\r\n{}.\r\n", before.pop3),
        "STLS" => format!("+OK begin\r\n{}", before.behind),
        _ => "-ERR no\r\n".to_owned(),
    }
}

pub(super) fn smtp_before_tls(before: &Before, command: &str) -> String {
    match command.split_ascii_whitespace().next() {
        Some("EHLO") => format!("250-hello\r\n{}250 AUTH PLAIN LOGIN\r\n", before.smtp),
        Some("STARTTLS") => format!("220 begin\r\n{}", before.behind),
        _ => "502 no\r\n".to_owned(),
    }
}
