//! SMTP after login. No client byte reaches the upstream unread: commands are parsed and said again in canonical form,
//! the message goes through [`super::data`]. Replies pass as they are, each whole or not at all, so that a reply of ours
//! always finds a boundary.
//!
//! | phase | client bytes are | until |
//! |---|---|---|
//! | `Commands` | commands, possibly pipelined | |
//! | `Skipping` | the rest of an over-long line | its LF |
//! | `AwaitGoAhead` | held (RFC 2920: DATA is the last of a group) | the reply to DATA |
//! | `Message` | the message | its final dot |
//! | `AwaitVerdict` | held | the upstream's reply to the message |
//! | `Draining` | the rest of a refused message, thrown away | its final dot, then the end |
//! | `Quitting` | thrown away | the upstream closes |
//! | `Refusing` | held: octets of a BDAT we did not offer | our 502, then the end |
//!
//! EHLO is answered here: the upstream keeps the one we said before login (some answer 503 to another). It also resets the
//! transaction (RFC 5321 section 4.1.4), so if one is open, RSET goes upstream in its place.
//!
//! Never a false success: the 250 for a message is the upstream's own. If the upstream goes between the final dot and its
//! reply, the client hears 451 and sends again; a duplicate is right then, a loss is not (RFC 5321 section 4.5.4.1).

use bytes::Bytes;
use memchr::memchr;

use super::codec::{
    BadCommand, CANNOT_VERIFY, Command, HELP, LINE_TOO_LONG, NOT_SERVED, command, hello,
};
use super::data::Data;
use super::extensions::Extensions;
use super::frame::{self, COMMAND_LINE_MAX};
use super::queue::{Asked, Queue};
use crate::proto::dialogue::{Breach, Ending, Established, Farewell, LoginSettings, Watch};
use crate::proto::flow::Flow;
use crate::protocol::Leg;

/// What stands between the two legs.
#[derive(Debug)]
pub struct SmtpWatch {
    extensions: Extensions,
    ehlo: Bytes,
    helo: Bytes,
    phase: Phase,
    queue: Queue,
    /// Whether a MAIL went upstream that nothing has ended yet.
    transaction: bool,
    /// Whether the client was told that it is over: 221 or 421.
    goodbye: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Commands,
    Skipping,
    AwaitGoAhead,
    Message(Data),
    AwaitVerdict,
    Draining(Data),
    Quitting,
    Refusing,
}

impl SmtpWatch {
    /// For a session that has just logged in.
    pub fn new(settings: &LoginSettings, established: &Established) -> Self {
        let extensions = Extensions::new(settings, established.capabilities.as_deref());
        Self {
            ehlo: hello(&settings.host, &extensions.after_login()),
            helo: hello::<&str>(&settings.host, &[]),
            extensions,
            phase: Phase::Commands,
            queue: Queue::default(),
            transaction: false,
            goodbye: false,
        }
    }
}

impl Watch for SmtpWatch {
    fn step(&mut self, leg: Leg, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        match leg {
            Leg::Client => self.client(input, flow),
            Leg::Upstream => self.upstream(input, flow),
        }
    }

    fn reads(&self, leg: Leg) -> bool {
        match (leg, &self.phase) {
            (Leg::Upstream, _) | (_, Phase::Message(_) | Phase::Draining(_) | Phase::Quitting) => {
                true
            }
            (_, Phase::AwaitGoAhead | Phase::AwaitVerdict | Phase::Refusing) => false,
            (_, Phase::Commands | Phase::Skipping) if self.extensions.pipelining() => {
                !self.queue.is_full()
            }
            (_, Phase::Commands | Phase::Skipping) => self.queue.is_empty(),
        }
    }

    fn eof(&mut self, leg: Leg, _rest: &[u8], flow: &mut Flow) -> Ending {
        match (leg, &self.phase) {
            (Leg::Upstream, _) => {
                self.take_leave(UPSTREAM_GONE, flow);
                Ending::Close
            }
            // Without its final dot the upstream forgets a message (RFC 5321 section 4.1.1.4).
            (Leg::Client, Phase::AwaitGoAhead | Phase::Refusing) => Ending::Close,
            (Leg::Client, _) if self.queue.is_empty() => Ending::Close,
            (Leg::Client, _) => Ending::HalfClose,
        }
    }

    fn farewell(&mut self, why: Farewell, flow: &mut Flow) {
        match why {
            // What is under way may finish: a message cut off here would only be sent again.
            Farewell::Shutdown if !self.queue.is_empty() => {}
            Farewell::Shutdown if matches!(self.phase, Phase::Message(_)) => {}
            Farewell::Shutdown => self.take_leave(STOPPING, flow),
            Farewell::UpstreamLost => self.take_leave(UPSTREAM_GONE, flow),
            Farewell::Idle => self.take_leave(TOO_QUIET, flow),
        }
    }

    fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Commands => "commands",
            Phase::Skipping => "skipping",
            Phase::AwaitGoAhead => "await-go-ahead",
            Phase::Message(_) => "message",
            Phase::AwaitVerdict => "await-verdict",
            Phase::Draining(_) => "draining",
            Phase::Quitting => "quitting",
            Phase::Refusing => "refusing",
        }
    }
}

