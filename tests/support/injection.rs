//! Clients that say anything, before login, through the whole chain of login, upstream and watch: what the upstream hears
//! of a login is its account's credential and nothing else (PROTOCOL C.2, CRLF injection and authentication bypass).

#![expect(
    clippy::unwrap_used,
    reason = "test code: a session that breaks its own rules has to stop the case"
)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mailsluice::protocol::{Leg, Protocol};
use proptest::prelude::*;

use super::session::Session;
use super::transcript::Settings;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_login_upstream_says_the_stored_credential_only((protocol, pieces) in a_client()) {
        let settings = Settings::new(protocol);
        let mut desk = Desk::open(&settings, true);
        let mut failed = Vec::new();
        for piece in &pieces {
            desk.hear(piece);
            if !desk.session.relays() {
                failed.push(&piece.mark);
            }
        }
        for dialogue in desk.dialogues() {
            prop_assert!(whole(protocol).starts_with(&dialogue), "{}", dialogue.escape_ascii());
        }
        for mark in failed {
            let said = &desk.session.said.to_upstream;
            prop_assert!(!contains(said, mark), "{}", said.escape_ascii());
        }
    }

    #[test]
    fn a_passed_through_password_forges_no_line((protocol, pieces) in a_client()) {
        let mut settings = Settings::new(protocol);
        settings.passthrough = true;
        let mut desk = Desk::open(&settings, false);
        for piece in &pieces {
            desk.hear(piece);
        }
        for dialogue in desk.dialogues() {
            prop_assert!(is_a_login(protocol, &dialogue), "{}", dialogue.escape_ascii());
        }
    }
}

/// The properties above say nothing if no client ever gets in.
#[test]
fn a_right_login_gets_through_and_a_wrong_one_does_not() {
    for protocol in Protocol::ALL {
        for (name, password, gets_in) in [("anna", "wonderland", true), ("anna", "x", false)] {
            for form in 0..FORMS {
                let settings = Settings::new(protocol);
                let mut desk = Desk::open(&settings, true);
                let said = login(protocol, form, name.as_bytes(), password.as_bytes());
                let mark = String::new();
                desk.hear(&Piece { said, mark });
                assert_eq!(desk.session.relays(), gets_in, "{protocol} {form}");
                let expected = if gets_in {
                    vec![whole(protocol)]
                } else {
                    vec![]
                };
                assert_eq!(desk.dialogues(), expected, "{protocol} {form}");
            }
        }
    }
    assert!(!is_a_login(Protocol::Pop3, b"CAPA\r\nUSER a\nDELE 1\r\n"));
    assert!(!is_a_login(Protocol::Pop3, b"CAPA\r\nDELE 1\r\n"));
    assert!(!is_a_login(
        Protocol::Smtp,
        b"EHLO sluice.test\r\nAUTH PLAIN AGEADQo=\r\n"
    ));
}

/// A session, and an upstream that answers.
struct Desk<'a> {
    session: Session<'a>,
    protocol: Protocol,
    /// Whether the upstream takes the credential.
    accepts: bool,
    /// Where in all that was said to the upstream each connection begins.
    begins: Vec<usize>,
    answered: usize,
    /// Where the last login was over.
    relayed_from: Option<usize>,
}

impl<'a> Desk<'a> {
    fn open(settings: &'a Settings, accepts: bool) -> Self {
        Self {
            session: Session::connect(settings, false).unwrap(),
            protocol: settings.protocol,
            accepts,
            begins: Vec::new(),
            answered: 0,
            relayed_from: None,
        }
    }

    /// The client says `piece`, and the upstream answers what it is asked before login.
    fn hear(&mut self, piece: &Piece) {
        self.session.arrive(Leg::Client, &piece.said).unwrap();
        while let Some(answer) = self.answer() {
            self.session
                .arrive(Leg::Upstream, answer.as_bytes())
                .unwrap();
        }
    }

    fn answer(&mut self) -> Option<&'static str> {
        let before = self.answered;
        if self.session.connections > self.begins.len() {
            self.begins.push(before);
            return Some(greeting(self.protocol));
        }
        if self.session.relays() {
            self.relayed_from.get_or_insert(before);
            return None;
        }
        let said = self
            .session
            .said
            .to_upstream
            .get(before..)
            .unwrap_or_default();
        let length = said.iter().position(|b| *b == b'\n')? + 1;
        let line = said.get(..length).unwrap_or_default().to_vec();
        self.answered += length;
        answer(self.protocol, &line, self.accepts)
    }

    /// What each connection was told before it was authenticated.
    fn dialogues(&self) -> Vec<Vec<u8>> {
        let said = &self.session.said.to_upstream;
        let end = self.relayed_from.unwrap_or(said.len());
        let ends = self.begins.iter().copied().skip(1).chain([end]);
        let ranges = self.begins.iter().zip(ends);
        ranges
            .map(|(begin, end)| said.get(*begin..end).unwrap_or_default().to_vec())
            .collect()
    }
}

