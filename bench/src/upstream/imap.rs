//! The upstream's IMAP4rev1 (RFC 3501, 2177, 4959, 7888): as much as mail programs need to fetch, append and wait.
//!
//! Commands may be pipelined; answers are gathered and written when no further command is at hand.

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
        open: false,
    };
    session.say(&format!("* OK [CAPABILITY {CAPABILITIES}] bench ready\r\n"));
    session.run().await
}

struct Session<'a, S> {
    wire: Wire<S>,
    world: &'a World,
    /// Answers not yet written.
    out: Vec<u8>,
    /// Whether somebody is logged in.
    open: bool,
}

/// A command, its literals in place.
struct Command {
    tag: String,
    words: Vec<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            if self.wire.is_empty() {
                self.flush().await?;
            }
            let line = self.wire.line().await?.to_vec();
            if let Some(size) = literal(&line).filter(|_| is_append(&line)) {
                self.append(&line, size).await?;
                continue;
            }
            let command = self.command(line).await?;
            if !self.answer(command).await? {
                self.flush().await?;
                return self.wire.finish().await;
            }
        }
    }

    /// Reads the literals of a command that is no APPEND, and splits it into words.
    async fn command(&mut self, mut line: Vec<u8>) -> io::Result<Command> {
        let mut words = Vec::new();
        while let Some(Literal { size, waits }) = literal(&line) {
            split(strip_literal(&line), &mut words);
            self.go_ahead(waits).await?;
            let mut text = Vec::with_capacity(size.min(MAX_WORD));
            self.wire
                .take(size, |piece| text.extend_from_slice(piece))
                .await?;
            words.push(text);
            line = self.wire.line().await?.to_vec();
        }
        split(&line, &mut words);
        let tag = if words.is_empty() {
            String::new()
        } else {
            String::from_utf8_lossy(&words.remove(0)).into_owned()
        };
        Ok(Command { tag, words })
    }

    /// Whether the session goes on.
    async fn answer(&mut self, command: Command) -> io::Result<bool> {
        let Command { tag, mut words } = command;
        if words.is_empty() {
            self.done(&tag, "BAD no command");
            return Ok(true);
        }
        let mut name = words.remove(0).to_ascii_uppercase();
        if name == b"UID" && !words.is_empty() {
            name = words.remove(0).to_ascii_uppercase();
        }
        match &*name {
            b"CAPABILITY" => self.untagged(&tag, &format!("CAPABILITY {CAPABILITIES}")),
            b"NOOP" | b"CHECK" => self.done(&tag, "OK done"),
            b"ID" => self.untagged(&tag, "ID (\"name\" \"bench\")"),
            b"LOGIN" => self.login(&tag, &words),
            b"AUTHENTICATE" => self.authenticate(&tag, &words).await?,
            b"LOGOUT" => {
                self.untagged(&tag, "BYE until next time");
                return Ok(false);
            }
            _ if !self.open => self.done(&tag, "NO log in first"),
            b"SELECT" | b"EXAMINE" => self.select(&tag),
            b"UNSELECT" | b"CLOSE" => self.done(&tag, "OK done"),
            b"LIST" => self.untagged(&tag, "LIST () \"/\" INBOX"),
            b"NAMESPACE" => self.untagged(&tag, "NAMESPACE ((\"\" \"/\")) NIL NIL"),
            b"FETCH" => self.fetch(&tag, &words).await?,
            b"IDLE" => self.idle(&tag).await?,
            _ => self.done(&tag, "BAD unknown command"),
        }
        Ok(true)
    }

    fn login(&mut self, tag: &str, words: &[Vec<u8>]) {
        let right = match words {
            [user, password] => self.world.admits(user, Proof::Password(password)),
            _ => false,
        };
        self.logged_in(tag, right);
    }

    async fn authenticate(&mut self, tag: &str, words: &[Vec<u8>]) -> io::Result<()> {
        let mechanism = words.first().cloned().unwrap_or_default();
        let response = match words.get(1) {
            Some(initial) => initial.clone(),
            None => {
                self.say("+ \r\n");
                self.flush().await?;
                self.wire.line().await?.to_vec()
            }
        };
        let right = self.world.admits_sasl(&mechanism, &response);
        self.logged_in(tag, right);
        Ok(())
    }

    fn logged_in(&mut self, tag: &str, right: bool) {
        self.open |= right;
        if right {
            self.done(tag, &format!("OK [CAPABILITY {CAPABILITIES}] logged in"));
        } else {
            self.done(tag, "NO [AUTHENTICATIONFAILED] not these");
        }
    }

    fn select(&mut self, tag: &str) {
        let count = SIZES.len();
        self.say(&format!(
            "* {count} EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 1] one\r\n* OK [UIDNEXT {}] next\r\n",
            count + 1
        ));
        self.done(tag, "OK [READ-WRITE] selected");
    }

    /// Large bodies are written from the canned text itself; small ones are gathered with the other answers.
    async fn fetch(&mut self, tag: &str, words: &[Vec<u8>]) -> io::Result<()> {
        let wants_body = words
            .iter()
            .any(|word| word.to_ascii_uppercase().starts_with(b"BODY"));
        let world = self.world;
        for number in numbers(words.first().map_or(&[][..], Vec::as_slice)) {
            let size = SIZES[number - 1];
            if !wants_body {
                self.say(&format!(
                    "* {number} FETCH (UID {number} FLAGS (\\Seen) RFC822.SIZE {size})\r\n"
                ));
                continue;
            }
            let body = world.mail.message(size);
            let size = body.len();
            self.say(&format!(
                "* {number} FETCH (UID {number} BODY[] {{{size}}}\r\n"
            ));
            if size > GATHERED {
                self.flush().await?;
                self.wire.write(body).await?;
            } else {
                self.out.extend_from_slice(body);
            }
            self.say(")\r\n");
            if self.out.len() > GATHERED {
                self.flush().await?;
            }
        }
        self.done(tag, "OK fetched");
        Ok(())
    }

    async fn idle(&mut self, tag: &str) -> io::Result<()> {
        self.say("+ idling\r\n");
        self.flush().await?;
        let done = self.wire.line().await?.eq_ignore_ascii_case(b"DONE");
        self.done(tag, if done { "OK done" } else { "BAD no DONE" });
        Ok(())
    }

    async fn append(&mut self, line: &[u8], Literal { size, waits }: Literal) -> io::Result<()> {
        let tag = first_word(line);
        if !self.open && waits {
            self.done(&tag, "NO log in first");
            return Ok(());
        }
        self.go_ahead(waits).await?;
        let world = self.world;
        let (mut offset, mut intact) = (0, true);
        self.wire
            .take(size, |piece| {
                intact &= world.mail.is_at(offset, piece);
                offset += piece.len();
            })
            .await?;
        let end = self.wire.line().await?.is_empty();
        world.seen.message(size, intact && end);
        self.done(&tag, "OK [APPENDUID 1 9] appended");
        Ok(())
    }

    async fn go_ahead(&mut self, waits: bool) -> io::Result<()> {
        if waits {
            self.say("+ go ahead\r\n");
            self.flush().await?;
        }
        Ok(())
    }

    fn untagged(&mut self, tag: &str, text: &str) {
        self.say(&format!("* {text}\r\n"));
        self.done(tag, "OK done");
    }

    fn done(&mut self, tag: &str, text: &str) {
        self.say(&format!("{tag} {text}\r\n"));
    }

    fn say(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.wire.write(&self.out).await?;
            self.out.clear();
            // An idle session keeps nothing.
            self.out.shrink_to(KEPT);
        }
        Ok(())
    }
}

