//! Between two clients of one IMAP session: leaves the mailbox that the first one selected, and sees that nothing is left
//! to be said. We are the client.
//!
//! UNSELECT, never CLOSE: that would expunge what the client marked and did not mean to remove yet (RFC 3691 section 2).
//! Where nothing is selected NOOP does as well: its answer ends whatever the upstream had to say before.

use bytes::Bytes;

use super::codec::response::{Response, Status, response};
use super::frame::announced;
use crate::proto::dialogue::{Progress, Remains, Reset};
use crate::proto::lines::{Line, Lines};

/// See the module.
#[derive(Debug)]
pub struct ImapReset {
    remains: Remains,
    lines: Lines,
    seen: usize,
}

impl ImapReset {
    /// For a session whose last client left `remains` behind.
    pub fn new(remains: Remains) -> Self {
        Self {
            remains,
            lines: Lines::default(),
            seen: 0,
        }
    }

    /// What a line means; `Waits` for one that means nothing to us.
    fn line(&mut self, line: &[u8]) -> Progress {
        match response(line) {
            Some(Response::Status {
                tag: Some(tag),
                status: Status::Ok,
                ..
            }) if tag == TAG.as_bytes() && self.lines.is_empty() => Progress::Clean,
            // What had been on its way: EXISTS, EXPUNGE, FLAGS. Nobody is told of it any more.
            Some(Response::Data) if announced(line).is_none() => Progress::Waits,
            Some(Response::Status {
                tag: None,
                status: Status::Ok,
                ..
            }) => Progress::Waits,
            _ => Progress::Unfit,
        }
    }
}

impl Reset for ImapReset {
    fn begin(&self) -> Bytes {
        let command = match self.remains {
            Remains::Nothing => "NOOP",
            Remains::Mailbox => "UNSELECT",
        };
        format!("{TAG} {command}\r\n").into()
    }

    fn step(&mut self, bytes: &[u8]) -> Progress {
        self.lines.push(bytes);
        while let Some(line) = self.lines.next(LINE_MAX) {
            self.seen += 1;
            let progress = match line {
                Line::Complete(line) if self.seen <= LINES_MAX => self.line(line.expose()),
                Line::Complete(_) | Line::TooLong => Progress::Unfit,
            };
            if progress != Progress::Waits {
                return progress;
            }
        }
        Progress::Waits
    }
}

/// The tags of our logins begin with 1; every command of the client's has been answered.
const TAG: &str = "m0";

/// As before a login.
const LINE_MAX: usize = 8192;

/// A mailbox in which more happens at this moment is not worth it.
const LINES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(said: &str) -> Progress {
        let mut reset = ImapReset::new(Remains::Mailbox);
        assert_eq!(reset.begin(), "m0 UNSELECT\r\n");
        reset.step(said.as_bytes())
    }

    #[test]
    fn only_ok_with_nothing_behind_it_is_clean() {
        assert_eq!(after("m0 OK done\r\n"), Progress::Clean);
        assert_eq!(
            after("* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 1] x\r\nm0 OK done\r\n"),
            Progress::Clean
        );
        for unfit in [
            "m0 BAD No mailbox selected\r\n",
            "m0 NO no\r\n",
            "a7 OK FETCH completed\r\n",
            "* BYE going\r\n",
            "+ idling\r\n",
            "* 1 FETCH (BODY[] {3}\r\n",
            "* CAPABILITY IMAP4rev1\r\n",
            "m0 OK done\r\n* 1 EXISTS\r\n",
            "m0 OK done\r\n*",
            "nonsense\r\n",
        ] {
            assert_eq!(after(unfit), Progress::Unfit, "{unfit}");
        }
        assert_eq!(after("m0 OK do"), Progress::Waits);
    }

    #[test]
    fn an_upstream_that_does_not_come_to_its_point_is_unfit() {
        assert_eq!(after(&"* 1 EXISTS\r\n".repeat(129)), Progress::Unfit);
        assert_eq!(after(&"x".repeat(9000)), Progress::Unfit);
    }

    #[test]
    fn it_comes_out_the_same_byte_by_byte() {
        let mut reset = ImapReset::new(Remains::Nothing);
        assert_eq!(reset.begin(), "m0 NOOP\r\n");
        let said = b"* 1 EXISTS\r\nm0 OK done\r\n";
        let (last, others) = said.split_last().unwrap();
        for byte in others {
            assert_eq!(reset.step(&[*byte]), Progress::Waits);
        }
        assert_eq!(reset.step(&[*last]), Progress::Clean);
    }
}