/// One thing a client says, with a mark that no other has.
#[derive(Debug)]
struct Piece {
    said: Vec<u8>,
    mark: String,
}

fn a_client() -> impl Strategy<Value = (Protocol, Vec<Piece>)> {
    let text = || {
        prop_oneof![
            proptest::collection::vec(proptest::sample::select(BYTES), 0..12),
            proptest::collection::vec(any::<u8>(), 0..6),
        ]
    };
    let piece = (0..FORMS + 2, text(), text(), any::<u8>());
    let protocol = proptest::sample::select(Protocol::ALL.to_vec());
    (protocol, proptest::collection::vec(piece, 1..7)).prop_map(|(protocol, pieces)| {
        let pieces = pieces.into_iter().enumerate();
        let pieces = pieces.map(|(index, (form, one, two, dice))| {
            let mark = format!("mark{index}");
            let said = match form {
                FORMS => [&one[..], mark.as_bytes(), &two[..], b"\r\n"].concat(),
                form if form > FORMS => line(protocol, dice, &one),
                form if dice % 5 == 0 => login(protocol, form, b"anna", b"wonderland"),
                form if dice % 5 == 1 => login(
                    protocol,
                    form,
                    b"anna",
                    &[mark.as_bytes(), &two[..]].concat(),
                ),
                form => login(protocol, form, &one, &[mark.as_bytes(), &two[..]].concat()),
            };
            Piece { said, mark }
        });
        (protocol, pieces.collect())
    })
}

/// A login in one of the ways there are. What is put in may break it: that is the point.
fn login(protocol: Protocol, form: u8, name: &[u8], password: &[u8]) -> Vec<u8> {
    let plain = BASE64_STANDARD.encode([b"\0", name, b"\0", password].concat());
    let (name64, password64) = (
        BASE64_STANDARD.encode(name),
        BASE64_STANDARD.encode(password),
    );
    let literal = |bytes: &[u8]| [format!("{{{}+}}\r\n", bytes.len()).as_bytes(), bytes].concat();
    match (protocol, form) {
        (Protocol::Imap, 0) => [b"a LOGIN \"", name, b"\" \"", password, b"\"\r\n"].concat(),
        (Protocol::Imap, 1) => [
            &b"a LOGIN "[..],
            &literal(name),
            b" ",
            &literal(password),
            b"\r\n",
        ]
        .concat(),
        (Protocol::Imap, 2) => format!("a AUTHENTICATE PLAIN {plain}\r\n").into_bytes(),
        (Protocol::Imap, _) => {
            format!("a AUTHENTICATE LOGIN\r\n{name64}\r\n{password64}\r\n").into_bytes()
        }
        (Protocol::Pop3, 0 | 1) => [b"USER ", name, b"\r\nPASS ", password, b"\r\n"].concat(),
        (Protocol::Pop3, 2) => format!("AUTH PLAIN {plain}\r\n").into_bytes(),
        (Protocol::Pop3, _) => format!("AUTH LOGIN\r\n{name64}\r\n{password64}\r\n").into_bytes(),
        (Protocol::Smtp, 0 | 1) => format!("EHLO x\r\nAUTH PLAIN\r\n{plain}\r\n").into_bytes(),
        (Protocol::Smtp, 2) => format!("EHLO x\r\nAUTH PLAIN {plain}\r\n").into_bytes(),
        (Protocol::Smtp, _) => {
            format!("EHLO x\r\nAUTH LOGIN {name64}\r\n{password64}\r\n").into_bytes()
        }
    }
}

/// A command that is no login.
fn line(protocol: Protocol, dice: u8, argument: &[u8]) -> Vec<u8> {
    let verbs: [&[u8]; 4] = match protocol {
        Protocol::Imap => [
            b"b ID (\"x\" \"",
            b"b NOOP ",
            b"b SELECT {3+}\r\n",
            b"b IDLE ",
        ],
        Protocol::Pop3 => [b"CAPA ", b"RETR ", b"APOP anna ", b"NOOP "],
        Protocol::Smtp => [b"EHLO ", b"MAIL FROM:<", b"HELO ", b"NOOP "],
    };
    let verb = verbs
        .get(usize::from(dice % 4))
        .copied()
        .unwrap_or_default();
    [verb, argument, b"\r\n"].concat()
}

