//! The watch under any split and any interleaving of its two legs. Single rules are in `tests/transcripts/smtp/`.

use memchr::memchr;
use proptest::prelude::*;

use super::queue::QUEUE_MAX;
use super::*;
use crate::proto::dialogue::ClientTls;
use crate::proto::flow::Piece;
use crate::protocol::Protocol;

fn watch(keywords: &[&str]) -> SmtpWatch {
    let settings = LoginSettings::usual(Protocol::Smtp, "h", ClientTls::Off);
    let established = Established {
        capabilities: Some(keywords.iter().map(|&line| line.to_owned()).collect()),
        leftover: Bytes::new(),
    };
    SmtpWatch::new(&settings, Arc::default(), &established)
}

/// A watch between two peers that have said all they will say; the upstream's next reply is there once its command is.
struct Played {
    watch: SmtpWatch,
    unread: [Vec<u8>; 2],
    told: [Vec<u8>; 2],
    breach: Option<Breach>,
}

fn index(leg: Leg) -> usize {
    usize::from(leg == Leg::Upstream)
}

impl Played {
    fn new(keywords: &[&str]) -> Self {
        Self {
            watch: watch(keywords),
            unread: [vec![], vec![]],
            told: [vec![], vec![]],
            breach: None,
        }
    }

    fn arrive(&mut self, leg: Leg, bytes: &[u8]) {
        self.unread[index(leg)].extend_from_slice(bytes);
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for leg in [Leg::Upstream, Leg::Client] {
                while self.breach.is_none() && self.watch.reads(leg) && self.show(leg) {
                    moved = true;
                }
            }
        }
    }

    fn show(&mut self, leg: Leg) -> bool {
        let mut flow = Flow::default();
        let input = self.unread[index(leg)].clone();
        let taken = match self.watch.step(leg, &input, &mut flow) {
            Ok(taken) => taken,
            Err(breach) => {
                self.breach = Some(breach);
                input.len()
            }
        };
        for to in [Leg::Client, Leg::Upstream] {
            for piece in flow.pieces(to) {
                let bytes = match piece {
                    Piece::Input(range) => &input[range.clone()],
                    Piece::Own(bytes) => bytes,
                };
                self.told[index(to)].extend_from_slice(bytes);
            }
        }
        self.unread[index(leg)].drain(..taken);
        taken > 0
    }
}

/// The upstream answers each line it is told, knowing nothing of what the client said.
fn play(keywords: &[&str], client: &[u8], cuts: &[usize], lazy: bool) -> (Vec<u8>, Vec<u8>) {
    let mut played = Played::new(keywords);
    let (mut answered, mut in_message) = (0, false);
    let mut at = 0;
    for &cut in cuts.iter().chain([&client.len()]) {
        let cut = cut.clamp(at, client.len());
        played.arrive(Leg::Client, &client[at..cut]);
        at = cut;
        // A lazy upstream answers when everything is there.
        while !lazy || at == client.len() {
            let told = &played.told[1][answered..];
            let Some(end) = memchr(b'\n', told) else {
                break;
            };
            let line = told[..end + 1].to_vec();
            answered += end + 1;
            let reply = match line.as_slice() {
                b".\r\n" if in_message => "250 2.0.0 queued\r\n",
                _ if in_message => continue,
                b"DATA\r\n" => "354 go\r\n",
                line if line.starts_with(b"RCPT") => "250-2.1.5 two\r\n250 2.1.5 lines\r\n",
                _ => "250 2.0.0 fine\r\n",
            };
            in_message = reply.starts_with("354");
            played.arrive(Leg::Upstream, reply.as_bytes());
        }
    }
    let [client, upstream] = played.told;
    (client, upstream)
}

const SCRIPT: &[u8] = b"EHLO x\r\nMAIL FROM: <a@b> SIZE=5\r\nRCPT TO:<c@d>\r\nVRFY e\r\nDATA\r\nx\n.\ny\r\n..\r\n.\r\n\
    MAIL FROM:<>\nEHLO y\r\nWHAT\r\nNOOP\r\nAUTH PLAIN eA==\r\nHELP\r\nRSET\r\n";