/// A literal that a line ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Literal {
    size: usize,
    /// The client waits to be told to go on.
    waits: bool,
}

fn literal(line: &[u8]) -> Option<Literal> {
    let inner = line.strip_suffix(b"}")?;
    let start = inner.iter().rposition(|octet| *octet == b'{')?;
    let digits = &inner[start + 1..];
    let (digits, waits) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Literal { size, waits })
}

fn strip_literal(line: &[u8]) -> &[u8] {
    let start = line.iter().rposition(|octet| *octet == b'{');
    &line[..start.unwrap_or(line.len())]
}

fn is_append(line: &[u8]) -> bool {
    line.split(|octet| *octet == b' ')
        .nth(1)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"APPEND"))
}

fn first_word(line: &[u8]) -> String {
    let word = line.split(|octet| *octet == b' ').next();
    String::from_utf8_lossy(word.unwrap_or_default()).into_owned()
}

/// Atoms and quoted strings. Parentheses belong to no word.
fn split(line: &[u8], words: &mut Vec<Vec<u8>>) {
    let mut octets = line.iter().copied();
    let mut word: Option<Vec<u8>> = None;
    while let Some(octet) = octets.next() {
        match octet {
            b' ' | b'(' | b')' => words.extend(word.take()),
            b'"' => {
                let mut text = Vec::new();
                while let Some(octet) = octets.next().filter(|octet| *octet != b'"') {
                    text.push(if octet == b'\\' {
                        octets.next().unwrap_or(octet)
                    } else {
                        octet
                    });
                }
                words.push(text);
            }
            _ => word.get_or_insert_default().push(octet),
        }
    }
    words.extend(word);
}

