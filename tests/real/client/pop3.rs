//! A strict POP3 client.

use std::net::SocketAddr;

use super::Wire;
use crate::fixture::Target;

/// A session.
pub(crate) struct Pop3 {
    wire: Wire,
}

impl Pop3 {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut pop3 = Self {
            wire: Wire::connect(address),
        };
        pop3.ok();
        pop3
    }

    pub(crate) fn login(target: &Target) -> Self {
        let mut pop3 = Self::connect(target.pop3);
        pop3.command(&format!("USER {}", target.user));
        pop3.command(&format!("PASS {}", target.password));
        pop3
    }

    /// A command that has to succeed; what follows `+OK`.
    #[track_caller]
    pub(crate) fn command(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n"));
        self.ok()
    }

    /// A command that may fail; the status line.
    pub(crate) fn attempt(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n"));
        self.status()
    }

    /// A command with a multi-line response, dots unstuffed.
    #[track_caller]
    pub(crate) fn multi_line(&mut self, command: &str) -> Vec<u8> {
        self.command(command);
        self.lines()
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.wire.send(text.as_bytes());
    }

    #[track_caller]
    pub(crate) fn ok(&mut self) -> String {
        let status = self.status();
        status
            .strip_prefix("+OK")
            .unwrap_or_else(|| panic!("{status}"))
            .trim_start()
            .to_owned()
    }

    pub(crate) fn status(&mut self) -> String {
        self.wire.text_line()
    }

    pub(crate) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Lines up to the single dot, unstuffed.
    pub(crate) fn lines(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let line = self.wire.line();
            match line.strip_prefix(b".") {
                Some([]) => return all,
                Some(unstuffed) => {
                    assert!(unstuffed.starts_with(b"."), "a dot that was not stuffed");
                    all.extend_from_slice(unstuffed);
                }
                None => all.extend_from_slice(&line),
            }
            all.extend_from_slice(b"\r\n");
        }
    }
}
