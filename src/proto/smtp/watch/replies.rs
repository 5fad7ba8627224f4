//! The upstream's side: each reply goes to the command it answers, and moves the phase on.

use std::ops::Range;

use super::queue::Asked;
use super::{Phase, SmtpWatch, Upstream};
use crate::proto::dialogue::Breach;
use crate::proto::flow::Flow;
use crate::proto::smtp::data::Data;
use crate::proto::smtp::frame;
use crate::protocol::Leg;

impl SmtpWatch {
    pub(super) fn upstream(&mut self, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
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

    fn reply(&mut self, code: u16, reply: Range<usize>, flow: &mut Flow) -> Result<(), Breach> {
        if code >= 400 {
            self.upstream = Upstream::Ends;
        }
        let Some(asked) = self.queue.front() else {
            return self.unasked(code, reply, flow);
        };
        if let Some(device) = &mut self.device {
            device.replied(asked, code);
        }
        match (asked, code) {
            (Asked::Data, 354) if self.device.as_ref().is_some_and(|it| it.is_idle()) => {
                return Err(self.breach("a go-ahead for no message", flow));
            }
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
            (Asked::Hello(_) | Asked::Command | Asked::Mail(_) | Asked::Rcpt(..), _) => {}
        }
        self.goodbye |= code == CLOSING;
        flow.pass(Leg::Client, reply);
        self.queue.answered(flow);
        self.check_refused()
    }

    /// A reply that nobody asked for. 421 may come at any time (RFC 5321 section 3.8), and so may a refusal of a message
    /// that is still being sent. The client hears it as the verdict; but the upstream still waits for a final dot, which
    /// could mean to it that the message was sent after all. So the rest is thrown away, and then the session ends.
    fn unasked(&mut self, code: u16, reply: Range<usize>, flow: &mut Flow) -> Result<(), Breach> {
        match self.phase {
            Phase::Draining(_) | Phase::Rejecting(..) => return Ok(()),
            Phase::Message(data) if code >= 400 => self.phase = Phase::Draining(data),
            _ if code == CLOSING && !self.goodbye => {}
            _ => return Err(self.breach("a reply to no command", flow)),
        }
        self.goodbye = true;
        if let Some(device) = &mut self.device {
            device.ended(code, false);
        }
        flow.pass(Leg::Client, reply);
        Ok(())
    }
}

/// The reply that closes the channel, RFC 5321 section 3.8.
const CLOSING: u16 = 421;
