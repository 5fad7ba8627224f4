//! The POP3 server, RFC 1939, over the `INBOX` of a [`Mailbox`](super::mailbox::Mailbox).
//!
//! The maildrop is what was there at login: numbers stay, and what arrives later is for the next session. Messages
//! marked with DELE go at QUIT and at no other end (RFC 1939 section 6). Deliberately absent: APOP, STLS, LAST.

mod maildrop;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::maildrop::{Maildrop, Reply};
use super::Verifier;
use super::wire::{Patience, Stream, Wire, WireError};
use crate::proto::dialogue::LoginAttempt;
use crate::proto::lines::Line;
use crate::proto::pop3::codec;
use crate::proto::sasl::{self, SASL_LINE_MAX, SaslError};
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
        Line::Complete(line) => Ok(Some(Command::parse(line.expose()))),
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
                Line::Complete(line) => sasl::decode(line.expose()),
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
            wire.say(codec::refusal(refusal.cause, &refusal.text));
            return Ok(None);
        }
    };
    match Maildrop::open(mailbox).await {
        Ok(maildrop) => {
            wire.say("+OK Logged in\r\n");
            Ok(Some(maildrop))
        }
        Err(words) => {
            wire.say(format!("-ERR {words}\r\n"));
            Ok(None)
        }
    }
}

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
