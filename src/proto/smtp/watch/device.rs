//! A client that has not logged in: each of its messages needs leave, goes out under the account's own address, keeps to
//! the limits, and is written down.
//!
//! Nothing of a message goes upstream before its header was read to its end. What is found wrong then, or beyond the limit
//! on the way, ends the session: the upstream has been told DATA, and only hanging up tells it that there is no message
//! after all. The client hears why behind its final dot, where it listens.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::queue::Asked;
use super::{Phase, SmtpWatch};
use crate::proto::dialogue::{Breach, Notice};
use crate::proto::flow::{Flow, Piece};
use crate::proto::smtp::device::{Permit, RECIPIENTS_TOLD, Submission, Terms};
use crate::proto::smtp::envelope::Envelope;
use crate::proto::smtp::header::{Collected, rewrite};
use crate::proto::text::sanitise;
use crate::protocol::{Leg, SenderRule};

/// The terms, and the message under way.
#[derive(Debug)]
pub(super) struct Device {
    terms: Arc<Terms>,
    /// 0 is no limit.
    size_max: u64,
    /// One for each command of a step, at most.
    notices: VecDeque<Notice>,
    /// What the client named in the MAIL that waits for leave.
    sender: String,
    /// Whether that is another sender, which is not borne. It counts as a message all the same: each one may cost a login.
    foreign: bool,
    /// How many MAILs were refused here.
    refused: usize,
    message: Option<Message>,
    /// Counts those that were begun.
    begun: u64,
}

/// A message between MAIL and its last reply.
#[derive(Debug)]
struct Message {
    permit: Permit,
    /// `None` once the header is through.
    header: Option<Collected>,
    /// How many recipients were named, taken or not.
    named: usize,
    outcome: Submission,
}

impl Device {
    pub(super) fn new(terms: Arc<Terms>, size_max: u64) -> Self {
        Self {
            terms,
            size_max,
            notices: VecDeque::new(),
            sender: String::new(),
            foreign: false,
            refused: 0,
            message: None,
            begun: 0,
        }
    }

    /// Whether no message is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.message.is_none()
    }

    pub(super) fn notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// MAIL as it goes upstream once there is leave; an error is the reply to it.
    fn mail(&mut self, mut envelope: Envelope<'_>) -> Result<Bytes, &'static str> {
        if self.message.is_some() {
            return Err(MAIL_ALREADY);
        }
        self.sender = sanitise(envelope.path);
        let pinned = self.terms.envelope == SenderRule::Pin;
        self.foreign = pinned && !self.terms.is_ours(envelope.path);
        // What is added to the header is not in the client's number, and RFC 1870 section 6.3 lets a server insist on it.
        envelope
            .parameters
            .retain(|parameter| !parameter.is("SIZE"));
        let terms = Arc::clone(&self.terms);
        let address = terms.address.as_bytes();
        self.notices.push_back(Notice::Begins);
        let parameters = envelope.parameters;
        let path = address;
        Ok(Envelope { path, parameters }.encode("MAIL FROM:"))
    }

    fn begin(&mut self, permit: Permit) {
        self.begun += 1;
        self.message = Some(Message {
            permit,
            header: Some(Collected::default()),
            named: 0,
            outcome: Submission {
                sender: std::mem::take(&mut self.sender),
                ..Submission::default()
            },
        });
    }

    fn rcpt(&mut self) -> Result<(), &'static str> {
        let message = self.message.as_mut().ok_or(MAIL_FIRST)?;
        if message.named >= self.terms.recipients {
            return Err(TOO_MANY_RECIPIENTS);
        }
        message.named += 1;
        Ok(())
    }

    /// What the upstream says of the message under way.
    pub(super) fn replied(&mut self, asked: &Asked, code: u16) {
        let begun = self.begun;
        match (asked, &mut self.message) {
            (Asked::Rcpt(nth, recipient), Some(message)) if *nth == begun && code < 300 => {
                message.outcome.recipients += 1;
                if message.outcome.first.len() < RECIPIENTS_TOLD {
                    message.outcome.first.push(recipient.clone());
                }
            }
            (Asked::Mail(nth), Some(_)) if *nth == begun && code >= 400 => self.ended(code, false),
            (Asked::Data, _) if code >= 400 => self.ended(code, false),
            (Asked::Verdict, _) => self.ended(code, false),
            _ => {}
        }
    }

    /// The message is over, by this reply.
    pub(super) fn ended(&mut self, reply: u16, ours: bool) {
        if let Some(message) = self.message.take() {
            let outcome = Submission {
                reply,
                ours,
                ..message.outcome
            };
            self.notices.push_back(Notice::Submitted(Box::new(outcome)));
        }
    }

    /// A client that tries without end is told of for a while.
    fn refused_at_mail(&mut self, reply: &str) {
        self.refused += 1;
        if self.refused > REFUSED_TOLD {
            return;
        }
        let outcome = Submission {
            sender: std::mem::take(&mut self.sender),
            reply: code(reply),
            ours: true,
            ..Submission::default()
        };
        self.notices.push_back(Notice::Submitted(Box::new(outcome)));
    }

    /// Passes on what of `decoded` may go, whose ranges are of `input`; `around` of its octets are none of the message. An
    /// error is the reply to the message.
    fn pass(
        &mut self,
        input: &[u8],
        decoded: &Flow,
        around: usize,
        flow: &mut Flow,
    ) -> Result<(), &'static str> {
        let message = self.message.as_mut().ok_or(MAIL_FIRST)?;
        let pieces = decoded.pieces(Leg::Upstream);
        let said: usize = pieces
            .iter()
            .map(|piece| bytes_of(piece, input).len())
            .sum();
        message.outcome.octets += said.saturating_sub(around) as u64;
        if self.size_max != 0 && message.outcome.octets > self.size_max {
            return Err(TOO_LARGE);
        }
        for piece in pieces {
            let rest = message.collect(bytes_of(piece, input), &self.terms, flow)?;
            match (piece, rest) {
                (Piece::Input(range), rest) => {
                    flow.pass(Leg::Upstream, range.end - rest..range.end);
                }
                (Piece::Own(bytes), rest) => {
                    flow.say(Leg::Upstream, bytes.slice(bytes.len() - rest..));
                }
            }
        }
        Ok(())
    }
}

