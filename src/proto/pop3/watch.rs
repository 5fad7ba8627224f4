//! POP3 after login: passes bytes through and keeps count of which answer is due.
//!
//! A response says nothing of its shape: whether lines follow depends on the command. So the watch remembers, in order,
//! what each command the client sent leads to. With that it knows where a response may stand, which lines are message
//! data and which are capabilities, and nothing in a message can pass for either.
//!
//! Only commands whose answer has a known shape go on. The rest, and with them every second login (it would carry the
//! local password to the provider), is replaced by one that the upstream refuses, so that answers stay in order.
//!
//! It never says QUIT for a client: a session that ends without it must not delete anything (RFC 1939 section 6).
//!
//! | state of the answer | what is passed |
//! |---|---|
//! | `Boundary` | nothing yet: a response begins here |
//! | `StatusLine` | up to its LF, then what it leads to |
//! | `Body` | up to the dot alone, unseen |
//! | `Capabilities` | line by line, without those that are hidden |
//! | `Replaced` | nothing up to its LF: another answer was said |
//! | `Over` | nothing: the last word was said |

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use memchr::memchr;

use super::codec::{self, Command, Verb};
use super::frame::{CAPA_LINE_MAX, COMMAND_MAX, EndOfBody};
use crate::profile::{Profile, Quirk};
use crate::proto::dialogue::{Breach, Ending, Established, Farewell, Watch};
use crate::proto::flow::Flow;
use crate::proto::refusal::Cause;
use crate::protocol::Leg;

/// What stands between the legs.
#[derive(Debug)]
pub struct Pop3Watch {
    /// What the commands lead to whose answers have not begun.
    pending: VecDeque<Shape>,
    /// How many commands may be unanswered.
    depth: usize,
    answer: Answer,
    /// The client said QUIT; what it says behind it is thrown away.
    quit: bool,
    /// The highest message that was retrieved.
    last: u64,
    profile: Arc<Profile>,
}

/// What `+OK` to a command leads to. `-ERR` is one line always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Line,
    Body,
    Capabilities,
    /// RETR of this message, which is then the last one (RFC 1460 section 5).
    Message(u64),
    /// RSET, after which there is no last one.
    Reset,
    /// LAST, which is answered here.
    Last,
}

/// Where the upstream is in its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Boundary,
    StatusLine(Shape),
    Body(EndOfBody),
    Capabilities,
    /// A status line in place of which another was said.
    Replaced,
    Over,
}

impl Pop3Watch {
    /// A watch over an authenticated session.
    ///
    /// PIPELINING was promised before login. An upstream that does not promise it is asked one thing at a time.
    pub fn new(profile: Arc<Profile>, established: &Established) -> Self {
        let pipelines = established.capabilities.iter().flatten().any(|line| {
            codec::capability_name(line.as_bytes()).eq_ignore_ascii_case(b"PIPELINING")
        });
        Self {
            pending: VecDeque::new(),
            depth: if pipelines { PIPELINE_MAX } else { 1 },
            answer: Answer::Boundary,
            quit: false,
            last: 0,
            profile,
        }
    }

    /// Commands whose answers have not ended.
    fn unanswered(&self) -> usize {
        let under_way = !matches!(self.answer, Answer::Boundary | Answer::Over);
        self.pending.len() + usize::from(under_way)
    }
}

impl Watch for Pop3Watch {
    fn step(&mut self, leg: Leg, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        match leg {
            Leg::Client => self.commands(input, flow),
            Leg::Upstream => self.answers(input, flow),
        }
    }

    fn reads(&self, leg: Leg) -> bool {
        match leg {
            // Behind QUIT too: its end of stream must be seen.
            Leg::Client => self.quit || self.unanswered() < self.depth,
            Leg::Upstream => true,
        }
    }

    /// The client's incomplete line is dropped: half a command must not be completed by us. A client that only has
    /// nothing more to ask still gets its answers; one that waits for none is gone, and the upstream is left as
    /// without QUIT.
    fn eof(&mut self, leg: Leg, _rest: &[u8], flow: &mut Flow) -> Ending {
        match leg {
            Leg::Client if self.unanswered() > 0 => Ending::HalfClose,
            Leg::Client => Ending::Close,
            Leg::Upstream => {
                self.farewell(Farewell::UpstreamLost, flow);
                Ending::Close
            }
        }
    }

