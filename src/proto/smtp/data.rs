//! The message after DATA: decoded, normalised and stuffed again, so that what the upstream reads as the end of the
//! message is what we read as its end (SMTP smuggling, VU#302671).
//!
//! - Only `CRLF . CRLF` ends a message (RFC 5321 section 4.1.1.4). The CRLF of the DATA line counts as its first.
//! - A leading dot is taken away behind a CRLF (section 4.5.2). Behind a bare CR or LF two dots are a stuffed one:
//!   clients that send bare LF and stuff there (curl 7.88 does) mean one, and servers that take a bare LF for a line end,
//!   such as Postfix, read one. A single dot there is content: a client that stuffs does not send it, and one that does
//!   not would lose it.
//! - A bare LF or CR becomes CRLF, since section 2.3.8 lets neither through and old devices and scripts send them;
//!   refusing would lose their mail. One stray CR before a CRLF is dropped, as Postfix does: the line was ended twice by
//!   a text-mode conversion, and an empty line there would cut the header in two.
//! - Then a line that starts with a dot is stuffed.
//!
//! NUL and long lines pass: splitting or changing them would break signatures. A canonical run, which is all of an
//! ordinary message, passes as ranges of the input.

use memchr::memchr2;

use crate::proto::flow::Flow;
use crate::protocol::Leg;

/// Where in the message the next byte stands.
///
/// Undecided bytes, at most three, are left in the input, so there is nothing else to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// At the start of a line whose predecessor ended in CRLF: a dot here is a stuffed one or the end.
    AfterCrlf,
    /// At the start of a line made by a bare CR or LF: two dots here are a stuffed one, a single one is content.
    AfterBare,
    /// Within a line.
    Within,
}

/// How far [`Data::read`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes used up, counted from the start of the input.
    pub taken: usize,
    /// Whether the final dot is among them, and was said upstream.
    pub ended: bool,
    /// How much of what was said upstream is none of the message: stuffed dots and the final line (RFC 1870 section 5).
    pub around: usize,
}

impl Data {
    /// The start of a message.
    pub fn new() -> Self {
        Self::AfterCrlf
    }

    /// Passes on what is decided of `input` behind its first `from` bytes.
    pub fn read(&mut self, input: &[u8], from: usize, flow: &mut Flow) -> Progress {
        let mut at = from;
        let mut around = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let step = match self {
                Self::AfterCrlf => after_crlf(rest),
                Self::AfterBare => after_bare(rest),
                Self::Within => within(rest),
            };
            let Some(step) = step else {
                return Progress {
                    taken: at,
                    ended: false,
                    around,
                };
            };
            flow.pass(Leg::Upstream, at..at + step.passed);
            if !step.said.is_empty() {
                flow.say(Leg::Upstream, step.said);
            }
            at += step.passed + step.dropped;
            around += step.around;
            match step.next {
                Next::Data(next) => *self = next,
                Next::End => {
                    return Progress {
                        taken: at,
                        ended: true,
                        around,
                    };
                }
            }
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::new()
    }
}

/// What becomes of the bytes at hand: some pass, then we say something, then some are dropped.
struct Step {
    passed: usize,
    said: &'static str,
    dropped: usize,
    /// How much of that is none of the message.
    around: usize,
    next: Next,
}

enum Next {
    Data(Data),
    End,
}

fn after_crlf(rest: &[u8]) -> Option<Step> {
    match rest {
        [] | [b'.'] | [b'.', b'\r'] => None,
        [b'.', b'\r', b'\n', ..] => Some(Step {
            passed: 3,
            said: "",
            dropped: 0,
            around: 3,
            next: Next::End,
        }),
        [b'.', b'.', ..] => Some(stuffed(pass(2, Data::Within))),
        // The client's own stuffing, in front of anything else.
        [b'.', ..] => Some(replace(0, 1, "", Data::Within)),
        _ => Some(pass(0, Data::Within)),
    }
}

fn after_bare(rest: &[u8]) -> Option<Step> {
    match rest {
        [] | [b'.'] => None,
        [b'.', b'.', ..] => Some(stuffed(pass(2, Data::Within))),
        [b'.', ..] => Some(stuffed(replace(0, 0, ".", Data::Within))),
        _ => Some(pass(0, Data::Within)),
    }
}

fn within(rest: &[u8]) -> Option<Step> {
    let run = canonical_run(rest);
    if let Some(&last) = rest.get(run.wrapping_sub(1)) {
        let next = if last == b'\n' {
            Data::AfterCrlf
        } else {
            Data::Within
        };
        return Some(pass(run, next));
    }
    let Some(at) = memchr2(b'\r', b'\n', rest) else {
        return (!rest.is_empty()).then(|| pass(rest.len(), Data::Within));
    };
    let undecided = || (at > 0).then(|| pass(at, Data::Within));
    match rest.get(at..).unwrap_or_default() {
        [b'\r', b'\n', ..] => Some(pass(at + 2, Data::AfterCrlf)),
        [b'\r'] | [b'\r', b'\r'] => undecided(),
        [b'\r', b'\r', b'\n', ..] => Some(replace(at, 1, "", Data::Within)),
        _ => Some(replace(at, 1, "\r\n", Data::AfterBare)),
    }
}

/// How many bytes at the start of `rest` are canonical, and need not be looked at line by line: each CR stands before an
/// LF, each LF behind a CR, and no line begins with a dot. Never ends between CR and LF. 0 where it is not worth while.
fn canonical_run(rest: &[u8]) -> usize {
    if rest.first() == Some(&b'\n') {
        return 0;
    }
    let mut run = 0;
    while let Some(block) = rest.get(run..run + BLOCK + 2)
        && is_canonical(block)
    {
        run += BLOCK;
    }
    let halves_a_line_end = run > 0 && rest.get(run - 1) == Some(&b'\r');
    run + usize::from(halves_a_line_end)
}

/// Whether the first [`BLOCK`] bytes are; the last two of `block` are what they are judged by. Without a branch for each
/// byte, so that the compiler takes many at once: it is the one thing here that looks at all of a message.
fn is_canonical(block: &[u8]) -> bool {
    let next = block.get(1..).unwrap_or_default();
    let after = block.get(2..).unwrap_or_default();
    let mut bad = 0;
    for ((&byte, &next), &after) in block.iter().zip(next).zip(after) {
        bad |= u8::from((byte == b'\r') != (next == b'\n'));
        bad |= u8::from(next == b'\n') & u8::from(after == b'.');
    }
    bad == 0
}

fn pass(passed: usize, next: Data) -> Step {
    replace(passed, 0, "", next)
}

/// Passes some bytes, and says `said` instead of the `dropped` bytes behind them.
fn replace(passed: usize, dropped: usize, said: &'static str, next: Data) -> Step {
    Step {
        passed,
        said,
        dropped,
        around: 0,
        next: Next::Data(next),
    }
}

/// One of the dots that `step` says stands for none.
fn stuffed(step: Step) -> Step {
    Step { around: 1, ..step }
}

/// Some lines: long enough to be worth a look, short enough that one odd line costs little.
const BLOCK: usize = 256;

#[cfg(test)]
mod tests;
