//! Where an account's password comes from.

use std::path::Path;

use super::super::fault::Fault;
use super::super::file::{AccountEntry, AuthWord, PasswordEntry, PasswordTable};
use super::super::key::KeyPath;
use super::super::names::{Names, has_placeholder};
use super::super::runtime::{AccountAuth, SecretSource};
use super::super::{accounts, accounts::CATCH_ALL};
use super::Check;
use super::files::Holds;

/// What the upstream takes for this account. What it says itself comes before what `[defaults]` says.
pub(super) fn auth(
    entry: &AccountEntry,
    at: &KeyPath,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> Option<AccountAuth> {
    let levels = [
        (entry, at.clone()),
        (check.defaults, KeyPath::dotted("defaults")),
    ];
    let said = levels
        .iter()
        .find(|(e, _)| e.auth.is_some() || e.password.is_some());
    let Some((level, level_at)) = said else {
        check.report.add(&at.child("password"), Fault::NoPassword);
        return None;
    };
    let key = level_at.child("password");
    match (level.auth, &level.password) {
        (Some(AuthWord::Passthrough), None) => Some(AccountAuth::Passthrough),
        (Some(AuthWord::Passthrough), Some(_)) => {
            check.report.add(&key, Fault::PasswordWithPassthrough);
            None
        }
        (_, None) => {
            check.report.add(&key, Fault::NoPassword);
            None
        }
        (_, Some(password)) => {
            let source = source(password, &key, check)?;
            let source = filled(source, &key, names, check)?;
            reachable(&source, &key, names, check);
            Some(AccountAuth::Password(source))
        }
    }
}

/// The one source that is named.
fn source(password: &PasswordEntry, key: &KeyPath, check: &mut Check<'_>) -> Option<SecretSource> {
    let PasswordEntry::From(table) = password else {
        return Some(SecretSource::Stored);
    };
    let PasswordTable {
        command,
        file,
        env,
        systemd,
        keyring,
    } = table;
    let mut named = [
        command.clone().map(SecretSource::Command),
        file.as_ref().map(|f| SecretSource::File(check.path(f))),
        env.clone().map(SecretSource::Env),
        systemd.clone().map(SecretSource::SystemdCredential),
        keyring.clone().map(SecretSource::Keyring),
    ]
    .into_iter()
    .flatten();
    let (first, second) = (named.next(), named.next());
    if first.is_none() || second.is_some() {
        if !check.report.refused_below(key) {
            check.report.add(key, Fault::NotOneSource);
        }
        return None;
    }
    if let Some(name) = blank_or_odd(table) {
        check.report.add(&key.child(name), Fault::NoName);
        return None;
    }
    first
}

/// The key whose name is empty, or would lead out of the folder of credentials.
fn blank_or_odd(table: &PasswordTable) -> Option<&'static str> {
    let blank = |text: &Option<String>| text.as_ref().is_some_and(|t| t.trim().is_empty());
    let named = [
        ("command", blank(&table.command)),
        ("file", blank(&table.file)),
        ("env", blank(&table.env)),
        ("keyring", blank(&table.keyring)),
        (
            "systemd",
            table
                .systemd
                .as_ref()
                .is_some_and(|name| !is_credential_name(name)),
        ),
    ];
    named
        .iter()
        .find(|(_, wrong)| *wrong)
        .map(|(name, _)| *name)
}

/// systemd names credentials like files (systemd.exec(5), `LoadCredential=`).
pub(super) fn is_credential_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains('/')
}

/// A catch-all entry keeps its placeholders until a client says who it is.
fn filled(
    source: SecretSource,
    key: &KeyPath,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> Option<SecretSource> {
    if names.local_part() == CATCH_ALL {
        return Some(source);
    }
    let filled = accounts::fill_source(&source, names);
    if filled.is_none() {
        check.report.add(key, Fault::AddressNotInert);
    }
    filled
}

fn reachable(source: &SecretSource, key: &KeyPath, names: &Names<'_>, check: &mut Check<'_>) {
    let waits = |text: &str| names.local_part() == CATCH_ALL && has_placeholder(text);
    let (step, fault) = match source {
        SecretSource::File(path) if !waits(&path.to_string_lossy()) => {
            ("file", check.files.check(path, Holds::Secret))
        }
        SecretSource::Env(name) if check.for_service && !waits(name) => {
            let set = check.environment.contains_key(name);
            ("env", (!set).then(|| Fault::VariableNotSet(name.clone())))
        }
        SecretSource::SystemdCredential(name) if check.for_service && !waits(name) => {
            ("systemd", credential(name, check))
        }
        _ => return,
    };
    if let Some(fault) = fault {
        check.report.add(&key.child(step), fault);
    }
}

/// What is wrong with a systemd credential.
pub(super) fn credential(name: &str, check: &mut Check<'_>) -> Option<Fault> {
    match check.environment.get("CREDENTIALS_DIRECTORY") {
        Some(folder) => check
            .files
            .check(&Path::new(folder).join(name), Holds::Secret),
        None => Some(Fault::NoCredentials(name.to_owned())),
    }
}
