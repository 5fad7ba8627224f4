//! The words every folder shares: which [`Protocol`], which [`Leg`] of the session, which [`TlsMode`], which [`SenderRule`].

use std::fmt;

/// What the client speaks, and in a relay the upstream too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// IMAP4rev1, RFC 3501.
    Imap,
    /// POP3, RFC 1939.
    Pop3,
    /// SMTP submission, RFC 6409.
    Smtp,
}

impl Protocol {
    /// All three, in the order they are listed to people.
    pub const ALL: [Self; 3] = [Self::Imap, Self::Pop3, Self::Smtp];

    /// The key it has in configuration and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Smtp => "smtp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of the two connections of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The mail program, device or script that connected to us.
    Client,
    /// The provider's server that we connect to.
    Upstream,
}

impl Leg {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
        })
    }
}

/// What becomes of a sender that is not the account of a listener without logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SenderRule {
    /// The message is refused.
    Pin,
    /// The account takes its place.
    Rewrite,
}

/// How TLS begins. On the upstream leg there is no third way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS or STLS, required: an upstream that does not offer it is refused.
    StartTls,
}