/// The client's side.
impl SmtpWatch {
    fn client(&mut self, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        let mut at = 0;
        while self.reads(Leg::Client) {
            let rest = input.get(at..).unwrap_or_default();
            let taken = match &mut self.phase {
                Phase::Message(data) => {
                    let progress = data.read(input, at, flow);
                    if progress.ended {
                        self.phase = Phase::AwaitVerdict;
                        self.queue.ask(Asked::Verdict);
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
                Phase::Commands => self.command_line(rest, flow),
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
                Ok(envelope) => {
                    self.transaction = true;
                    self.ask(envelope.encode("MAIL FROM:"), Asked::Command, flow);
                }
                Err(reply) => self.queue.say(reply, flow),
            },
            Command::Rcpt(envelope) => match self.extensions.rcpt(envelope) {
                Ok(envelope) => self.ask(envelope.encode("RCPT TO:"), Asked::Command, flow),
                Err(reply) => self.queue.say(reply, flow),
            },
            Command::Data => {
                self.phase = Phase::AwaitGoAhead;
                self.ask("DATA\r\n", Asked::Data, flow);
            }
            Command::Rset => {
                self.transaction = false;
                self.ask("RSET\r\n", Asked::Command, flow);
            }
            Command::Noop => self.ask("NOOP\r\n", Asked::Command, flow),
            Command::Quit => {
                self.phase = Phase::Quitting;
                self.ask("QUIT\r\n", Asked::Quit, flow);
            }
            // RFC 4954 section 4; and a TLS handshake in the middle of a session is nothing we could carry on from.
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
        if std::mem::take(&mut self.transaction) {
            self.ask("RSET\r\n", Asked::Hello(reply), flow);
        } else {
            self.queue.say(reply, flow);
        }
    }

    fn ask(&mut self, line: impl Into<Bytes>, asked: Asked, flow: &mut Flow) {
        flow.say(Leg::Upstream, line);
        self.queue.ask(asked);
    }
}

/// The upstream's side.
impl SmtpWatch {
    fn upstream(&mut self, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        let mut at = 0;
        while let Some(frame) = frame::reply(input.get(at..).unwrap_or_default())
            .map_err(|bad| self.breach(bad.what(), flow))?
        {
            let end = at + frame.len;
            self.reply(frame.code, at..end, flow)?;
            at = end;
        }
        Ok(at)
    }

    fn reply(
        &mut self,
        code: u16,
        reply: std::ops::Range<usize>,
        flow: &mut Flow,
    ) -> Result<(), Breach> {
        let Some(asked) = self.queue.front() else {
            return self.unasked(code, reply, flow);
        };
        match (asked, code) {
            (Asked::Data, 354) => self.phase = Phase::Message(Data::new()),
            (_, 300..400) | (Asked::Data, 200..300) => {
                return Err(self.breach("a reply that does not answer the command", flow));
            }
            (Asked::Data, _) => self.phase = Phase::Commands,
            (Asked::Verdict, _) => {
                self.phase = Phase::Commands;
                self.transaction = false;
            }
            (Asked::Quit, _) => self.goodbye = true,
            (Asked::Hello(ours), _) if code != CLOSING => {
                flow.say(Leg::Client, ours.clone());
                self.queue.answered(flow);
                return self.check_refused();
            }
            (Asked::Hello(_) | Asked::Command, _) => {}
        }
        self.goodbye |= code == CLOSING;
        flow.pass(Leg::Client, reply);
        self.queue.answered(flow);
        self.check_refused()
    }

    /// A reply that nobody asked for. 421 may come at any time (RFC 5321 section 3.8), and so may a refusal of a message
    /// that is still being sent. The client hears it as the verdict; but the upstream still waits for a final dot, which
    /// could mean to it that the message was sent after all. So the rest is thrown away, and then the session ends.
    fn unasked(
        &mut self,
        code: u16,
        reply: std::ops::Range<usize>,
        flow: &mut Flow,
    ) -> Result<(), Breach> {
        match self.phase {
            Phase::Draining(_) => return Ok(()),
            Phase::Message(data) if code >= 400 => self.phase = Phase::Draining(data),
            _ if code == CLOSING && !self.goodbye => {}
            _ => return Err(self.breach("a reply to no command", flow)),
        }
        self.goodbye = true;
        flow.pass(Leg::Client, reply);
        Ok(())
    }

    /// Whether our 502 to a BDAT has been said: its octets cannot be told from commands.
    fn check_refused(&self) -> Result<(), Breach> {
        if self.phase == Phase::Refusing && self.queue.is_empty() {
            return Err(Breach {
                leg: Leg::Client,
                what: "BDAT, which was not offered",
            });
        }
        Ok(())
    }

    fn breach(&mut self, what: &'static str, flow: &mut Flow) -> Breach {
        self.take_leave(UPSTREAM_GONE, flow);
        Breach {
            leg: Leg::Upstream,
            what,
        }
    }

    /// The last reply to the client, whatever it waits for.
    fn take_leave(&mut self, otherwise: &'static str, flow: &mut Flow) {
        if std::mem::replace(&mut self.goodbye, true) {
            return;
        }
        let reply = match self.queue.front() {
            Some(Asked::Verdict) => VERDICT_UNKNOWN,
            Some(Asked::Quit) => "221 2.0.0 Goodbye\r\n",
            _ => otherwise,
        };
        flow.say(Leg::Client, reply);
    }
}

const EARLY_REFUSAL: &str = "a refusal before the end of the message";

/// The reply that closes the channel, RFC 5321 section 3.8.
const CLOSING: u16 = 421;

const ALREADY_AUTHENTICATED: &str = "503 5.5.1 Already authenticated\r\n";
const TOO_LATE_FOR_TLS: &str = "503 5.5.1 Too late for TLS\r\n";
const UPSTREAM_GONE: &str = "421 4.4.2 The connection to the provider broke\r\n";
const VERDICT_UNKNOWN: &str = "451 4.4.2 The connection to the provider broke before its reply\r\n";
const STOPPING: &str = "421 4.3.2 The service is stopping\r\n";
const TOO_QUIET: &str = "421 4.4.2 Nothing was said for too long\r\n";

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
