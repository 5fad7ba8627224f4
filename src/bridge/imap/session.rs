//! After login: reads commands, carries each out and says how it ended.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::command::Command;
use super::frame::{self, Frame, Limits};
use super::login::AFTER_LOGIN;
use super::say;
use super::scan::Scanner;
use super::selected::Selected;
use crate::bridge::mailbox::{Mailbox, MailboxError};
use crate::bridge::wire::{Stream, Wire, WireError};

/// A client that is logged in.
pub(super) struct Session<'w, S> {
    pub(super) wire: &'w mut Wire<S>,
    pub(super) mailbox: Arc<dyn Mailbox>,
    pub(super) selected: Option<Selected>,
    pub(super) changes: watch::Receiver<u64>,
    /// There are changes of the selected folder that were not told yet.
    pub(super) behind: bool,
}

/// What follows the tag of a command that was carried out.
pub(super) type Done = Result<Cow<'static, str>, Failure>;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The client is gone.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The mailbox said no.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// The mailbox said no to putting something into a folder.
    #[error("the target folder")]
    Target(#[source] MailboxError),
    /// Not now, or not like this: what follows the tag.
    #[error("{0}")]
    Said(&'static str),
    /// The selected folder is gone, and with it the sense of every number the client knows.
    #[error("the selected folder is gone")]
    FolderGone,
}

impl<'w, S: Stream> Session<'w, S> {
    pub(super) fn new(wire: &'w mut Wire<S>, mailbox: Arc<dyn Mailbox>) -> Self {
        let changes = mailbox.changes();
        Self {
            wire,
            mailbox,
            selected: None,
            changes,
            behind: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<(), WireError> {
        let limits = Limits::after_login(self.mailbox.max_message_size());
        let mut errors = 0;
        while errors < ERRORS_MAX {
            let frame = match frame::read(self.wire, limits).await? {
                Frame::Command(frame) => frame,
                Frame::Refused => {
                    errors += 1;
                    continue;
                }
                Frame::Lost => return Ok(()),
            };
            match self.answer(&frame).await? {
                Next::Command => errors = 0,
                Next::AfterError => errors += 1,
                Next::Leave => return Ok(()),
            }
        }
        self.wire.say("* BYE Too many errors\r\n");
        Ok(())
    }

    async fn answer(&mut self, frame: &Bytes) -> Result<Next, WireError> {
        let mut s = Scanner::new(frame);
        let Ok(tag) = s.tag() else {
            self.wire.say("* BAD A tag comes first\r\n");
            return Ok(Next::AfterError);
        };
        let command = match s.sp().and_then(|()| Command::parse(&mut s, frame)) {
            Ok(command) => command,
            Err(expected) => {
                self.wire.say(format!("{tag} BAD {expected}\r\n"));
                return Ok(Next::AfterError);
            }
        };
        if command == Command::Logout {
            self.wire.say(format!(
                "* BYE Until next time\r\n{tag} OK LOGOUT completed\r\n"
            ));
            return Ok(Next::Leave);
        }
        let keeps_numbers = keeps_numbers(&command);
        let mut done = self.carry_out(command).await;
        // RFC 3501 section 7.4.1: no EXPUNGE while message numbers are being talked about.
        if !keeps_numbers && let Err(failure) = self.tell_changes().await {
            done = Err(failure);
        }
        match done {
            Ok(words) => self.wire.say(format!("{tag} {words}\r\n")),
            Err(Failure::Wire(error)) => return Err(error),
            Err(Failure::FolderGone) => {
                self.wire.say("* BYE The selected folder is gone\r\n");
                return Ok(Next::Leave);
            }
            Err(failure) => self.wire.say(format!("{tag} {}\r\n", failure.words())),
        }
        Ok(Next::Command)
    }

    async fn carry_out(&mut self, command: Command) -> Done {
        match command {
            Command::Capability => {
                self.wire.say(format!("* CAPABILITY {AFTER_LOGIN}\r\n"));
                Ok("OK CAPABILITY completed".into())
            }
            Command::Noop | Command::Logout => Ok("OK NOOP completed".into()),
            Command::Check => self.selected().map(|_| "OK CHECK completed".into()),
            Command::Id => {
                self.wire.say("* ID NIL\r\n");
                Ok("OK ID completed".into())
            }
            Command::Namespace => {
                self.wire.say("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
                Ok("OK NAMESPACE completed".into())
            }
            Command::Idle => self.idle().await,
            Command::Select { folder, read_only } => self.select(folder, read_only).await,
            Command::Create(folder) => self.create(&folder).await,
            Command::Delete(folder) => self.delete(&folder).await,
            Command::Rename { from, to } => self.rename(&from, &to).await,
            Command::Subscribe { folder, wanted } => self.subscribe(&folder, wanted).await,
            Command::List(list) => self.list(&list).await,
            Command::Status { folder, items } => self.status(&folder, &items).await,
            Command::Append(append) => self.append(append).await,
            Command::Close => self.close().await,
            Command::Unselect => self.unselect(),
            Command::Expunge => self.expunge(None).await,
            Command::UidExpunge(set) => self.expunge(Some(set)).await,
            Command::Search { uid, search } => self.search(uid, search).await,
            Command::Fetch { uid, set, items } => self.fetch(uid, &set, items).await,
            Command::Store {
                uid,
                set,
                change,
                silent,
            } => self.store(uid, &set, &change, silent).await,
            Command::Copy {
                uid,
                set,
                target,
                moves,
            } => self.copy(uid, &set, &target, moves).await,
        }
    }

    /// The selected folder.
    pub(super) fn selected(&self) -> Result<&Selected, Failure> {
        self.selected.as_ref().ok_or(NOT_SELECTED)
    }

    /// The selected folder, to be changed.
    pub(super) fn selected_writable(&mut self) -> Result<&mut Selected, Failure> {
        match self.selected.as_mut() {
            Some(selected) if selected.read_only => Err(Failure::Said(
                "NO [READ-ONLY] The folder was opened for reading only",
            )),
            selected => selected.ok_or(NOT_SELECTED),
        }
    }

    /// Tells what others, or the command itself, have changed in the selected folder.
    pub(super) async fn tell_changes(&mut self) -> Result<(), Failure> {
        let Some(selected) = self.selected.as_mut() else {
            return Ok(());
        };
        // A sender that is gone has no more to tell.
        self.behind |= self.changes.has_changed().unwrap_or(false);
        if !self.behind {
            return Ok(());
        }
        self.changes.mark_unchanged();
        let now = match self.mailbox.view(&selected.folder).await {
            Ok(now) if now.uid_validity == selected.view.uid_validity => now,
            Ok(_) | Err(MailboxError::NoSuchFolder) => return Err(Failure::FolderGone),
            // Told another time. What the command did is done, and a NO would make the client do it again.
            Err(_) => return Ok(()),
        };
        self.behind = false;
        let untagged = selected.advance(now);
        self.wire.say_much(untagged.as_bytes()).await?;
        Ok(())
    }
}

impl Failure {
    fn words(&self) -> &'static str {
        match self {
            Self::Mailbox(error) => say::refusal(error, false),
            Self::Target(error) => say::refusal(error, true),
            Self::Said(words) => words,
            Self::Wire(_) | Self::FolderGone => "NO [UNAVAILABLE] The connection ends",
        }
    }
}

/// What comes after a command.
enum Next {
    Command,
    AfterError,
    Leave,
}

/// Whether message numbers must mean the same when the command has ended.
fn keeps_numbers(command: &Command) -> bool {
    matches!(
        command,
        Command::Fetch { uid: false, .. }
            | Command::Store { uid: false, .. }
            | Command::Search { uid: false, .. }
    )
}

const NOT_SELECTED: Failure = Failure::Said("BAD Select a folder first");

/// Commands in a row that make no sense; Dovecot closes after 20.
const ERRORS_MAX: u32 = 20;
