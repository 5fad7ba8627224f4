//! A transcript as sockets see it: what is written at once, and what is due to each leg.

use mailsluice::protocol::Leg;

use super::transcript::{Expected, Input, Numbered, Transcript, Turn};

/// How the bytes of the file are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Neighbouring lines of a voice in one write.
    Whole,
    /// In writes of uneven length.
    Pieces,
}

/// All that the file says to `leg`, in the words of the service.
pub(crate) fn due(transcript: &Transcript, leg: Leg) -> Vec<u8> {
    let turns = transcript.turns.iter();
    turns.flat_map(|turn| due_in(turn, leg)).collect()
}

/// What the turn says to `leg`.
pub(crate) fn due_in(turn: &Turn, leg: Leg) -> Vec<u8> {
    let mut due = Vec::new();
    for Numbered { what, .. } in &turn.expected {
        match what {
            Expected::Bytes(to, bytes) if *to == leg => due.extend_from_slice(bytes),
            Expected::Bytes(..) | Expected::Outcome(_) => {}
        }
    }
    match String::from_utf8(due) {
        Ok(text) => text.replace(WRONG_IN_FILE, WRONG).into_bytes(),
        Err(bytes) => bytes.into_bytes(),
    }
}

/// One input, neighbouring lines of one voice joined.
pub(crate) enum Joined<'a> {
    Bytes(Leg, Vec<u8>),
    Event(&'a Input),
}

/// The inputs in order.
pub(crate) fn joined(inputs: &[Numbered<Input>]) -> Vec<(usize, Joined<'_>)> {
    let mut all: Vec<(usize, Joined<'_>)> = Vec::new();
    for Numbered { line, what } in inputs {
        match (what, all.last_mut()) {
            (Input::Bytes(leg, bytes), Some((_, Joined::Bytes(same, before)))) if leg == same => {
                before.extend_from_slice(bytes);
            }
            (Input::Bytes(leg, bytes), _) => all.push((*line, Joined::Bytes(*leg, bytes.clone()))),
            (event, _) => all.push((*line, Joined::Event(event))),
        }
    }
    all
}

/// `bytes` as they are written in this mode.
pub(crate) fn pieces(bytes: &[u8], mode: Mode) -> Vec<&[u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    let mut lengths = UNEVEN.into_iter().cycle();
    while mode == Mode::Pieces && pieces.len() < PIECES_MAX {
        let length = lengths.next().unwrap_or(1).min(rest.len());
        let (piece, behind) = rest.split_at(length);
        if behind.is_empty() {
            break;
        }
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

/// What the transcripts and the service say of a wrong local password.
pub(crate) const WRONG_IN_FILE: &str = "Wrong name or password.";
const WRONG: &str = "wrong name or local password";

/// Lengths without a common measure.
const UNEVEN: [usize; 8] = [3, 11, 2, 29, 5, 1, 17, 7];

/// A large message is cut a few times, not thousands of times.
const PIECES_MAX: usize = 200;
