//! Upstream → client: passes responses and their literals, filters capability lists, takes referrals out.
//!
//! A literal ends only a line of untagged data. `* OK see {5}` is text, and the next line is a response.

use std::sync::Arc;

use super::ancient;
use super::commands::Commands;
use super::idle::Tagged;
use super::words::Words;
use super::{TAIL, tail};
use crate::profile::{Profile, Shown};
use crate::proto::dialogue::{Breach, HOLD_MAX};
use crate::proto::flow::Flow;
use crate::proto::imap::codec::capability::after_login;
use crate::proto::imap::codec::response::{Status, resp_text};
use crate::proto::imap::frame::announced;
use crate::protocol::Leg;

/// Where the upstream's stream is.
#[derive(Debug)]
pub(super) struct Responses {
    profile: Arc<Profile>,
    state: State,
    said_bye: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Between two responses.
    #[default]
    Start,
    /// In a line that needs no change.
    Line(Kind),
    /// In a literal of untagged data.
    Literal { left: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Untagged data: may end in a literal.
    Data,
    /// Everything else.
    Text,
    /// A `+` that the client did not ask for.
    Dropped,
}

/// What the first words of a response say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Response<'a> {
    who: Who<'a>,
    edit: Option<Edit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who<'a> {
    Continue,
    Tagged(&'a [u8], Status),
    Bye,
    /// Any other status response, and what is no response at all.
    Text,
    Data,
}

/// What must change in a line, and where that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    /// The list of `* CAPABILITY`.
    List { at: usize },
    /// The list in a CAPABILITY code, from its `[`.
    Capability { at: usize },
    /// A REFERRAL code, from its `[`.
    Referral { at: usize },
}

impl Responses {
    /// Between two responses, to a client of this profile.
    pub(super) fn new(profile: Arc<Profile>) -> Self {
        Self {
            profile,
            state: State::Start,
            said_bye: false,
        }
    }

    /// Whether a response of our own may be said now.
    pub(super) fn at_boundary(&self) -> bool {
        matches!(self.state, State::Start)
    }

    /// Whether the upstream took its leave.
    pub(super) fn said_bye(&self) -> bool {
        self.said_bye
    }