    /// At a boundary a command that waits gets `-ERR`. Where none waits, RFC 1939 section 3 has the connection closed
    /// without a word; only a shutdown is announced, as PROTOCOL B.6 says.
    fn farewell(&mut self, why: Farewell, flow: &mut Flow) {
        if self.answer != Answer::Boundary {
            return;
        }
        let waits = !self.pending.is_empty();
        let (cause, text) = match why {
            Farewell::Shutdown => (Cause::Shutdown, "Shutting down, try again later"),
            Farewell::UpstreamLost => (Cause::Unavailable, "The mail provider is gone"),
            Farewell::Idle => (Cause::Unavailable, "Nothing came for too long"),
        };
        if waits || (why == Farewell::Shutdown && !self.quit) {
            flow.say(Leg::Client, codec::refusal(cause, text));
            self.answer = Answer::Over;
        }
    }

    fn phase(&self) -> &'static str {
        match self.answer {
            Answer::Boundary if self.quit => "quit",
            Answer::Boundary if self.pending.is_empty() => "transaction",
            Answer::Boundary => "waiting",
            Answer::StatusLine(_) | Answer::Replaced => "response",
            Answer::Body(_) => "body",
            Answer::Capabilities => "capa",
            Answer::Over => "over",
        }
    }
}

impl Pop3Watch {
    /// Complete command lines, as many as may be unanswered.
    fn commands(&mut self, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        let mut at = 0;
        while self.reads(Leg::Client) {
            if self.quit || self.answer == Answer::Over {
                return Ok(input.len());
            }
            let rest = input.get(at..).unwrap_or_default();
            let end = memchr(b'\n', rest);
            // What stands before the line is passed first; then it is offered again, alone.
            if end.unwrap_or(rest.len()) > COMMAND_MAX && at == 0 {
                return Err(Breach {
                    leg: Leg::Client,
                    what: "a command line over the limit",
                });
            }
            match end {
                Some(end) if end <= COMMAND_MAX => {
                    let line = rest.get(..end).unwrap_or_default();
                    self.command(line, at..at + end + 1, flow);
                    at += end + 1;
                }
                _ => return Ok(at),
            }
        }
        Ok(at)
    }

    /// One command; `line` is without its LF, `range` is all of it.
    fn command(&mut self, line: &[u8], range: Range<usize>, flow: &mut Flow) {
        let content = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(shape) = shape(content) else {
            flow.say(Leg::Upstream, REFUSED);
            self.pending.push_back(Shape::Line);
            return;
        };
        if shape == Shape::Last && self.profile.has(Quirk::Last) {
            // quirk: LAST went with RFC 1939. The upstream is asked for something else, so that the answer comes in its turn.
            flow.say(Leg::Upstream, "NOOP\r\n");
            self.pending.push_back(shape);
            return;
        }
        self.pending.push_back(if shape == Shape::Last {
            Shape::Line
        } else {
            shape
        });
        self.quit = Command::parse(content).verb == Verb::Quit;
        if content.len() < line.len() {
            flow.pass(Leg::Upstream, range);
        } else {
            // A bare LF, as devices send it: the upstream gets what the RFC asks for.
            flow.pass(Leg::Upstream, range.start..range.end - 1);
            flow.say(Leg::Upstream, "\r\n");
        }
    }

    fn answers(&mut self, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        let mut at = 0;
        while let Some(rest) = input.get(at..)
            && let Some(&first) = rest.first()
        {
            let end = match &mut self.answer {
                Answer::Boundary => {
                    self.answer = self.answered(first, flow);
                    continue;
                }
                Answer::Replaced => {
                    let Some(end) = memchr(b'\n', rest) else {
                        return Ok(input.len());
                    };
                    at += end + 1;
                    self.answer = Answer::Boundary;
                    continue;
                }
                Answer::StatusLine(_) => memchr(b'\n', rest).map(|lf| lf + 1),
                Answer::Body(scan) => scan.find(rest),
                Answer::Capabilities => match self.capability(rest, at, flow)? {
                    0 => return Ok(at),
                    taken => {
                        at += taken;
                        continue;
                    }
                },
                Answer::Over => return Ok(input.len()),
            };
            flow.pass(Leg::Client, at..end.map_or(input.len(), |end| at + end));
            let Some(end) = end else {
                return Ok(input.len());
            };
            at += end;
            self.answer = match self.answer {
                Answer::StatusLine(Shape::Body | Shape::Message(_)) => {
                    Answer::Body(EndOfBody::at_line_start())
                }
                Answer::StatusLine(Shape::Capabilities) => Answer::Capabilities,
                _ => Answer::Boundary,
            };
        }
        Ok(at)
    }

