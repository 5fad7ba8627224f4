//! Thunderbird, driven over its Marionette port. `thunderbird.py` starts it, `thunderbird.js` runs inside it.

use super::Secured;
use super::desk::{Desk, MESSAGE, OTHER, body, text};
use crate::client::imap::{Imap, arrived};
use crate::fixture::{Target, servers};

pub(super) fn thunderbird_sends_and_fetches(target: &Target) {
    target
        .mailbox
        .seed("", [MESSAGE.as_bytes(), OTHER.as_bytes()]);
    let ca_file = servers().ca_file.to_str().expect("UTF-8");
    thunderbird(
        target,
        &[MESSAGE, OTHER],
        ["127.0.0.1", "plain", ca_file, "cleartext"],
    );
}

/// "Encrypted password" in its settings.
pub(super) fn thunderbird_answers_challenges(target: &Target) {
    target.mailbox.seed("", [MESSAGE.as_bytes()]);
    let ca_file = servers().ca_file.to_str().expect("UTF-8");
    thunderbird(
        target,
        &[MESSAGE],
        ["127.0.0.1", "plain", ca_file, "encrypted"],
    );
}

pub(super) fn thunderbird_speaks_tls(secured: &Secured) {
    let tls = secured.choose("implicit", "starttls");
    thunderbird(
        &secured.target,
        &[MESSAGE],
        ["localhost", tls, &secured.ca_file, "cleartext"],
    );
}

/// Reads what is there by IMAP and POP3, sends, and keeps a copy in Sent.
fn thunderbird(target: &Target, there: &[&str], arguments: [&str; 4]) {
    // A folder it has to make first it sometimes waits for without end.
    target.mailbox.seed("Sent", [OTHER.as_bytes()]);
    let desk = Desk::new();
    let mut python = desk.program("python3");
    python.arg(Desk::script("thunderbird.py"));
    python.args([&target.user, &target.password]);
    python.args([target.imap, target.pop3, target.smtp].map(|address| address.port().to_string()));
    python.arg(desk.message()).arg(desk.path("delivered"));
    desk.run(python.args(arguments));
    for protocol in ["imap", "pop3"] {
        desk.assert_fetched(protocol, there);
    }
    let provider = target.at_the_provider();
    let sent = &arrived(&provider, there.len() + 1)[there.len()];
    let mut imap = Imap::login(&provider);
    imap.command("SELECT Sent");
    let kept = imap.command("FETCH 1:* BODY.PEEK[]").literals();
    let whole = |message: &Vec<u8>| message.ends_with(body(MESSAGE).as_bytes());
    assert!(whole(sent), "{}", text(sent));
    assert!(kept.len() == 2 && kept.iter().any(whole), "{kept:?}");
}
