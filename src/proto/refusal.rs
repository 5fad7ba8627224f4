//! Why a login does not succeed, in words that are the same for all three protocols.
//!
//! Each protocol turns a [`Cause`] into its own reply with one exhaustive `match` (`codec::refusal`). The rule behind
//! the table: only a wrong local password may look like a wrong password, since clients erase saved ones; trouble
//! upstream is temporary.

use std::fmt;

use super::text::sanitise;

/// A login that failed: whose fault, in which phase, and a sentence for the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the client's reply is chosen by.
    pub cause: Cause,
    /// Where it happened: a state's name, or `dns`, `connect`, `tls`, `local-password`.
    pub phase: &'static str,
    /// One sentence for the person: what happened and what to do. Never holds control characters or a secret.
    pub text: String,
    /// Whether an IMAP client is to show the text at once, as an ALERT: where a person must act, and has not been told
    /// so lately. How lately is for whoever has a clock.
    pub alert: bool,
}

impl Refusal {
    /// A refusal with a sentence of our own.
    pub fn new(cause: Cause, phase: &'static str, text: impl Into<String>) -> Self {
        Self {
            cause,
            phase,
            text: text.into(),
            alert: cause == Cause::SignInNeeded,
        }
    }

    /// A refusal that quotes the upstream: its words are stripped of control characters and cut.
    pub fn quoting(cause: Cause, phase: &'static str, ours: &str, theirs: &[u8]) -> Self {
        let theirs = sanitise(theirs);
        let text = if theirs.is_empty() {
            ours.to_owned()
        } else {
            format!("{ours}: {theirs}")
        };
        Self::new(cause, phase, text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.cause, self.phase, self.text)
    }
}

impl std::error::Error for Refusal {}

/// What went wrong, as far as the client's reply depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Wrong local password, or no such account: the client is told the same in the same time.
    WrongPassword,
    /// The upstream refused the stored credential. Temporary to the client: its own password is right.
    CredentialRejected,
    /// The upstream refused the access token. A fresh one may do; to the client temporary, as above.
    TokenRejected,
    /// A person must renew the sign-in.
    SignInNeeded,
    /// The provider's administrator has to switch something on (disabled account, SMTP AUTH off).
    ContactAdmin,
    /// The provider's password has expired.
    PasswordExpired,
    /// DNS, connect, TLS handshake, timeout, an upstream that breaks the protocol or says BYE.
    Unavailable,
    /// The upstream's certificate does not prove its name. To the client like `Unavailable`; the operator is told.
    UntrustedUpstream,
    /// The upstream lacks what we must have: STARTTLS, or a mechanism we can complete.
    UpstreamPolicy,
    /// Too many connections or too high a rate, here or upstream.
    LimitReached,
    /// The maildrop is locked by another session (POP3 `[IN-USE]`).
    InUse,
    /// The account does not have this protocol switched on, or it is pinned away from this listener.
    ProtocolOff,
    /// Our own configuration or store is at fault.
    ServerBug,
    /// The client may not log in without TLS here.
    PrivacyRequired,
    /// The service stops.
    Shutdown,
}

impl Cause {
    /// The word it has in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong-password",
            Self::CredentialRejected => "credential-rejected",
            Self::TokenRejected => "token-rejected",
            Self::SignInNeeded => "sign-in-needed",
            Self::ContactAdmin => "contact-admin",
            Self::PasswordExpired => "password-expired",
            Self::Unavailable => "unavailable",
            Self::UntrustedUpstream => "untrusted-upstream",
            Self::UpstreamPolicy => "upstream-policy",
            Self::LimitReached => "limit-reached",
            Self::InUse => "in-use",
            Self::ProtocolOff => "protocol-off",
            Self::ServerBug => "server-bug",
            Self::PrivacyRequired => "privacy-required",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
