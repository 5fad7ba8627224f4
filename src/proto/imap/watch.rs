//! IMAP after login: passes bytes through, and looks only where something must change.
//!
//! Both directions know where a line starts and where a literal ends, and nothing more. Inside a literal of n octets
//! they pass n octets without a look; outside they search the next LF and look at a line's first words and its last few
//! bytes. Nothing is copied to be inspected, so a bulk FETCH costs what a blind copy costs.
//!
//! | part | what it changes |
//! |---|---|
//! | `commands.rs` | client → upstream: commands that would open a hole are replaced by one no server knows |
//! | `responses.rs` | upstream → client: capability lists are filtered, referrals taken out |
//! | `idle.rs` | IDLE, renewed upstream while the client stays in it |
//! | `ancient.rs` | IMAP2bis in today's words |
//! | `traces.rs` | what a client leaves behind upstream |
//! | `words.rs` | the first words of a line that may not be complete |
//!
//! The legs meet in one place. A client line that ends in a synchronising literal, or IDLE, closes the client leg until
//! the upstream says `+` or answers that command: whether the next bytes are a literal or a command is the upstream's
//! decision, and guessing it wrong would take mail for commands.

mod ancient;
mod commands;
mod idle;
mod responses;
mod traces;
mod words;

use std::sync::Arc;

use self::commands::Commands;
use self::responses::Responses;
use crate::profile::Profile;
use crate::proto::dialogue::{Beat, Breach, Ending, Established, Farewell, Pulse, Remains, Watch};
use crate::proto::flow::Flow;
use crate::protocol::Leg;

/// See the module.
#[derive(Debug)]
pub struct ImapWatch {
    commands: Commands,
    responses: Responses,
    /// The client was told BYE and OK here, and this is what it left behind.
    remains: Option<Remains>,
}

impl ImapWatch {
    /// A watch that begins at a line start on both legs.
    pub fn new(profile: Arc<Profile>, established: &Established) -> Self {
        Self {
            commands: Commands::new(&profile, established.capabilities.as_deref()),
            responses: Responses::new(profile),
            remains: None,
        }
    }

    /// Answers a LOGOUT that the upstream does not hear of, when it is its turn.
    fn take_leave(&mut self, flow: &mut Flow) {
        let Some(tag) = self.commands.leaving() else {
            return;
        };
        if !self.responses.at_boundary() {
            return;
        }
        self.remains = self.commands.traces.remains();
        if self.remains.is_none() || self.responses.said_bye() {
            self.remains = None;
            return self.commands.log_out_upstream(flow);
        }
        let ok = b" OK LOGOUT completed\r\n";
        flow.say(Leg::Client, [b"* BYE Logging out\r\n", tag, ok].concat());
    }

    /// BYE, where a response may stand and none was said.
    fn bye(&self, words: &str, flow: &mut Flow) {
        if self.responses.at_boundary() && !self.responses.said_bye() {
            flow.say(Leg::Client, format!("* BYE {words}\r\n"));
        }
    }
}

impl Watch for ImapWatch {
    fn step(&mut self, leg: Leg, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        let taken = match leg {
            Leg::Client => self.commands.step(input, flow),
            Leg::Upstream => self.responses.step(input, &mut self.commands, flow),
        }?;
        if self.responses.at_boundary() {
            self.commands.idle.pay(flow);
        }
        self.take_leave(flow);
        Ok(taken)
    }

    fn reads(&self, leg: Leg) -> bool {
        match leg {
            Leg::Client => !self.commands.awaits_upstream(),
            Leg::Upstream => true,
        }
    }

    fn eof(&mut self, leg: Leg, rest: &[u8], flow: &mut Flow) -> Ending {
        match leg {
            Leg::Client => {
                self.commands.eof(rest, flow);
                if self.commands.answers_due() {
                    Ending::HalfClose
                } else {
                    Ending::Close
                }
            }
            Leg::Upstream => {
                self.responses.eof(rest, flow);
                if !self.commands.said_logout() {
                    let words = "[UNAVAILABLE] The mail provider closed the connection";
                    self.bye(words, flow);
                }
                Ending::Close
            }
        }
    }

