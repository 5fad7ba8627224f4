//! A command of the authenticated state as what it asks for, RFC 3501 section 6 and the extensions we announce.

use bytes::Bytes;
use time::OffsetDateTime;

use super::fetch_item::{self, FetchItem};
use super::scan::{Expected, Scanner};
use super::search_key::{self, Search};
use super::sequence::SequenceSet;
use super::{date, names};
use crate::bridge::mailbox::{Flag, FlagChange, Flags};

/// Everything after the tag.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    Capability,
    Noop,
    Check,
    Logout,
    Id,
    Namespace,
    Idle,
    Select {
        folder: String,
        read_only: bool,
    },
    Create(String),
    Delete(String),
    Rename {
        from: String,
        to: String,
    },
    Subscribe {
        folder: String,
        wanted: bool,
    },
    List(List),
    Status {
        folder: String,
        items: Vec<StatusItem>,
    },
    Append(Append),
    Close,
    Unselect,
    Expunge,
    UidExpunge(SequenceSet),
    Search {
        uid: bool,
        search: Search,
    },
    Fetch {
        uid: bool,
        set: SequenceSet,
        items: Vec<FetchItem>,
    },
    Store {
        uid: bool,
        set: SequenceSet,
        change: FlagChange,
        silent: bool,
    },
    Copy {
        uid: bool,
        set: SequenceSet,
        target: String,
        moves: bool,
    },
}

/// LIST and LSUB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    /// LSUB: only what is subscribed to.
    pub(super) subscribed: bool,
    pub(super) reference: String,
    pub(super) pattern: String,
}

/// What STATUS tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
}

/// APPEND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Append {
    pub(super) folder: String,
    pub(super) flags: Flags,
    pub(super) internal_date: Option<OffsetDateTime>,
    pub(super) message: Bytes,
}

impl Command {
    /// Parses what is behind the tag and its space. Message octets are slices of `frame`, not copies.
    pub(super) fn parse(s: &mut Scanner<'_>, frame: &Bytes) -> Result<Self, Expected> {
        let name = s.keyword()?;
        let command = match name.as_str() {
            "UID" => {
                s.sp()?;
                let name = s.keyword()?;
                Self::parse_message_command(s, &name, true)?
            }
            "APPEND" => Self::Append(append(s, frame)?),
            "FETCH" | "STORE" | "SEARCH" | "COPY" | "MOVE" => {
                Self::parse_message_command(s, &name, false)?
            }
            "ID" => {
                s.sp()?;
                id_params(s)?;
                Self::Id
            }
            "LIST" | "LSUB" => Self::List(list(s, name == "LSUB")?),
            name => match Self::parse_bare(name) {
                Some(bare) => bare,
                None => Self::parse_folder_command(s, name)?,
            },
        };
        s.end()?;
        Ok(command)
    }

    /// Commands without arguments.
    fn parse_bare(name: &str) -> Option<Self> {
        Some(match name {
            "CAPABILITY" => Self::Capability,
            "NOOP" => Self::Noop,
            "CHECK" => Self::Check,
            "LOGOUT" => Self::Logout,
            "NAMESPACE" => Self::Namespace,
            "IDLE" => Self::Idle,
            "CLOSE" => Self::Close,
            "UNSELECT" => Self::Unselect,
            "EXPUNGE" => Self::Expunge,
            _ => return None,
        })
    }

    fn parse_folder_command(s: &mut Scanner<'_>, name: &str) -> Result<Self, Expected> {
        let known = matches!(
            name,
            "SELECT"
                | "EXAMINE"
                | "CREATE"
                | "DELETE"
                | "RENAME"
                | "SUBSCRIBE"
                | "UNSUBSCRIBE"
                | "STATUS"
        );
        if !known {
            return Err(Expected("a command of IMAP4rev1"));
        }
        s.sp()?;
        let folder = mailbox(s)?;
        Ok(match name {
            "SELECT" => Self::Select {
                folder,
                read_only: false,
            },
            "EXAMINE" => Self::Select {
                folder,
                read_only: true,
            },
            "CREATE" => Self::Create(folder),
            "DELETE" => Self::Delete(folder),
            "SUBSCRIBE" => Self::Subscribe {
                folder,
                wanted: true,
            },
            "UNSUBSCRIBE" => Self::Subscribe {
                folder,
                wanted: false,
            },
            "RENAME" => {
                s.sp()?;
                Self::Rename {
                    from: folder,
                    to: mailbox(s)?,
                }
            }
            _ => {
                s.sp()?;
                Self::Status {
                    folder,
                    items: s.list(status_item)?,
                }
            }
        })
    }

