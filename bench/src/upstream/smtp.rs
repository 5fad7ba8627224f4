//! The upstream's submission (RFC 6409, 4954, 2920): takes every message, counts it, and compares it.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};

use super::world::{Proof, World};
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
        open: false,
        recipients: 0,
    };
    session.say("220 localhost bench ready\r\n");
    session.run().await
}

struct Session<'a, S> {
    wire: Wire<S>,
    world: &'a World,
    out: Vec<u8>,
    open: bool,
    recipients: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            if self.wire.is_empty() {
                self.flush().await?;
            }
            let line = self.wire.line().await?.to_vec();
            let line = String::from_utf8_lossy(&line).into_owned();
            let (name, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if name.eq_ignore_ascii_case("QUIT") {
                self.say("221 2.0.0 until next time\r\n");
                self.flush().await?;
                return self.wire.finish().await;
            }
            self.answer(&name.to_ascii_uppercase(), argument).await?;
        }
    }

    async fn answer(&mut self, name: &str, argument: &str) -> io::Result<()> {
        match name {
            "EHLO" => self.say(EXTENSIONS),
            "HELO" => self.say("250 localhost\r\n"),
            "NOOP" => self.say("250 2.0.0 done\r\n"),
            "RSET" => {
                self.recipients = 0;
                self.say("250 2.0.0 done\r\n");
            }
            "AUTH" => self.authenticate(argument).await?,
            _ if !self.open => self.say("530 5.7.0 log in first\r\n"),
            "MAIL" => self.say("250 2.1.0 sender taken\r\n"),
            "RCPT" => {
                self.recipients += 1;
                self.say("250 2.1.5 recipient taken\r\n");
            }
            "DATA" if self.recipients == 0 => self.say("503 5.5.1 no recipient\r\n"),
            "DATA" => self.data().await?,
            _ => self.say("500 5.5.1 unknown command\r\n"),
        }
        Ok(())
    }

    async fn authenticate(&mut self, argument: &str) -> io::Result<()> {
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let right = if mechanism.eq_ignore_ascii_case("LOGIN") {
            let user = self.ask("334 VXNlcm5hbWU6\r\n").await?;
            let password = self.ask("334 UGFzc3dvcmQ6\r\n").await?;
            let decode = |text: Vec<u8>| STANDARD.decode(text).unwrap_or_default();
            let password = decode(password);
            self.world.admits(&decode(user), Proof::Password(&password))
        } else {
            let response = if initial.is_empty() {
                self.ask("334 \r\n").await?
            } else {
                initial.as_bytes().to_vec()
            };
            self.world.admits_sasl(mechanism.as_bytes(), &response)
        };
        self.open |= right;
        self.say(if right {
            "235 2.7.0 logged in\r\n"
        } else {
            "535 5.7.8 not these\r\n"
        });
        Ok(())
    }

    async fn ask(&mut self, challenge: &str) -> io::Result<Vec<u8>> {
        self.say(challenge);
        self.flush().await?;
        Ok(self.wire.line().await?.to_vec())
    }

    /// Looks for CRLF . CRLF in what is there, keeping back as much as could be the beginning of one.
    async fn data(&mut self) -> io::Result<()> {
        self.say("354 go ahead\r\n");
        self.flush().await?;
        let finder = memmem::Finder::new(END);
        let world = self.world;
        let (mut offset, mut intact) = (0, true);
        // A message without any line ends in the dot alone.
        if self.wire.peek(END.len() - 2).await?.starts_with(&END[2..]) {
            self.wire.consume(END.len() - 2);
            world.seen.message(0, true);
            self.say("250 2.0.0 taken\r\n");
            return Ok(());
        }
        loop {
            let there = self.wire.peek(END.len()).await?;
            let (length, ended) = match finder.find(there) {
                // The first CRLF of the end belongs to the message.
                Some(at) => (at + 2, true),
                None => (there.len() - (END.len() - 1), false),
            };
            intact &= world.mail.is_stuffed_at(offset, &there[..length]);
            offset += length;
            self.wire.consume(length);
            if ended {
                self.wire.consume(END.len() - 2);
                break;
            }
        }
        self.recipients = 0;
        world.seen.message(offset, intact);
        self.say("250 2.0.0 taken\r\n");
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

const END: &[u8] = b"\r\n.\r\n";
const EXTENSIONS: &str = "250-localhost\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n\
    250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n";

#[cfg(test)]
mod tests {
    use super::super::tests::Talk;
    use super::super::world::{PASSWORD, USER, token};
    use super::*;
    use crate::mail::KIB;

    async fn talk() -> Talk {
        let mut talk = Talk::start(|wire, world| async move { serve(wire, &world).await });
        assert!(talk.line().await.starts_with("220 "));
        talk.say("EHLO there\r\n").await;
        talk.until("250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER").await;
        talk
    }

    async fn logged_in() -> Talk {
        let mut talk = talk().await;
        let plain = STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
        talk.say(&format!("AUTH PLAIN {plain}\r\n")).await;
        assert!(talk.line().await.starts_with("235 "));
        talk
    }

    #[tokio::test]
    async fn every_way_to_log_in_is_taken() {
        logged_in().await;
        let mut talk = talk().await;
        let xoauth2 = STANDARD.encode(format!("user={USER}\x01auth=Bearer {}\x01\x01", token()));
        talk.say(&format!("AUTH XOAUTH2\r\n{xoauth2}\r\n")).await;
        assert_eq!(talk.line().await, "334 ");
        assert!(talk.line().await.starts_with("235 "));
        let mut talk = self::talk().await;
        let (user, password) = (STANDARD.encode(USER), STANDARD.encode(PASSWORD));
        talk.say(&format!("AUTH LOGIN\r\n{user}\r\n{password}\r\n"))
            .await;
        assert_eq!(talk.line().await, "334 VXNlcm5hbWU6");
        assert_eq!(talk.line().await, "334 UGFzc3dvcmQ6");
        assert!(talk.line().await.starts_with("235 "));
    }

    #[tokio::test]
    async fn a_wrong_password_is_refused() {
        let mut talk = talk().await;
        let plain = STANDARD.encode(format!("\0{USER}\0wrong"));
        talk.say(&format!("AUTH PLAIN {plain}\r\nMAIL FROM:<a@b>\r\n"))
            .await;
        assert!(talk.line().await.starts_with("535 "));
        assert!(talk.line().await.starts_with("530 "));
    }

    #[tokio::test]
    async fn messages_are_counted_and_compared() {
        let mut talk = logged_in().await;
        let message = talk.world().mail.stuffed(10 * KIB).to_vec();
        let mut other = message.clone();
        other[5000] ^= 1;
        for text in [&message, &other] {
            talk.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
                .await;
            talk.until("354 go ahead").await;
            talk.send(text).await;
            talk.say(".\r\n").await;
            assert!(talk.line().await.starts_with("250 "));
        }
        let counts = talk.counts();
        assert_eq!((counts.messages, counts.altered), (2, 1));
        assert_eq!(counts.octets, 2 * message.len() as u64);
    }

    #[tokio::test]
    async fn data_without_recipient_is_refused_and_quit_ends() {
        let mut talk = logged_in().await;
        talk.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRSET\r\nDATA\r\nNOOP\r\nQUIT\r\n")
            .await;
        talk.until("250 2.0.0 done").await;
        assert!(talk.line().await.starts_with("503 "));
        assert!(talk.line().await.starts_with("250 "));
        assert!(talk.line().await.starts_with("221 "));
        talk.ends().await;
    }
}
