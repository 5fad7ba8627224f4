//! A strict IMAP client: RFC 3501 responses as lines with their literals.

use std::net::SocketAddr;

use super::Wire;
use crate::fixture::Target;

/// A session.
pub(crate) struct Imap {
    wire: Wire,
    tags: u32,
    pub(crate) greeting: String,
}

/// One response: its text, with each literal's `{n}` left standing, and the literals.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) text: String,
    pub(crate) literals: Vec<Vec<u8>>,
}

/// What a command brought.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) untagged: Vec<Response>,
    /// The tagged response without its tag: `OK …`, `NO …`, `BAD …`.
    pub(crate) status: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(self.status.starts_with("OK "), "{self:?}");
        self
    }

    /// The first literal of the responses that have one.
    pub(crate) fn literals(self) -> Vec<Vec<u8>> {
        self.untagged
            .into_iter()
            .filter_map(|response| response.literals.into_iter().next())
            .collect()
    }

    /// The untagged response that begins with `start`, without it.
    #[track_caller]
    pub(crate) fn untagged(&self, start: &str) -> &str {
        let found = self
            .untagged
            .iter()
            .find_map(|response| response.text.strip_prefix(start));
        found.unwrap_or_else(|| panic!("no {start:?} in {:?}", self.untagged))
    }
}

impl Imap {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut wire = Wire::connect(address);
        let greeting = wire.text_line();
        Self {
            wire,
            tags: 0,
            greeting,
        }
    }

    /// Connects and logs in.
    pub(crate) fn login(target: &Target) -> Self {
        let mut imap = Self::connect(target.imap);
        assert!(imap.greeting.starts_with("* OK "), "{}", imap.greeting);
        imap.try_login(&target.user, &target.password).ok();
        imap
    }

    /// Connects, logs in and selects the INBOX.
    pub(crate) fn inbox(target: &Target) -> Self {
        let mut imap = Self::login(target);
        imap.command("SELECT INBOX");
        imap
    }

    pub(crate) fn try_login(&mut self, user: &str, password: &str) -> Reply {
        let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
        self.attempt(&format!("LOGIN {user} \"{quoted}\""))
    }

    /// A command that has to succeed.
    #[track_caller]
    pub(crate) fn command(&mut self, command: &str) -> Reply {
        self.attempt(command).ok()
    }

    /// A command that may fail.
    pub(crate) fn attempt(&mut self, command: &str) -> Reply {
        let tag = self.tag();
        self.send(format!("{tag} {command}\r\n").as_bytes());
        self.reply(&tag)
    }

    /// `APPEND` with a synchronising literal.
    #[track_caller]
    pub(crate) fn append(&mut self, arguments: &str, message: &[u8]) -> Reply {
        let tag = self.tag();
        self.send(format!("{tag} APPEND {arguments} {{{}}}\r\n", message.len()).as_bytes());
        let go_on = self.wire.text_line();
        assert!(go_on.starts_with('+'), "{go_on}");
        self.send(message);
        self.send(b"\r\n");
        self.reply(&tag).ok()
    }

    /// `IDLE` until a response contains `expected`, then `DONE` with `next` in the same segment; the reply of `next`.
    pub(crate) fn idle_until(
        &mut self,
        expected: &str,
        change: impl FnOnce(),
        next: &str,
    ) -> Reply {
        let (idle, after) = (self.tag(), self.tag());
        self.send(format!("{idle} IDLE\r\n").as_bytes());
        let go_on = self.wire.text_line();
        assert!(go_on.starts_with('+'), "{go_on}");
        change();
        while !self.response().text.contains(expected) {}
        self.send(format!("DONE\r\n{after} {next}\r\n").as_bytes());
        self.reply(&idle).ok();
        self.reply(&after)
    }

    pub(crate) fn tag(&mut self) -> String {
        self.tags += 1;
        format!("T{}", self.tags)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.wire.send(bytes);
    }

    pub(crate) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Responses up to the tagged one of `tag`.
    pub(crate) fn reply(&mut self, tag: &str) -> Reply {
        let mut untagged = Vec::new();
        loop {
            let response = self.response();
            if let Some(status) = response
                .text
                .strip_prefix(tag)
                .and_then(|rest| rest.strip_prefix(' '))
            {
                return Reply {
                    untagged,
                    status: status.to_owned(),
                };
            }
            assert!(
                response.text.starts_with("* "),
                "not {tag}'s reply: {response:?}"
            );
            untagged.push(response);
        }
    }

    pub(crate) fn response(&mut self) -> Response {
        let mut text = String::new();
        let mut literals = Vec::new();
        loop {
            let line = self.wire.text_line();
            text.push_str(&line);
            match literal_size(&line) {
                Some(size) => literals.push(self.wire.exactly(size)),
                None => return Response { text, literals },
            }
        }
    }
}

/// The messages of the INBOX, read over the route itself, once there are `count`.
pub(crate) fn arrived(target: &Target, count: usize) -> Vec<Vec<u8>> {
    let mut imap = Imap::login(target);
    let exists = format!("* {count} EXISTS");
    let selected = imap.command("SELECT INBOX");
    if !selected
        .untagged
        .iter()
        .any(|response| response.text == exists)
    {
        imap.idle_until(&exists, || (), "NOOP").ok();
    }
    let messages = imap.command("FETCH 1:* BODY.PEEK[]").literals();
    assert_eq!(messages.len(), count);
    messages
}

fn literal_size(line: &str) -> Option<usize> {
    let (_, size) = line.strip_suffix('}')?.rsplit_once('{')?;
    size.parse().ok()
}