    fn parse_message_command(s: &mut Scanner<'_>, name: &str, uid: bool) -> Result<Self, Expected> {
        s.sp()?;
        if name == "SEARCH" {
            return Ok(Self::Search {
                uid,
                search: search_key::search(s)?,
            });
        }
        let set = SequenceSet::parse(s)?;
        if name == "EXPUNGE" && uid {
            return Ok(Self::UidExpunge(set));
        }
        s.sp()?;
        match name {
            "FETCH" => Ok(Self::Fetch {
                uid,
                set,
                items: fetch_item::fetch_att(s)?,
            }),
            "STORE" => {
                let (change, silent) = store_att_flags(s)?;
                Ok(Self::Store {
                    uid,
                    set,
                    change,
                    silent,
                })
            }
            "COPY" | "MOVE" => Ok(Self::Copy {
                uid,
                set,
                target: mailbox(s)?,
                moves: name == "MOVE",
            }),
            _ => Err(Expected("a command that takes UIDs")),
        }
    }
}

/// `id_params_list = "(" *(string SP nstring) ")" / nil`, RFC 2971 section 3.3. What the client says of itself changes
/// nothing here and is not kept.
pub(super) fn id_params(s: &mut Scanner<'_>) -> Result<(), Expected> {
    if s.accept("NIL") {
        return Ok(());
    }
    s.list(|s| {
        s.string()?;
        s.sp()?;
        s.nstring()
    })
    .map(drop)
}

/// `mailbox = "INBOX" / astring`, as UTF-8.
fn mailbox(s: &mut Scanner<'_>) -> Result<String, Expected> {
    names::decode(&s.astring()?).ok_or(NO_NAME)
}

/// `list = "LIST" SP mailbox SP list-mailbox`
fn list(s: &mut Scanner<'_>, subscribed: bool) -> Result<List, Expected> {
    s.sp()?;
    let reference = names::decode_pattern(&s.astring()?).ok_or(NO_NAME)?;
    s.sp()?;
    let pattern = names::decode_pattern(&s.list_mailbox()?).ok_or(NO_NAME)?;
    Ok(List {
        subscribed,
        reference,
        pattern,
    })
}

/// `status-att`
fn status_item(s: &mut Scanner<'_>) -> Result<StatusItem, Expected> {
    match s.keyword()?.as_str() {
        "MESSAGES" => Ok(StatusItem::Messages),
        "RECENT" => Ok(StatusItem::Recent),
        "UIDNEXT" => Ok(StatusItem::UidNext),
        "UIDVALIDITY" => Ok(StatusItem::UidValidity),
        "UNSEEN" => Ok(StatusItem::Unseen),
        _ => Err(Expected("a status item")),
    }
}

/// `append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal`
fn append(s: &mut Scanner<'_>, frame: &Bytes) -> Result<Append, Expected> {
    s.sp()?;
    let folder = mailbox(s)?;
    s.sp()?;
    let mut flags = Flags::default();
    if s.peek() == Some(b'(') {
        flags = s.list(flag)?.into_iter().flatten().collect();
        s.sp()?;
    }
    let mut internal_date = None;
    if s.peek() == Some(b'"') {
        internal_date = Some(date::date_time(s)?);
        s.sp()?;
    }
    if s.peek() != Some(b'{') {
        return Err(Expected("a literal"));
    }
    let message = match s.string()? {
        std::borrow::Cow::Borrowed(octets) => frame.slice_ref(octets),
        std::borrow::Cow::Owned(octets) => octets.into(),
    };
    Ok(Append {
        folder,
        flags,
        internal_date,
        message,
    })
}

