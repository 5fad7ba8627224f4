//! The POP3 server, RFC 1939, over the `INBOX` of a [`Mailbox`].
//!
//! The maildrop is what was there at login: numbers stay, and what arrives later is for the next session. Messages
//! marked with DELE go at QUIT and at no other end (RFC 1939 section 6). Deliberately absent: APOP, STLS, LAST.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Verifier;
use super::mailbox::{Flag, FlagChange, FolderView, INBOX, Mailbox, MailboxError, Message, Uid};
use super::wire::{Patience, Stream, Wire, WireError};
use crate::proto::dialogue::LoginAttempt;
use crate::proto::lines::Line;
use crate::proto::refusal::{Cause, Refusal};
use crate::proto::sasl::{self, SASL_LINE_MAX, SaslError};
use crate::proto::text::ascii;
use crate::secret::Secret;

/// Serves one client until it leaves, is silent for too long, or `stop` says so.
pub async fn serve<S: Stream>(
    stream: S,
    verifier: &dyn Verifier,
    stop: CancellationToken,
) -> Result<(), WireError> {
    let mut wire = Wire::new(stream, Patience::Until(Instant::now() + BEFORE_LOGIN), stop);
    let ended = run(&mut wire, verifier).await;
    if let Err(WireError::Stopped) = ended {
        wire.say("-ERR [SYS/TEMP] The service stops\r\n");
    }
    wire.close().await;
    ended
}

async fn run<S: Stream>(wire: &mut Wire<S>, verifier: &dyn Verifier) -> Result<(), WireError> {
    wire.say("+OK ready\r\n");
    let Some(mut maildrop) = authorization(wire, verifier).await? else {
        return Ok(());
    };
    wire.set_patience(Patience::Idle(AUTOLOGOUT));
    let mut errors = 0;
    while errors < ERRORS_MAX {
        let Some(command) = read(wire).await? else {
            errors += 1;
            continue;
        };
        match maildrop.answer(wire, &command).await? {
            Reply::Said => errors = 0,
            Reply::Error(words) => {
                wire.say(format!("-ERR {words}\r\n"));
                errors += 1;
            }
            Reply::Quit => return Ok(()),
        }
    }
    wire.say("-ERR Too many errors\r\n");
    Ok(())
}

/// A command line: the keyword in capitals, and the rest as it was sent.
struct Command {
    keyword: String,
    rest: Vec<u8>,
}

impl Command {
    fn parse(line: &[u8]) -> Self {
        let at = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
        let (keyword, rest) = line.split_at_checked(at).unwrap_or((line, &[]));
        Self {
            keyword: String::from_utf8_lossy(keyword).to_ascii_uppercase(),
            rest: rest.strip_prefix(b" ").unwrap_or_default().to_vec(),
        }
    }

    /// The rest as numbers; `None` where it is anything else.
    fn numbers(&self) -> Option<Vec<usize>> {
        std::str::from_utf8(&self.rest)
            .ok()?
            .split_ascii_whitespace()
            .map(|word| word.parse().ok())
            .collect()
    }
}

async fn read<S: Stream>(wire: &mut Wire<S>) -> Result<Option<Command>, WireError> {
    match wire.line(SASL_LINE_MAX).await? {
        Line::Complete(line) => Ok(Some(Command::parse(&line))),
        Line::TooLong => {
            wire.say("-ERR Line too long\r\n");
            Ok(None)
        }
    }
}

