//! `mailsluice profiles`: how kinds of clients are served.

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::ProfilesArguments;
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use crate::profile::{Mechanism, Profile, Quirk, Shown, builtin, names};
use crate::protocol::Protocol;

/// Lists the profiles, with the user's own among them where the configuration can be read; or tells all about one.
pub(crate) fn profiles(context: &Context, arguments: &ProfilesArguments) -> Result<Exit, CliError> {
    let all = known(context);
    let mut out = context.out();
    let chosen = match &arguments.name {
        None => None,
        Some(name) => match all.iter().find(|profile| profile.name == *name) {
            Some(profile) => Some(profile),
            None => {
                let known: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
                return Err(CliError::NoProfile {
                    name: name.clone(),
                    known: known.join(", "),
                });
            }
        },
    };
    match (chosen, arguments.json) {
        (Some(profile), true) => super::print_json(&mut out, &document(profile))?,
        (Some(profile), false) => detail(&mut out, profile)?,
        (None, true) => {
            let documents: Vec<Value> = all.iter().map(|it| document(it)).collect();
            super::print_json(&mut out, &documents)?;
        }
        (None, false) => {
            for profile in &all {
                writeln!(out, "{:16} {}", profile.name, profile.title)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// The program's own in the order of their table, then the user's by name.
fn known(context: &Context) -> Vec<Arc<Profile>> {
    let Ok(loaded) = context.load() else {
        return names().filter_map(builtin).map(Arc::new).collect();
    };
    let place = |profile: &Profile| {
        let at = names().position(|name| name == profile.name);
        (at.unwrap_or(usize::MAX), profile.name.clone())
    };
    let mut all: Vec<_> = loaded.config.profiles.values().cloned().collect();
    all.sort_by_key(|profile| place(profile));
    all
}

fn detail(out: &mut impl Write, profile: &Profile) -> std::io::Result<()> {
    writeln!(out, "{}: {}\n", profile.name, profile.title)?;
    writeln!(out, "mechanisms    {}", mechanisms(profile).join(", "))?;
    writeln!(out, "quirks        {}", or_none(&quirks(profile)))?;
    for protocol in Protocol::ALL {
        let Shown {
            before_login,
            only,
            hidden,
        } = profile.shown(protocol);
        writeln!(out, "{protocol}")?;
        writeln!(out, "  before login  {}", or_none(before_login))?;
        if let Some(only) = only {
            writeln!(out, "  only          {}", or_none(only))?;
        }
        writeln!(out, "  hidden        {}", or_none(hidden))?;
    }
    Ok(())
}

fn or_none<T: AsRef<str>>(words: &[T]) -> String {
    if words.is_empty() {
        return "none".to_owned();
    }
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    words.join(" ")
}

fn mechanisms(profile: &Profile) -> Vec<&'static str> {
    let all = profile.mechanisms.iter();
    all.map(|it: &Mechanism| it.name()).collect()
}

fn quirks(profile: &Profile) -> Vec<&'static str> {
    profile.quirks.iter().map(|it: &Quirk| it.name()).collect()
}

fn document(profile: &Profile) -> Value {
    let shown = |protocol| {
        let shown = profile.shown(protocol);
        json!({
            "before_login": shown.before_login,
            "only": shown.only,
            "hidden": shown.hidden,
        })
    };
    json!({
        "name": profile.name,
        "title": profile.title,
        "mechanisms": mechanisms(profile),
        "quirks": quirks(profile),
        "imap": shown(Protocol::Imap),
        "pop3": shown(Protocol::Pop3),
        "smtp": shown(Protocol::Smtp),
    })
}
