//! The client's side: each command is answered here or said again upstream, and the message is passed on.

use bytes::Bytes;
use memchr::memchr;

use super::device::MAIL_FIRST;
use super::queue::{Asked, QUEUE_MAX};
use super::{Phase, SmtpWatch};
use crate::proto::dialogue::{Breach, Watch};
use crate::proto::flow::Flow;
use crate::proto::smtp::codec::{
    BadCommand, CANNOT_VERIFY, Command, HELP, LINE_TOO_LONG, NO_LOGIN_HERE, NOT_SERVED, command,
};
use crate::proto::smtp::frame::COMMAND_LINE_MAX;
use crate::protocol::Leg;

impl SmtpWatch {
    /// At most [`QUEUE_MAX`] commands at a time: what we answer ourselves, EHLO above all, is longer than what it answers,
    /// and the relay stops when too much of it waits.
    pub(super) fn client(&mut self, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        let mut at = 0;
        let mut commands = 0;
        while self.reads(Leg::Client) && commands < QUEUE_MAX {
            let rest = input.get(at..).unwrap_or_default();
            let taken = match &mut self.phase {
                Phase::Message(_) if self.device.is_some() => {
                    self.device_message(input, at, flow)?
                }
                Phase::Message(data) => {
                    let progress = data.read(input, at, flow);
                    if progress.ended {
                        self.phase = Phase::AwaitVerdict;
                        self.queue.ask(Asked::Verdict);
                    }
                    progress.taken - at
                }
                Phase::Rejecting(data, _) => {
                    let progress = data.read(input, at, &mut Flow::default());
                    if progress.ended {
                        return Err(self.rejected(flow));
                    }
                    progress.taken - at
                }
                Phase::Draining(data) => {
                    let progress = data.read(input, at, &mut Flow::default());
                    if progress.ended {
                        return Err(self.breach(EARLY_REFUSAL, flow));
                    }
                    progress.taken - at
                }
                Phase::Skipping => {
                    let end = memchr(b'\n', rest);
                    if end.is_some() {
                        self.phase = Phase::Commands;
                    }
                    end.map_or(rest.len(), |end| end + 1)
                }
                Phase::Commands => {
                    commands += 1;
                    self.command_line(rest, flow)
                }
                _ => rest.len(),
            };
            if taken == 0 {
                break;
            }
            at += taken;
        }
        self.check_refused()?;
        Ok(at)
    }

    /// Takes one line, or nothing of an incomplete one.
    fn command_line(&mut self, rest: &[u8], flow: &mut Flow) -> usize {
        let end = memchr(b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        // While the LF is not there, a last CR may belong to the line end.
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if text.len() > COMMAND_LINE_MAX {
            self.queue.say(LINE_TOO_LONG, flow);
            if end.is_none() {
                self.phase = Phase::Skipping;
            }
            return end.map_or(rest.len(), |end| end + 1);
        }
        let Some(end) = end else {
            return 0;
        };
        match command(text) {
            Ok(command) => self.command(command, flow),
            Err(bad) => self.queue.say(bad.reply(), flow),
        }
        end + 1
    }

    fn command(&mut self, command: Command<'_>, flow: &mut Flow) {
        match command {
            Command::Ehlo => self.hello(self.ehlo.clone(), flow),
            Command::Helo => self.hello(self.helo.clone(), flow),
            Command::Mail(envelope) => match self.extensions.mail(envelope) {
                Ok(envelope) if self.device.is_some() => self.device_mail(envelope, flow),
                Ok(envelope) => {
                    self.transaction = true;
                    self.ask(envelope.encode("MAIL FROM:"), Asked::Command, flow);
                }
                Err(reply) => self.queue.say(reply, flow),
            },
            Command::Rcpt(envelope) => match self.extensions.rcpt(envelope) {
                Ok(envelope) if self.device.is_some() => self.device_rcpt(&envelope, flow),
                Ok(envelope) => self.ask(envelope.encode("RCPT TO:"), Asked::Command, flow),
                Err(reply) => self.queue.say(reply, flow),
            },
            Command::Data if self.device.as_ref().is_some_and(|it| it.is_idle()) => {
                self.queue.say(MAIL_FIRST, flow);
            }
            Command::Data => {
                self.phase = Phase::AwaitGoAhead;
                self.ask("DATA\r\n", Asked::Data, flow);
            }
            Command::Rset => {
                self.transaction = false;
                self.device_reset();
                self.ask("RSET\r\n", Asked::Command, flow);
            }
            Command::Noop => self.ask("NOOP\r\n", Asked::Command, flow),
            Command::Quit if self.may_part() => self.part(flow),
            Command::Quit => {
                self.phase = Phase::Quitting;
                self.ask("QUIT\r\n", Asked::Quit, flow);
            }
            // RFC 4954 section 4; and a TLS handshake in the middle of a session is nothing we could carry on from.
            Command::Auth(_) if self.device.is_some() => self.queue.say(NO_LOGIN_HERE, flow),
            Command::Auth(_) => self.queue.say(ALREADY_AUTHENTICATED, flow),
            Command::StartTls => self.queue.say(TOO_LATE_FOR_TLS, flow),
            Command::Vrfy => self.queue.say(CANNOT_VERIFY, flow),
            Command::Help => self.queue.say(HELP, flow),
            Command::NotServed => self.queue.say(NOT_SERVED, flow),
            Command::Bdat => {
                self.phase = Phase::Refusing;
                self.queue.say(NOT_SERVED, flow);
            }
            Command::Http => self.queue.say(BadCommand::Unrecognised.reply(), flow),
        }
    }

    /// EHLO or HELO.
    fn hello(&mut self, reply: Bytes, flow: &mut Flow) {
        self.device_reset();
        if std::mem::take(&mut self.transaction) {
            self.ask("RSET\r\n", Asked::Hello(reply), flow);
        } else {
            self.queue.say(reply, flow);
        }
    }

    pub(super) fn ask(&mut self, line: impl Into<Bytes>, asked: Asked, flow: &mut Flow) {
        flow.say(Leg::Upstream, line);
        self.queue.ask(asked);
    }
}

const EARLY_REFUSAL: &str = "a refusal before the end of the message";
const ALREADY_AUTHENTICATED: &str = "503 5.5.1 Already authenticated\r\n";
const TOO_LATE_FOR_TLS: &str = "503 5.5.1 Too late for TLS\r\n";