    /// What the status line that begins with `first` is, and leads to.
    fn answered(&mut self, first: u8, flow: &mut Flow) -> Answer {
        let due = match first {
            b'+' | b'-' => self.pending.pop_front(),
            // A stray line answers nothing; a client that knows such a server knows what to do with it.
            _ => None,
        };
        match due {
            Some(Shape::Last) => {
                flow.say(Leg::Client, format!("+OK {}\r\n", self.last));
                return Answer::Replaced;
            }
            Some(Shape::Message(number)) if first == b'+' => self.last = self.last.max(number),
            Some(Shape::Reset) if first == b'+' => self.last = 0,
            _ => {}
        }
        Answer::StatusLine(due.filter(|_| first == b'+').unwrap_or(Shape::Line))
    }

    /// One line of a capability list: passed or left out. How much was taken; 0 when more is needed.
    fn capability(&mut self, rest: &[u8], at: usize, flow: &mut Flow) -> Result<usize, Breach> {
        let end = memchr(b'\n', rest);
        if end.unwrap_or(rest.len()) > CAPA_LINE_MAX {
            // What stands before the line is passed first; then it is offered again, alone.
            return if at == 0 { Err(ENDLESS) } else { Ok(0) };
        }
        let Some(end) = end else {
            return Ok(0);
        };
        let line = rest.get(..end).unwrap_or_default().trim_ascii_end();
        if line == b"." {
            self.answer = Answer::Boundary;
        }
        if !codec::is_hidden(line) && (line == b"." || self.profile.pop3.admits(line)) {
            flow.pass(Leg::Client, at..at + end + 1);
        }
        Ok(end + 1)
    }
}

/// What `+OK` to this command leads to; `None` for what is not let through.
///
/// Those are: logins; extensions, whose answers could have any shape or, as XTND XMIT, ask the client for data; and
/// lines with a bare CR or a NUL, of which another reader might make two commands.
fn shape(line: &[u8]) -> Option<Shape> {
    if line.iter().any(|b| matches!(b, b'\r' | 0)) {
        return None;
    }
    let command = Command::parse(line);
    let alone = command.trimmed().is_empty();
    match command.verb {
        Verb::Dele | Verb::Noop | Verb::Stat => Some(Shape::Line),
        Verb::Last => Some(Shape::Last),
        Verb::Rset => Some(Shape::Reset),
        Verb::List | Verb::Uidl if alone => Some(Shape::Body),
        Verb::List | Verb::Uidl => Some(Shape::Line),
        Verb::Retr => Some(Shape::Message(number(command.trimmed()))),
        Verb::Top => Some(Shape::Body),
        Verb::Capa => Some(Shape::Capabilities),
        Verb::Quit if alone => Some(Shape::Line),
        Verb::Apop
        | Verb::Auth
        | Verb::Http
        | Verb::Pass
        | Verb::Quit
        | Verb::Stls
        | Verb::Unknown
        | Verb::User => None,
    }
}

/// A message number; 0, which no message has, for anything else.
fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text)
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or_default()
}

const ENDLESS: Breach = Breach {
    leg: Leg::Upstream,
    what: "a capability line over the limit",
};

/// Said in place of what is not let through: no server knows it, and all answer `-ERR`.
const REFUSED: &str = "XREFUSED\r\n";

