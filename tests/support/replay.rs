//! Plays a transcript against a [`Session`] and compares what each leg was told, turn by turn.
//!
//! At the end of a turn each leg must have been told exactly what the turns so far say. So an answer may neither be
//! missing when its cause was there, nor come before it.

use std::fmt;

use mailsluice::protocol::Leg;

use super::session::{Foul, Session};
use super::transcript::{Expected, Input, Numbered, Transcript, Turn};

/// How the bytes of the file arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Neighbouring lines of a voice in one piece.
    Whole,
    /// One byte at a time.
    Bytewise,
    /// In pieces of uneven length, which end inside lines and go across their ends.
    Pieces,
    /// Whole, and the client is always one turn ahead: what it says next is already in the same piece.
    Trailing,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Self::Whole, Self::Bytewise, Self::Pieces, Self::Trailing];
}

/// Where and how a session differs from its transcript.
#[derive(Debug)]
pub(crate) struct Difference {
    file: String,
    line: usize,
    mode: Mode,
    what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            mode,
            what,
        } = self;
        write!(f, "{file}:{line} [{mode:?}]: {what}")
    }
}

/// Replays `transcript` in `mode`.
pub(crate) fn replay(transcript: &Transcript, mode: Mode) -> Result<(), Difference> {
    let mut line = 1;
    play(transcript, mode, &mut line).map_err(|what| Difference {
        file: transcript.file.clone(),
        line,
        mode,
        what,
    })
}

fn play(transcript: &Transcript, mode: Mode, line: &mut usize) -> Result<(), Foul> {
    let turns = &transcript.turns;
    let mut schedule = schedule(turns, mode).into_iter().peekable();
    let mut session = Session::connect(&transcript.settings, mode == Mode::Bytewise)?;
    for index in 0..turns.len() {
        while let Some(due) = schedule.next_if(|due| due.turn == index) {
            *line = due.line;
            match due.feed {
                Feed::Bytes(leg, bytes) => {
                    for piece in pieces(&bytes, mode) {
                        session.arrive(leg, piece)?;
                    }
                }
                Feed::Event(input) => session.input(input)?,
            }
        }
        for leg in [Leg::Client, Leg::Upstream] {
            compare_bytes(turns, index, leg, session.said.to(leg), mode, line)?;
        }
        compare_outcomes(turns, index, &session.said.outcomes, mode, line)?;
    }
    session.finish()
}

/// `bytes` as they arrive in this mode.
fn pieces(bytes: &[u8], mode: Mode) -> Vec<&[u8]> {
    let mut lengths: Box<dyn Iterator<Item = usize>> = match mode {
        Mode::Whole | Mode::Trailing => Box::new(std::iter::repeat(bytes.len())),
        Mode::Bytewise => Box::new(std::iter::repeat(1)),
        Mode::Pieces => Box::new(UNEVEN.into_iter().cycle()),
    };
    let (mut rest, mut pieces) = (bytes, Vec::new());
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(1).min(rest.len());
        let (piece, behind) = rest.split_at(length);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// One thing to give to the session, and when.
struct Due<'a> {
    turn: usize,
    line: usize,
    feed: Feed<'a>,
}

enum Feed<'a> {
    Bytes(Leg, Vec<u8>),
    Event(&'a Input),
}

/// The inputs in order, neighbouring lines of one voice joined.
fn schedule(turns: &[Turn], mode: Mode) -> Vec<Due<'_>> {
    let mut schedule: Vec<Due<'_>> = Vec::new();
    for (turn, inputs) in turns.iter().map(|turn| &turn.inputs).enumerate() {
        for Numbered { line, what } in inputs {
            let feed = match what {
                Input::Bytes(leg, bytes) => {
                    if let Some(last) = schedule.last_mut()
                        && last.turn == turn
                        && let Feed::Bytes(same, joined) = &mut last.feed
                        && same == leg
                    {
                        joined.extend_from_slice(bytes);
                        continue;
                    }
                    Feed::Bytes(*leg, bytes.clone())
                }
                event => Feed::Event(event),
            };
            let line = *line;
            schedule.push(Due { turn, line, feed });
        }
    }
    if mode == Mode::Trailing {
        put_the_client_ahead(&mut schedule);
    }
    schedule
}

