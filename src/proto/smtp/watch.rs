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
//! | `AwaitPermit` | held: a client without a login begins a message | leave to, or none |
//! | `Rejecting` | the rest of a message that we refuse, thrown away | its final dot, then our reply and the end |
//! | `Quitting` | thrown away | the upstream closes |
//! | `Refusing` | held: octets of a BDAT we did not offer | our 502, then the end |
//!
//! EHLO is answered here: the upstream keeps the one we said before login (some answer 503 to another). It also resets the
//! transaction (RFC 5321 section 4.1.4), so if one is open, RSET goes upstream in its place.
//!
//! Never a false success: the 250 for a message is the upstream's own. If the upstream goes between the final dot and its
//! reply, the client hears 451 and sends again; a duplicate is right then, a loss is not (RFC 5321 section 4.5.4.1).

mod commands;
mod device;
mod queue;
mod replies;

use std::sync::Arc;

use bytes::Bytes;

use self::device::Device;
use self::queue::{Asked, Queue};
use super::codec::hello;
use super::data::Data;
use super::device::Permit;
use super::extensions::Extensions;
use crate::profile::Profile;
use crate::proto::dialogue::{
    Breach, Ending, Established, Farewell, LoginSettings, Notice, Remains, Watch,
};
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
    /// Whether the upstream may serve the next client.
    upstream: Upstream,
    /// The client has not logged in, and is held to its terms.
    device: Option<Box<Device>>,
}

/// What becomes of the upstream when the client says QUIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    /// It is asked to end, too: nobody wants it, or it refused something. Servers count what they refuse, and lose
    /// patience with whom they know.
    Ends,
    /// It does not hear of it.
    Stays,
    /// It did not hear of it.
    Stayed,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Commands,
    Skipping,
    AwaitGoAhead,
    Message(Data),
    AwaitVerdict,
    Draining(Data),
    AwaitPermit(Bytes),
    Rejecting(Data, &'static str),
    Quitting,
    Refusing,
}

impl SmtpWatch {
    /// For a session that has just logged in.
    pub fn new(settings: &LoginSettings, profile: Arc<Profile>, established: &Established) -> Self {
        let extensions = Extensions::new(settings, profile, established.capabilities.as_deref());
        let device = settings
            .terms
            .as_ref()
            .map(|terms| Device::new(Arc::clone(terms), extensions.max_message_size()));
        Self {
            device: device.map(Box::new),
            ehlo: hello(&settings.host, &extensions.after_login()),
            helo: hello::<&str>(&settings.host, &[]),
            extensions,
            phase: Phase::Commands,
            queue: Queue::default(),
            transaction: false,
            goodbye: false,
            upstream: Upstream::Ends,
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
            (Leg::Upstream, _)
            | (
                _,
                Phase::Message(_) | Phase::Draining(_) | Phase::Rejecting(..) | Phase::Quitting,
            ) => true,
            (
                _,
                Phase::AwaitGoAhead | Phase::AwaitVerdict | Phase::AwaitPermit(_) | Phase::Refusing,
            ) => false,
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
            Farewell::Shutdown
                if matches!(self.phase, Phase::Message(_) | Phase::Rejecting(..)) => {}
            Farewell::Shutdown => self.take_leave(STOPPING, flow),
            Farewell::UpstreamLost => self.take_leave(UPSTREAM_GONE, flow),
            Farewell::Idle => self.take_leave(TOO_QUIET, flow),
        }
    }

    fn keep_upstream(&mut self) {
        self.upstream = Upstream::Stays;
    }

    fn notice(&mut self) -> Option<Notice> {
        self.device.as_mut()?.notice()
    }

    fn decide(&mut self, permit: Option<Permit>, flow: &mut Flow) {
        self.decided(permit, flow);
    }

    fn remains(&self) -> Option<Remains> {
        (self.upstream == Upstream::Stayed).then_some(Remains::Nothing)
    }

    fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Commands => "commands",
            Phase::Skipping => "skipping",
            Phase::AwaitGoAhead => "await-go-ahead",
            Phase::Message(_) => "message",
            Phase::AwaitVerdict => "await-verdict",
            Phase::Draining(_) => "draining",
            Phase::AwaitPermit(_) => "await-permit",
            Phase::Rejecting(..) => "rejecting",
            Phase::Quitting => "quitting",
            Phase::Refusing => "refusing",
        }
    }
}

/// How a session ends.
impl SmtpWatch {
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

    /// Whether QUIT is answered here: nothing is open or unanswered upstream, and all went well.
    fn may_part(&self) -> bool {
        let at_rest = !self.transaction && self.queue.is_empty() && !self.goodbye;
        self.upstream == Upstream::Stays && at_rest
    }

    /// QUIT, of which the upstream does not hear.
    fn part(&mut self, flow: &mut Flow) {
        self.phase = Phase::Quitting;
        self.goodbye = true;
        self.upstream = Upstream::Stayed;
        flow.say(Leg::Client, GOODBYE);
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
        let reply = match (self.queue.front(), &self.phase) {
            (_, Phase::Rejecting(_, verdict)) => verdict,
            (Some(Asked::Verdict), _) => VERDICT_UNKNOWN,
            (Some(Asked::Quit), _) => GOODBYE,
            _ => otherwise,
        };
        self.device_ends(reply);
        flow.say(Leg::Client, reply);
    }
}

const GOODBYE: &str = "221 2.0.0 Goodbye\r\n";
const UPSTREAM_GONE: &str = "421 4.4.2 The connection to the provider broke\r\n";
const VERDICT_UNKNOWN: &str = "451 4.4.2 The connection to the provider broke before its reply\r\n";
const STOPPING: &str = "421 4.3.2 The service is stopping\r\n";
const TOO_QUIET: &str = "421 4.4.2 Nothing was said for too long\r\n";

#[cfg(test)]
mod tests;
