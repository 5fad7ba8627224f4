//! `[profile.NAME]` tables → profiles, those that come with the program among them.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use super::super::fault::Fault;
use super::super::file::{ProfileEntry, ShownTable};
use super::super::key::KeyPath;
use super::super::nearest::nearest;
use super::Check;
use crate::profile::{Mechanism, Profile, Quirk, Shown, builtin, names};

/// All profiles by name: the file's own over those that come with the program.
pub(in super::super) fn profiles(
    entries: &BTreeMap<String, ProfileEntry>,
    check: &mut Check<'_>,
) -> HashMap<String, Arc<Profile>> {
    let mut profiles: HashMap<String, Arc<Profile>> = names()
        .filter_map(|name| Some((name.to_owned(), Arc::new(builtin(name)?))))
        .collect();
    for name in entries.keys() {
        if let Some(profile) = profile(name, entries, &mut Vec::new(), check) {
            profiles.insert(name.clone(), Arc::new(profile));
        }
    }
    profiles
}

/// The profile that an entry at `key` chooses, or a report.
pub(super) fn chosen(
    name: Option<&String>,
    key: &KeyPath,
    check: &mut Check<'_>,
) -> Option<Arc<Profile>> {
    let name = name?;
    let found = check.profiles.get(name).cloned();
    if found.is_none() {
        let known = check.profiles.keys().map(String::as_str);
        let fault = unknown(name, known);
        check.report.add(key, fault);
    }
    found
}

/// `below` are those that stand on this one: a base that is among them would stand on itself.
fn profile(
    name: &str,
    entries: &BTreeMap<String, ProfileEntry>,
    below: &mut Vec<String>,
    check: &mut Check<'_>,
) -> Option<Profile> {
    let at = KeyPath::dotted("profile").child(name);
    let Some(entry) = entries.get(name) else {
        return builtin(name);
    };
    below.push(name.to_owned());
    let base = base(name, entry, entries, below, &at, check)?;
    let quirks = each(entry.quirks.as_ref(), &at.child("quirks"), check, || {
        Fault::UnknownQuirk(listed(&Quirk::ALL.map(Quirk::name)))
    });
    let mechanisms = each(
        entry.mechanisms.as_ref(),
        &at.child("mechanisms"),
        check,
        || Fault::UnknownMechanism(listed(&Mechanism::ALL.map(Mechanism::name))),
    );
    if mechanisms.as_ref().is_some_and(Vec::is_empty) {
        check
            .report
            .add(&at.child("mechanisms"), Fault::NoMechanism);
    }
    Some(Profile {
        name: name.to_owned(),
        title: entry.title.clone().unwrap_or(base.title),
        mechanisms: mechanisms.unwrap_or(base.mechanisms),
        quirks: quirks.unwrap_or(base.quirks),
        imap: shown(&entry.imap, base.imap, &at.child("imap"), check),
        pop3: shown(&entry.pop3, base.pop3, &at.child("pop3"), check),
        smtp: shown(&entry.smtp, base.smtp, &at.child("smtp"), check),
    })
}

fn base(
    name: &str,
    entry: &ProfileEntry,
    entries: &BTreeMap<String, ProfileEntry>,
    below: &mut Vec<String>,
    at: &KeyPath,
    check: &mut Check<'_>,
) -> Option<Profile> {
    let key = at.child("base");
    let Some(base) = &entry.base else {
        // One that the program has is changed; any other must say what it stands on.
        let own = builtin(name);
        if own.is_none() {
            check
                .report
                .add(&key, Fault::NoBase(listed(&names().collect::<Vec<_>>())));
        }
        return own;
    };
    if below.contains(base) {
        check.report.add(&key, Fault::BaseOfItself);
        return None;
    }
    if !entries.contains_key(base) && builtin(base).is_none() {
        let mut known: Vec<&str> = names().collect();
        known.extend(entries.keys().map(String::as_str));
        let fault = unknown(base, known.into_iter());
        check.report.add(&key, fault);
        return None;
    }
    profile(base, entries, below, check)
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    Fault::UnknownProfile {
        name: name.to_owned(),
        nearest: nearest(&name.to_lowercase(), known).map(str::to_owned),
    }
}

/// Each word of a list; those that name nothing are reported.
fn each<T: FromStr>(
    words: Option<&Vec<String>>,
    key: &KeyPath,
    check: &mut Check<'_>,
    fault: impl Fn() -> Fault,
) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for (index, word) in words?.iter().enumerate() {
        match word.parse() {
            Ok(it) => all.push(it),
            Err(_) => check.report.add(&key.child(index), fault()),
        }
    }
    Some(all)
}

fn shown(table: &ShownTable, base: Shown, at: &KeyPath, check: &mut Check<'_>) -> Shown {
    let mut take = |name: &str, words: Option<&Vec<String>>| {
        let words = words?;
        for (index, word) in words.iter().enumerate() {
            if word.is_empty() || !word.bytes().all(|b| b.is_ascii_graphic()) {
                check
                    .report
                    .add(&at.child(name).child(index), Fault::NotACapability);
            }
        }
        Some(words.clone())
    };
    Shown {
        before_login: take("before_login", table.before_login.as_ref())
            .unwrap_or(base.before_login),
        only: take("only", table.only.as_ref()).or(base.only),
        hidden: take("hidden", table.hidden.as_ref()).unwrap_or(base.hidden),
    }
}

fn listed(words: &[&str]) -> String {
    words.join(", ")
}