/// The AUTHORIZATION state; `None` when the client leaves or has to.
async fn authorization<S: Stream>(
    wire: &mut Wire<S>,
    verifier: &dyn Verifier,
) -> Result<Option<Maildrop>, WireError> {
    let mut user: Option<Vec<u8>> = None;
    for _ in 0..STEPS_MAX {
        let Some(command) = read(wire).await? else {
            continue;
        };
        let attempt = match command.keyword.as_str() {
            "CAPA" => {
                wire.say(format!(
                    "+OK Capabilities\r\n{CAPABILITIES}USER\r\nSASL PLAIN\r\n.\r\n"
                ));
                continue;
            }
            "QUIT" => {
                wire.say("+OK Until next time\r\n");
                return Ok(None);
            }
            "USER" if !command.rest.is_empty() => {
                // Always welcome: who exists is nobody's business.
                wire.say("+OK Password please\r\n");
                user = Some(command.rest);
                continue;
            }
            "PASS" => match user.take() {
                Some(user) => sasl::attempt(&user, Secret::new(command.rest), "USER/PASS"),
                None => {
                    wire.say("-ERR USER first\r\n");
                    continue;
                }
            },
            "AUTH" if command.rest.is_empty() => {
                wire.say("+OK Mechanisms\r\nPLAIN\r\n.\r\n");
                continue;
            }
            "AUTH" => match auth_plain(wire, &command.rest).await? {
                Some(attempt) => attempt,
                None => {
                    wire.say("-ERR Only PLAIN here\r\n");
                    continue;
                }
            },
            _ => {
                wire.say("-ERR Log in first\r\n");
                continue;
            }
        };
        if let Some(maildrop) = decide(wire, verifier, attempt).await? {
            return Ok(Some(maildrop));
        }
    }
    wire.say("-ERR Too many errors\r\n");
    Ok(None)
}

/// `AUTH PLAIN [initial-response]`, RFC 5034; `None` for another mechanism.
async fn auth_plain<S: Stream>(
    wire: &mut Wire<S>,
    rest: &[u8],
) -> Result<Option<Result<LoginAttempt, SaslError>>, WireError> {
    let mut words = rest.split(|&b| b == b' ').filter(|word| !word.is_empty());
    if !words
        .next()
        .is_some_and(|m| m.eq_ignore_ascii_case(b"PLAIN"))
    {
        return Ok(None);
    }
    let message = match words.next() {
        Some(initial) => sasl::decode(initial),
        None => {
            wire.say("+ \r\n");
            match wire.line(SASL_LINE_MAX).await? {
                Line::Complete(line) => sasl::decode(&line),
                Line::TooLong => Err(SaslError::Base64),
            }
        }
    };
    Ok(Some(message.and_then(|m| sasl::plain(&m, "AUTH PLAIN"))))
}

async fn decide<S: Stream>(
    wire: &mut Wire<S>,
    verifier: &dyn Verifier,
    attempt: Result<LoginAttempt, SaslError>,
) -> Result<Option<Maildrop>, WireError> {
    let attempt = match attempt {
        Ok(attempt) => attempt,
        Err(error) => {
            wire.say(format!("-ERR {error}\r\n"));
            return Ok(None);
        }
    };
    let mailbox = match verifier.verify(&attempt).await {
        Ok(mailbox) => mailbox,
        Err(refusal) => {
            wire.say(format!("-ERR {}\r\n", refused(&refusal)));
            return Ok(None);
        }
    };
    match mailbox.view(INBOX).await {
        Ok(view) => {
            wire.say("+OK Logged in\r\n");
            let deleted = vec![false; view.messages.len()];
            Ok(Some(Maildrop {
                mailbox,
                view,
                deleted,
            }))
        }
        Err(error) => {
            wire.say(format!("-ERR {}\r\n", failed(&error)));
            Ok(None)
        }
    }
}

/// The TRANSACTION state.
struct Maildrop {
    mailbox: Arc<dyn Mailbox>,
    view: FolderView,
    /// Marked by DELE, in the order of the view.
    deleted: Vec<bool>,
}

