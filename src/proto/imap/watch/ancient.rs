//! quirk: what programs from before RFC 1730 say (IMAP2bis, draft-ietf-imap-imap2bis), put into words that servers of
//! today know. c-client says it, too, to a server that does not answer CAPABILITY.
//!
//! | IMAP2bis | IMAP4rev1 |
//! |---|---|
//! | `FIND MAILBOXES p`, answered `* MAILBOX name` | `LSUB "" p`, answered `* LSUB (…) "/" name` |
//! | `FIND ALL.MAILBOXES p` | `LIST "" p` |
//! | `FIND BBOARDS p`, `FIND ALL.BBOARDS p` | there are none: `NOOP` |
//! | `SUBSCRIBE MAILBOX n`, `UNSUBSCRIBE MAILBOX n` | `SUBSCRIBE n`, `UNSUBSCRIBE n` |

/// A command in today's words, without its tag, and whether its answers have to be put back.
pub(super) struct Translated {
    pub(super) command: Vec<u8>,
    pub(super) finds: bool,
}

/// Whether a command of this name may need a translation, so that its whole line is wanted.
pub(super) fn concerns(name: &[u8]) -> bool {
    [&b"FIND"[..], b"SUBSCRIBE", b"UNSUBSCRIBE"]
        .iter()
        .any(|it| name.eq_ignore_ascii_case(it))
}

/// `name` and the rest of its line, without CRLF. `None` where it is today's command already, or nobody's.
pub(super) fn translate(name: &[u8], rest: &[u8]) -> Option<Translated> {
    let rest = rest.trim_ascii();
    let at = rest.iter().position(|&b| b == b' ')?;
    let (what, argument) = rest.split_at(at);
    let argument = argument.trim_ascii_start();
    let is = |word: &[u8]| what.eq_ignore_ascii_case(word);
    if !name.eq_ignore_ascii_case(b"FIND") {
        return is(b"MAILBOX").then(|| Translated {
            command: [name, b" ", argument].concat(),
            finds: false,
        });
    }
    let command = if is(b"MAILBOXES") {
        [b"LSUB \"\" ", argument].concat()
    } else if is(b"ALL.MAILBOXES") {
        [b"LIST \"\" ", argument].concat()
    } else if is(b"BBOARDS") || is(b"ALL.BBOARDS") {
        b"NOOP".to_vec()
    } else {
        return None;
    };
    Some(Translated {
        command,
        finds: true,
    })
}

/// Where the name stands in `* LIST (flags) delimiter name`, or in LSUB's; `line` is complete.
pub(super) fn mailbox_name(line: &[u8]) -> Option<usize> {
    let start = line.get(..8)?;
    if !start.eq_ignore_ascii_case(b"* LIST (") && !start.eq_ignore_ascii_case(b"* LSUB (") {
        return None;
    }
    // mailbox-list: flags hold no parenthesis (RFC 3501 section 9).
    let flags_end = 8 + memchr::memchr(b')', line.get(8..)?)?;
    let delimiter = flags_end + 2;
    let rest = line.get(delimiter..)?;
    let length = match rest.first()? {
        // DQUOTE QUOTED-CHAR DQUOTE, or NIL.
        b'"' if rest.get(1) == Some(&b'\\') => 4,
        _ => 3,
    };
    let name = delimiter + length + 1;
    (line.get(name - 1) == Some(&b' ') && line.get(name).is_some()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, rest: &str) -> Option<String> {
        let translated = translate(name.as_bytes(), rest.as_bytes())?;
        Some(String::from_utf8(translated.command).unwrap())
    }

    #[test]
    fn old_commands_are_said_in_new_words() {
        for (name, rest, expected) in [
            ("find", " mailboxes *", Some("LSUB \"\" *")),
            (
                "FIND",
                "  ALL.MAILBOXES  \"a b%\" ",
                Some("LIST \"\" \"a b%\""),
            ),
            ("FIND", " ALL.BBOARDS *", Some("NOOP")),
            ("FIND", " NEWS *", None),
            ("FIND", " MAILBOXES", None),
            ("SUBSCRIBE", " MAILBOX INBOX", Some("SUBSCRIBE INBOX")),
            (
                "UNSUBSCRIBE",
                " mailbox \"x y\"",
                Some("UNSUBSCRIBE \"x y\""),
            ),
            ("SUBSCRIBE", " INBOX", None),
        ] {
            assert_eq!(said(name, rest).as_deref(), expected, "{name}{rest}");
        }
    }

    #[test]
    fn the_name_is_found_behind_flags_and_delimiter() {
        for (line, name) in [
            ("* LIST (\\HasNoChildren) \"/\" INBOX", "INBOX"),
            ("* lsub () \"\\\\\" \"a b\"", "\"a b\""),
            ("* LIST (\\Noselect \\Marked) NIL {5}", "{5}"),
        ] {
            assert_eq!(
                mailbox_name(line.as_bytes()).map(|at| &line[at..]),
                Some(name)
            );
        }
        for line in [
            "* LIST",
            "* LIST () \"/\"",
            "* LIST () \"/\" ",
            "* LIST (",
            "* FLAGS (\\Seen) x",
            "* LIST () /x y",
        ] {
            assert_eq!(mailbox_name(line.as_bytes()), None, "{line}");
        }
    }
}
