//! Sequence sets, RFC 3501 section 9: `1,3:5,7:*`.

use std::ops::RangeInclusive;

use super::scan::{Expected, Scanner};

/// Message numbers or UIDs; which of them the command knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SequenceSet(Vec<(SeqNumber, SeqNumber)>);

/// `seq-number = nz-number / "*"`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeqNumber {
    Number(u32),
    Last,
}

impl SequenceSet {
    /// `sequence-set = (seq-number / seq-range) *("," sequence-set)`
    pub(super) fn parse(s: &mut Scanner<'_>) -> Result<Self, Expected> {
        let mut ranges = Vec::new();
        loop {
            let from = SeqNumber::parse(s)?;
            let to = if s.accept(":") {
                SeqNumber::parse(s)?
            } else {
                from
            };
            ranges.push((from, to));
            if !s.accept(",") {
                return Ok(Self(ranges));
            }
        }
    }

    /// The set with `*` being `last`: sorted, without overlaps, the ends of a range in either order.
    pub(super) fn resolve(&self, last: u32) -> Numbers {
        let mut ranges: Vec<RangeInclusive<u32>> = self
            .0
            .iter()
            .map(|(a, b)| {
                let (a, b) = (a.resolve(last), b.resolve(last));
                a.min(b)..=a.max(b)
            })
            .collect();
        ranges.sort_by_key(|range| *range.start());
        ranges.dedup_by(|next, kept| {
            let joins = *next.start() <= kept.end().saturating_add(1);
            if joins {
                *kept = *kept.start()..=*kept.end().max(next.end());
            }
            joins
        });
        Numbers(ranges)
    }
}

impl SeqNumber {
    fn parse(s: &mut Scanner<'_>) -> Result<Self, Expected> {
        if s.accept("*") {
            return Ok(Self::Last);
        }
        match s.number()? {
            0 => Err(Expected("a number above 0")),
            number => Ok(Self::Number(number)),
        }
    }

    fn resolve(self, last: u32) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Last => last,
        }
    }
}

/// A set of plain numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers(Vec<RangeInclusive<u32>>);

impl Numbers {
    pub(super) fn contains(&self, number: u32) -> bool {
        let behind = self.0.partition_point(|range| *range.start() <= number);
        behind
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .is_some_and(|range| range.contains(&number))
    }

    /// The largest number in it.
    pub(super) fn max(&self) -> u32 {
        self.0.last().map_or(0, |range| *range.end())
    }
}

/// Numbers as `uid-set`, neighbours joined: the replies of RFC 4315 have a line, not a list of thousands.
pub(super) fn compact(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let texts: Vec<String> = ranges
        .into_iter()
        .map(|(a, b)| {
            if a == b {
                a.to_string()
            } else {
                format!("{a}:{b}")
            }
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, last: u32) -> Vec<u32> {
        let set = SequenceSet::parse(&mut Scanner::new(text.as_bytes())).unwrap();
        let numbers = set.resolve(last);
        (0..=12).filter(|n| numbers.contains(*n)).collect()
    }

    #[test]
    fn ranges_overlap_turn_round_and_end_in_a_star() {
        assert_eq!(numbers("2", 9), [2]);
        assert_eq!(numbers("5:3,4:6,1", 9), [1, 3, 4, 5, 6]);
        assert_eq!(numbers("11:*", 9), [9, 10, 11]);
        assert_eq!(numbers("*", 7), [7]);
        assert_eq!(numbers("1:4294967295,3", 7).len(), 12);
    }

    #[test]
    fn zero_and_garbage_are_no_numbers() {
        for bad in ["0", "1:0", "", "a", "1,", "4294967296", "-1"] {
            assert!(
                SequenceSet::parse(&mut Scanner::new(bad.as_bytes())).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn neighbours_are_joined_in_replies() {
        assert_eq!(compact([1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(compact([]), "");
        assert_eq!(compact([5, 4]), "5,4");
    }
}