    /// The state's name, for logs.
    pub(super) fn phase(&self) -> &'static str {
        match self.state {
            State::Start => "between-responses",
            State::Line(_) => "in-response",
            State::Literal { .. } => "in-upstream-literal",
        }
    }

    /// Takes as much of `input` as is understood; `commands` is told of what the client waits for.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        commands: &mut Commands,
        flow: &mut Flow,
    ) -> Result<usize, Breach> {
        let mut at = 0;
        while let Some(unread) = input.get(at..).filter(|unread| !unread.is_empty()) {
            let taken = match self.state {
                // Message data, and most of a session: FETCH, EXISTS, EXPUNGE.
                State::Start if is_message_data(unread) => {
                    self.pass_line(Kind::Data, at, unread, flow)
                }
                State::Start => self.start(at, unread, commands, flow)?,
                State::Line(kind) => self.line(kind, at, unread, flow),
                State::Literal { left } => self.literal(left, at, unread, flow),
            };
            if taken == 0 {
                break;
            }
            at += taken;
        }
        Ok(at)
    }

    /// The upstream sends nothing more. An incomplete line that was passed in part is passed in full.
    pub(super) fn eof(&mut self, rest: &[u8], flow: &mut Flow) {
        if matches!(self.state, State::Line(Kind::Data | Kind::Text)) {
            flow.say(Leg::Client, rest.to_vec());
        }
    }

    /// Looks at the first words of a response that is no message data. Apart from the way that most take, which is short.
    #[inline(never)]
    fn start(
        &mut self,
        at: usize,
        unread: &[u8],
        commands: &mut Commands,
        flow: &mut Flow,
    ) -> Result<usize, Breach> {
        let window = unread.get(..HOLD_MAX).unwrap_or(unread);
        let end = memchr::memchr(b'\n', window);
        let line = window.get(..end.unwrap_or(window.len())).unwrap_or(window);
        let incomplete = window.len() < HOLD_MAX;
        if commands.is_finding() {
            match (end, ancient::mailbox_name(line)) {
                (None, _) if incomplete => return Ok(0),
                (Some(_), Some(name)) => {
                    flow.say(Leg::Client, "* MAILBOX ");
                    let rest = unread.get(name..).unwrap_or_default();
                    return Ok(name + self.pass_line(Kind::Data, at + name, rest, flow));
                }
                _ => {}
            }
        }
        let Some(response) = first_words(Words::new(line, end.is_some())) else {
            if incomplete {
                return Ok(0);
            }
            // No response starts like this; there is nothing in it for us.
            return Ok(self.pass_line(Kind::Text, at, unread, flow));
        };
        if response.edit.is_some() && end.is_none() {
            if incomplete {
                return Ok(0);
            }
            return Err(Breach {
                leg: Leg::Upstream,
                what: "a capability list or referral over 16 KiB",
            });
        }
        let (kind, said) = self.tell(response.who, commands, flow);
        if let (Some(edit), Some(end)) = (response.edit, end)
            && kind != Kind::Dropped
        {
            let taken = end + 1;
            let line = unread.get(..taken).unwrap_or(unread);
            say_edited(edit, &self.profile.imap, said, at, line, flow);
            return Ok(taken);
        }
        let rest = unread.get(said..).unwrap_or_default();
        Ok(said + self.pass_line(kind, at + said, rest, flow))
    }

    /// Tells the other direction who spoke. How the line is passed, and how much of its start has been said already, in
    /// other words.
    fn tell(&mut self, who: Who<'_>, commands: &mut Commands, flow: &mut Flow) -> (Kind, usize) {
        match who {
            Who::Data => return (Kind::Data, 0),
            Who::Continue if !commands.on_continue() => return (Kind::Dropped, 0),
            Who::Tagged(tag, status) => match commands.on_tagged(tag, status, flow) {
                Tagged::Passed => {}
                Tagged::Ours => return (Kind::Dropped, 0),
                Tagged::Renamed => {
                    flow.say(Leg::Client, commands.idle.tag().to_vec());
                    return (Kind::Text, tag.len());
                }
            },
            Who::Bye => self.said_bye = true,
            Who::Continue | Who::Text => {}
        }
        (Kind::Text, 0)
    }

    fn pass_line(&mut self, kind: Kind, at: usize, unread: &[u8], flow: &mut Flow) -> usize {
        self.state = State::Line(kind);
        self.line(kind, at, unread, flow)
    }

    /// Passes a line, or what is there of it. The last bytes of data wait for its end: they may announce a literal.
    fn line(&mut self, kind: Kind, at: usize, unread: &[u8], flow: &mut Flow) -> usize {
        let taken = match memchr::memchr(b'\n', unread) {
            Some(end) => {
                let line = unread.get(..=end).unwrap_or(unread);
                self.state = match announced(tail(line)) {
                    Some(literal) if kind == Kind::Data && literal.synchronising => {
                        literal_of(literal.size)
                    }
                    _ => State::Start,
                };
                line.len()
            }
            None if kind == Kind::Data => unread.len().saturating_sub(TAIL),
            None => unread.len(),
        };
        if kind != Kind::Dropped {
            flow.pass(Leg::Client, at..at + taken);
        }
        taken
    }

    fn literal(&mut self, left: u64, at: usize, unread: &[u8], flow: &mut Flow) -> usize {
        let taken = usize::try_from(left).map_or(unread.len(), |left| left.min(unread.len()));
        flow.pass(Leg::Client, at..at + taken);
        self.state = literal_of(left.saturating_sub(taken as u64));
        taken
    }
}

