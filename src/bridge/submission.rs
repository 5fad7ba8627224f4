//! The submission server, RFC 6409: takes messages by SMTP and gives them to a [`Mailbox`] to send.
//!
//! 250 is said only after [`Mailbox::submit`] has taken the message over. Deliberately absent: STARTTLS (TLS is from the
//! first byte or not at all), BDAT, SMTPUTF8, VRFY and EXPN.

mod data;
mod path;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::data::DataDecoder;
use super::Verifier;
use super::mailbox::{Envelope, Mailbox, MailboxError};
use super::wire::{Patience, Stream, Wire, WireError};
use crate::proto::dialogue::LoginAttempt;
use crate::proto::lines::Line;
use crate::proto::sasl::{self, LOGIN_PASSWORD, LOGIN_USERNAME, SASL_LINE_MAX, SaslError};
use crate::proto::smtp::codec;

/// Serves one client until it leaves, is silent for too long, or `stop` says so. `host` is the name we give ourselves.
pub async fn serve<S: Stream>(
    stream: S,
    host: &str,
    verifier: &dyn Verifier,
    stop: CancellationToken,
) -> Result<(), WireError> {
    let mut wire = Wire::new(stream, Patience::Until(Instant::now() + BEFORE_LOGIN), stop);
    wire.say(format!("220 {host} ESMTP ready\r\n"));
    let session = Session {
        wire: &mut wire,
        host,
        verifier,
        mailbox: None,
        transaction: None,
        failures: 0,
    };
    let ended = session.run().await;
    match &ended {
        Err(WireError::Stopped) => wire.say("421 4.3.2 The service stops\r\n"),
        Err(WireError::Silent) => wire.say("421 4.4.2 Timeout\r\n"),
        _ => {}
    }
    wire.close().await;
    ended
}

struct Session<'s, S> {
    wire: &'s mut Wire<S>,
    host: &'s str,
    verifier: &'s dyn Verifier,
    /// Whose mail it is, once logged in.
    mailbox: Option<Arc<dyn Mailbox>>,
    /// Between MAIL and the end of DATA.
    transaction: Option<Envelope>,
    /// Logins that failed.
    failures: u32,
}

