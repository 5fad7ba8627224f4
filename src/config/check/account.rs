//! `[[account]]` entries → accounts.

use std::collections::HashMap;

use figment::value::Value;

use super::super::accounts::{CATCH_ALL, is_address};
use super::super::fault::Fault;
use super::super::file::AccountEntry;
use super::super::issuers;
use super::super::key::KeyPath;
use super::super::names::Names;
use super::super::oauth::Grant;
use super::super::read::read;
use super::super::runtime::{Account, AccountAuth, Accounts, Endpoint, IDLE_RENEWAL};
use super::endpoint::{Owner, Servers};
use super::profile::chosen;
use super::provider::Preset;
use super::secret::{Proof, Said};
use super::{Check, endpoint, oauth, provider, secret};
use crate::protocol::Protocol;

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
    oauth::share(&mut accounts, check);
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
    let preset = provider::provider(entry, at, &names, check);
    let Servers {
        mut endpoints,
        owners,
    } = match &preset {
        Some(preset) => endpoint::servers(entry, at, &names, preset, check),
        None => Servers::default(),
    };
    let said = Said {
        entry,
        at,
        names: &names,
        refused: owners.iter().any(|(_, owner)| !owner.takes_password),
        has_issuer: owners.iter().any(|(_, owner)| !owner.issuer.is_empty()),
    };
    let auth = match secret::proof(&said, check)? {
        Proof::Password(source) => AccountAuth::Password(source),
        Proof::Passthrough => AccountAuth::Passthrough,
        Proof::Token => {
            let on = endpoints.get_or_insert_default();
            let grant = token(&said, &owners, on, check)?;
            AccountAuth::OAuth(oauth::register(grant, &address, at, check))
        }
    };
    let passwords = !matches!(auth, AccountAuth::OAuth(_));
    if let (true, Some(fault)) = (passwords, refusal(&owners, endpoints.as_ref())) {
        check.report.add(&at.child("provider"), fault);
        return None;
    }
    let said = entry.profile.as_ref();
    let (name, key) = match said {
        Some(_) => (said, at.child("profile")),
        None => (
            check.defaults.profile.as_ref(),
            KeyPath::dotted("defaults").child("profile"),
        ),
    };
    Some(Account {
        profile: chosen(name, &key, check),
        address: address.to_lowercase(),
        login_names: entry
            .login_names
            .iter()
            .flatten()
            .map(|n| n.to_lowercase())
            .collect(),
        idle_renewal: preset.as_ref().map_or(IDLE_RENEWAL, Preset::idle_renewal),
        provider: preset?.name().to_owned(),
        auth,
        endpoints: endpoints?,
    })
}

/// That some of these servers take no password.
fn refusal(
    owners: &[(Protocol, Owner)],
    endpoints: Option<&HashMap<Protocol, Endpoint>>,
) -> Option<Fault> {
    let refusing: Vec<_> = owners.iter().filter(|(_, o)| !o.takes_password).collect();
    let (_, owner) = refusing.first()?;
    let names: Vec<&str> = refusing.iter().map(|(p, _)| p.name()).collect();
    let off: Vec<String> = names.iter().map(|name| format!("{name} = false")).collect();
    let others = endpoints.is_some_and(|all| all.len() > refusing.len());
    Some(Fault::SignInNeeded {
        title: owner.title.clone(),
        protocols: names.join(", "),
        guide: oauth::guide(&owner.issuer).map(str::to_owned),
        way_out: others.then(|| off.join(" and ")),
    })
}

/// The grant of an account that takes tokens. What its issuer has no tokens for is off, unless it is asked for.
fn token(
    said: &Said<'_>,
    owners: &[(Protocol, Owner)],
    endpoints: &mut HashMap<Protocol, Endpoint>,
    check: &mut Check<'_>,
) -> Option<Grant> {
    let mut issuers = owners.iter().map(|(_, owner)| owner.issuer.as_str());
    let protocols: Vec<Protocol> = endpoints.keys().copied().collect();
    let asked = oauth::Asked {
        entry: said.entry,
        at: said.at,
        names: said.names,
        provider_issuer: issuers.find(|name| !name.is_empty()).unwrap_or_default(),
        protocols: &protocols,
    };
    let grant = oauth::grant(&asked, check)?;
    let preset = issuers::find(&grant.issuer.name);
    let serves = |protocol: Protocol| preset.is_none_or(|preset| preset.serves(protocol));
    for protocol in protocols.into_iter().filter(|p| !serves(*p)) {
        endpoints.remove(&protocol);
        if endpoint::switch(provider::said(said.entry, protocol)) == Some(true) {
            let fault = Fault::NoTokensFor {
                title: grant.issuer.title.clone(),
                protocol: protocol.name(),
            };
            check.report.add(&said.at.child(protocol), fault);
        }
    }
    if endpoints.is_empty() {
        check.report.add(said.at, Fault::NothingOn);
    }
    Some(grant)
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
