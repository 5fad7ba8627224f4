//! A failed login, as the client's reply (PROTOCOL B.6, RFC 5530).

use crate::proto::refusal::{Cause, Refusal};
use crate::proto::text::ascii;

/// The reply to the command `tag`: `NO` with the code that fits, and an ALERT in front where the refusal asks for one.
///
/// Only a wrong local password is `[AUTHENTICATIONFAILED]`: clients erase saved passwords when they see it.
pub fn refusal(tag: &str, refusal: &Refusal) -> String {
    let code = match refusal.cause {
        Cause::WrongPassword => "AUTHENTICATIONFAILED",
        Cause::PasswordExpired => "EXPIRED",
        Cause::ContactAdmin | Cause::ProtocolOff => "CONTACTADMIN",
        Cause::LimitReached => "LIMIT",
        Cause::InUse => "INUSE",
        Cause::ServerBug => "SERVERBUG",
        Cause::PrivacyRequired => "PRIVACYREQUIRED",
        Cause::CredentialRejected
        | Cause::TokenRejected
        | Cause::SignInNeeded
        | Cause::Unavailable
        | Cause::UntrustedUpstream
        | Cause::UpstreamPolicy
        | Cause::Shutdown => "UNAVAILABLE",
    };
    let text = ascii(&refusal.text);
    let alert = if refusal.alert {
        format!("* OK [ALERT] {text}\r\n")
    } else {
        String::new()
    };
    format!("{alert}{tag} NO [{code}] {text}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wrong_password_looks_like_one() {
        let reply = |cause| refusal("a1", &Refusal::new(cause, "test", "No lu\u{df}ck.\r\n"));
        assert_eq!(
            reply(Cause::WrongPassword),
            "a1 NO [AUTHENTICATIONFAILED] No lu?ck.??\r\n"
        );
        for cause in [
            Cause::CredentialRejected,
            Cause::TokenRejected,
            Cause::SignInNeeded,
            Cause::Unavailable,
            Cause::UntrustedUpstream,
            Cause::Shutdown,
        ] {
            assert!(
                reply(cause).contains("a1 NO [UNAVAILABLE]"),
                "{}",
                reply(cause)
            );
        }
    }

    #[test]
    fn a_sign_in_is_asked_for_by_an_alert_that_can_be_left_out() {
        let mut it = Refusal::new(Cause::SignInNeeded, "test", "Sign in.");
        let reply = "a1 NO [UNAVAILABLE] Sign in.\r\n";
        assert_eq!(
            refusal("a1", &it),
            format!("* OK [ALERT] Sign in.\r\n{reply}")
        );
        it.alert = false;
        assert_eq!(refusal("a1", &it), reply);
    }
}
