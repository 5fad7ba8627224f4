//! What is told of a message, and that no split changes what a client without a login does. Single rules are in
//! `tests/transcripts/smtp/no-login-*`.

use memchr::memchr;
use proptest::prelude::*;

use super::super::{Established, LoginSettings};
use super::*;
use crate::proto::dialogue::{ClientTls, Watch};
use crate::protocol::Protocol;

struct Played {
    watch: SmtpWatch,
    unread: Vec<u8>,
    told: [Vec<u8>; 2],
    answered: usize,
    in_message: bool,
    leave: usize,
    submissions: Vec<Submission>,
    over: bool,
}

impl Played {
    fn new(leave: usize) -> Self {
        let terms = Terms {
            address: "scanner@firma.example".into(),
            envelope: SenderRule::Rewrite,
            header: SenderRule::Rewrite,
            recipients: 2,
        };
        let settings = LoginSettings {
            max_message_size: 1000,
            terms: Some(Arc::new(terms)),
            ..LoginSettings::usual(Protocol::Smtp, "h", ClientTls::Off)
        };
        let established = Established {
            capabilities: Some(vec!["PIPELINING".into()]),
            leftover: Bytes::new(),
        };
        Self {
            watch: SmtpWatch::new(&settings, Arc::default(), &established),
            unread: Vec::new(),
            told: [Vec::new(), Vec::new()],
            answered: 0,
            in_message: false,
            leave,
            submissions: Vec::new(),
            over: false,
        }
    }

    fn client(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        loop {
            let input = self.unread.clone();
            let taken = if self.watch.reads(Leg::Client) {
                self.step(Leg::Client, &input)
            } else {
                0
            };
            self.unread.drain(..taken);
            let answered = self.answer();
            if self.over || (taken == 0 && !answered) {
                return;
            }
        }
    }

    fn step(&mut self, leg: Leg, input: &[u8]) -> usize {
        let mut flow = Flow::default();
        let taken = self.watch.step(leg, input, &mut flow);
        self.deliver(&flow, input);
        self.attend();
        self.over |= taken.is_err();
        taken.unwrap_or(input.len())
    }

    fn attend(&mut self) {
        while let Some(notice) = self.watch.notice() {
            match notice {
                Notice::Begins => {
                    let permit = (self.leave > 0).then(|| Permit {
                        date: "now".into(),
                        message_id: "id".into(),
                    });
                    self.leave = self.leave.saturating_sub(1);
                    let mut flow = Flow::default();
                    self.watch.decide(permit, &mut flow);
                    self.deliver(&flow, &[]);
                }
                Notice::Submitted(submission) => self.submissions.push(*submission),
            }
        }
    }

    fn deliver(&mut self, flow: &Flow, input: &[u8]) {
        for (told, leg) in self.told.iter_mut().zip([Leg::Client, Leg::Upstream]) {
            for piece in flow.pieces(leg) {
                told.extend_from_slice(bytes_of(piece, input));
            }
        }
    }

    /// One reply of the upstream's to the next line it was told, if there is one.
    fn answer(&mut self) -> bool {
        let told = &self.told[1][self.answered..];
        let Some(end) = memchr(b'\n', told) else {
            return false;
        };
        let line = told[..end + 1].to_vec();
        self.answered += end + 1;
        let reply = match line.as_slice() {
            b".\r\n" if self.in_message => "250 2.0.0 queued\r\n",
            _ if self.in_message => return true,
            b"DATA\r\n" => "354 go\r\n",
            b"RCPT TO:<nobody@x.example>\r\n" => "550 5.1.1 nobody\r\n",
            _ => "250 2.0.0 fine\r\n",
        };
        self.in_message = reply.starts_with("354");
        self.step(Leg::Upstream, reply.as_bytes());
        true
    }
}

fn play(pieces: &[&[u8]], leave: usize) -> Played {
    let mut played = Played::new(leave);
    for piece in pieces {
        played.client(piece);
    }
    played
}

