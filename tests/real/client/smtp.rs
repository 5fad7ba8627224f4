//! A strict submission client.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Wire;
use crate::fixture::Target;

/// A session.
pub(crate) struct Smtp {
    wire: Wire,
}

/// A reply: its code, and the text of its lines.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) lines: Vec<String>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Code and first line, as on the wire.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.code, self.lines[0])
    }
}

impl Smtp {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut smtp = Self {
            wire: Wire::connect(address),
        };
        smtp.reply().expect(220);
        smtp
    }

    /// Connects, says EHLO and authenticates.
    pub(crate) fn login(target: &Target) -> Self {
        let mut smtp = Self::connect(target.smtp);
        smtp.command("EHLO client.example.org").expect(250);
        smtp.auth_plain(&target.user, &target.password).expect(235);
        smtp
    }

    pub(crate) fn auth_plain(&mut self, user: &str, password: &str) -> Reply {
        let response = STANDARD.encode(format!("\0{user}\0{password}"));
        self.command(&format!("AUTH PLAIN {response}"))
    }

    pub(crate) fn command(&mut self, command: &str) -> Reply {
        self.send(format!("{command}\r\n").as_bytes());
        self.reply()
    }

    /// A whole transaction; `message` in whole lines.
    #[track_caller]
    pub(crate) fn submit(&mut self, to: &str, message: &[u8]) -> Reply {
        self.command(&format!("MAIL FROM:<{to}> BODY=8BITMIME"))
            .expect(250);
        self.command(&format!("RCPT TO:<{to}>")).expect(250);
        self.command("DATA").expect(354);
        self.send(&stuffed(message));
        self.reply()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.wire.send(bytes);
    }

    pub(crate) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_or_end()
            .expect("a reply, not the end of the stream")
    }

    pub(crate) fn reply_or_end(&mut self) -> Option<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = String::from_utf8(self.wire.line_or_end()?).expect("replies are UTF-8");
            let code = line[..3].parse().expect("a code");
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes().get(3) {
                Some(b'-') => {}
                Some(b' ') | None => return Some(Reply { code, lines }),
                Some(_) => panic!("not a reply: {line:?}"),
            }
        }
    }
}

/// RFC 5321 section 4.5.2, with the dot that ends it.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + message.len() / 100);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    assert!(
        message.is_empty() || wire.ends_with(b"\r\n"),
        "SMTP knows whole lines"
    );
    wire.extend_from_slice(b".\r\n");
    wire
}
