//! What a client leaves behind upstream, for the one that may come after it.
//!
//! A session may serve another client only if all that was said in it is known to leave nothing behind but a selected
//! mailbox. So this is a list of what is allowed: a command that is not on it (ENABLE, NOTIFY, LANGUAGE, ID, IDLE, whatever
//! is invented later) spoils the session, and so does an argument by which an allowed one changes what the server says
//! later (RFC 7162 section 3.1 lists those that switch CONDSTORE on).

use crate::proto::dialogue::Remains;
use crate::proto::imap::codec::response::Status;

/// Where the session is.
#[derive(Debug)]
pub(super) struct Traces {
    state: State,
    /// Whether the upstream named UNSELECT, the only way back that expunges nothing (RFC 3691).
    unselects: bool,
    selected: bool,
    /// What a good answer to the command at hand does to `selected`.
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody wants to know.
    Unwatched,
    Clean,
    Spoilt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Selects,
    Unselects,
    Other,
}

impl Traces {
    /// Of a session that has just logged in. `capabilities` are the upstream's, if it named them.
    pub(super) fn new(capabilities: Option<&[String]>) -> Self {
        let named = capabilities.unwrap_or_default();
        Self {
            state: State::Unwatched,
            unselects: named.iter().any(|c| c.eq_ignore_ascii_case("UNSELECT")),
            selected: false,
            command: Command::Other,
        }
    }

    /// From now on.
    pub(super) fn watch(&mut self) {
        if self.state == State::Unwatched {
            self.state = State::Clean;
        }
    }

    /// Whether what has been said so far can be undone.
    pub(super) fn are_clean(&self) -> bool {
        self.state == State::Clean
    }

    /// Something may stay behind.
    pub(super) fn spoil(&mut self) {
        if self.state == State::Clean {
            self.state = State::Spoilt;
        }
    }

    /// What has to be undone; `None` where that cannot be.
    pub(super) fn remains(&self) -> Option<Remains> {
        match (self.state, self.selected) {
            (State::Clean, false) => Some(Remains::Nothing),
            (State::Clean, true) if self.unselects => Some(Remains::Mailbox),
            _ => None,
        }
    }

    /// A command begins; `next` is the word behind its name, where it is there already.
    pub(super) fn on_command(&mut self, name: &[u8], next: Option<&[u8]>) {
        if self.state != State::Clean {
            return;
        }
        let is_one_of = |list: &[&[u8]], word: &[u8]| {
            let mut names = list.iter();
            names.any(|name| word.eq_ignore_ascii_case(name))
        };
        self.command = Command::Other;
        if is_one_of(&SELECT, name) {
            self.command = Command::Selects;
            self.selected = true;
        } else if is_one_of(&UNSELECT, name) {
            self.command = Command::Unselects;
        } else if name.eq_ignore_ascii_case(b"UID") {
            if !next.is_some_and(|next| is_one_of(&BY_UID, next)) {
                self.spoil();
            }
        } else if !is_one_of(&HARMLESS, name) {
            self.spoil();
        }
    }

    /// Part of a command's text outside its literals. Parts may overlap; a word that a cut divides is in one of them
    /// whole.
    pub(super) fn on_text(&mut self, text: &[u8]) {
        if self.state != State::Clean {
            return;
        }
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'$';
        let mut words = text.split(|b| !is_word(b));
        let parameters = self.command == Command::Selects && memchr::memchr(b'(', text).is_some();
        if parameters || words.any(leaves_something) {
            self.spoil();
        }
    }

    /// The command at hand was answered, and no other is under way.
    pub(super) fn on_answer(&mut self, status: Status) {
        match (self.command, status) {
            (Command::Unselects, Status::Ok) => self.selected = false,
            // RFC 3501 section 6.3.1: then no mailbox is selected.
            (Command::Selects, Status::No) => self.selected = false,
            _ => {}
        }
    }
}

/// Whether `word` is an argument that changes what the server says later, or that rests on what it said before.
fn leaves_something(word: &[u8]) -> bool {
    match word.len() {
        0..4 => word.contains(&b'$'),
        4..=14 => word.contains(&b'$') || ARGUMENTS.iter().any(|it| word.eq_ignore_ascii_case(it)),
        _ => false,
    }
}

const SELECT: [&[u8]; 2] = [b"SELECT", b"EXAMINE"];

const UNSELECT: [&[u8]; 2] = [b"CLOSE", b"UNSELECT"];

/// They act on mailboxes and messages, or ask about them, and on nothing else.
const HARMLESS: [&[u8]; 24] = [
    b"NOOP",
    b"CHECK",
    b"CAPABILITY",
    b"FETCH",
    b"SEARCH",
    b"STORE",
    b"COPY",
    b"MOVE",
    b"EXPUNGE",
    b"APPEND",
    b"SORT",
    b"THREAD",
    b"STATUS",
    b"LIST",
    b"LSUB",
    b"XLIST",
    b"NAMESPACE",
    b"CREATE",
    b"DELETE",
    b"RENAME",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"GETQUOTA",
    b"GETQUOTAROOT",
];