    fn farewell(&mut self, why: Farewell, flow: &mut Flow) {
        let words = match why {
            Farewell::Shutdown => "[UNAVAILABLE] The service is stopping",
            Farewell::UpstreamLost => "[UNAVAILABLE] The connection to the mail provider was lost",
            Farewell::Idle => "Autologout; idle for too long",
        };
        self.bye(words, flow);
    }

    fn pulse(&self) -> Pulse {
        self.commands.idle.pulse()
    }

    fn beat(&mut self, beat: Beat, flow: &mut Flow) {
        if !self.responses.at_boundary() {
            return;
        }
        match beat {
            Beat::StillHere => flow.say(Leg::Client, "* OK Still here\r\n"),
            Beat::Renew => self.commands.idle.renew(flow),
        }
    }

    fn keep_upstream(&mut self) {
        self.commands.traces.watch();
    }

    fn remains(&self) -> Option<Remains> {
        self.remains
    }

    fn phase(&self) -> &'static str {
        if !self.responses.at_boundary() {
            self.responses.phase()
        } else {
            self.commands.phase()
        }
    }
}

/// The end of a line that is kept back while it is incomplete: room for `{`, the 20 digits of a 64-bit size, `+}` and
/// CR, and then some for leading zeros.
const TAIL: usize = 32;