/// The messages of a sequence set: numbers, ranges and `*`, those that exist.
fn numbers(set: &[u8]) -> Vec<usize> {
    let set = String::from_utf8_lossy(set);
    let number = |text: &str| match text {
        "*" => Some(SIZES.len()),
        text => text.parse::<usize>().ok(),
    };
    let mut found = Vec::new();
    for part in set.split(',') {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        if let (Some(from), Some(to)) = (number(from), number(to)) {
            found.extend(from.min(to).max(1)..=from.max(to).min(SIZES.len()));
        }
    }
    found
}

const CAPABILITIES: &str = "IMAP4rev1 SASL-IR LITERAL+ IDLE UNSELECT UIDPLUS ID NAMESPACE AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER";
/// Up to here a body is copied to the other answers; above it is written by itself.
const GATHERED: usize = 32 * 1024;
/// What the buffer of answers keeps between commands.
const KEPT: usize = 1024;
/// What is reserved for a literal before it came.
const MAX_WORD: usize = 4096;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::tests::Talk;
    use super::super::world::{PASSWORD, USER, token};
    use super::*;
    use crate::mail::{KIB, MIB};

    async fn talk() -> Talk {
        Talk::start(|wire, world| async move { serve(wire, &world).await })
    }

    async fn logged_in() -> Talk {
        let mut talk = talk().await;
        assert!(talk.line().await.starts_with("* OK [CAPABILITY IMAP4rev1 "));
        talk.say(&format!("a LOGIN {USER} \"{PASSWORD}\"\r\n"))
            .await;
        assert!(talk.line().await.starts_with("a OK [CAPABILITY "));
        talk
    }

    #[test]
    fn words_literals_and_sets_are_read() {
        let mut words = Vec::new();
        split(br#"a LOGIN "u\"v" p (x y)"#, &mut words);
        assert_eq!(words, [&b"a"[..], b"LOGIN", b"u\"v", b"p", b"x", b"y"]);
        assert_eq!(
            literal(b"a {12}"),
            Some(Literal {
                size: 12,
                waits: true
            })
        );
        assert_eq!(
            literal(b"a {3+}"),
            Some(Literal {
                size: 3,
                waits: false
            })
        );
        assert_eq!(literal(b"a {x}"), None);
        assert_eq!(numbers(b"1:2,5"), [1, 2, 5]);
        assert_eq!(numbers(b"4:*"), [4, 5]);
        assert_eq!(numbers(b"9"), [0usize; 0]);
    }

    #[tokio::test]
    async fn every_way_to_log_in_is_taken() {
        let plain = STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
        let xoauth2 = STANDARD.encode(format!("user={USER}\x01auth=Bearer {}\x01\x01", token()));
        let bearer = STANDARD.encode(format!("n,a={USER},\x01auth=Bearer {}\x01\x01", token()));
        let ways = [
            format!("LOGIN {{{}+}}\r\n{USER} {PASSWORD}", USER.len()),
            format!("AUTHENTICATE PLAIN {plain}"),
            format!("AUTHENTICATE XOAUTH2 {xoauth2}"),
            format!("AUTHENTICATE OAUTHBEARER {bearer}"),
        ];
        for way in ways {
            let mut talk = talk().await;
            talk.line().await;
            talk.say(&format!("a {way}\r\n")).await;
            let answer = talk.line().await;
            assert!(answer.starts_with("a OK"), "{way}: {answer}");
        }
        let mut talk = talk().await;
        talk.line().await;
        talk.say("a AUTHENTICATE PLAIN\r\n").await;
        assert_eq!(talk.line().await, "+ ");
        talk.say(&format!("{plain}\r\n")).await;
        assert!(talk.line().await.starts_with("a OK"));
    }

    #[tokio::test]
    async fn a_wrong_secret_is_refused_and_opens_nothing() {
        let mut talk = talk().await;
        talk.line().await;
        talk.say(&format!("a LOGIN {USER} wrong\r\nb SELECT INBOX\r\n"))
            .await;
        assert!(talk.line().await.starts_with("a NO [AUTHENTICATIONFAILED]"));
        assert!(talk.line().await.starts_with("b NO"));
        assert_eq!(talk.counts().refused, 1);
    }

    #[tokio::test]
    async fn pipelined_fetches_are_answered_in_order_and_whole() {
        let mut talk = logged_in().await;
        talk.say("b SELECT INBOX\r\nc FETCH 3 BODY.PEEK[]\r\nd UID FETCH 1:2 (UID BODY.PEEK[])\r\ne NOOP\r\n")
            .await;
        talk.until("b OK").await;
        for (number, size) in [(3, MIB), (1, KIB), (2, 10 * KIB)] {
            let head = talk.line().await;
            assert_eq!(
                head,
                format!("* {number} FETCH (UID {number} BODY[] {{{size}}}")
            );
            let body = talk.take(size).await;
            assert!(talk.world().mail.message(size) == body);
            assert_eq!(talk.line().await, ")");
            if number == 3 {
                assert!(talk.line().await.starts_with("c OK"));
            }
        }
        assert!(talk.line().await.starts_with("d OK"));
        assert!(talk.line().await.starts_with("e OK"));
    }

    #[tokio::test]
    async fn appended_messages_are_compared() {
        let mut talk = logged_in().await;
        let message = talk.world().mail.message(KIB).to_vec();
        talk.say("b APPEND INBOX {1024}\r\n").await;
        assert!(talk.line().await.starts_with("+ "));
        talk.send(&message).await;
        talk.say("\r\n").await;
        assert!(talk.line().await.starts_with("b OK"));
        talk.say("c APPEND INBOX {1024+}\r\n").await;
        let mut other = message;
        other[1000] ^= 1;
        talk.send(&other).await;
        talk.say("\r\n").await;
        assert!(talk.line().await.starts_with("c OK"));
        let counts = talk.counts();
        assert_eq!(
            (counts.messages, counts.octets, counts.altered),
            (2, 2048, 1)
        );
    }

    #[tokio::test]
    async fn idle_lasts_until_done_and_logout_ends() {
        let mut talk = logged_in().await;
        talk.say("b IDLE\r\n").await;
        assert!(talk.line().await.starts_with("+ "));
        talk.say("DONE\r\nc LOGOUT\r\n").await;
        assert!(talk.line().await.starts_with("b OK"));
        assert!(talk.line().await.starts_with("* BYE"));
        assert!(talk.line().await.starts_with("c OK"));
        talk.ends().await;
    }
}
