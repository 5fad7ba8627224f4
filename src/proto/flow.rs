//! What a watch wants done with one window of input: an ordered list of pieces for each leg.
//!
//! A piece is a range of the input itself, so that mail is passed on without being copied, or bytes of our own.

use std::ops::Range;

use bytes::Bytes;

use crate::protocol::Leg;

/// Pieces to write, in order, to each leg. All ranges are of the input of the step that made them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flow {
    to_client: Vec<Piece>,
    to_upstream: Vec<Piece>,
}

/// One run of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A range of the input.
    Input(Range<usize>),
    /// Bytes of our own.
    Own(Bytes),
}

impl Flow {
    /// Passes `range` of the input on to `leg`; neighbouring ranges become one piece.
    pub fn pass(&mut self, leg: Leg, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let pieces = self.pieces_mut(leg);
        if let Some(Piece::Input(last)) = pieces.last_mut()
            && last.end == range.start
        {
            last.end = range.end;
            return;
        }
        pieces.push(Piece::Input(range));
    }

    /// Says bytes of our own to `leg`.
    pub fn say(&mut self, leg: Leg, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.pieces_mut(leg).push(Piece::Own(bytes));
        }
    }

    /// What goes to `leg`.
    pub fn pieces(&self, leg: Leg) -> &[Piece] {
        match leg {
            Leg::Client => &self.to_client,
            Leg::Upstream => &self.to_upstream,
        }
    }

    /// Forgets everything, keeping the allocation.
    pub fn clear(&mut self) {
        self.to_client.clear();
        self.to_upstream.clear();
    }

    fn pieces_mut(&mut self, leg: Leg) -> &mut Vec<Piece> {
        match leg {
            Leg::Client => &mut self.to_client,
            Leg::Upstream => &mut self.to_upstream,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_piece() {
        let mut flow = Flow::default();
        flow.pass(Leg::Client, 0..4);
        flow.pass(Leg::Client, 4..9);
        flow.say(Leg::Client, "x");
        flow.pass(Leg::Client, 9..10);
        flow.pass(Leg::Client, 10..10);
        assert_eq!(
            flow.pieces(Leg::Client),
            [
                Piece::Input(0..9),
                Piece::Own("x".into()),
                Piece::Input(9..10)
            ]
        );
        assert!(flow.pieces(Leg::Upstream).is_empty());
    }
}
