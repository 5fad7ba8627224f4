//! The profiles that come with the program, as one table. Its rows are PROTOCOL A.5, with the reasons of A.2 to A.4.

use super::Mechanism::{Apop, CramMd5, Login, Plain, ScramSha256};
use super::Quirk::{AuthEquals, Imap2bis, Last, Lenient, PlainUnnamedInClear, StillHere};
use super::{Mechanism, Profile, Quirk, Shown};

/// The profile of this name.
pub fn builtin(name: &str) -> Option<Profile> {
    TABLE.iter().find(|row| row.name == name).map(Row::profile)
}

/// The names of all of them, `modern` first.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.name)
}

pub(super) fn modern() -> Profile {
    MODERN.profile()
}

struct Row {
    name: &'static str,
    title: &'static str,
    mechanisms: &'static [Mechanism],
    quirks: &'static [Quirk],
    imap: Cell,
    pop3: Cell,
    smtp: Cell,
}

#[derive(Clone, Copy)]
struct Cell {
    before_login: &'static [&'static str],
    only: Option<&'static [&'static str]>,
    hidden: &'static [&'static str],
}

impl Row {
    fn profile(&self) -> Profile {
        Profile {
            name: self.name.to_owned(),
            title: self.title.to_owned(),
            mechanisms: self.mechanisms.to_vec(),
            quirks: self.quirks.to_vec(),
            imap: self.imap.shown(),
            pop3: self.pop3.shown(),
            smtp: self.smtp.shown(),
        }
    }
}

impl Cell {
    fn shown(self) -> Shown {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Shown {
            before_login: owned(self.before_login),
            only: self.only.map(owned),
            hidden: owned(self.hidden),
        }
    }
}

const TABLE: [Row; 7] = [
    MODERN,
    Row {
        name: "cclient",
        title: "pine, alpine, and PHP's imap extension (uvdesk, osTicket)",
        mechanisms: &[Login],
        quirks: &[Lenient],
        imap: Cell {
            before_login: &[],
            only: None,
            // It takes to SASL-IR and non-synchronising literals as soon as it sees them.
            hidden: &["UIDONLY", "IMAP4rev2", "SASL-IR", "LITERAL*"],
        },
        ..MODERN
    },
    Row {
        name: "outlook",
        title: "Outlook 2003 to 2019",
        mechanisms: &[Plain, Login],
        quirks: &[Lenient, PlainUnnamedInClear, StillHere],
        imap: Cell {
            // Where it sees rev2 or LITERAL- it sends literals within LOGIN and ID (sora PR 79).
            before_login: &["ID"],
            only: None,
            hidden: &["UIDONLY", "IMAP4rev2", "UTF8=*", "LITERAL*", "BINARY"],
        },
        ..MODERN
    },
    Row {
        name: "outlook-express",
        title: "Outlook Express 4 to 6, Windows Mail, Netscape, Eudora, Pegasus Mail",
        mechanisms: &[CramMd5, Login, Plain, Apop],
        quirks: &[Lenient, PlainUnnamedInClear, AuthEquals],
        imap: Cell {
            before_login: &[],
            only: Some(&[
                "IMAP4",
                "IMAP4rev1",
                "NAMESPACE",
                "CHILDREN",
                "UIDPLUS",
                "ID",
                "QUOTA",
            ]),
            hidden: &[],
        },
        smtp: Cell {
            before_login: &["SIZE", "8BITMIME"],
            ..MODERN.smtp
        },
        ..MODERN
    },
    Row {
        name: "ancient",
        title: "programs from before 1996: IMAP2bis, RFC 1460, HELO",
        mechanisms: &[CramMd5, Login, Apop],
        quirks: &[Lenient, AuthEquals, Imap2bis, Last],
        imap: Cell {
            before_login: &[],
            only: Some(&["IMAP4", "IMAP4rev1"]),
            hidden: &[],
        },
        pop3: Cell {
            before_login: &["TOP", "UIDL"],
            only: Some(&["TOP", "UIDL", "EXPIRE", "LOGIN-DELAY"]),
            hidden: &[],
        },
        smtp: Cell {
            before_login: &["SIZE", "8BITMIME"],
            only: Some(&["SIZE", "8BITMIME"]),
            hidden: &[],
        },
    },
    Row {
        name: "device",
        title: "scanners, printers, controllers, monitoring cards",
        // The prompts of LOGIN are what devices know best; what is named first is what they take (Lenovo's AUTO).
        mechanisms: &[Login, Plain, CramMd5],
        quirks: &[Lenient, AuthEquals],
        smtp: Cell {
            before_login: &["SIZE", "8BITMIME"],
            only: Some(&["SIZE", "8BITMIME", "ENHANCEDSTATUSCODES"]),
            hidden: &[],
        },
        ..MODERN
    },
    Row {
        name: "strict",
        title: "the RFCs and nothing besides, for tests",
        mechanisms: &[ScramSha256, Plain],
        quirks: &[],
        ..MODERN
    },
];

const MODERN: Row = Row {
    name: "modern",
    title: "whatever has no profile of its own",
    // The strongest first: what needs a recoverable password is named only where one is.
    mechanisms: &[ScramSha256, CramMd5, Plain, Login, Apop],
    quirks: &[Lenient, PlainUnnamedInClear],
    imap: Cell {
        before_login: &["SASL-IR", "LITERAL-", "ID"],
        only: None,
        // Outlook switches it on and cannot handle it (mox#388).
        hidden: &["UIDONLY"],
    },
    pop3: Cell {
        // TOP and UIDL are optional in RFC 1939, but every provider has them, and clients that ask only before login would
        // otherwise not leave mail on the server.
        before_login: &["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"],
        only: None,
        hidden: &[],
    },
    smtp: Cell {
        before_login: &["PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES"],
        only: None,
        hidden: &[],
    },
};