/// message-data = nz-number SP ("EXPUNGE" / ("FETCH" SP msg-att)), and the like.
fn is_message_data(unread: &[u8]) -> bool {
    matches!(unread, [b'*', b' ', b'0'..=b'9', ..])
}

/// What follows the announcement of `size` octets; the line goes on behind them.
fn literal_of(size: u64) -> State {
    match size {
        0 => State::Line(Kind::Data),
        left => State::Literal { left },
    }
}

/// Reads who speaks and whether there is something to change; `None` while that is not known yet.
fn first_words(mut words: Words<'_>) -> Option<Response<'_>> {
    let (_, first) = words.word()?;
    if first == b"+" {
        let edit = code(&mut words)?;
        return Some(Response {
            who: Who::Continue,
            edit,
        });
    }
    let (_, second) = words.word()?;
    let who = match (first, status(second)) {
        (b"*", Some(Status::Bye)) => Who::Bye,
        (b"*", Some(_)) => Who::Text,
        (b"*", None) => {
            let edit = second.eq_ignore_ascii_case(b"CAPABILITY");
            let at = words.position();
            return Some(Response {
                who: Who::Data,
                edit: edit.then_some(Edit::List { at }),
            });
        }
        (tag, Some(status)) => Who::Tagged(tag, status),
        (_, None) => {
            return Some(Response {
                who: Who::Text,
                edit: None,
            });
        }
    };
    let edit = code(&mut words)?;
    Some(Response { who, edit })
}

fn code(words: &mut Words<'_>) -> Option<Option<Edit>> {
    let (at, name) = words.code_name()?;
    Some(if name.eq_ignore_ascii_case(b"CAPABILITY") {
        Some(Edit::Capability { at })
    } else if name.eq_ignore_ascii_case(b"REFERRAL") {
        Some(Edit::Referral { at })
    } else {
        None
    })
}

fn status(word: &[u8]) -> Option<Status> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"OK") || is(b"PREAUTH") {
        Some(Status::Ok)
    } else if is(b"NO") {
        Some(Status::No)
    } else if is(b"BAD") {
        Some(Status::Bad)
    } else if is(b"BYE") {
        Some(Status::Bye)
    } else {
        None
    }
}

/// Says `line` with its change, or passes it where nothing is to change.
///
/// `said` octets of its start have been said already, before what changes.
fn say_edited(edit: Edit, shown: &Shown, said: usize, at: usize, line: &[u8], flow: &mut Flow) {
    let edited = edited(edit, shown, line);
    if edited == line {
        flow.pass(Leg::Client, at + said..at + line.len());
    } else {
        flow.say(Leg::Client, edited.get(said..).unwrap_or_default().to_vec());
    }
}

fn edited(edit: Edit, shown: &Shown, line: &[u8]) -> Vec<u8> {
    let text = line.trim_ascii_end();
    let end = line.get(text.len()..).unwrap_or_default();
    let (Edit::List { at } | Edit::Capability { at } | Edit::Referral { at }) = edit;
    let (before, changed) = text.split_at_checked(at).unwrap_or((text, b""));
    let parsed = resp_text(changed);
    let changed = match edit {
        Edit::List { .. } => [b" ", after_login(changed, shown).as_slice()].concat(),
        Edit::Referral { .. } if parsed.code.is_empty() || parsed.text.is_empty() => {
            b"Elsewhere".to_vec()
        }
        Edit::Referral { .. } => parsed.text.to_vec(),
        Edit::Capability { .. } => {
            // Without its `]` the whole line is the list.
            let code = match parsed.code {
                b"" => changed.get(1..).unwrap_or_default(),
                code => code,
            };
            let list = code.get(b"CAPABILITY".len()..).unwrap_or_default();
            let after = changed.get(1 + code.len()..).unwrap_or_default();
            [b"[CAPABILITY ", after_login(list, shown).as_slice(), after].concat()
        }
    };
    [before, &changed, end].concat()
}
