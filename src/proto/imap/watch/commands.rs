//! Client → upstream: passes commands and their literals, and replaces those that would open a hole.
//!
//! A refused command becomes `tag XREFUSED`, which no server knows: the upstream itself answers BAD, in the right order
//! among the replies to what else is under way, and nothing has to be put between its responses.

use std::collections::VecDeque;

use super::ancient::{self, Translated};
use super::idle::{Idle, Tagged};
use super::traces::Traces;
use super::words::Words;
use super::{TAIL, tail};
use crate::profile::{Profile, Quirk};
use crate::proto::dialogue::{Breach, HOLD_MAX};
use crate::proto::flow::Flow;
use crate::proto::imap::codec::response::Status;
use crate::proto::imap::frame::{Literal, announced};
use crate::protocol::Leg;

/// Where the client's stream is.
#[derive(Debug)]
pub(super) struct Commands {
    state: State,
    /// The command at hand.
    kind: Kind,
    /// Its tag.
    tag: Vec<u8>,
    /// The upstream takes no `{n+}`, which we offered before login, or has not said that it does.
    synchronises: bool,
    said_logout: bool,
    /// The tag of the LOGOUT that is answered here.
    logout: Vec<u8>,
    /// Commands begun and not answered.
    unanswered: u64,
    /// Whether the client waits for news, and how the upstream is kept at it.
    pub(super) idle: Idle,
    /// Whether the client may speak as programs did before IMAP4.
    imap2bis: bool,
    /// The tags of its FINDs that are not answered.
    finds: VecDeque<Vec<u8>>,
    /// What would stay behind if the client went now.
    pub(super) traces: Traces,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between two commands.
    Start,
    /// In a line whose first words are known, or which goes on behind a literal.
    Line,
    /// In a literal.
    Literal { left: u64 },
    /// A literal was announced, and the client waits for a `+`. If `ours` it does not: then the `+` is for us.
    AwaitLiteral { size: u64, ours: bool },
    /// IDLE was said.
    AwaitIdle,
    /// LOGOUT was said, and the upstream does not hear of it.
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Passed,
    Idle,
    Refused,
}

impl Commands {
    /// Begins between two commands. `capabilities` are the upstream's, if it named them.
    pub(super) fn new(profile: &Profile, capabilities: Option<&[String]>) -> Self {
        let takes_any = |list: &[String]| {
            list.iter().any(|c| {
                c.eq_ignore_ascii_case("LITERAL+")
                    || c.eq_ignore_ascii_case("LITERAL-")
                    || c.eq_ignore_ascii_case("IMAP4rev2")
            })
        };
        Self {
            state: State::Start,
            kind: Kind::Passed,
            tag: Vec::new(),
            synchronises: !capabilities.is_some_and(takes_any),
            said_logout: false,
            logout: Vec::new(),
            unanswered: 0,
            idle: Idle::default(),
            imap2bis: profile.has(Quirk::Imap2bis),
            finds: VecDeque::new(),
            traces: Traces::new(capabilities),
        }
    }

    /// Whether the upstream still has something to answer: a command that was said to its end.
    pub(super) fn answers_due(&self) -> bool {
        let unfinished = matches!(self.state, State::Line | State::Literal { .. });
        self.unanswered > u64::from(unfinished)
    }

    /// Whether what the client says next depends on what the upstream says first.
    pub(super) fn awaits_upstream(&self) -> bool {
        matches!(
            self.state,
            State::AwaitLiteral { .. } | State::AwaitIdle | State::Leaving
        ) || self.idle.is_busy()
    }

    /// The tag of a LOGOUT whose turn to be answered here it is: everything before has its answer.
    pub(super) fn leaving(&self) -> Option<&[u8]> {
        let may_go = matches!(self.state, State::Leaving) && self.unanswered == 0;
        may_go.then_some(self.logout.as_slice())
    }

    /// The upstream is asked after all: something said meanwhile may stay behind.
    pub(super) fn log_out_upstream(&mut self, flow: &mut Flow) {
        self.tag = std::mem::take(&mut self.logout);
        flow.say(Leg::Upstream, [&self.tag, &b" LOGOUT\r\n"[..]].concat());
        self.said_logout = true;
        self.unanswered += 1;
        self.state = State::Start;
    }

    /// Whether mailboxes are named to answer a FIND.
    pub(super) fn is_finding(&self) -> bool {
        !self.finds.is_empty()
    }

    /// Whether the client asked to end the session.
    pub(super) fn said_logout(&self) -> bool {
        self.said_logout
    }