/// Commands that may be unanswered at an upstream that pipelines; then the client is not read.
///
/// mpop sends up to 100 at once. One costs a byte here and some 512 in the upstream's buffers.
const PIPELINE_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::dialogue::HOLD_MAX;
    use crate::proto::flow::Piece;

    fn watch(capabilities: &[&str]) -> Pop3Watch {
        let established = Established {
            capabilities: Some(capabilities.iter().map(ToString::to_string).collect()),
            ..Established::default()
        };
        Pop3Watch::new(Arc::default(), &established)
    }

    /// Feeds `input` from `leg` in the given pieces, as a relay does: what is not taken is offered again.
    fn feed(watch: &mut Pop3Watch, leg: Leg, input: &[u8], cuts: &[usize]) -> Vec<u8> {
        let (mut window, mut said) = (Vec::new(), Vec::new());
        let mut from = 0;
        for to in cuts.iter().copied().chain([input.len()]) {
            let to = to.clamp(from, input.len());
            window.extend_from_slice(&input[from..to]);
            from = to;
            while watch.reads(leg) && !window.is_empty() {
                let mut flow = Flow::default();
                let taken = watch.step(leg, &window, &mut flow).unwrap();
                for piece in flow.pieces(leg.other()) {
                    match piece {
                        Piece::Input(range) => said.extend_from_slice(&window[range.clone()]),
                        Piece::Own(bytes) => said.extend_from_slice(bytes),
                    }
                }
                window.drain(..taken);
                if taken == 0 {
                    assert!(window.len() < HOLD_MAX);
                    break;
                }
            }
        }
        said
    }

    #[test]
    fn without_pipelining_one_command_is_out_at_a_time() {
        let mut watch = watch(&["TOP"]);
        let mut flow = Flow::default();
        let input = b"RETR 1\r\nRETR 2\r\n";
        assert_eq!(watch.step(Leg::Client, input, &mut flow), Ok(8));
        assert!(!watch.reads(Leg::Client));
        feed(&mut watch, Leg::Upstream, b"+OK\r\nbody\r\n", &[]);
        assert!(!watch.reads(Leg::Client));
        feed(&mut watch, Leg::Upstream, b".\r\n", &[]);
        assert!(watch.reads(Leg::Client));
    }

    #[test]
    fn a_pipeline_is_bounded() {
        let mut watch = watch(&["PIPELINING"]);
        let input = b"NOOP\r\n".repeat(PIPELINE_MAX + 1);
        let passed = feed(&mut watch, Leg::Client, &input, &[]);
        assert_eq!(passed.len(), 6 * PIPELINE_MAX);
        assert!(!watch.reads(Leg::Client));
        feed(&mut watch, Leg::Upstream, b"+OK\r\n", &[]);
        assert!(watch.reads(Leg::Client));
    }

    #[test]
    fn bytes_of_a_body_are_one_piece_of_the_input() {
        let mut watch = watch(&[]);
        feed(&mut watch, Leg::Client, b"RETR 1\r\n", &[]);
        let mut flow = Flow::default();
        let input = b"+OK\r\nSASL PLAIN\r\n+OK\r\n..\r\n-ERR\r\n.\r\n";
        assert_eq!(watch.step(Leg::Upstream, input, &mut flow), Ok(input.len()));
        assert_eq!(flow.pieces(Leg::Client), [Piece::Input(0..input.len())]);
    }

    #[test]
    fn an_endless_line_is_a_breach_of_its_leg() {
        let mut watch = watch(&[]);
        let mut flow = Flow::default();
        let breach = watch.step(Leg::Client, &[b'A'; COMMAND_MAX + 1], &mut flow);
        assert_eq!(breach.map_err(|breach| breach.leg), Err(Leg::Client));
        feed(&mut watch, Leg::Client, b"CAPA\r\n", &[]);
        feed(&mut watch, Leg::Upstream, b"+OK\r\n", &[]);
        let breach = watch.step(Leg::Upstream, &[b'A'; CAPA_LINE_MAX + 1], &mut flow);
        assert_eq!(breach, Err(ENDLESS));
    }

    proptest! {
        #[test]
        fn commands_are_the_same_however_they_are_split(
            lines in proptest::collection::vec(
                "(RETR 1|list|AUTH PLAIN x|NOOP|QUIT|capa|X\r|)\r?\n", 0..8),
            mut cuts in proptest::collection::vec(0_usize..60, 0..8),
        ) {
            let input = lines.concat().into_bytes();
            cuts.sort_unstable();
            let (mut whole, mut split) = (watch(&["PIPELINING"]), watch(&["PIPELINING"]));
            let expected = feed(&mut whole, Leg::Client, &input, &[]);
            prop_assert_eq!(feed(&mut split, Leg::Client, &input, &cuts), expected);
            prop_assert_eq!(whole.pending, split.pending);
        }

        #[test]
        fn answers_are_the_same_however_they_are_split(
            lines in proptest::collection::vec(
                "(\\+OK|-ERR no|\\.|\\.\\.|SASL PLAIN|UIDL|a\n|stray)\r?\n", 0..16),
            mut cuts in proptest::collection::vec(0_usize..80, 0..8),
        ) {
            let input = lines.concat().into_bytes();
            cuts.sort_unstable();
            let asked = b"RETR 1\r\nCAPA\r\nDELE 1\r\nUIDL\r\nCAPA\r\n";
            let (mut whole, mut split) = (watch(&["PIPELINING"]), watch(&["PIPELINING"]));
            feed(&mut whole, Leg::Client, asked, &[]);
            feed(&mut split, Leg::Client, asked, &[]);
            let expected = feed(&mut whole, Leg::Upstream, &input, &[]);
            prop_assert_eq!(feed(&mut split, Leg::Upstream, &input, &cuts), expected);
            prop_assert_eq!(whole.answer, split.answer);
            prop_assert_eq!(whole.pending, split.pending);
        }
    }
}