/// The same, behind UID.
const BY_UID: [&[u8]; 8] = [
    b"FETCH", b"SEARCH", b"STORE", b"COPY", b"MOVE", b"EXPUNGE", b"SORT", b"THREAD",
];

/// As words of at most 14 octets; the watch shows that much of a line twice where it is cut.
const ARGUMENTS: [&[u8]; 9] = [
    // RFC 7162 section 3.1: CONDSTORE-enabling, and what may mean it.
    b"CONDSTORE",
    b"QRESYNC",
    b"MODSEQ",
    b"HIGHESTMODSEQ",
    b"CHANGEDSINCE",
    b"UNCHANGEDSINCE",
    b"VANISHED",
    // RFC 5182: a result that `$` stands for.
    b"SAVE",
    // RFC 5267: results that are kept up to date.
    b"UPDATE",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[(&str, Status)]) -> Option<Remains> {
        let capabilities = ["IMAP4rev1".to_owned(), "UNSELECT".to_owned()];
        let mut traces = Traces::new(Some(&capabilities));
        traces.watch();
        for (line, status) in lines {
            let mut words = line.split(' ').map(str::as_bytes);
            traces.on_command(words.next().unwrap(), words.next());
            traces.on_text(line.as_bytes());
            traces.on_answer(*status);
        }
        traces.remains()
    }

    #[test]
    fn what_is_not_known_to_leave_nothing_spoils_a_session() {
        for line in [
            "ENABLE UTF8=ACCEPT",
            "NOTIFY NONE",
            "LANGUAGE de",
            "COMPARATOR x",
            "ID NIL",
            "IDLE",
            "SETQUOTA x (STORAGE 1)",
            "CANCELUPDATE a",
            "XSOMETHING",
            "",
            "UID",
            "UID XFETCH 1 FLAGS",
            "SELECT INBOX (CONDSTORE)",
            "examine INBOX (x)",
            "FETCH 1 (FLAGS MODSEQ)",
            "FETCH 1 FLAGS (CHANGEDSINCE 1)",
            "UID FETCH 1:* (FLAGS) (changedsince 1 vanished)",
            "STORE 1 (UNCHANGEDSINCE 1) FLAGS ()",
            "SEARCH MODSEQ 1",
            "STATUS x (HIGHESTMODSEQ)",
            "LIST \"\" * RETURN (STATUS (HIGHESTMODSEQ))",
            "SEARCH RETURN (MIN SAVE) ALL",
            "SEARCH RETURN (UPDATE) ALL",
            "FETCH $ FLAGS",
        ] {
            assert_eq!(after(&[(line, Status::Ok)]), None, "{line}");
        }
    }

    #[test]
    fn reading_and_writing_mail_leaves_at_most_a_selected_mailbox() {
        let harmless = |line| (line, Status::Ok);
        let of_mailboxes = [
            "CAPABILITY",
            "noop",
            "LIST \"\" *",
            "STATUS INBOX (MESSAGES UNSEEN)",
            "CREATE x",
            "APPEND x (\\Seen) {3}",
            "GETQUOTAROOT INBOX",
        ];
        assert_eq!(after(&of_mailboxes.map(harmless)), Some(Remains::Nothing));
        let of_messages = [
            "SELECT INBOX",
            "UID SEARCH UNSEEN",
            "uid fetch 1:* (FLAGS BODY.PEEK[])",
            "STORE 1 +FLAGS (\\Deleted)",
            "EXPUNGE",
        ];
        assert_eq!(after(&of_messages.map(harmless)), Some(Remains::Mailbox));
    }

    #[test]
    fn a_mailbox_that_is_closed_or_was_never_open_does_not_remain() {
        let select = ("SELECT INBOX", Status::Ok);
        assert_eq!(
            after(&[select, ("CLOSE", Status::Ok)]),
            Some(Remains::Nothing)
        );
        assert_eq!(after(&[("SELECT x", Status::No)]), Some(Remains::Nothing));
        assert_eq!(
            after(&[select, ("UNSELECT", Status::No)]),
            Some(Remains::Mailbox)
        );
        assert_eq!(
            after(&[select, ("NOOP", Status::Ok)]),
            Some(Remains::Mailbox)
        );
    }

    #[test]
    fn without_unselect_a_selected_mailbox_stays() {
        let mut traces = Traces::new(None);
        traces.watch();
        assert_eq!(traces.remains(), Some(Remains::Nothing));
        traces.on_command(b"SELECT", Some(b"INBOX"));
        traces.on_answer(Status::Ok);
        assert_eq!(traces.remains(), None);
    }

    #[test]
    fn a_session_that_nobody_watches_is_never_clean() {
        assert_eq!(Traces::new(None).remains(), None);
    }
}
