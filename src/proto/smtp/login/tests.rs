//! The login dialogue under any split and any bytes. Single rules are in `tests/transcripts/smtp/`.

use proptest::prelude::*;

use super::*;
use crate::protocol::Protocol;

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
