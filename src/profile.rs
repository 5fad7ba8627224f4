//! Profiles: how much is shown to a kind of client, and which of its ways are borne with.
//!
//! A profile is data and nothing else; `proto` acts by it. The ones that come with the program are one table
//! ([`builtin`]); a configuration may define others from them. It is chosen by configuration and never guessed: RFC 2971
//! forbids behaviour by what ID says, and a program that changes its name must not change what it is served.
//!
//! The listener's profile holds until a login, since nobody is known before; then that of the local password, else of
//! the account, else still the listener's.

mod table;

use std::fmt;
use std::str::FromStr;

pub use self::table::{builtin, names};
use crate::protocol::Protocol;

/// How one kind of client is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What configuration calls it.
    pub name: String,
    /// Whom it is for, in a line.
    pub title: String,
    /// The ways to log in that are named and completed, in the order in which they are named.
    pub mechanisms: Vec<Mechanism>,
    /// What is done or borne with beyond the RFCs.
    pub quirks: Vec<Quirk>,
    /// IMAP's capabilities.
    pub imap: Shown,
    /// POP3's capabilities.
    pub pop3: Shown,
    /// SMTP's EHLO keywords.
    pub smtp: Shown,
}

/// Which capabilities of one protocol are shown. Names are compared by their first word and without regard to case; one that
/// ends in `*` stands for all that begin so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Named before login whatever the upstream is, besides those that follow from what is possible (mechanisms, TLS).
    pub before_login: Vec<String>,
    /// Nothing of the upstream's but these; `None`: all that may pass at all.
    pub only: Option<Vec<String>>,
    /// Nothing of the upstream's that is one of these.
    pub hidden: Vec<String>,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// The two prompts that no RFC has (draft-murchison-sasl-login).
    Login,
    /// RFC 2195.
    CramMd5,
    /// RFC 7677.
    ScramSha256,
    /// POP3 only, RFC 1939 section 7.
    Apop,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Plain,
        Self::Login,
        Self::CramMd5,
        Self::ScramSha256,
        Self::Apop,
    ];

    /// As protocols and configuration name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Apop => "APOP",
        }
    }

    /// Whether it is a SASL mechanism; APOP is a command of its own.
    pub fn is_sasl(self) -> bool {
        self != Self::Apop
    }

    /// Whether the client only shows that it knows the password, which we then must have to compare.
    pub fn needs_recoverable(self) -> bool {
        matches!(self, Self::CramMd5 | Self::ScramSha256 | Self::Apop)
    }
}

impl FromStr for Mechanism {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let named = |it: &Self| text.eq_ignore_ascii_case(it.name());
        Self::ALL.into_iter().find(named).ok_or(Unknown)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such name")]
pub struct Unknown;

/// Something done or borne with beyond the RFCs, for the sake of some clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quirk {
    /// Deviations in what the client says before its login are taken as they are meant: LF for CRLF, AUTH after HELO, PLAIN
    /// and LOGIN that were not named.
    Lenient,
    /// IMAP and POP3 do not name PLAIN on a leg without TLS: c-client (alpine, PHP) reports a security problem then, which
    /// PHP programs take for fatal. LOGIN is silent there, and is as clear.
    PlainUnnamedInClear,
    /// SMTP names its mechanisms a second time, as `AUTH=PLAIN LOGIN`: Outlook Express 4 and its time see only that.
    AuthEquals,
    /// IMAP says `* OK Still here` every two minutes of IDLE: Outlook never ends IDLE by itself, and a connection that is
    /// silent for long is forgotten by routers on the way.
    StillHere,
    /// IMAP answers FIND, and greets without a capability list, as the servers before RFC 1730 did.
    Imap2bis,
    /// POP3 answers LAST (RFC 1460), which RFC 1939 took out.
    Last,
}

impl Quirk {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Lenient,
        Self::PlainUnnamedInClear,
        Self::AuthEquals,
        Self::StillHere,
        Self::Imap2bis,
        Self::Last,
    ];

    /// As configuration names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lenient => "lenient",
            Self::PlainUnnamedInClear => "plain-unnamed-in-clear",
            Self::AuthEquals => "auth-equals",
            Self::StillHere => "still-here",
            Self::Imap2bis => "imap2bis",
            Self::Last => "last",
        }
    }
}

impl FromStr for Quirk {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let named = |it: &Self| text == it.name();
        Self::ALL.into_iter().find(named).ok_or(Unknown)
    }
}

impl Profile {
    /// Whether this is done or borne with.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// What is shown in `protocol`.
    pub fn shown(&self, protocol: Protocol) -> &Shown {
        match protocol {
            Protocol::Imap => &self.imap,
            Protocol::Pop3 => &self.pop3,
            Protocol::Smtp => &self.smtp,
        }
    }
}

impl Default for Profile {
    /// `modern`, which serves most clients, old ones too.
    fn default() -> Self {
        table::modern()
    }
}

impl Shown {
    /// Whether a capability of the upstream's may be shown: `capability` is an IMAP atom, or a line of POP3's or SMTP's.
    pub fn admits(&self, capability: &[u8]) -> bool {
        let listed = self
            .only
            .as_ref()
            .is_none_or(|only| covers(only, capability));
        listed && !covers(&self.hidden, capability)
    }
}

/// Whether one of `names` is the first word of `capability`, or, where it ends in `*`, the beginning of that.
pub fn covers<N: AsRef<str>>(names: &[N], capability: &[u8]) -> bool {
    let word = capability.split(|&b| b == b' ').next().unwrap_or_default();
    let mut names = names.iter().map(AsRef::as_ref);
    names.any(|name: &str| match name.strip_suffix('*') {
        Some(start) => word
            .get(..start.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes())),
        None => word.eq_ignore_ascii_case(name.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_its_names_are_unique() {
        let mut all: Vec<&str> = names().collect();
        assert_eq!(
            all,
            [
                "modern",
                "cclient",
                "outlook",
                "outlook-express",
                "ancient",
                "device",
                "strict"
            ]
        );
        for name in &all {
            let profile = builtin(name).unwrap();
            assert_eq!(profile.name, *name);
            assert!(
                !profile.mechanisms.is_empty() && !profile.title.is_empty(),
                "{name}"
            );
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 7);
        assert_eq!(builtin("Modern"), None);
    }

    #[test]
    fn a_client_that_knows_no_challenge_finds_a_way_in_every_profile() {
        for name in names() {
            let mechanisms = builtin(name).unwrap().mechanisms;
            assert!(
                mechanisms.iter().any(|it| !it.needs_recoverable()),
                "{name}"
            );
        }
    }

    #[test]
    fn names_are_read_back() {
        for mechanism in Mechanism::ALL {
            assert_eq!(mechanism.name().to_lowercase().parse(), Ok(mechanism));
        }
        for quirk in Quirk::ALL {
            assert_eq!(quirk.name().parse(), Ok(quirk));
        }
        assert_eq!("NTLM".parse::<Mechanism>(), Err(Unknown));
    }

    #[test]
    fn what_is_shown_is_told_by_the_first_word() {
        let shown = Shown {
            before_login: Vec::new(),
            only: Some(vec!["SIZE".into(), "LITERAL*".into()]),
            hidden: vec!["literal+".into()],
        };
        assert!(shown.admits(b"size 100") && shown.admits(b"Literal-"));
        assert!(!shown.admits(b"LITERAL+") && !shown.admits(b"SIZES") && !shown.admits(b""));
        assert!(Shown::default().admits(b"IDLE"));
    }
}
