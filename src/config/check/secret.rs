//! How an account proves itself upstream, and where a secret comes from.

use std::path::Path;

use super::super::fault::Fault;
use super::super::file::{AccountEntry, AuthWord, PasswordEntry, PasswordTable};
use super::super::key::KeyPath;
use super::super::names::{Names, has_placeholder};
use super::super::runtime::SecretSource;
use super::super::{accounts, accounts::CATCH_ALL};
use super::Check;
use super::files::Holds;

/// How an account proves itself upstream.
pub(super) enum Proof {
    /// By a password from there.
    Password(SecretSource),
    /// By what the client sends.
    Passthrough,
    /// By a token.
    Token,
}

/// What an account says about its proof, or leaves to others.
pub(super) struct Said<'a> {
    pub(super) entry: &'a AccountEntry,
    pub(super) at: &'a KeyPath,
    pub(super) names: &'a Names<'a>,
    /// Whether a server of its refuses passwords.
    pub(super) refused: bool,
    /// Whether the provider is known to take tokens.
    pub(super) has_issuer: bool,
}

/// How this account proves itself. What it says itself comes first; where a provider takes nothing but tokens there is
/// no other way; then comes what `[defaults]` says.
pub(super) fn proof(said: &Said<'_>, check: &mut Check<'_>) -> Option<Proof> {
    let own = said.entry;
    if own.auth.is_some() || own.password.is_some() || own.oauth.is_some() {
        return one_level(own, said.at, said, check);
    }
    if said.refused {
        return Some(Proof::Token);
    }
    // There `oauth = { … }` says how, not whether.
    let shared = check.defaults;
    if shared.auth.is_some() || shared.password.is_some() {
        return one_level(shared, &KeyPath::dotted("defaults"), said, check);
    }
    no_password(&said.at.child("password"), said, check)
}

fn one_level(
    level: &AccountEntry,
    at: &KeyPath,
    said: &Said<'_>,
    check: &mut Check<'_>,
) -> Option<Proof> {
    let own = std::ptr::eq(level, said.entry);
    let key = at.child("password");
    let tokens = own && level.oauth.is_some();
    match (level.auth, &level.password) {
        (Some(AuthWord::OAuth), _) => Some(Proof::Token),
        (None, _) if tokens => Some(Proof::Token),
        (Some(_), _) if tokens => {
            check.report.add(&at.child("oauth"), Fault::OAuthWithoutUse);
            None
        }
        (Some(AuthWord::Passthrough), None) => Some(Proof::Passthrough),
        (Some(AuthWord::Passthrough), Some(_)) => {
            check.report.add(&key, Fault::PasswordWithPassthrough);
            None
        }
        (_, None) => no_password(&key, said, check),
        (_, Some(entry)) => password(entry, &key, said.names, check).map(Proof::Password),
    }
}

fn no_password(key: &KeyPath, said: &Said<'_>, check: &mut Check<'_>) -> Option<Proof> {
    let oauth = said.has_issuer;
    check.report.add(key, Fault::NoPassword { oauth });
    None
}

/// A password's source, with the address filled in, and within reach.
pub(super) fn password(
    entry: &PasswordEntry,
    key: &KeyPath,
    names: &Names<'_>,
    check: &mut Check<'_>,
) -> Option<SecretSource> {
    let source = match entry {
        PasswordEntry::Stored => SecretSource::Stored,
        PasswordEntry::From(table) => source(table, key, check)?,
    };
    let source = filled(source, key, names, check)?;
    reachable(&source, key, names, check);
    Some(source)
}

/// The source of a client secret, which is no account's own.
pub(super) fn client_secret(
    table: &PasswordTable,
    key: &KeyPath,
    check: &mut Check<'_>,
) -> Option<SecretSource> {
    let source = source(table, key, check)?;
    check_reach(&source, key, check);
    Some(source)
}

/// The one source that is named.
fn source(table: &PasswordTable, key: &KeyPath, check: &mut Check<'_>) -> Option<SecretSource> {
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

/// A catch-all entry's placeholders wait for a name; anything else must be there.
fn reachable(source: &SecretSource, key: &KeyPath, names: &Names<'_>, check: &mut Check<'_>) {
    let waits = |text: &str| names.local_part() == CATCH_ALL && has_placeholder(text);
    let waiting = match source {
        SecretSource::File(path) => waits(&path.to_string_lossy()),
        SecretSource::Env(name) | SecretSource::SystemdCredential(name) => waits(name),
        _ => false,
    };
    if !waiting {
        check_reach(source, key, check);
    }
}

fn check_reach(source: &SecretSource, key: &KeyPath, check: &mut Check<'_>) {
    let (step, fault) = match source {
        SecretSource::File(path) => ("file", check.files.check(path, Holds::Secret)),
        SecretSource::Env(name) if check.for_service => {
            let set = check.environment.contains_key(name);
            ("env", (!set).then(|| Fault::VariableNotSet(name.clone())))
        }
        SecretSource::SystemdCredential(name) if check.for_service => {
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