const SCRIPT: &[u8] = b"MAIL FROM:<a@localhost> SIZE=5\r\nRCPT TO:<b@x.example>\nRCPT TO:<nobody@x.example>\r\n\
    RCPT TO:<c@x.example>\r\nDATA\r\nFrom: S <a@localhost>\nTo: b\n\n.x\n..y\r\n.\r\n\
    MAIL FROM:<>\r\nRSET\r\nMAIL FROM:<b@localhost>\r\nRCPT TO:<d@x.example>\r\nDATA\r\ntext\r\n.\r\nMAIL FROM:<c>\r\nNOOP\r\n";

#[test]
fn every_message_is_told_with_what_came_of_it() {
    let played = play(&[SCRIPT], 3);
    let upstream = String::from_utf8_lossy(&played.told[1]).into_owned();
    let header = "Date: now\r\nMessage-ID: <id>\r\n\r\n";
    assert_eq!(
        upstream,
        format!(
            "MAIL FROM:<scanner@firma.example>\r\nRCPT TO:<b@x.example>\r\nRCPT TO:<nobody@x.example>\r\nDATA\r\n\
             From: S <scanner@firma.example>\r\nTo: b\r\n{header}..x\r\n..y\r\n.\r\n\
             MAIL FROM:<scanner@firma.example>\r\nRSET\r\nMAIL FROM:<scanner@firma.example>\r\nRCPT TO:<d@x.example>\r\n\
             DATA\r\nFrom: <scanner@firma.example>\r\n{header}text\r\n.\r\nNOOP\r\n"
        )
    );
    let told = |sender: &str, to: &[&str], octets, reply, ours| Submission {
        sender: sender.into(),
        recipients: to.len(),
        first: to.iter().map(|&it| it.to_owned()).collect(),
        octets,
        reply,
        ours,
    };
    assert_eq!(
        played.submissions,
        [
            told("a@localhost", &["b@x.example"], 40, 250, false),
            told("b@localhost", &["d@x.example"], 6, 250, false),
            told("c", &[], 0, 451, true),
        ]
    );
}

#[test]
fn what_is_refused_or_lost_is_told_too() {
    let begun = b"MAIL FROM:<a>\r\nRCPT TO:<b@x.example>\r\nDATA\r\nX: y\r\n\r\n";
    let large = [&begun[..], &b"x".repeat(1000), b"\r\n.\r\n"].concat();
    let played = play(&[&large], 1);
    assert!(played.over && played.told[0].ends_with(TOO_LARGE.as_bytes()));
    assert!(!played.told[1].ends_with(b"\r\n.\r\n"));
    assert_eq!(played.submissions.len(), 1);
    assert_eq!(
        (played.submissions[0].reply, played.submissions[0].ours),
        (552, true)
    );

    for (sent, reply) in [(&b""[..], 421), (b"x\r\n.\r\n", 451)] {
        let mut played = Played::new(1);
        played.client(begun);
        let mut flow = Flow::default();
        let taken = played.watch.step(Leg::Client, sent, &mut flow);
        assert_eq!(taken, Ok(sent.len()));
        played.watch.eof(Leg::Upstream, b"", &mut flow);
        played.attend();
        assert_eq!(played.submissions.len(), 1);
        let told = &played.submissions[0];
        assert_eq!((told.reply, told.ours), (reply, true));
    }
}

#[test]
fn who_tries_without_end_is_told_of_for_a_while() {
    let played = play(&[&b"MAIL FROM:<a>\r\n".repeat(1000)], 0);
    assert_eq!(played.submissions.len(), REFUSED_TOLD);
    let refused = String::from_utf8_lossy(&played.told[0]);
    assert_eq!(refused.matches(TOO_MANY_MESSAGES).count(), 1000);
    assert!(played.told[1].is_empty());
}

