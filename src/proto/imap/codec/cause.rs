//! An upstream's NO, BAD or BYE, as the cause of a failed login.

use super::response::{RespText, Status};
use crate::proto::refusal::Cause;

/// Why the upstream did not let us in, by its response code (RFC 5530), else by the words of the big providers.
///
/// `rejected` is what a refused password means: the stored one's fault, or under pass-through the client's.
pub fn cause(status: Status, text: RespText<'_>, rejected: Cause) -> Cause {
    match text.code_name().to_ascii_uppercase().as_slice() {
        b"AUTHENTICATIONFAILED" | b"AUTHORIZATIONFAILED" => rejected,
        b"EXPIRED" => Cause::PasswordExpired,
        b"CONTACTADMIN" | b"NOPERM" => Cause::ContactAdmin,
        b"LIMIT" => Cause::LimitReached,
        // TLS stands on the upstream leg; telling the client to switch it on would not help.
        b"PRIVACYREQUIRED" => Cause::UpstreamPolicy,
        b"WEBALERT" => Cause::SignInNeeded,
        b"UNAVAILABLE" | b"SERVERBUG" | b"INUSE" | b"CORRUPTION" => Cause::Unavailable,
        _ => by_words(status, text.text, rejected),
    }
}

fn by_words(status: Status, text: &[u8], rejected: Cause) -> Cause {
    let text = text.to_ascii_lowercase();
    let said = WORDS
        .iter()
        .find(|(words, _)| memchr::memmem::find(&text, words.as_bytes()).is_some());
    match (said, status) {
        (Some((_, cause)), _) => *cause,
        (None, Status::No) => rejected,
        // BAD and BYE say nothing about the password.
        (None, _) => Cause::Unavailable,
    }
}

/// quirk: providers that send no response code, or only ALERT. Lower case; the first match counts.
const WORDS: [(&str, Cause); 8] = [
    // Gmail, 2026: "[ALERT] Too many simultaneous connections. (Failure)"; Dovecot: "Maximum number of connections …".
    ("too many", Cause::LimitReached),
    ("maximum number of connections", Cause::LimitReached),
    // Gmail, 2026: "[ALERT] Please log in via your web browser: https://support.google.com/…".
    ("web browser", Cause::SignInNeeded),
    // Gmail, 2026: "[ALERT] Your account is not enabled for IMAP use. …".
    ("not enabled for imap", Cause::ContactAdmin),
    // Exchange: "BAD User is authenticated but not connected." although the login was right (PROTOCOL B.6).
    ("authenticated but not connected", Cause::Unavailable),
    ("temporar", Cause::Unavailable),
    ("try again later", Cause::Unavailable),
    ("internal error", Cause::Unavailable),
];

#[cfg(test)]
mod tests {
    use super::super::response::resp_text;
    use super::*;

    fn of(status: Status, text: &str) -> Cause {
        cause(
            status,
            resp_text(text.as_bytes()),
            Cause::CredentialRejected,
        )
    }

    #[test]
    fn codes_decide_before_words() {
        assert_eq!(
            of(Status::No, "[AUTHENTICATIONFAILED] try again later"),
            Cause::CredentialRejected
        );
        assert_eq!(of(Status::No, "[unavailable] no"), Cause::Unavailable);
        assert_eq!(of(Status::No, "[LIMIT] no"), Cause::LimitReached);
        assert_eq!(of(Status::No, "[EXPIRED] no"), Cause::PasswordExpired);
        assert_eq!(of(Status::No, "[CONTACTADMIN] no"), Cause::ContactAdmin);
    }

    #[test]
    fn without_a_code_only_no_speaks_of_the_password() {
        assert_eq!(of(Status::No, "LOGIN failed."), Cause::CredentialRejected);
        assert_eq!(of(Status::Bad, "what?"), Cause::Unavailable);
        assert_eq!(
            of(Status::Bad, "User is authenticated but not connected."),
            Cause::Unavailable
        );
        assert_eq!(
            of(Status::No, "[ALERT] Too many simultaneous connections."),
            Cause::LimitReached
        );
    }
}