/// `store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))`
fn store_att_flags(s: &mut Scanner<'_>) -> Result<(FlagChange, bool), Expected> {
    let change = match s.peek() {
        Some(b'+') => FlagChange::Add as fn(Flags) -> FlagChange,
        Some(b'-') => FlagChange::Remove,
        _ => FlagChange::Replace,
    };
    s.take_while(|b| matches!(b, b'+' | b'-'));
    s.expect("FLAGS")?;
    let silent = s.accept(".SILENT");
    s.sp()?;
    let mut flags = Vec::new();
    if s.peek() == Some(b'(') {
        flags = s.list(flag)?;
    } else {
        flags.push(flag(s)?);
        while s.accept(" ") {
            flags.push(flag(s)?);
        }
    }
    Ok((change(flags.into_iter().flatten().collect()), silent))
}

/// A flag to be set. quirk: `\Recent` and unknown system flags are left out instead of refused; programs copy the flags
/// of a message from another server as they found them.
fn flag(s: &mut Scanner<'_>) -> Result<Option<Flag>, Expected> {
    Ok(Flag::from_name(s.flag()?))
}

const NO_NAME: Expected = Expected("a mailbox name in modified UTF-7");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Command, Expected> {
        let frame = Bytes::copy_from_slice(text.as_bytes());
        Command::parse(&mut Scanner::new(&frame), &frame)
    }

    #[test]
    fn append_takes_flags_date_and_literal() {
        let Command::Append(append) =
            parse("append Entw&APw-rfe (\\seen $x \\Recent) \"17-Jul-1996 02:44:25 -0700\" {5+}\r\na\r\n()").unwrap()
        else {
            panic!("not APPEND")
        };
        assert_eq!(append.folder, "Entw\u{fc}rfe");
        assert_eq!(append.flags.len(), 2);
        assert!(append.internal_date.is_some());
        assert_eq!(append.message, "a\r\n()");
    }

    #[test]
    fn store_adds_removes_and_replaces() {
        let seen: Flags = [Flag::Seen].into_iter().collect();
        let of = |text: &str| match parse(text).unwrap() {
            Command::Store { change, silent, .. } => (change, silent),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            of("STORE 1 +flags.silent \\Seen"),
            (FlagChange::Add(seen.clone()), true)
        );
        assert_eq!(
            of("STORE 1 -FLAGS (\\Seen)"),
            (FlagChange::Remove(seen), false)
        );
        assert_eq!(
            of("STORE 1 FLAGS ()"),
            (FlagChange::Replace(Flags::default()), false)
        );
    }

    #[test]
    fn lower_case_and_trailing_spaces_are_let_pass() {
        assert_eq!(parse("select inbox "), parse("SELECT \"INBOX\""));
        assert!(parse("LIST \"\" *%").is_ok());
        assert!(parse("ID (\"name\" \"x\" \"os\" NIL)").is_ok());
    }

    #[test]
    fn what_is_no_command_is_an_error() {
        for bad in [
            "",
            "XYZZY",
            "SELECT",
            "UID NOOP 1",
            "UID LOGIN 1 2",
            "NOOP 1",
            "APPEND INBOX x",
            "STATUS INBOX (X)",
            "STORE 1 FLAGS",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(input in proptest::collection::vec(any::<u8>(), 0..64)) {
            let frame = Bytes::from(input);
            let _ = Command::parse(&mut Scanner::new(&frame), &frame);
        }

        #[test]
        fn nothing_near_a_command_panics(
            name in "(UID )?(FETCH|STORE|SEARCH|COPY|APPEND|LIST|STATUS|ID|RENAME)",
            rest in "[ 0-9:*,(){}+\"\\\\.<>\\[\\]&%-]{0,12}(BODY|FLAGS|NOT|OR|FIELDS|\r\n)?[ 0-9:*,(){}+\"\\\\.<>\\[\\]&%-]{0,12}",
        ) {
            let _ = parse(&format!("{name} {rest}"));
        }
    }
}