    /// The state's name, for logs.
    pub(super) fn phase(&self) -> &'static str {
        match self.state {
            State::Start => "between-commands",
            State::Line => "in-command",
            State::Literal { .. } => "in-client-literal",
            State::AwaitLiteral { .. } => "await-literal",
            State::AwaitIdle => "await-idle",
            State::Leaving => "leaving",
        }
    }

    /// Takes as much of `input` as is understood and allowed.
    pub(super) fn step(&mut self, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        let mut at = 0;
        while let Some(unread) = input.get(at..).filter(|unread| !unread.is_empty()) {
            let taken = match self.state {
                State::Start if self.idle.is_busy() => 0,
                State::Start => self.start(at, unread, flow)?,
                State::Line => self.line(at, unread, flow),
                State::Literal { left } => self.literal(left, at, unread, flow),
                State::AwaitLiteral { .. } | State::AwaitIdle | State::Leaving => 0,
            };
            if taken == 0 {
                break;
            }
            at += taken;
        }
        Ok(at)
    }

    /// The client sends nothing more: what is left of a command that passes still does.
    pub(super) fn eof(&mut self, rest: &[u8], flow: &mut Flow) {
        if matches!(self.state, State::Line) && self.kind != Kind::Refused {
            flow.say(Leg::Upstream, rest.to_vec());
        }
    }

    /// The upstream said `+`. False if the client must not see it.
    pub(super) fn on_continue(&mut self) -> bool {
        match self.state {
            State::AwaitLiteral { size, ours } => {
                self.state = literal_of(size);
                !ours
            }
            State::AwaitIdle => {
                self.state = State::Start;
                self.idle.begin(&self.tag);
                true
            }
            _ => !self.idle.on_continue(),
        }
    }

    /// The upstream answered the command `tag`: if that is the one awaited, it wants no literal and does not idle.
    ///
    /// A command whose literal is missing cannot be `ok` as long as others are unanswered: then a client that uses its tags
    /// twice has had its earlier command answered, and the literal is still to come.
    pub(super) fn on_tagged(&mut self, tag: &[u8], status: Status, flow: &mut Flow) -> Tagged {
        let whose = self.idle.on_tagged(tag, flow);
        match whose {
            Tagged::Ours => {}
            Tagged::Passed => self.answered(tag, status),
            Tagged::Renamed => {
                let tag = self.idle.tag().to_vec();
                self.answered(&tag, status);
            }
        }
        whose
    }

    fn answered(&mut self, tag: &[u8], status: Status) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.finds.retain(|find| find != tag);
        if status == Status::Bad {
            // Servers count what they do not understand, and lose patience with whom they know.
            self.traces.spoil();
        }
        if tag != self.tag {
            return;
        }
        if self.unanswered == 0 {
            self.traces.on_answer(status);
        }
        let over = status != Status::Ok || self.unanswered == 0;
        match self.state {
            // The client sends its literal in any case; it must not be taken for commands.
            State::AwaitLiteral { size, ours: true } if over => {
                self.kind = Kind::Refused;
                self.state = literal_of(size);
            }
            State::AwaitLiteral { ours: false, .. } if over => self.state = State::Start,
            State::AwaitIdle => self.state = State::Start,
            _ => {}
        }
    }

    /// Looks at the first two words of a command.
    fn start(&mut self, at: usize, unread: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        let window = unread.get(..HOLD_MAX).unwrap_or(unread);
        let end = memchr::memchr(b'\n', window);
        let line = window.get(..end.unwrap_or(window.len())).unwrap_or(window);
        let mut words = Words::new(line, end.is_some());
        let (Some((_, tag)), Some((_, name))) = (words.word(), words.word()) else {
            if window.len() == HOLD_MAX {
                let what = "a command without a name";
                return Err(Breach {
                    leg: Leg::Client,
                    what,
                });
            }
            return Ok(0);
        };
        if self.traces.are_clean() {
            let next = words.word().map(|(_, next)| next);
            let logs_out = name.eq_ignore_ascii_case(b"LOGOUT");
            match (end, next) {
                (Some(end), Some(b"")) if logs_out => return Ok(self.leave(tag, end + 1)),
                (None, Some(b"") | None)
                    if window.len() < HOLD_MAX
                        && (logs_out || name.eq_ignore_ascii_case(b"UID")) =>
                {
                    return Ok(0);
                }
                _ => {}
            }
            self.traces.on_command(name, next);
        }
        if self.idle.is_on() && self.idle.end() {
            self.unanswered = self.unanswered.saturating_sub(1);
            let done = tag.eq_ignore_ascii_case(b"DONE") && name.is_empty();
            if let (true, Some(end)) = (done, end) {
                return Ok(end + 1);
            }
        }
        if self.imap2bis && ancient::concerns(name) && self.finds.len() < FINDS_MAX {
            let Some(end) = end else {
                return Ok(0);
            };
            let rest = line.get(words.position()..).unwrap_or_default();
            if let Some(translated) = ancient::translate(name, rest) {
                self.say_translated(tag, translated, flow);
                return Ok(end + 1);
            }
        }
        self.tag.clear();
        self.tag.extend_from_slice(tag);
        self.kind = kind(name);
        // `DONE` has no second word and no answer of its own.
        self.unanswered += u64::from(!name.is_empty());
        self.said_logout |= name.eq_ignore_ascii_case(b"LOGOUT");
        if self.kind == Kind::Refused {
            flow.say(Leg::Upstream, [tag, b" XREFUSED\r\n"].concat());
        }
        self.state = State::Line;
        Ok(self.line(at, unread, flow))
    }

    fn say_translated(&mut self, tag: &[u8], translated: Translated, flow: &mut Flow) {
        self.tag = tag.to_vec();
        self.unanswered += 1;
        if translated.finds {
            self.finds.push_back(tag.to_vec());
        }
        let line = [tag, b" ", &translated.command, b"\r\n"].concat();
        flow.say(Leg::Upstream, line);
    }

    /// LOGOUT, which is answered here. `taken` is its line.
    fn leave(&mut self, tag: &[u8], taken: usize) -> usize {
        self.logout = tag.to_vec();
        self.state = State::Leaving;
        taken
    }

    /// Passes a line, or what is there of it. Its last bytes wait for its end: they may announce a literal.
    fn line(&mut self, at: usize, unread: &[u8], flow: &mut Flow) -> usize {
        let Some(end) = memchr::memchr(b'\n', unread) else {
            let taken = unread.len().saturating_sub(TAIL);
            if taken > 0 {
                self.traces.on_text(unread);
            }
            self.pass(at, taken, flow);
            return taken;
        };
        let taken = end + 1;
        let line = unread.get(..taken).unwrap_or(unread);
        self.traces.on_text(line);
        // Wherever it stands: `(\Seen){5}` is a literal to some servers. If it is none to this one, it says so to `{n}`, and
        // the octets behind `{n+}` come all the same. They pass as they are; as commands they could be changed.
        let literal = announced(tail(line));
        self.state = match (self.kind, literal) {
            (Kind::Passed | Kind::Idle, Some(literal)) => {
                return self.announce(literal, at, line, flow);
            }
            // Here a password may stand that ends like one, as before login.
            (Kind::Refused, Some(literal)) if literal.starts_argument && !literal.synchronising => {
                literal_of(literal.size)
            }
            // A refused synchronising literal never comes: the client reads BAD instead of the `+`.
            (Kind::Refused | Kind::Passed, _) => State::Start,
            (Kind::Idle, None) => State::AwaitIdle,
        };
        self.pass(at, taken, flow);
        taken
    }

    /// Passes a line that announces a literal. Where the upstream takes no `{n+}` it becomes `{n}`, and the `+` stays
    /// with us: before login we offered LITERAL-, and a client need not ask again.
    fn announce(&mut self, literal: Literal, at: usize, line: &[u8], flow: &mut Flow) -> usize {
        let ours = self.synchronises && !literal.synchronising;
        if ours {
            let plus = memchr::memrchr(b'+', line).unwrap_or(line.len());
            self.pass(at, plus, flow);
            flow.say(Leg::Upstream, "}\r\n");
        } else {
            self.pass(at, line.len(), flow);
        }
        self.state = if ours || literal.synchronising {
            State::AwaitLiteral {
                size: literal.size,
                ours,
            }
        } else {
            literal_of(literal.size)
        };
        line.len()
    }

    fn literal(&mut self, left: u64, at: usize, unread: &[u8], flow: &mut Flow) -> usize {
        let taken = usize::try_from(left).map_or(unread.len(), |left| left.min(unread.len()));
        self.pass(at, taken, flow);
        self.state = literal_of(left.saturating_sub(taken as u64));
        taken
    }

    fn pass(&self, at: usize, taken: usize, flow: &mut Flow) {
        if self.kind != Kind::Refused {
            flow.pass(Leg::Upstream, at..at + taken);
        }
    }
}

/// What follows the announcement of `size` octets; the line goes on behind them.
fn literal_of(size: u64) -> State {
    match size {
        0 => State::Line,
        left => State::Literal { left },
    }
}

fn kind(name: &[u8]) -> Kind {
    if name.eq_ignore_ascii_case(b"IDLE") {
        Kind::Idle
    } else if REFUSED.iter().any(|it| name.eq_ignore_ascii_case(it)) {
        Kind::Refused
    } else {
        Kind::Passed
    }
}

/// FINDs that may be unanswered; programs of that time said one after the other. Those beyond are refused upstream.
const FINDS_MAX: usize = 16;

/// The commands behind the capabilities that are hidden, and those of a state that is over.
const REFUSED: [&[u8]; 10] = [
    // Nothing could be watched any more.
    b"COMPRESS",
    b"STARTTLS",
    // The client would send its local password to the provider, next or at once.
    b"UNAUTHENTICATE",
    b"X-UNAUTHENTICATE",
    b"AUTHENTICATE",
    b"LOGIN",
    // URLAUTH (RFC 4467): URLs that name the upstream host.
    b"GENURLAUTH",
    b"RESETKEY",
    b"URLFETCH",
    b"XAPPLEPUSHSERVICE",
];
