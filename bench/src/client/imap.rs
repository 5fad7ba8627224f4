//! An IMAP client.

use std::fmt::Write as _;

use super::{Stream, Way, expect};
use crate::error::BenchError;
use crate::peers::Login;
use crate::wire::Wire;

/// A connection, logged in or not. Every command has the same tag: nothing is under way when the next one goes out, and
/// what is pipelined is counted.
pub(crate) struct Imap {
    wire: Wire<Stream>,
}

impl Imap {
    /// Connects and reads the greeting.
    pub(crate) async fn connect(way: &Way) -> Result<Self, BenchError> {
        Self::connect_from(way, 0).await
    }

    /// The same from another address for each so many clients.
    pub(crate) async fn connect_from(way: &Way, number: usize) -> Result<Self, BenchError> {
        let mut wire = way.connect_from(number).await?;
        expect("greeting", wire.line().await?, "* OK")?;
        Ok(Self { wire })
    }

    /// Connects and logs in.
    pub(crate) async fn open(way: &Way, login: &Login) -> Result<Self, BenchError> {
        let mut client = Self::connect(way).await?;
        client.login(login).await?;
        Ok(client)
    }

    /// Connects, logs in and selects the mailbox.
    pub(crate) async fn selected(way: &Way, login: &Login) -> Result<Self, BenchError> {
        let mut client = Self::open(way, login).await?;
        client.command("SELECT", "a SELECT INBOX\r\n").await?;
        Ok(client)
    }

    /// LOGIN.
    pub(crate) async fn login(&mut self, login: &Login) -> Result<(), BenchError> {
        let Login { user, password } = login;
        let command = format!("a LOGIN \"{user}\" \"{password}\"\r\n");
        self.command("LOGIN", &command).await
    }

    /// One round trip.
    pub(crate) async fn noop(&mut self) -> Result<(), BenchError> {
        self.command("NOOP", "a NOOP\r\n").await
    }

    /// Sends NOOP; [`Self::done`] reads the answer.
    pub(crate) async fn send_noop(&mut self) -> Result<(), BenchError> {
        Ok(self.wire.write(b"a NOOP\r\n").await?)
    }

    /// Fetches a message and shows its octets; returns how many there were.
    pub(crate) async fn fetch(
        &mut self,
        number: usize,
        see: impl FnMut(&[u8]),
    ) -> Result<usize, BenchError> {
        self.send_fetches(number, 1).await?;
        let size = self.fetched(see).await?;
        self.done("FETCH").await?;
        Ok(size)
    }

    /// Asks `count` times for the same message at once.
    pub(crate) async fn send_fetches(
        &mut self,
        number: usize,
        count: usize,
    ) -> Result<(), BenchError> {
        let mut commands = String::new();
        for _ in 0..count {
            let _ = write!(commands, "a FETCH {number} BODY.PEEK[]\r\n");
        }
        Ok(self.wire.write(commands.as_bytes()).await?)
    }

    /// Reads one FETCH response with its literal.
    pub(crate) async fn fetched(&mut self, see: impl FnMut(&[u8])) -> Result<usize, BenchError> {
        let head = self.wire.line().await?;
        expect("FETCH", head, "* ")?;
        let size = literal(head).ok_or_else(|| BenchError::Answer {
            phase: "FETCH",
            line: String::from_utf8_lossy(head).into_owned(),
        })?;
        self.wire.take(size, see).await?;
        let end = self.wire.line().await?;
        expect("FETCH", &end[end.len().saturating_sub(1)..], ")")?;
        Ok(size)
    }

    /// Appends a message, its literal synchronising or not.
    pub(crate) async fn append(&mut self, message: &[u8], waits: bool) -> Result<(), BenchError> {
        let plus = if waits { "" } else { "+" };
        let command = format!("a APPEND INBOX {{{}{plus}}}\r\n", message.len());
        self.wire.write(command.as_bytes()).await?;
        if waits {
            expect("APPEND", self.wire.line().await?, "+ ")?;
        }
        self.wire.write(message).await?;
        self.wire.write(b"\r\n").await?;
        self.done("APPEND").await
    }

    /// Begins IDLE, which lasts until the connection is dropped.
    pub(crate) async fn idle(&mut self) -> Result<(), BenchError> {
        self.wire.write(b"a IDLE\r\n").await?;
        expect("IDLE", self.wire.line().await?, "+ ")
    }

    /// Ends IDLE.
    pub(crate) async fn idle_done(&mut self) -> Result<(), BenchError> {
        self.command("DONE", "DONE\r\n").await
    }

    /// LOGOUT, and waits for the end of the connection.
    pub(crate) async fn logout(mut self) -> Result<(), BenchError> {
        self.command("LOGOUT", "a LOGOUT\r\n").await?;
        Ok(self.wire.drain().await?)
    }

    async fn command(&mut self, phase: &'static str, command: &str) -> Result<(), BenchError> {
        self.wire.write(command.as_bytes()).await?;
        self.done(phase).await
    }

    /// Reads up to the tagged OK.
    pub(crate) async fn done(&mut self, phase: &'static str) -> Result<(), BenchError> {
        loop {
            let line = self.wire.line().await?;
            if !line.starts_with(b"* ") {
                return expect(phase, line, "a OK");
            }
        }
    }
}

fn literal(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let start = memchr::memrchr(b'{', inner)?;
    std::str::from_utf8(&inner[start + 1..]).ok()?.parse().ok()
}
