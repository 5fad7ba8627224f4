//! A submission client, which pipelines the envelope.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Stream, Way, expect};
use crate::error::BenchError;
use crate::peers::Login;
use crate::wire::Wire;

/// A connection that is logged in.
pub(crate) struct Smtp {
    wire: Wire<Stream>,
}

impl Smtp {
    /// Connects and logs in.
    pub(crate) async fn open(way: &Way, login: &Login) -> Result<Self, BenchError> {
        let wire = way.connect().await?;
        let mut client = Self { wire };
        client.reply("greeting", "220").await?;
        client.command("EHLO", "EHLO localhost\r\n", "250").await?;
        let plain = STANDARD.encode(format!("\0{}\0{}", login.user, login.password));
        client
            .command("AUTH", &format!("AUTH PLAIN {plain}\r\n"), "235")
            .await?;
        // What the upstream offers is known only now.
        client.command("EHLO", "EHLO localhost\r\n", "250").await?;
        Ok(client)
    }

    /// Submits a message whose dots are stuffed.
    pub(crate) async fn submit(&mut self, stuffed: &[u8]) -> Result<(), BenchError> {
        let envelope = "MAIL FROM:<bench@localhost>\r\nRCPT TO:<bench@localhost>\r\nDATA\r\n";
        self.wire.write(envelope.as_bytes()).await?;
        self.reply("MAIL", "250").await?;
        self.reply("RCPT", "250").await?;
        self.reply("DATA", "354").await?;
        self.wire.write(stuffed).await?;
        self.command("message", ".\r\n", "250").await
    }

    /// QUIT.
    pub(crate) async fn quit(mut self) -> Result<(), BenchError> {
        self.command("QUIT", "QUIT\r\n", "221").await?;
        Ok(self.wire.drain().await?)
    }

    async fn command(
        &mut self,
        phase: &'static str,
        command: &str,
        code: &str,
    ) -> Result<(), BenchError> {
        self.wire.write(command.as_bytes()).await?;
        self.reply(phase, code).await
    }

    async fn reply(&mut self, phase: &'static str, code: &str) -> Result<(), BenchError> {
        loop {
            let line = self.wire.line().await?;
            expect(phase, line, code)?;
            if line.get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}
