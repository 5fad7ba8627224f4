//! The upstream's POP3 (RFC 1939, 2449, 5034), for fetching.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use super::world::{Proof, World};
use crate::mail::SIZES;
use crate::wire::Wire;

/// Serves one connection until it ends.
pub(crate) async fn serve<S>(wire: Wire<S>, world: &World) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Session {
        wire,
        world,
        out: Vec::new(),
        user: Vec::new(),
        open: false,
    };
    session.say("+OK bench ready\r\n");
    session.run().await
}

struct Session<'a, S> {
    wire: Wire<S>,
    world: &'a World,
    out: Vec<u8>,
    user: Vec<u8>,
    open: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            if self.wire.is_empty() {
                self.flush().await?;
            }
            let line = self.wire.line().await?.to_vec();
            let (name, argument) = word(&line);
            if name.eq_ignore_ascii_case(b"QUIT") {
                self.say("+OK until next time\r\n");
                self.flush().await?;
                return self.wire.finish().await;
            }
            self.answer(&name.to_ascii_uppercase(), argument).await?;
        }
    }

    async fn answer(&mut self, name: &[u8], argument: &[u8]) -> io::Result<()> {
        match name {
            b"CAPA" => self.say(CAPABILITIES),
            b"NOOP" => self.say("+OK\r\n"),
            b"USER" => {
                self.user = argument.to_vec();
                self.say("+OK\r\n");
            }
            b"PASS" => {
                let right = self.world.admits(&self.user, Proof::Password(argument));
                self.logged_in(right);
            }
            b"AUTH" => self.authenticate(argument).await?,
            _ if !self.open => self.say("-ERR log in first\r\n"),
            b"STAT" => {
                let total: usize = SIZES.iter().sum();
                self.say(&format!("+OK {} {total}\r\n", SIZES.len()));
            }
            b"LIST" => self.list("+OK sizes\r\n", |number, size| {
                format!("{number} {size}\r\n")
            }),
            b"UIDL" => self.list("+OK ids\r\n", |number, _| {
                format!("{number} canned-{number}\r\n")
            }),
            b"RETR" => self.retrieve(argument).await?,
            _ => self.say("-ERR unknown command\r\n"),
        }
        Ok(())
    }

    async fn authenticate(&mut self, argument: &[u8]) -> io::Result<()> {
        let (mechanism, initial) = word(argument);
        let response = if initial.is_empty() {
            self.say("+ \r\n");
            self.flush().await?;
            self.wire.line().await?.to_vec()
        } else {
            initial.to_vec()
        };
        let right = self.world.admits_sasl(mechanism, &response);
        self.logged_in(right);
        Ok(())
    }

    fn logged_in(&mut self, right: bool) {
        self.open |= right;
        self.say(if right {
            "+OK logged in\r\n"
        } else {
            "-ERR [AUTH] not these\r\n"
        });
    }

    fn list(&mut self, head: &str, row: impl Fn(usize, usize) -> String) {
        self.say(head);
        for (index, size) in SIZES.iter().enumerate() {
            self.say(&row(index + 1, *size));
        }
        self.say(".\r\n");
    }

    async fn retrieve(&mut self, argument: &[u8]) -> io::Result<()> {
        let number: Option<usize> = String::from_utf8_lossy(argument).parse().ok();
        let Some(size) = number.and_then(|number| SIZES.get(number.wrapping_sub(1))) else {
            self.say("-ERR no such message\r\n");
            return Ok(());
        };
        let world = self.world;
        let size = world.mail.message(*size).len();
        self.say(&format!("+OK {size} octets\r\n"));
        self.flush().await?;
        self.wire.write(world.mail.stuffed(size)).await?;
        self.say(".\r\n");
        Ok(())
    }

    fn say(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.wire.write(&self.out).await?;
        self.out.clear();
        Ok(())
    }
}

/// The first word, and what follows the blank behind it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, b""),
    }
}

const CAPABILITIES: &str = "+OK\r\nUSER\r\nSASL PLAIN XOAUTH2\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n";

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::tests::Talk;
    use super::super::world::{PASSWORD, USER, token};
    use super::*;
    use crate::mail::{KIB, stuffed_length};

    async fn talk() -> Talk {
        let mut talk = Talk::start(|wire, world| async move { serve(wire, &world).await });
        assert!(talk.line().await.starts_with("+OK"));
        talk
    }

    #[tokio::test]
    async fn every_way_to_log_in_is_taken() {
        let plain = STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
        let xoauth2 = STANDARD.encode(format!("user={USER}\x01auth=Bearer {}\x01\x01", token()));
        for way in [
            format!("AUTH PLAIN {plain}"),
            format!("AUTH XOAUTH2 {xoauth2}"),
        ] {
            let mut talk = talk().await;
            talk.say(&format!("{way}\r\n")).await;
            assert_eq!(talk.line().await, "+OK logged in");
        }
        let mut talk = talk().await;
        talk.say(&format!("USER {USER}\r\nPASS {PASSWORD}\r\n"))
            .await;
        assert_eq!(talk.line().await, "+OK");
        assert_eq!(talk.line().await, "+OK logged in");
    }

    #[tokio::test]
    async fn a_wrong_password_is_refused() {
        let mut talk = talk().await;
        talk.say(&format!("USER {USER}\r\nPASS wrong\r\nSTAT\r\n"))
            .await;
        assert_eq!(talk.line().await, "+OK");
        assert!(talk.line().await.starts_with("-ERR [AUTH]"));
        assert!(talk.line().await.starts_with("-ERR"));
    }

    #[tokio::test]
    async fn a_message_comes_stuffed_and_whole() {
        let mut talk = talk().await;
        talk.say(&format!(
            "USER {USER}\r\nPASS {PASSWORD}\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 2\r\nRETR 9\r\nNOOP\r\nQUIT\r\n"
        ))
        .await;
        talk.until("+OK logged in").await;
        assert!(talk.line().await.starts_with("+OK 5 "));
        talk.until(".").await;
        talk.until(".").await;
        talk.until("+OK 10240 octets").await;
        let size = 10 * KIB;
        let body = talk.take(stuffed_length(size)).await;
        assert!(talk.world().mail.stuffed(size) == body);
        assert_eq!(talk.line().await, ".");
        assert!(talk.line().await.starts_with("-ERR"));
        assert_eq!(talk.line().await, "+OK");
        assert!(talk.line().await.starts_with("+OK"));
        talk.ends().await;
    }
}