/// What may stand at the start of a command line upstream.
const OURS: [&[u8]; 6] = [
    b"MAIL FROM:<",
    b"RCPT TO:<",
    b"DATA\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
];

const TOKENS: [&[u8]; 22] = [
    b"DATA\r\n",
    b"DATA\r\n",
    b"MAIL FROM:<a> SIZE=1\r\n",
    b"MAIL FROM: a\n",
    b"RCPT TO:<b>\r\n",
    b"RSET\r\n",
    b"NOOP x\r\n",
    b"EHLO y\r\n",
    b"VRFY z\r\n",
    b"AUTH PLAIN AAA=\r\n",
    b"BURL x\r\n",
    b"MAIL",
    b" FROM:<",
    b"\r\n.\r\n",
    b"\r\n.\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b".",
    b"..",
    b"\0",
    b"text",
];

proptest! {
    #[test]
    fn no_split_and_no_delay_changes_what_either_leg_hears(
        cuts in prop::collection::vec(0..SCRIPT.len(), 0..12),
        lazy in any::<bool>(),
        pipelining in any::<bool>(),
    ) {
        let keywords: &[&str] = if pipelining { &["PIPELINING", "SIZE"] } else { &["SIZE"] };
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (client, upstream) = play(keywords, SCRIPT, &cuts, lazy);
        prop_assert_eq!((&client, &upstream), (&play(keywords, SCRIPT, &[], false).0, &play(&["PIPELINING", "SIZE"], SCRIPT, &[], false).1));
        let upstream = String::from_utf8_lossy(&upstream).into_owned();
        prop_assert!(upstream.contains("DATA\r\nx\r\n..\r\ny\r\n..\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nNOOP\r\nRSET\r\n"), "{upstream}");
    }

    #[test]
    fn whatever_a_client_writes_the_upstream_reads_commands_of_ours_and_messages(
        tokens in prop::collection::vec(prop::sample::select(TOKENS.to_vec()), 0..40),
        cuts in prop::collection::vec(0..400usize, 0..6),
        lazy in any::<bool>(),
    ) {
        let script = tokens.concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(script.len())).collect();
        cuts.sort_unstable();
        let (_, upstream) = play(&["PIPELINING"], &script, &cuts, lazy);
        let mut in_message = false;
        for line in upstream.split_inclusive(|&b| b == b'\n') {
            // Only an unfinished message may end amid a line.
            prop_assert!(in_message || line.ends_with(b"\r\n"));
            prop_assert!(!line.strip_suffix(b"\r\n").unwrap_or(line).contains(&b'\r'));
            if in_message {
                in_message = line != b".\r\n";
                continue;
            }
            let known = OURS.iter().any(|verb| line.starts_with(verb));
            prop_assert!(known, "{}", line.escape_ascii());
            in_message = line == b"DATA\r\n";
        }
    }

    #[test]
    fn nothing_a_peer_sends_panics_or_makes_a_watch_take_too_much(
        input in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..12),
    ) {
        let mut played = Played::new(&["PIPELINING"]);
        for (is_client, bytes) in input {
            played.arrive(if is_client { Leg::Client } else { Leg::Upstream }, &bytes);
        }
    }
}

#[test]
fn replies_that_are_due_are_bounded() {
    let mut played = Played::new(&["PIPELINING"]);
    played.arrive(Leg::Client, &b"NOOP\r\nVRFY x\r\n".repeat(QUEUE_MAX));
    assert!(!played.watch.reads(Leg::Client));
    assert_eq!(played.told[1].len(), b"NOOP\r\n".len() * QUEUE_MAX / 2);
    assert!(!played.unread[0].is_empty());
    played.arrive(Leg::Upstream, b"250 OK\r\n");
    assert!(played.told[0].starts_with(b"250 OK\r\n252 "));
}

#[test]
fn what_is_answered_here_is_answered_a_piece_at_a_time() {
    let mut watch = watch(&["PIPELINING"]);
    let mut flow = Flow::default();
    let taken = watch.step(Leg::Client, &b"EHLO x\r\n".repeat(8000), &mut flow);
    assert_eq!(taken, Ok(8 * QUEUE_MAX));
    assert_eq!(flow.pieces(Leg::Client).len(), QUEUE_MAX);
}