fn greeting(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] up\r\n",
        Protocol::Pop3 => "+OK up\r\n",
        Protocol::Smtp => "220 up\r\n",
    }
}

/// What an upstream says to `line`; nothing to one that it does not know.
fn answer(protocol: Protocol, line: &[u8], accepts: bool) -> Option<&'static str> {
    let knows = |start: &[u8]| line.starts_with(start);
    match protocol {
        Protocol::Imap if knows(b"m1 AUTHENTICATE ") => Some(match accepts {
            true => "m1 OK [CAPABILITY IMAP4rev1 LITERAL+] in\r\n",
            false => "m1 NO [AUTHENTICATIONFAILED] no\r\n",
        }),
        Protocol::Pop3 if knows(b"CAPA") => Some("+OK\r\nUSER\r\nUIDL\r\n.\r\n"),
        Protocol::Pop3 if knows(b"USER ") => Some("+OK\r\n"),
        Protocol::Pop3 if knows(b"PASS ") => Some(if accepts { "+OK\r\n" } else { "-ERR no\r\n" }),
        Protocol::Smtp if knows(b"EHLO ") => Some("250-up\r\n250 AUTH PLAIN\r\n"),
        Protocol::Smtp if knows(b"AUTH PLAIN ") => Some(match accepts {
            true => "235 2.7.0 in\r\n",
            false => "535 5.7.8 no\r\n",
        }),
        _ => None,
    }
}

/// The one login there is with the stored credential.
fn whole(protocol: Protocol) -> Vec<u8> {
    let plain = BASE64_STANDARD.encode("\0anna@example.org\0app-secret");
    match protocol {
        Protocol::Imap => format!("m1 AUTHENTICATE PLAIN {plain}\r\n"),
        Protocol::Pop3 => "CAPA\r\nUSER anna@example.org\r\nPASS app-secret\r\nCAPA\r\n".to_owned(),
        Protocol::Smtp => format!("EHLO sluice.test\r\nAUTH PLAIN {plain}\r\n"),
    }
    .into_bytes()
}

/// Whether `said` is a login, or its beginning, of the right lines with nothing in them that could be another line.
fn is_a_login(protocol: Protocol, said: &[u8]) -> bool {
    let Some(text) = said.strip_suffix(b"\r\n") else {
        return said.is_empty();
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, behind) = rest.split_at(at);
        lines.push(line);
        rest = behind.get(2..).unwrap_or_default();
    }
    lines.push(rest);
    let starts: &[&[u8]] = match protocol {
        Protocol::Imap => &[b"m1 AUTHENTICATE PLAIN "],
        Protocol::Pop3 => &[b"CAPA", b"USER ", b"PASS "],
        Protocol::Smtp => &[b"EHLO sluice.test", b"AUTH PLAIN "],
    };
    lines.len() <= starts.len()
        && lines.iter().zip(starts).all(|(line, start)| {
            let plain = start.ends_with(b"PLAIN ");
            line.strip_prefix(*start)
                .is_some_and(|argument| match plain {
                    true => is_sayable_plain(argument),
                    false if *start == b"PASS " => is_sayable_password(argument),
                    false => !argument.iter().any(u8::is_ascii_control),
                })
        })
}

fn is_sayable_plain(argument: &[u8]) -> bool {
    BASE64_STANDARD.decode(argument).is_ok_and(|message| {
        let parts: Vec<&[u8]> = message.splitn(3, |b| *b == 0).collect();
        let [b"", name, password] = parts.as_slice() else {
            return false;
        };
        !name.iter().any(u8::is_ascii_control) && is_sayable_password(password)
    })
}

/// A password may hold a TAB, but nothing that ends a line or a field.
fn is_sayable_password(password: &[u8]) -> bool {
    !password.iter().any(|b| matches!(b, 0 | b'\r' | b'\n'))
}

fn contains(all: &[u8], part: &str) -> bool {
    all.windows(part.len())
        .any(|window| window == part.as_bytes())
}

/// What has a meaning somewhere, and a few that have none.
const BYTES: &[u8] = b"\r\n\r\n\0\t \"\\{}+*()%.=,:<>@anbx19\x7f\xc3\xbc";

/// Ways to log in.
const FORMS: u8 = 4;