/// Moves each piece of the client's to the end of the one before it. Never across an event such as a TLS handshake:
/// what follows one is not sent before it.
fn put_the_client_ahead(schedule: &mut [Due<'_>]) {
    let mut before: Option<&mut Vec<u8>> = None;
    for due in schedule {
        match &mut due.feed {
            Feed::Event(_) => before = None,
            Feed::Bytes(Leg::Upstream, _) => {}
            Feed::Bytes(Leg::Client, bytes) => {
                if let Some(before) = before {
                    before.append(bytes);
                }
                before = Some(bytes);
            }
        }
    }
}

/// What was said to `leg` so far must be what the file says up to this turn. With a client that is ahead it may be
/// more, as long as it is what the file says later.
fn compare_bytes(
    turns: &[Turn],
    index: usize,
    leg: Leg,
    said: &[u8],
    mode: Mode,
    at: &mut usize,
) -> Result<(), Foul> {
    let mut rest = said;
    for (turn, expected) in turns.iter().enumerate() {
        let early = turn > index;
        for Numbered { line, what } in &expected.expected {
            let Expected::Bytes(to, bytes) = what else {
                continue;
            };
            if *to != leg {
                continue;
            }
            if let Some(behind) = rest.strip_prefix(bytes.as_slice())
                && (!early || mode == Mode::Trailing)
            {
                rest = behind;
            } else if early
                && (rest.is_empty() || (mode == Mode::Trailing && bytes.starts_with(rest)))
            {
                return Ok(());
            } else if early && mode != Mode::Trailing {
                return Err(format!(
                    "not due yet, or not at all, to the {leg}: {}",
                    show(rest)
                ));
            } else {
                *at = *line;
                let got = rest
                    .get(..rest.len().min(bytes.len() + SHOWN))
                    .unwrap_or(rest);
                return Err(format!(
                    "expected {} to the {leg}, got {}",
                    show(bytes),
                    show(got)
                ));
            }
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    Err(format!(
        "nothing more was due to the {leg}, got {}",
        show(rest)
    ))
}

/// The same for what is not bytes. A half-close need not be written down.
fn compare_outcomes(
    turns: &[Turn],
    index: usize,
    got: &[String],
    mode: Mode,
    at: &mut usize,
) -> Result<(), Foul> {
    let mut got = got.iter().peekable();
    for (turn, expected) in turns.iter().enumerate() {
        for Numbered { line, what } in &expected.expected {
            let Expected::Outcome(outcome) = what else {
                continue;
            };
            if outcome != "half-close" {
                while got.next_if(|got| *got == "half-close").is_some() {}
            }
            match got.next() {
                None if turn > index => return Ok(()),
                Some(got) if got == outcome && (turn <= index || mode == Mode::Trailing) => {}
                other => {
                    *at = *line;
                    let got = other.map_or("nothing", String::as_str);
                    return Err(format!(
                        "expected `! {outcome}`, got {got:?} by line {line}"
                    ));
                }
            }
        }
    }
    match got.find(|got| *got != "half-close") {
        None => Ok(()),
        Some(got) => Err(format!("nothing of the kind was due: `! {got}`")),
    }
}

fn show(bytes: &[u8]) -> String {
    let (shown, cut) = match bytes.get(..SHOWN) {
        Some(start) if bytes.len() > SHOWN => (start, " …"),
        _ => (bytes, ""),
    };
    format!("\"{}\"{cut}", shown.escape_ascii())
}

/// Lengths without a common measure, so that every place of a line is a cut in one file or another.
const UNEVEN: [usize; 8] = [3, 11, 2, 29, 5, 1, 17, 7];

/// How much of a difference is printed.
const SHOWN: usize = 160;