impl<S: Stream> Session<'_, S> {
    async fn run(mut self) -> Result<(), WireError> {
        let mut errors = 0;
        while errors < ERRORS_MAX && self.failures < FAILURES_MAX {
            let line = match self.wire.line(SASL_LINE_MAX).await? {
                Line::Complete(line) => line,
                Line::TooLong => {
                    self.wire.say("500 5.5.6 Line too long\r\n");
                    errors += 1;
                    continue;
                }
            };
            let (verb, rest) = split_verb(line.expose());
            match verb.as_str() {
                "QUIT" => {
                    self.wire.say("221 2.0.0 Until next time\r\n");
                    return Ok(());
                }
                // Its octets follow unasked and would be taken for commands (PROTOCOL B.8, 14).
                "BDAT" => {
                    self.wire.say("502 5.5.1 BDAT is not offered\r\n");
                    return Ok(());
                }
                "DATA" => self.data().await?,
                "AUTH" => self.auth(rest).await?,
                _ => {
                    let reply = self.simple(&verb, rest);
                    if reply.starts_with('5') {
                        errors += 1;
                    }
                    self.wire.say(format!("{reply}\r\n"));
                }
            }
        }
        self.wire.say("421 4.7.0 Too many errors\r\n");
        Ok(())
    }

    /// Commands that are answered at once.
    fn simple(&mut self, verb: &str, rest: &[u8]) -> String {
        match verb {
            "EHLO" | "HELO" if rest.is_empty() => "501 5.5.4 A name is expected".to_owned(),
            "EHLO" => {
                self.transaction = None;
                self.extensions()
            }
            "HELO" => {
                self.transaction = None;
                format!("250 {}", self.host)
            }
            "MAIL" => self.mail(rest),
            "RCPT" => self.rcpt(rest),
            "RSET" => {
                self.transaction = None;
                "250 2.0.0 Forgotten".to_owned()
            }
            "NOOP" => "250 2.0.0 Here".to_owned(),
            "VRFY" => "252 2.1.5 Send and see".to_owned(),
            _ => "502 5.5.1 No such command".to_owned(),
        }
    }

    fn extensions(&self) -> String {
        let mut lines = vec![
            self.host.to_owned(),
            "PIPELINING".to_owned(),
            "8BITMIME".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
        ];
        match &self.mailbox {
            Some(mailbox) => lines.push(format!("SIZE {}", mailbox.max_message_size())),
            None => lines.extend(["SIZE".to_owned(), "AUTH PLAIN LOGIN".to_owned()]),
        }
        let last = lines.len().saturating_sub(1);
        let lines: Vec<String> = lines
            .into_iter()
            .enumerate()
            .map(|(i, line)| format!("250{}{line}", if i == last { ' ' } else { '-' }))
            .collect();
        lines.join("\r\n")
    }

    fn mail(&mut self, rest: &[u8]) -> String {
        let Some(mailbox) = &self.mailbox else {
            return "530 5.7.0 Log in first".to_owned();
        };
        if self.transaction.is_some() {
            return "503 5.5.1 There is a sender already".to_owned();
        }
        let path = match path::reverse_path(rest) {
            Ok(path) => path,
            Err(error) => return error.reply().to_owned(),
        };
        if path
            .size
            .is_some_and(|size| size > mailbox.max_message_size())
        {
            return "552 5.3.4 The message is too large".to_owned();
        }
        self.transaction = Some(Envelope {
            from: path.address,
            to: Vec::new(),
        });
        "250 2.1.0 Sender taken".to_owned()
    }

    fn rcpt(&mut self, rest: &[u8]) -> String {
        let Some(transaction) = &mut self.transaction else {
            return "503 5.5.1 MAIL first".to_owned();
        };
        if transaction.to.len() >= RECIPIENTS_MAX {
            return "452 4.5.3 Too many recipients".to_owned();
        }
        match path::forward_path(rest) {
            Ok(address) => {
                transaction.to.push(address);
                "250 2.1.5 Recipient taken".to_owned()
            }
            Err(error) => error.reply().to_owned(),
        }
    }

    async fn data(&mut self) -> Result<(), WireError> {
        let (Some(mailbox), Some(envelope)) = (self.mailbox.clone(), self.transaction.take())
        else {
            self.wire.say("503 5.5.1 MAIL and RCPT first\r\n");
            return Ok(());
        };
        if envelope.to.is_empty() {
            self.transaction = Some(envelope);
            self.wire.say("554 5.5.1 No valid recipients\r\n");
            return Ok(());
        }
        self.wire.say("354 End with a dot on a line of its own\r\n");
        let mut decoder = DataDecoder::new(mailbox.max_message_size());
        loop {
            let used = decoder.feed(self.wire.unread());
            self.wire.discard(used);
            if decoder.is_done() {
                break;
            }
            self.wire.flush().await?;
            self.wire.fill().await?;
        }
        let sent = match decoder.into_message() {
            Some(message) => mailbox.submit(envelope, message).await,
            None => Err(MailboxError::TooLarge),
        };
        self.wire.say(match &sent {
            Ok(()) => "250 2.0.0 Taken\r\n",
            Err(error) => failed(error),
        });
        Ok(())
    }

    async fn auth(&mut self, rest: &[u8]) -> Result<(), WireError> {
        if self.mailbox.is_some() {
            self.wire.say("503 5.5.1 Logged in already\r\n");
            return Ok(());
        }
        let mut words = rest.split(|&b| b == b' ').filter(|word| !word.is_empty());
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let initial = words.next();
        let attempt = match mechanism.as_slice() {
            b"PLAIN" => self.auth_plain(initial).await?,
            b"LOGIN" => self.auth_login(initial).await?,
            _ => {
                self.wire.say("504 5.5.4 No such mechanism\r\n");
                return Ok(());
            }
        };
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(error) => {
                self.failures += 1;
                self.wire.say(format!("501 5.5.2 {error}\r\n"));
                return Ok(());
            }
        };
        match self.verifier.verify(&attempt).await {
            Ok(mailbox) => {
                self.mailbox = Some(mailbox);
                self.wire.set_patience(Patience::Idle(IDLE));
                self.wire.say("235 2.7.0 Logged in\r\n");
            }
            Err(refusal) => {
                self.failures += 1;
                self.wire.say(codec::refusal(&refusal));
            }
        }
        Ok(())
    }

    async fn auth_plain(
        &mut self,
        initial: Option<&[u8]>,
    ) -> Result<Result<LoginAttempt, SaslError>, WireError> {
        let message = match initial {
            Some(initial) => sasl::decode(initial),
            None => self.challenge("").await?,
        };
        Ok(message.and_then(|message| sasl::plain(&message, "AUTH PLAIN")))
    }

    /// The user name may come with the command (PROTOCOL A.4: copiers and backup programs do that).
    async fn auth_login(
        &mut self,
        initial: Option<&[u8]>,
    ) -> Result<Result<LoginAttempt, SaslError>, WireError> {
        let name = match initial {
            Some(initial) => sasl::decode(initial),
            None => self.challenge(LOGIN_USERNAME).await?,
        };
        let name = match name {
            Ok(name) => name,
            Err(error) => return Ok(Err(error)),
        };
        let password = self.challenge(LOGIN_PASSWORD).await?;
        Ok(password.and_then(|password| sasl::attempt(name.expose(), password, "AUTH LOGIN")))
    }

    async fn challenge(
        &mut self,
        text: &str,
    ) -> Result<Result<crate::secret::Secret, SaslError>, WireError> {
        self.wire.say(format!("334 {text}\r\n"));
        Ok(match self.wire.line(SASL_LINE_MAX).await? {
            Line::Complete(line) => sasl::decode(line.expose()),
            Line::TooLong => Err(SaslError::Base64),
        })
    }
}

/// The verb in capitals, and what is behind the space.
fn split_verb(line: &[u8]) -> (String, &[u8]) {
    let at = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
    let (verb, rest) = line.split_at_checked(at).unwrap_or((line, &[]));
    (
        String::from_utf8_lossy(verb).to_ascii_uppercase(),
        rest.trim_ascii(),
    )
}

fn failed(error: &MailboxError) -> &'static str {
    match error {
        MailboxError::TooLarge => "552 5.3.4 The message is too large\r\n",
        MailboxError::OverQuota => "452 4.2.2 The mailbox is full\r\n",
        MailboxError::AddressRefused => "550 5.7.1 Sender or recipient refused\r\n",
        MailboxError::NoSuchFolder
        | MailboxError::FolderExists
        | MailboxError::NotPossible
        | MailboxError::MessageGone
        | MailboxError::Unavailable(_) => "451 4.3.0 The mailbox cannot be reached now\r\n",
    }
}

/// From accept to login, all bytes together: PROTOCOL B.7.
const BEFORE_LOGIN: Duration = Duration::from_secs(60);

/// RFC 5321 section 4.5.3.2.7: a server waits at least five minutes for a command.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// RFC 5321 section 4.5.3.1.8 asks for at least 100.
const RECIPIENTS_MAX: usize = 1_000;

/// Failed logins of one session; as many as the IMAP server takes.
const FAILURES_MAX: u32 = 5;

/// Refused commands of one session; Postfix closes after 20.
const ERRORS_MAX: u32 = 20;

#[cfg(test)]
mod tests;
