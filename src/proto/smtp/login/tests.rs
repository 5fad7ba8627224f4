//! The login dialogue under any split and any bytes. Single rules are in `tests/transcripts/smtp/`.

use proptest::prelude::*;

use super::*;
use crate::proto::dialogue::Welcome;
use crate::proto::smtp::device::Terms;
use crate::protocol::{Protocol, SenderRule};

fn login() -> SmtpLogin {
    SmtpLogin::new(LoginSettings::usual(
        Protocol::Smtp,
        "h",
        ClientTls::Offered,
    ))
}

/// Everything the dialogue does, each attempt refused; neighbouring writes are one.
fn play(pieces: &[&[u8]]) -> String {
    let mut login = login();
    let mut actions = Vec::new();
    login.step(LoginInput::Connected, &mut actions);
    for piece in pieces {
        login.step(LoginInput::Bytes(piece), &mut actions);
        while login.phase() == "await-decision" {
            let why = Refusal::new(Cause::Unavailable, "test", "no");
            login.step(LoginInput::Refused(&why), &mut actions);
        }
    }
    let mut shown = String::new();
    for action in actions {
        match action {
            LoginAction::Write(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
            LoginAction::Authenticate(attempt) => {
                let password = attempt.proof.password().expect("PLAIN or LOGIN");
                let password = password.expose().escape_ascii().to_string();
                shown.push_str(&format!("<{} {password}>", attempt.name));
            }
            other => shown.push_str(&format!("<{other:?}>")),
        }
    }
    shown
}

const SCRIPT: &[u8] =
    b"EHLO x\r\nAUTH LOGIN\r\nYW5uYQ==\r\nc2VjcmV0\r\nMAIL FROM:<a>\nAUTH PLAIN\r\nAGEAYg==\r\n\
    AUTH LOGIN YQ==\r\n*\r\nWHAT\r\nAUTH PLAIN AGEAYw==\r\nRSET\r\nQUIT\r\nNOOP\r\n";

proptest! {
    #[test]
    fn no_split_changes_what_is_done(cuts in prop::collection::vec(0..SCRIPT.len(), 0..12)) {
        let mut cuts = cuts;
        cuts.extend([0, SCRIPT.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &SCRIPT[cut[0]..cut[1]]).collect();
        let shown = play(&pieces);
        prop_assert_eq!(&shown, &play(&[SCRIPT]));
        for done in ["<anna secret>", "<a b>", "<a c>", "501 5.5.2", "530 5.7.0", "<Close(Quit)>"] {
            prop_assert!(shown.contains(done), "{done} in {shown}");
        }
    }

    #[test]
    fn nothing_a_client_sends_panics(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert!(play(&pieces).starts_with("220 h "));
    }
}

#[test]
fn a_client_is_not_read_while_a_decision_is_awaited() {
    let mut login = login();
    let mut actions = Vec::new();
    login.step(LoginInput::Connected, &mut actions);
    assert!(login.reads());
    login.step(
        LoginInput::Bytes(b"HELO x\r\nAUTH PLAIN AGEAYg==\r\n"),
        &mut actions,
    );
    assert!(!login.reads());
}

#[test]
fn no_debug_output_shows_a_secret() {
    let mut login = login();
    let mut actions = Vec::new();
    login.step(LoginInput::Connected, &mut actions);
    login.step(
        LoginInput::Bytes(b"HELO x\r\nAUTH LOGIN c2VjcmV0\r\nc2VjcmV0"),
        &mut actions,
    );
    assert_eq!(login.phase(), "expect-response");
    let shown = format!("{login:?}");
    assert!(
        !shown.contains("secret\"") && !shown.contains("c2Vj") && !shown.contains("115"),
        "{shown}"
    );
}

/// A client where nobody logs in. The first attempts are `refused`, so many of them, then one is accepted. Gives whom each
/// was for, and what was said, with what the watch gets at its end.
fn without_login(pieces: &[&[u8]], refused: usize) -> (Vec<String>, String) {
    let mut settings = LoginSettings::usual(Protocol::Smtp, "h", ClientTls::Off);
    settings.terms = Some(std::sync::Arc::new(Terms {
        address: "scanner@firma.example".into(),
        envelope: SenderRule::Rewrite,
        header: SenderRule::Rewrite,
        recipients: 1,
    }));
    let mut login = SmtpLogin::new(settings);
    let mut actions = Vec::new();
    let (mut names, mut said) = (Vec::new(), String::new());
    let mut handed_over = None;
    login.step(LoginInput::Connected, &mut actions);
    for piece in pieces {
        if let Some(leftover) = &mut handed_over {
            *leftover = [&*leftover as &[u8], piece].concat();
            continue;
        }
        login.step(LoginInput::Bytes(piece), &mut actions);
        while login.phase() == "await-decision" {
            let attempts = actions.iter().filter(|it| is_attempt(it)).count() + names.len();
            if attempts > refused {
                let established = Default::default();
                let profile = Default::default();
                let welcome = Welcome {
                    established: &established,
                    profile: &profile,
                    server_final: None,
                };
                login.step(LoginInput::Accepted(welcome), &mut actions);
            } else {
                let why = Refusal::new(Cause::CredentialRejected, "test", "no");
                login.step(LoginInput::Refused(&why), &mut actions);
            }
        }
        for action in actions.drain(..) {
            match action {
                LoginAction::Write(bytes) => said.push_str(&String::from_utf8_lossy(&bytes)),
                LoginAction::Authenticate(attempt) => {
                    assert!(matches!(attempt.proof, Proof::Network));
                    names.push(attempt.name);
                }
                LoginAction::HandOver { leftover } => handed_over = Some(leftover.to_vec()),
                other => said.push_str(&format!("<{other:?}>")),
            }
        }
    }
    said.push_str(&String::from_utf8_lossy(&handed_over.unwrap_or_default()));
    (names, said)
}

fn is_attempt(action: &LoginAction) -> bool {
    matches!(action, LoginAction::Authenticate(_))
}

const DEVICE: &[u8] = b"HELO x\nAUTH PLAIN AGEAYg==\r\nRCPT TO:<b>\r\nMAIL FROM:<boss@bank>\r\nDATA\r\nMAIL FROM: c SIZE=1\r\n\
    RCPT TO:<d>\r\nDATA\r\nAUTH PLAIN AGEAYg==\r\n";

proptest! {
    #[test]
    fn no_split_changes_what_a_device_gets(cuts in prop::collection::vec(0..DEVICE.len(), 0..12)) {
        let mut cuts = cuts;
        cuts.extend([0, DEVICE.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &DEVICE[cut[0]..cut[1]]).collect();
        let (names, said) = without_login(&pieces, 1);
        prop_assert_eq!(names, ["scanner@firma.example", "scanner@firma.example"]);
        prop_assert_eq!(
            said,
            "220 h ESMTP mailsluice\r\n250 h\r\n504 5.5.4 No login is needed here; go on without\r\n\
             503 5.5.1 Say MAIL first\r\n451 4.7.0 no\r\n503 5.5.1 Say MAIL first\r\n\
             MAIL FROM:<c> SIZE=1\r\nRCPT TO:<d>\r\nDATA\r\nAUTH PLAIN AGEAYg==\r\n"
        );
    }

    #[test]
    fn nothing_a_device_sends_makes_it_another_one(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let (names, _) = without_login(&pieces, 100);
        prop_assert!(names.iter().all(|name| name == "scanner@firma.example"));
    }
}
