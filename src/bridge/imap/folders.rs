//! SELECT, LIST, STATUS and what else is done with folders, RFC 3501 section 6.3.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{List, StatusItem};
use super::names;
use super::say;
use super::selected::Selected;
use super::session::{Done, Failure, Session};
use crate::bridge::mailbox::{Flag, Flags, FolderView, SEPARATOR};
use crate::bridge::wire::Stream;

impl<S: Stream> Session<'_, S> {
    pub(super) async fn select(&mut self, folder: String, read_only: bool) -> Done {
        // Also a SELECT that fails leaves the old folder, RFC 3501 section 6.3.1.
        self.selected = None;
        self.changes.mark_unchanged();
        self.behind = false;
        let view = self.mailbox.view(&folder).await?;
        self.wire.say(opening(&view, read_only));
        self.selected = Some(Selected {
            folder,
            read_only,
            view,
        });
        Ok(if read_only {
            "OK [READ-ONLY] EXAMINE completed".into()
        } else {
            "OK [READ-WRITE] SELECT completed".into()
        })
    }

    pub(super) async fn create(&mut self, folder: &str) -> Done {
        self.mailbox.create(folder).await?;
        Ok("OK CREATE completed".into())
    }

    pub(super) async fn delete(&mut self, folder: &str) -> Done {
        self.mailbox.delete(folder).await?;
        if self.selected.as_ref().is_some_and(|s| s.folder == folder) {
            self.selected = None;
        }
        Ok("OK DELETE completed".into())
    }

    pub(super) async fn rename(&mut self, from: &str, to: &str) -> Done {
        self.mailbox.rename(from, to).await?;
        Ok("OK RENAME completed".into())
    }

    pub(super) async fn subscribe(&mut self, folder: &str, wanted: bool) -> Done {
        self.mailbox.subscribe(folder, wanted).await?;
        Ok("OK Subscription changed".into())
    }

    pub(super) async fn list(&mut self, list: &List) -> Done {
        let verb = if list.subscribed { "LSUB" } else { "LIST" };
        // An empty pattern asks for the separator, RFC 3501 section 6.3.8.
        if list.pattern.is_empty() {
            self.wire
                .say(format!("* {verb} (\\Noselect) \"{SEPARATOR}\" \"\"\r\n"));
            return Ok(format!("OK {verb} completed").into());
        }
        let pattern = format!("{}{}", list.reference, list.pattern);
        for (name, attributes) in self.tree(list.subscribed).await? {
            if names::matches(&pattern, &name) {
                let line = format!(
                    "* {verb} ({}) \"{SEPARATOR}\" {}\r\n",
                    attributes.join(" "),
                    say::mailbox(&name)
                );
                self.wire.say_much(line.as_bytes()).await?;
            }
        }
        Ok(format!("OK {verb} completed").into())
    }

    pub(super) async fn status(&mut self, folder: &str, items: &[StatusItem]) -> Done {
        let view = self.mailbox.view(folder).await?;
        let words: Vec<String> = items
            .iter()
            .map(|item| match item {
                StatusItem::Messages => format!("MESSAGES {}", view.messages.len()),
                StatusItem::Recent => "RECENT 0".to_owned(),
                StatusItem::UidNext => format!("UIDNEXT {}", view.uid_next),
                StatusItem::UidValidity => format!("UIDVALIDITY {}", view.uid_validity),
                StatusItem::Unseen => format!("UNSEEN {}", unseen(&view).count()),
            })
            .collect();
        self.wire.say(format!(
            "* STATUS {} ({})\r\n",
            say::mailbox(folder),
            words.join(" ")
        ));
        Ok("OK STATUS completed".into())
    }

    pub(super) async fn close(&mut self) -> Done {
        let selected = self.selected()?;
        if !selected.read_only {
            self.mailbox.expunge(&selected.folder, None).await?;
        }
        self.selected = None;
        Ok("OK CLOSE completed".into())
    }

    pub(super) fn unselect(&mut self) -> Done {
        self.selected()?;
        self.selected = None;
        Ok("OK UNSELECT completed".into())
    }

    /// All names with their attributes, and those that exist only as the way to others (`\Noselect`).
    async fn tree(&self, subscribed: bool) -> Result<BTreeMap<String, Vec<&'static str>>, Failure> {
        let folders = self.mailbox.folders().await?;
        let mut parents = BTreeSet::new();
        let mut tree = BTreeMap::new();
        for folder in folders.iter().filter(|f| f.subscribed || !subscribed) {
            for (at, _) in folder.name.match_indices(SEPARATOR) {
                parents.extend(folder.name.get(..at).map(str::to_owned));
            }
            let special_use = folder.special_use.map(|special| special.attribute());
            tree.insert(folder.name.clone(), special_use.into_iter().collect());
        }
        for parent in &parents {
            tree.entry(parent.clone())
                .or_insert_with(|| vec!["\\Noselect"]);
        }
        for (name, attributes) in &mut tree {
            attributes.push(if parents.contains(name) {
                "\\HasChildren"
            } else {
                "\\HasNoChildren"
            });
        }
        Ok(tree)
    }
}

/// What SELECT and EXAMINE say before their tagged reply.
fn opening(view: &FolderView, read_only: bool) -> String {
    let known: Flags = view
        .messages
        .iter()
        .flat_map(|message| message.flags.iter().cloned())
        .chain(Flag::SYSTEM)
        .collect();
    let known: Vec<&str> = known.iter().map(Flag::name).collect();
    let known = known.join(" ");
    let permanent = if read_only {
        String::new()
    } else {
        format!("{known} \\*")
    };
    let unseen = unseen(view)
        .next()
        .map(|number| format!("* OK [UNSEEN {number}] First unread\r\n"))
        .unwrap_or_default();
    format!(
        "* FLAGS ({known})\r\n* {} EXISTS\r\n* 0 RECENT\r\n{unseen}\
         * OK [PERMANENTFLAGS ({permanent})] Kept\r\n\
         * OK [UIDNEXT {}] Next\r\n* OK [UIDVALIDITY {}] Valid\r\n",
        view.messages.len(),
        view.uid_next,
        view.uid_validity,
    )
}

/// The numbers of unread messages.
fn unseen(view: &FolderView) -> impl Iterator<Item = usize> {
    (1..)
        .zip(view.messages.iter())
        .filter(|(_, message)| !message.flags.contains(&Flag::Seen))
        .map(|(number, _)| number)
}
