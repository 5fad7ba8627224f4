//! A POP3 client.

use super::{Stream, Way, expect};
use crate::error::BenchError;
use crate::mail;
use crate::peers::Login;
use crate::wire::Wire;

/// A connection that is logged in.
pub(crate) struct Pop3 {
    wire: Wire<Stream>,
}

impl Pop3 {
    /// Connects and logs in.
    pub(crate) async fn open(way: &Way, login: &Login) -> Result<Self, BenchError> {
        let mut wire = way.connect().await?;
        expect("greeting", wire.line().await?, "+OK")?;
        let mut client = Self { wire };
        client
            .command("USER", &format!("USER {}\r\n", login.user))
            .await?;
        client
            .command("PASS", &format!("PASS {}\r\n", login.password))
            .await?;
        Ok(client)
    }

    /// Fetches a message, whose size is known, and shows its octets as they came; returns how many.
    pub(crate) async fn retrieve(
        &mut self,
        number: usize,
        see: impl FnMut(&[u8]),
    ) -> Result<usize, BenchError> {
        self.wire
            .write(format!("RETR {number}\r\n").as_bytes())
            .await?;
        let head = self.wire.line().await?;
        expect("RETR", head, "+OK ")?;
        let size = std::str::from_utf8(&head[4..])
            .ok()
            .and_then(|text| text.split(' ').next()?.parse().ok())
            .unwrap_or_default();
        let length = mail::stuffed_length(size);
        self.wire.take(length, see).await?;
        expect("RETR", self.wire.line().await?, ".")?;
        Ok(length)
    }

    /// QUIT.
    pub(crate) async fn quit(mut self) -> Result<(), BenchError> {
        self.command("QUIT", "QUIT\r\n").await?;
        Ok(self.wire.drain().await?)
    }

    async fn command(&mut self, phase: &'static str, command: &str) -> Result<(), BenchError> {
        self.wire.write(command.as_bytes()).await?;
        expect(phase, self.wire.line().await?, "+OK")
    }
}