/// The last bytes of `line`, where a literal would be announced. Always the same ones, however the line was split.
fn tail(line: &[u8]) -> &[u8] {
    line.get(line.len().saturating_sub(TAIL)..).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::dialogue::HOLD_MAX;
    use crate::proto::flow::Piece;

    /// A watch with what the legs have not been taken yet, as the relay keeps it.
    struct Session {
        watch: ImapWatch,
        unread: [Vec<u8>; 2],
        said: [Vec<u8>; 2],
    }

    fn index(leg: Leg) -> usize {
        usize::from(leg == Leg::Upstream)
    }

    impl Session {
        fn new(capabilities: Option<&str>) -> Self {
            let established = Established {
                capabilities: capabilities.map(|c| c.split(' ').map(str::to_owned).collect()),
                leftover: bytes::Bytes::new(),
            };
            Self {
                watch: ImapWatch::new(Arc::default(), &established),
                unread: Default::default(),
                said: Default::default(),
            }
        }

        fn arrive(&mut self, leg: Leg, bytes: &[u8]) -> Result<(), Breach> {
            self.unread[index(leg)].extend_from_slice(bytes);
            // What one leg says may let the other go on.
            self.drain(leg)?;
            self.drain(leg.other())?;
            self.drain(leg)
        }

        fn drain(&mut self, leg: Leg) -> Result<(), Breach> {
            while self.watch.reads(leg) && !self.unread[index(leg)].is_empty() {
                let mut flow = Flow::default();
                let input = self.unread[index(leg)].clone();
                let taken = self.watch.step(leg, &input, &mut flow)?;
                self.apply(&flow, &input[..taken]);
                self.unread[index(leg)].drain(..taken);
                assert!(self.unread[index(leg)].len() < HOLD_MAX || !self.watch.reads(leg));
                if taken == 0 {
                    break;
                }
            }
            Ok(())
        }

        fn apply(&mut self, flow: &Flow, taken: &[u8]) {
            for leg in [Leg::Client, Leg::Upstream] {
                for piece in flow.pieces(leg) {
                    self.said[index(leg)].extend_from_slice(match piece {
                        Piece::Input(range) => &taken[range.clone()],
                        Piece::Own(bytes) => bytes,
                    });
                }
            }
        }

        fn said(&self, leg: Leg) -> String {
            String::from_utf8_lossy(&self.said[index(leg)]).into_owned()
        }
    }

    /// What the client is told when the upstream says `text`.
    fn told(text: &[u8]) -> String {
        let mut session = Session::new(None);
        session.arrive(Leg::Upstream, text).unwrap();
        session.said(Leg::Client)
    }

    /// What the upstream is told when the client says `text`.
    fn asked(text: &[u8]) -> String {
        let mut session = Session::new(None);
        session.arrive(Leg::Client, text).unwrap();
        session.said(Leg::Upstream)
    }

    #[test]
    fn capability_lists_are_filtered_wherever_they_stand() {
        for (said, seen) in [
            (
                "* CAPABILITY ID IMAP4rev1 COMPRESS=DEFLATE\r\n",
                "* CAPABILITY IMAP4rev1 ID\r\n",
            ),
            (
                "* capability IMAP4rev1 AUTH=PLAIN \r\n",
                "* capability IMAP4rev1 \r\n",
            ),
            (
                "* OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE] x]y\r\n",
                "* OK [CAPABILITY IMAP4rev1] x]y\r\n",
            ),
            (
                "a1 OK [CAPABILITY COMPRESS=DEFLATE IMAP4rev1] done\n",
                "a1 OK [CAPABILITY IMAP4rev1] done\n",
            ),
            (
                "+ [CAPABILITY UIDONLY IDLE] go\r\n",
                "+ [CAPABILITY IDLE] go\r\n",
            ),
            (
                "* BYE [CAPABILITY STARTTLS ID] bye\r\n",
                "* BYE [CAPABILITY ID] bye\r\n",
            ),
            (
                "* OK [CAPABILITY IMAP4rev1 AUTH=X\r\n",
                "* OK [CAPABILITY IMAP4rev1\r\n",
            ),
            (
                "* CAPABILITY IMAP4rev1 IDLE\r\n",
                "* CAPABILITY IMAP4rev1 IDLE\r\n",
            ),
        ] {
            assert_eq!(told(said.as_bytes()), seen);
        }
    }

    #[test]
    fn referrals_are_taken_out() {
        assert_eq!(
            told(b"a NO [REFERRAL imap://u@[::1]/x] Try there\r\n* BYE [referral imap://x/]\r\n"),
            "a NO Try there\r\n* BYE Elsewhere\r\n"
        );
    }

    #[test]
    fn text_that_ends_like_a_literal_is_none() {
        let said = "* OK see {99}\r\n* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\n";
        let seen = "* OK see {99}\r\n* CAPABILITY IMAP4rev1\r\n";
        assert_eq!(told(said.as_bytes()), seen);
    }

    #[test]
    fn an_endless_capability_list_is_a_breach_and_an_endless_line_is_none() {
        let mut session = Session::new(None);
        let list = [b"* CAPABILITY ".as_slice(), &[b'X'; HOLD_MAX]].concat();
        let breach = session.arrive(Leg::Upstream, &list).unwrap_err();
        assert_eq!(breach.leg, Leg::Upstream);
        for start in ["* LIST () \"/\" ", "* OK ", "* 1 FETCH ", "a OK ", ""] {
            let line = [start.as_bytes(), &[b'X'; 3 * HOLD_MAX], b"\r\n* OK x\r\n"].concat();
            assert_eq!(told(&line).len(), line.len(), "{start}");
        }
    }

    #[test]
    fn refused_commands_become_one_that_no_server_knows() {
        assert_eq!(
            asked(b"a compress DEFLATE\r\nb  UNAUTHENTICATE\r\nc LOGIN x y\r\nd NOOP\r\n"),
            "a XREFUSED\r\nb XREFUSED\r\nc XREFUSED\r\nd NOOP\r\n"
        );
        assert_eq!(
            asked(b"a LOGIN {4+}\r\nx\r\ny {3+}\r\nz\r\n\r\nb STARTTLS\r\nc NOOP\r\n"),
            "a XREFUSED\r\nb XREFUSED\r\nc NOOP\r\n"
        );
        assert_eq!(
            asked(b"a LOGIN {4}\r\nc NOOP\r\n"),
            "a XREFUSED\r\nc NOOP\r\n"
        );
    }

    #[test]
    fn a_command_without_a_name_is_a_breach() {
        let mut session = Session::new(None);
        let breach = session.arrive(Leg::Client, &[b'x'; HOLD_MAX]).unwrap_err();
        assert_eq!(breach.leg, Leg::Client);
        let long = [b"a SEARCH ".as_slice(), &[b'x'; 2 * HOLD_MAX], b"\r\n"].concat();
        assert_eq!(asked(&long).len(), long.len());
    }

    #[test]
    fn a_synchronising_literal_waits_for_the_upstreams_word() {
        let mut session = Session::new(None);
        let early = b"a APPEND x {17}\r\nb LOGIN x y {3}\r\n\r\nc NOOP\r\n";
        session.arrive(Leg::Client, early).unwrap();
        assert_eq!(session.said(Leg::Upstream), "a APPEND x {17}\r\n");
        assert!(!session.watch.reads(Leg::Client));
        session
            .arrive(Leg::Upstream, b"z OK other\r\n* 1 EXISTS\r\n")
            .unwrap();
        assert!(!session.watch.reads(Leg::Client));
        session.arrive(Leg::Upstream, b"+ go\r\n").unwrap();
        assert_eq!(session.said(Leg::Upstream).as_bytes(), early);
    }

    #[test]
    fn a_literal_the_upstream_refuses_does_not_come() {
        let mut session = Session::new(None);
        session.arrive(Leg::Client, b"a APPEND x {50}\r\n").unwrap();
        session
            .arrive(Leg::Upstream, b"a NO [TRYCREATE] no\r\n")
            .unwrap();
        session
            .arrive(Leg::Client, b"b COMPRESS DEFLATE\r\n")
            .unwrap();
        assert_eq!(
            session.said(Leg::Upstream),
            "a APPEND x {50}\r\nb XREFUSED\r\n"
        );
    }

    #[test]
    fn literals_without_waiting_are_made_to_wait_where_the_upstream_wants_that() {
        let mut session = Session::new(Some("IMAP4rev1 IDLE"));
        let early = b"a APPEND x {5+}\r\nhello\r\nb APPEND x {4+}\r\nx Y\n\r\nc NOOP\r\n";
        session.arrive(Leg::Client, early).unwrap();
        assert_eq!(session.said(Leg::Upstream), "a APPEND x {5}\r\n");
        session
            .arrive(Leg::Upstream, b"+ go\r\na OK done\r\n")
            .unwrap();
        session.arrive(Leg::Upstream, b"b NO too big\r\n").unwrap();
        assert_eq!(
            session.said(Leg::Upstream),
            "a APPEND x {5}\r\nhello\r\nb APPEND x {4}\r\nc NOOP\r\n"
        );
        assert_eq!(session.said(Leg::Client), "a OK done\r\nb NO too big\r\n");
    }

    #[test]
    fn a_literal_behind_anything_is_left_to_the_upstream_to_take() {
        let message = "b IDLE\r\nc COMPRESS DEFLATE\r\n\r\n";
        let mut session = Session::new(None);
        session
            .arrive(Leg::Client, b"a APPEND x (\\Seen){28}\r\n")
            .unwrap();
        assert!(!session.watch.reads(Leg::Client));
        session.arrive(Leg::Upstream, b"+ go\r\n").unwrap();
        session.arrive(Leg::Client, message.as_bytes()).unwrap();
        assert_eq!(
            session.said(Leg::Upstream),
            format!("a APPEND x (\\Seen){{28}}\r\n{message}")
        );
        // One that takes it for a word answers, and the next command is one.
        let mut session = Session::new(None);
        session
            .arrive(Leg::Client, b"a SEARCH TEXT x{4}\r\nb COMPRESS DEFLATE\r\n")
            .unwrap();
        session.arrive(Leg::Upstream, b"a OK none\r\n").unwrap();
        assert_eq!(
            session.said(Leg::Upstream),
            "a SEARCH TEXT x{4}\r\nb XREFUSED\r\n"
        );
    }

    #[test]
    fn an_upstream_that_did_not_say_whether_it_takes_literals_at_once_is_asked() {
        let mut session = Session::new(None);
        session
            .arrive(Leg::Client, b"a APPEND x {5+}\r\nhello\r\n")
            .unwrap();
        assert_eq!(session.said(Leg::Upstream), "a APPEND x {5}\r\n");
        session.arrive(Leg::Upstream, b"+ go\r\n").unwrap();
        assert_eq!(session.said(Leg::Upstream), "a APPEND x {5}\r\nhello\r\n");
        assert_eq!(session.said(Leg::Client), "");
    }

    #[test]
    fn farewell_stands_only_between_responses() {
        let farewell = |text: &[u8]| {
            let mut session = Session::new(None);
            session.arrive(Leg::Upstream, text).unwrap();
            let mut flow = Flow::default();
            session.watch.farewell(Farewell::UpstreamLost, &mut flow);
            !flow.pieces(Leg::Client).is_empty()
        };
        assert!(farewell(b""));
        assert!(farewell(b"* 1 EXISTS\r\n"));
        // Held back, so the client has seen nothing of it.
        assert!(farewell(b"* CAPABI"));
        assert!(!farewell(b"* 1 FETCH (BODY[] {3}\r\n"));
        assert!(!farewell(b"* 1 FETCH (BODY[] {3}\r\nabc"));
        assert!(!farewell(b"* BYE going\r\n"));
    }

    #[test]
    fn a_large_literal_passes_in_one_piece_per_window() {
        let mut session = Session::new(None);
        session
            .arrive(Leg::Upstream, b"* 1 FETCH (BODY[] {104857600}\r\n")
            .unwrap();
        let window = vec![b'\n'; 64 * 1024];
        let mut flow = Flow::default();
        assert_eq!(
            session.watch.step(Leg::Upstream, &window, &mut flow),
            Ok(window.len())
        );
        assert_eq!(flow.pieces(Leg::Client), [Piece::Input(0..window.len())]);
    }

    /// A session with everything in it; each part arrives before the next.
    fn script() -> Vec<(Leg, Vec<u8>)> {
        let long = [
            b"* LIST () \"/\" ".as_slice(),
            &[b'x'; 200],
            b" {3}\r\n\r\n*)\r\n",
        ]
        .concat();
        vec![
            (Leg::Client, b"a SELECT INBOX\r\nb COMPRESS DEFLATE\r\nc FETCH 1 BODY[]\r\n".to_vec()),
            (Leg::Upstream, b"* 1 EXISTS\r\na OK [READ-WRITE] {5}\r\nb BAD x\r\n".to_vec()),
            (
                Leg::Upstream,
                b"* 1 FETCH (BODY[] {52}\r\n\r\n* CAPABILITY COMPRESS=DEFLATE\r\na OK [REFERRAL x] y\r\n)\r\nc OK\r\n".to_vec(),
            ),
            (Leg::Upstream, long),
            (Leg::Client, b"d APPEND x (\\Seen) {29}\r\n".to_vec()),
            (Leg::Client, b"e COMPRESS DEFLATE\r\nf LOGOUT\r\n\r\ng IDLE\r\nDONE\r\nh LOGIN {3+}\r\n\r\n\n {0}\r\ni NOOP\r\n".to_vec()),
            (Leg::Upstream, b"+ go\r\nd OK [APPENDUID 1 2] x\r\n* CAPABILITY IMAP4rev1 UIDONLY\r\n+ idling\r\n".to_vec()),
            (Leg::Upstream, b"g OK\r\nh BAD\r\ni OK [CAPABILITY URLAUTH=BINARY X]\r\n".to_vec()),
        ]
    }

    fn play(chunk: impl Fn(usize) -> usize) -> [Vec<u8>; 2] {
        let mut session = Session::new(None);
        let mut nth = 0;
        for (leg, bytes) in script() {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(chunk(nth).clamp(1, rest.len()));
                session.arrive(leg, now).unwrap();
                rest = later;
                nth += 1;
            }
        }
        assert!(session.unread.iter().all(Vec::is_empty));
        session.said
    }

    #[test]
    fn the_script_comes_out_as_it_should() {
        let [client, upstream] = play(|_| usize::MAX);
        let expected: Vec<u8> = script()
            .into_iter()
            .filter(|(leg, _)| *leg == Leg::Upstream)
            .flat_map(|(_, bytes)| bytes)
            .collect();
        let expected = String::from_utf8(expected).unwrap();
        let expected = expected
            .replace("IMAP4rev1 UIDONLY", "IMAP4rev1")
            .replace("URLAUTH=BINARY X", "X");
        assert_eq!(String::from_utf8(client).unwrap(), expected);
        assert_eq!(
            String::from_utf8(upstream).unwrap(),
            "a SELECT INBOX\r\nb XREFUSED\r\nc FETCH 1 BODY[]\r\nd APPEND x (\\Seen) {29}\r\n\
             e COMPRESS DEFLATE\r\nf LOGOUT\r\n\r\ng IDLE\r\nDONE\r\nh XREFUSED\r\ni NOOP\r\n"
        );
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(sizes in prop::collection::vec(1_usize..40, 1..40)) {
            prop_assert_eq!(play(|nth| sizes[nth % sizes.len()]), play(|_| usize::MAX));
        }

        #[test]
        fn a_body_passes_untouched(
            parts in prop::collection::vec(prop_oneof![
                Just(b"\r\n* CAPABILITY COMPRESS=DEFLATE\r\n".to_vec()),
                Just(b"\r\na OK [CAPABILITY AUTH=PLAIN] x\r\n".to_vec()),
                Just(b"\n* BYE [REFERRAL imap://x/] x\r\n".to_vec()),
                Just(b"x {999}\r\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..20),
            ], 0..8),
            size in 1_usize..64,
        ) {
            let body = parts.concat();
            let fetch = [format!("* 1 FETCH (BODY[] {{{}}}\r\n", body.len()).as_bytes(), &body, b")\r\n"].concat();
            let append = [format!("a APPEND x {{{}+}}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat();
            let mut session = Session::new(Some("IMAP4rev1 LITERAL-"));
            for chunk in fetch.chunks(size) {
                session.arrive(Leg::Upstream, chunk).unwrap();
            }
            for chunk in append.chunks(size) {
                session.arrive(Leg::Client, chunk).unwrap();
            }
            prop_assert_eq!(&session.said[index(Leg::Client)], &fetch);
            prop_assert_eq!(&session.said[index(Leg::Upstream)], &append);
        }

        #[test]
        fn random_bytes_split_at_random_give_the_same(
            text in "([*+a{}0-9 \\[\\]\r\n]|CAPABILITY |OK |BYE |REFERRAL |IDLE|COMPRESS ){0,40}",
            size in 1_usize..9,
        ) {
            for leg in [Leg::Client, Leg::Upstream] {
                let [mut whole, mut split] = [Session::new(None), Session::new(None)];
                whole.arrive(leg, text.as_bytes()).unwrap();
                for chunk in text.as_bytes().chunks(size) {
                    split.arrive(leg, chunk).unwrap();
                }
                prop_assert_eq!(&whole.said, &split.said);
                prop_assert_eq!(whole.watch.phase(), split.watch.phase());
            }
        }
    }
}
