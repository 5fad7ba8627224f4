//! `[[account]]` entries → accounts.

use std::collections::HashMap;

use figment::value::Value;

use super::super::accounts::{CATCH_ALL, is_address};
use super::super::fault::Fault;
use super::super::file::AccountEntry;
use super::super::key::KeyPath;
use super::super::names::Names;
use super::super::read::read;
use super::super::runtime::{Account, Accounts};
use super::provider::provider;
use super::{Check, endpoint, secret};

/// Reads and checks every entry; names must be unique over all of them.
pub(in super::super) fn accounts(entries: Vec<Value>, check: &mut Check<'_>) -> Accounts {
    shared_only(check);
    let mut claimed: HashMap<String, String> = HashMap::new();
    let mut accounts = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let at = KeyPath::root().child("account").child(index);
        let Some(entry) = read::<AccountEntry>(entry, &at, &mut check.report) else {
            continue;
        };
        claim(&entry, &at, &mut claimed, check);
        accounts.extend(account(&entry, &at, check));
    }
    Accounts::new(accounts)
}

/// `[defaults]` may not say what only one account can have.
fn shared_only(check: &mut Check<'_>) {
    let at = KeyPath::dotted("defaults");
    let own = [
        ("address", check.defaults.address.is_some()),
        ("login_names", check.defaults.login_names.is_some()),
        ("hosting_account", check.defaults.hosting_account.is_some()),
    ];
    for (name, _) in own.iter().filter(|(_, said)| *said) {
        check.report.add(&at.child(name), Fault::NotShared);
    }
}

fn claim(
    entry: &AccountEntry,
    at: &KeyPath,
    claimed: &mut HashMap<String, String>,
    check: &mut Check<'_>,
) {
    check
        .addresses
        .extend(entry.address.iter().map(|a| a.to_lowercase()));
    let address = entry.address.iter().map(|name| (at.child("address"), name));
    let login_names = entry.login_names.iter().flatten().enumerate();
    let aliases = login_names.map(|(i, name)| (at.child("login_names").child(i), name));
    for (key, name) in address.chain(aliases) {
        let owner = entry.address.clone().unwrap_or_default();
        if let Some(other) = claimed.insert(name.to_lowercase(), owner) {
            check.report.add(
                &key,
                Fault::NameTaken {
                    name: name.clone(),
                    other,
                },
            );
        }
    }
}

fn account(entry: &AccountEntry, at: &KeyPath, check: &mut Check<'_>) -> Option<Account> {
    let address = address(entry, at, check)?;
    let names = Names::of(&address)?;
    login_names(entry, at, &names, check);
    let provider = provider(entry, at, &names, check);
    let auth = secret::auth(entry, at, &names, check);
    let provider = provider?;
    let endpoints = endpoint::endpoints(entry, at, &names, &provider, check);
    Some(Account {
        address: address.to_lowercase(),
        login_names: entry
            .login_names
            .iter()
            .flatten()
            .map(|n| n.to_lowercase())
            .collect(),
        provider: provider.name().to_owned(),
        auth: auth?,
        endpoints: endpoints?,
    })
}

/// The address as written: the upstream gets it in its own case.
fn address(entry: &AccountEntry, at: &KeyPath, check: &mut Check<'_>) -> Option<String> {
    let key = at.child("address");
    let Some(address) = &entry.address else {
        check.report.add(&key, Fault::NoAddress);
        return None;
    };
    let starred = address.contains(CATCH_ALL) && !address.starts_with("*@");
    if starred || !is_address(address) {
        check.report.add(&key, Fault::NotAnAddress(address.clone()));
        return None;
    }
    Some(address.clone())
}

fn login_names(entry: &AccountEntry, at: &KeyPath, names: &Names<'_>, check: &mut Check<'_>) {
    let key = at.child("login_names");
    let Some(login_names) = &entry.login_names else {
        return;
    };
    if names.local_part() == CATCH_ALL && !login_names.is_empty() {
        check.report.add(&key, Fault::CatchAllWithNames);
    }
    for (index, name) in login_names.iter().enumerate() {
        if name.is_empty() || name.contains(char::is_control) || name.contains(CATCH_ALL) {
            check.report.add(&key.child(index), Fault::NotALoginName);
        }
    }
}
