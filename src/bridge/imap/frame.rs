//! Wire → one command with its literals inline, bounded. The only place of this server that reads a literal.
//!
//! A command is returned as one run of octets, `{n}` CRLF and the n octets of each literal inside it, so that the parser
//! sees exactly what was sent. What is too large is answered here, where the client still waits for its `+`.

use bytes::{Bytes, BytesMut};

use crate::bridge::wire::{Stream, Wire, WireError};
use crate::proto::imap::frame::{Literal, announced};
use crate::proto::lines::Line;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A whole command, without its last CRLF.
    Command(Bytes),
    /// One that is over a limit, and was answered.
    Refused,
    /// One whose rest cannot be skipped: BYE was said, close.
    Lost,
}

/// How much a command may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Octets of the literals of one APPEND, all together.
    pub(super) append: u64,
    /// Octets of everything else.
    pub(super) command: usize,
}

impl Limits {
    /// Before login: PROTOCOL B.7, a line of 8 KiB and as much in literals.
    pub(super) const BEFORE_LOGIN: Self = Self {
        append: 0,
        command: 16 * 1024,
    };

    /// After login; 64 KiB hold a UID set of some 8 000 numbers, as Dovecot allows.
    pub(super) fn after_login(append: u64) -> Self {
        Self {
            append,
            command: 64 * 1024,
        }
    }
}

/// Reads one command.
pub(super) async fn read<S: Stream>(
    wire: &mut Wire<S>,
    limits: Limits,
) -> Result<Frame, WireError> {
    let mut command = BytesMut::new();
    let mut left = limits.command;
    let mut append_left = limits.append;
    loop {
        let line = match wire.line(left).await? {
            Line::Complete(line) => line,
            Line::TooLong => {
                wire.say("* BAD Command line too long\r\n");
                return Ok(Frame::Refused);
            }
        };
        let line = line.expose();
        left -= line.len();
        command.extend_from_slice(line);
        let Some(literal) = announced(line) else {
            return Ok(Frame::Command(command.freeze()));
        };
        let is_message = is_append(&command);
        let max = if is_message { append_left } else { left as u64 };
        let Some(n) = usize::try_from(literal.size)
            .ok()
            .filter(|_| literal.size <= max)
        else {
            return Ok(refuse(wire, &command, literal));
        };
        if literal.synchronising {
            wire.say("+ Ready for literal data\r\n");
        }
        let octets = wire.octets(n).await?;
        if is_message {
            append_left -= literal.size;
        } else {
            left -= n;
        }
        command.extend_from_slice(b"\r\n");
        command.extend_from_slice(octets.expose());
    }
}

fn is_append(command: &[u8]) -> bool {
    let mut words = command.split(|&b| b == b' ');
    words.next().is_some()
        && words
            .next()
            .is_some_and(|w| w.eq_ignore_ascii_case(b"APPEND"))
}

fn refuse<S: Stream>(wire: &mut Wire<S>, command: &[u8], literal: Literal) -> Frame {
    if !literal.synchronising {
        // The octets are on their way already and must not be taken for commands.
        wire.say("* BYE [TOOBIG] Literal too large\r\n");
        return Frame::Lost;
    }
    let tag = super::scan::Scanner::new(command).tag();
    let tag = tag.as_deref().unwrap_or("*");
    let verdict = if is_append(command) {
        "NO [TOOBIG]"
    } else {
        "BAD"
    };
    wire.say(format!("{tag} {verdict} Literal too large\r\n"));
    Frame::Refused
}