impl Message {
    /// Takes what of `piece` belongs to the header; says the header when it is whole. How much of the piece is body.
    fn collect(
        &mut self,
        piece: &[u8],
        terms: &Terms,
        flow: &mut Flow,
    ) -> Result<usize, &'static str> {
        let Some(header) = &mut self.header else {
            return Ok(piece.len());
        };
        let Some(whole) = header.push(piece).map_err(|_| HEADER_TOO_LARGE)? else {
            return Ok(0);
        };
        self.header = None;
        let written = rewrite(&whole.fields, terms, &self.permit).map_err(|_| FOREIGN_SENDER)?;
        flow.say(Leg::Upstream, written);
        flow.say(Leg::Upstream, whole.body);
        Ok(piece.len() - whole.taken)
    }
}

fn bytes_of<'a>(piece: &'a Piece, input: &'a [u8]) -> &'a [u8] {
    match piece {
        Piece::Input(Range { start, end }) => input.get(*start..*end).unwrap_or_default(),
        Piece::Own(bytes) => bytes,
    }
}

/// How the terms are held.
impl SmtpWatch {
    pub(super) fn device_mail(&mut self, envelope: Envelope<'_>, flow: &mut Flow) {
        let Some(device) = &mut self.device else {
            return;
        };
        match device.mail(envelope) {
            Ok(line) => self.phase = Phase::AwaitPermit(line),
            Err(reply) => self.queue.say(reply, flow),
        }
    }

    pub(super) fn decided(&mut self, permit: Option<Permit>, flow: &mut Flow) {
        let phase = std::mem::replace(&mut self.phase, Phase::Commands);
        let (Phase::AwaitPermit(line), Some(device)) = (phase, &mut self.device) else {
            return;
        };
        let refusal = match permit {
            None => TOO_MANY_MESSAGES,
            Some(_) if device.foreign => FOREIGN_SENDER,
            Some(permit) => {
                device.begin(permit);
                let asked = Asked::Mail(device.begun);
                self.transaction = true;
                return self.ask(line, asked, flow);
            }
        };
        device.refused_at_mail(refusal);
        self.queue.say(refusal, flow);
    }

    pub(super) fn device_rcpt(&mut self, envelope: &Envelope<'_>, flow: &mut Flow) {
        let Some(device) = &mut self.device else {
            return;
        };
        match device.rcpt() {
            Ok(()) => {
                let asked = Asked::Rcpt(device.begun, sanitise(envelope.path));
                self.ask(envelope.encode("RCPT TO:"), asked, flow);
            }
            Err(reply) => self.queue.say(reply, flow),
        }
    }

    /// RSET, or what does the same.
    pub(super) fn device_reset(&mut self) {
        if let Some(device) = &mut self.device {
            device.message = None;
        }
    }

    /// Reads on in the message; how many bytes were taken.
    pub(super) fn device_message(
        &mut self,
        input: &[u8],
        at: usize,
        flow: &mut Flow,
    ) -> Result<usize, Breach> {
        let (Phase::Message(data), Some(device)) = (&mut self.phase, &mut self.device) else {
            return Ok(0);
        };
        let mut decoded = Flow::default();
        let progress = data.read(input, at, &mut decoded);
        let passed = device.pass(input, &decoded, progress.around, flow);
        match (passed, progress.ended) {
            (Ok(()), false) => {}
            (Ok(()), true) => {
                self.phase = Phase::AwaitVerdict;
                self.queue.ask(Asked::Verdict);
            }
            (Err(verdict), ended) => {
                self.phase = Phase::Rejecting(*data, verdict);
                if ended {
                    return Err(self.rejected(flow));
                }
            }
        }
        Ok(progress.taken - at)
    }

    /// The client has sent all of a message that we refuse.
    pub(super) fn rejected(&mut self, flow: &mut Flow) -> Breach {
        self.take_leave(super::UPSTREAM_GONE, flow);
        Breach {
            leg: Leg::Client,
            what: "a message that may not be sent",
        }
    }

    /// A message under way will not get another reply than this one of ours.
    pub(super) fn device_ends(&mut self, reply: &str) {
        if let Some(device) = &mut self.device {
            device.ended(code(reply), true);
        }
    }
}

/// The code of a reply of ours.
fn code(reply: &str) -> u16 {
    let digits = reply.get(..3).unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// The lines of one session about messages that never began. Its own line at its end says how long it went on.
const REFUSED_TOLD: usize = 20;

pub(super) const MAIL_FIRST: &str = "503 5.5.1 Say MAIL first\r\n";
const MAIL_ALREADY: &str = "503 5.5.1 A message is under way; say RSET first\r\n";
const FOREIGN_SENDER: &str = "550 5.7.1 Only the address of this listener may send here\r\n";
const TOO_MANY_RECIPIENTS: &str = "452 4.5.3 Too many recipients in one message\r\n";
const TOO_MANY_MESSAGES: &str = "451 4.7.1 Too many messages from here; try again later\r\n";
const TOO_LARGE: &str = "552 5.3.4 Message larger than the limit\r\n";
const HEADER_TOO_LARGE: &str = "552 5.3.4 Message header larger than the limit\r\n";

#[cfg(test)]
mod tests;
