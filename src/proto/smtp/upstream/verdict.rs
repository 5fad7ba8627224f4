//! What an upstream's refusal means. Providers agree on little beyond the first digit, so the enhanced code decides
//! where there is one, and the sentence for the person always quotes theirs.

use crate::proto::dialogue::UpstreamSettings;
use crate::proto::refusal::{Cause, Refusal};
use crate::proto::smtp::codec::Reply;

/// The refusal that `reply`, which is not what `phase` hoped for, stands for.
pub(super) fn refused(
    reply: &Reply<'_>,
    phase: &'static str,
    settings: &UpstreamSettings,
) -> Refusal {
    let cause = cause(reply, settings.passthrough);
    let text = reply.text();
    Refusal::quoting(cause, phase, sentence(cause), settings.quotable(&text))
}

/// Before AUTH nobody has seen a credential yet, so no code speaks about one.
pub(super) fn unwilling(reply: &Reply<'_>, phase: &'static str) -> Refusal {
    let cause = match reply.code {
        421 => closing(reply),
        500..=504 if phase != "expect-greeting" => Cause::UpstreamPolicy,
        _ => Cause::Unavailable,
    };
    Refusal::quoting(cause, phase, sentence(cause), &reply.text())
}

fn cause(reply: &Reply<'_>, passthrough: bool) -> Cause {
    match (reply.code, reply.enhanced()) {
        (421, _) => closing(reply),
        // Exchange Online: SMTP AUTH is off for the tenant or the mailbox. RFC 5248: the account is disabled.
        (_, Some((5, 7, 139 | 13))) | (525, _) => Cause::ContactAdmin,
        // Gmail: a person has to sign in with a browser once.
        (534, Some((5, 7, 14))) => Cause::SignInNeeded,
        // RFC 4954 section 6: a transition is needed. Gmail's 534 5.7.9 wants an app password instead.
        (432 | 534, _) => Cause::PasswordExpired,
        (504 | 530 | 538, _) => Cause::UpstreamPolicy,
        // Exchange says 535 5.7.3 for any wrong password, so it stands here and not above.
        (535, _) if passthrough => Cause::WrongPassword,
        (535, _) => Cause::CredentialRejected,
        _ => Cause::Unavailable,
    }
}

/// 421: the upstream closes; its enhanced code says whether we came too often.
fn closing(reply: &Reply<'_>) -> Cause {
    match reply.enhanced() {
        Some((4, 7, _)) => Cause::LimitReached,
        _ => Cause::Unavailable,
    }
}

fn sentence(cause: Cause) -> &'static str {
    match cause {
        Cause::WrongPassword => "The provider does not accept this password",
        Cause::CredentialRejected => "The provider does not accept the password mailsluice has",
        Cause::ContactAdmin => "The provider does not let this account send by SMTP",
        Cause::SignInNeeded => "The provider wants a person to sign in",
        Cause::PasswordExpired => "The provider wants another password",
        Cause::LimitReached => "The provider wants fewer connections",
        Cause::UpstreamPolicy => "The provider does not offer what mailsluice needs",
        _ => "The provider cannot be used now",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, text: &str) -> Cause {
        let frame = format!("{code} {text}\r\n");
        cause(&Reply::new(code, frame.as_bytes()), false)
    }

    #[test]
    fn the_enhanced_code_decides_where_providers_overload_a_code() {
        assert_eq!(
            of(535, "5.7.139 SmtpClientAuthentication is disabled"),
            Cause::ContactAdmin
        );
        assert_eq!(
            of(535, "5.7.3 Authentication unsuccessful"),
            Cause::CredentialRejected
        );
        assert_eq!(
            of(535, "Authentication credentials invalid"),
            Cause::CredentialRejected
        );
        assert_eq!(
            of(534, "5.7.9 Application-specific password required"),
            Cause::PasswordExpired
        );
        assert_eq!(
            of(534, "5.7.14 Please log in with your web browser"),
            Cause::SignInNeeded
        );
        assert_eq!(
            of(454, "4.7.0 Temporary authentication failure"),
            Cause::Unavailable
        );
        assert_eq!(of(421, "4.7.0 Too many connections"), Cause::LimitReached);
        assert_eq!(of(421, "4.3.2 Shutting down"), Cause::Unavailable);
        assert_eq!(of(554, "5.7.1 Go away"), Cause::Unavailable);
    }

    #[test]
    fn only_under_pass_through_is_it_the_clients_password() {
        let reply = Reply::new(535, b"535 5.7.8 No\r\n");
        assert_eq!(cause(&reply, true), Cause::WrongPassword);
        assert_eq!(cause(&reply, false), Cause::CredentialRejected);
    }
}