/// What came of a command.
enum Reply {
    Said,
    Error(&'static str),
    Quit,
}

impl Maildrop {
    async fn answer<S: Stream>(
        &mut self,
        wire: &mut Wire<S>,
        command: &Command,
    ) -> Result<Reply, WireError> {
        let Some(numbers) = command.numbers() else {
            return Ok(Reply::Error("A number is expected here"));
        };
        match (command.keyword.as_str(), numbers.as_slice()) {
            ("STAT", []) => {
                let (count, octets) = self.totals();
                wire.say(format!("+OK {count} {octets}\r\n"));
            }
            ("LIST", []) => self.listing(wire, |m, _| m.size.to_string()).await?,
            ("UIDL", []) => self.listing(wire, unique_id).await?,
            ("LIST", [number]) => return Ok(self.one(wire, *number, |m, _| m.size.to_string())),
            ("UIDL", [number]) => return Ok(self.one(wire, *number, unique_id)),
            ("RETR", [number]) => return self.retrieve(wire, *number, usize::MAX).await,
            ("TOP", [number, lines]) => return self.retrieve(wire, *number, *lines).await,
            ("DELE", [number]) => {
                if self.message(*number).is_none() {
                    return Ok(NO_MESSAGE);
                }
                if let Some(mark) = number
                    .checked_sub(1)
                    .and_then(|at| self.deleted.get_mut(at))
                {
                    *mark = true;
                }
                wire.say("+OK Will go at QUIT\r\n");
            }
            ("RSET", []) => {
                self.deleted.fill(false);
                wire.say("+OK Nothing goes\r\n");
            }
            ("NOOP", []) => wire.say("+OK\r\n"),
            ("CAPA", []) => wire.say(format!("+OK Capabilities\r\n{CAPABILITIES}.\r\n")),
            ("QUIT", []) => {
                self.update(wire).await;
                return Ok(Reply::Quit);
            }
            _ => return Ok(Reply::Error("No such command, or not with these arguments")),
        }
        Ok(Reply::Said)
    }

    /// The messages that are not marked, with their numbers.
    fn messages(&self) -> impl Iterator<Item = (usize, &Message)> {
        (1..)
            .zip(self.view.messages.iter())
            .zip(&self.deleted)
            .filter(|(_, deleted)| !**deleted)
            .map(|(numbered, _)| numbered)
    }

    fn message(&self, number: usize) -> Option<&Message> {
        let at = number.checked_sub(1)?;
        let message = self.view.messages.get(at)?;
        (self.deleted.get(at) == Some(&false)).then_some(message)
    }

    fn totals(&self) -> (usize, u64) {
        self.messages().fold((0, 0), |(count, octets), (_, m)| {
            (count + 1, octets + m.size)
        })
    }

    async fn listing<S: Stream>(
        &self,
        wire: &mut Wire<S>,
        words: impl Fn(&Message, &FolderView) -> String,
    ) -> Result<(), WireError> {
        wire.say(format!("+OK {} messages\r\n", self.totals().0));
        for (number, message) in self.messages() {
            let line = format!("{number} {}\r\n", words(message, &self.view));
            wire.say_much(line.as_bytes()).await?;
        }
        wire.say(".\r\n");
        Ok(())
    }

    fn one<S: Stream>(
        &self,
        wire: &mut Wire<S>,
        number: usize,
        words: impl Fn(&Message, &FolderView) -> String,
    ) -> Reply {
        let Some(message) = self.message(number) else {
            return NO_MESSAGE;
        };
        wire.say(format!("+OK {number} {}\r\n", words(message, &self.view)));
        Reply::Said
    }