#[test]
fn what_is_kept_of_the_recipients_is_bounded() {
    let mut device = Device::new(
        Arc::new(Terms {
            address: "a@b.example".into(),
            envelope: SenderRule::Rewrite,
            header: SenderRule::Rewrite,
            recipients: 1000,
        }),
        0,
    );
    device.begin(Permit {
        date: String::new(),
        message_id: String::new(),
    });
    for _ in 0..1000 {
        device.rcpt().unwrap();
        device.replied(&Asked::Rcpt(1, "x".repeat(2000)), 250);
    }
    device.ended(250, false);
    let Some(Notice::Submitted(told)) = device.notice() else {
        panic!("nothing was told");
    };
    assert_eq!((told.recipients, told.first.len()), (1000, RECIPIENTS_TOLD));
}

proptest! {
    #[test]
    fn no_split_changes_what_is_said_and_told(
        cuts in prop::collection::vec(0..SCRIPT.len(), 0..12),
        leave in 0..4usize,
    ) {
        let mut cuts = cuts;
        cuts.extend([0, SCRIPT.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &SCRIPT[cut[0]..cut[1]]).collect();
        let (whole, split) = (play(&[SCRIPT], leave), play(&pieces, leave));
        prop_assert_eq!(whole.told, split.told);
        prop_assert_eq!(whole.submissions, split.submissions);
    }

    #[test]
    fn whatever_is_sent_the_upstream_hears_one_sender(
        tokens in prop::collection::vec(prop::sample::select(TOKENS.to_vec()), 0..40),
        leave in 0..6usize,
    ) {
        let played = play(&[&tokens.concat()], leave);
        let upstream = String::from_utf8_lossy(&played.told[1]).into_owned();
        let mut in_message = false;
        let mut in_header = false;
        let mut begun = 0;
        for line in upstream.split_inclusive('\n') {
            // Only an unfinished message may end amid a line.
            prop_assert!(in_message || line.ends_with("\r\n"), "{:?}", line);
            prop_assert!(!line.trim_end_matches("\r\n").contains('\r'), "{:?}", line);
            let known = OURS.iter().any(|verb| line.starts_with(verb));
            prop_assert!(in_message || known, "{:?}", line);
            if in_header && line.to_ascii_lowercase().starts_with("from") {
                prop_assert!(line.ends_with("<scanner@firma.example>\r\n"), "{}", line);
            }
            if line.starts_with("MAIL") && !in_message {
                prop_assert_eq!(line, "MAIL FROM:<scanner@firma.example>\r\n");
                begun += 1;
            }
            in_header = (in_header && line != "\r\n") || (line == "DATA\r\n" && !in_message);
            in_message = if in_message { line != ".\r\n" } else { line == "DATA\r\n" };
        }
        prop_assert!(begun <= leave);
    }
}

/// What may stand at the start of a command line upstream.
const OURS: [&str; 5] = [
    "MAIL FROM:<",
    "RCPT TO:<",
    "DATA\r\n",
    "RSET\r\n",
    "NOOP\r\n",
];

const TOKENS: [&[u8]; 23] = [
    b"MAIL FROM:<boss@bank.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n",
    b"\r\n.\r\nRSET\r\nMAIL FROM:<>\r\nDATA\nX: y\n",
    b"\n.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r",
    b"MAIL FROM:<boss@bank.example>\r\n",
    b"MAIL FROM:<scanner@firma.example>\r\n",
    b"MAIL FROM:<>\n",
    b"RCPT TO:<b@x.example>\r\n",
    b"RCPT TO:<nobody@x.example>\r\n",
    b"DATA\r\n",
    b"DATA\r\n",
    b"RSET\r\n",
    b"EHLO x\r\n",
    b"From: boss@bank.example\r\n",
    b"FROM : <boss@bank.example>\n",
    b"no field\n",
    b"\r\n",
    b".",
    b".\r\n",
    b"\r\n.\r\n",
];