    async fn retrieve<S: Stream>(
        &self,
        wire: &mut Wire<S>,
        number: usize,
        body_lines: usize,
    ) -> Result<Reply, WireError> {
        let Some(message) = self.message(number) else {
            return Ok(NO_MESSAGE);
        };
        let raw = match self.mailbox.read(INBOX, message.uid, 0..message.size).await {
            Ok(raw) => raw,
            Err(error) => return Ok(Reply::Error(failed(&error))),
        };
        wire.say(format!("+OK {} octets\r\n", message.size));
        let mut in_body = false;
        let mut left = body_lines;
        for line in lines(&raw) {
            if in_body {
                match left.checked_sub(1) {
                    Some(fewer) => left = fewer,
                    None => break,
                }
            }
            in_body |= line.is_empty();
            // RFC 1939 section 3: a dot at the beginning of a line is sent twice.
            let stuffing: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
            for piece in [stuffing, line, b"\r\n"] {
                wire.say_much(piece).await?;
            }
        }
        wire.say(".\r\n");
        Ok(Reply::Said)
    }

    /// The UPDATE state: what was marked goes now.
    async fn update<S: Stream>(&self, wire: &mut Wire<S>) {
        let marked: Vec<Uid> = self
            .view
            .messages
            .iter()
            .zip(&self.deleted)
            .filter(|(_, deleted)| **deleted)
            .map(|(message, _)| message.uid)
            .collect();
        match self.remove(&marked).await {
            Ok(()) => wire.say("+OK Until next time\r\n"),
            Err(error) => wire.say(format!("-ERR {}\r\n", failed(&error))),
        }
    }

    async fn remove(&self, marked: &[Uid]) -> Result<(), MailboxError> {
        if marked.is_empty() {
            return Ok(());
        }
        let deleted = FlagChange::Add([Flag::Deleted].into_iter().collect());
        self.mailbox.store(INBOX, marked, &deleted).await?;
        self.mailbox.expunge(INBOX, Some(marked)).await
    }
}

/// What UIDL tells: unique also when the numbering starts anew.
fn unique_id(message: &Message, view: &FolderView) -> String {
    format!("{}.{}", view.uid_validity, message.uid)
}

/// The lines of a message without their ends. A bare LF ends a line too and is sent as CRLF: a client that reads up to
/// LF would take a lone dot behind one for the end (RFC 1939 section 3 knows no other line end).
fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    raw.split(|&b| b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The response code for each cause, PROTOCOL B.6.
fn refused(refusal: &Refusal) -> String {
    let code = match refusal.cause {
        Cause::WrongPassword | Cause::PasswordExpired => "[AUTH] ",
        Cause::ContactAdmin | Cause::ProtocolOff | Cause::ServerBug => "[SYS/PERM] ",
        Cause::InUse => "[IN-USE] ",
        Cause::PrivacyRequired => "",
        Cause::CredentialRejected
        | Cause::SignInNeeded
        | Cause::Unavailable
        | Cause::UntrustedUpstream
        | Cause::UpstreamPolicy
        | Cause::LimitReached
        | Cause::Shutdown => "[SYS/TEMP] ",
    };
    format!("{code}{}", ascii(&refusal.text))
}

fn failed(error: &MailboxError) -> &'static str {
    match error {
        MailboxError::MessageGone => "The message is gone",
        MailboxError::Unavailable(_) => "[SYS/TEMP] The mailbox cannot be reached now",
        MailboxError::NoSuchFolder
        | MailboxError::FolderExists
        | MailboxError::NotPossible
        | MailboxError::TooLarge
        | MailboxError::OverQuota
        | MailboxError::AddressRefused => "[SYS/PERM] The mailbox has no usable INBOX",
    }
}

const NO_MESSAGE: Reply = Reply::Error("No such message");

/// RFC 2449; what is there in both states.
const CAPABILITIES: &str = "TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n";

/// From accept to login, all bytes together: PROTOCOL B.7.
const BEFORE_LOGIN: Duration = Duration::from_secs(60);

/// RFC 1939 section 3 asks for at least ten minutes.
const AUTOLOGOUT: Duration = Duration::from_secs(10 * 60);

/// Commands before login, right and wrong; a program needs four.
const STEPS_MAX: u32 = 12;

/// Commands in a row that make no sense.
const ERRORS_MAX: u32 = 20;

#[cfg(test)]
mod tests;
