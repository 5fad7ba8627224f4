//! Grants that several accounts have in common: the same in everything, and asked for what all of them need.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::super::fault::Fault;
use super::super::super::key::KeyPath;
use super::super::super::oauth::Grant;
use super::super::super::runtime::{Account, AccountAuth};
use super::super::Check;

/// Takes down that the account at `at` has this grant. Another account's grant of the same name must be the same.
pub(in super::super) fn register(
    grant: Grant,
    address: &str,
    at: &KeyPath,
    check: &mut Check<'_>,
) -> Arc<Grant> {
    let Some((other, first)) = check.grants.get_mut(&grant.name) else {
        let name = grant.name.clone();
        let first = (address.to_owned(), grant.clone());
        check.grants.insert(name, first);
        return Arc::new(grant);
    };
    match difference(first, &grant) {
        None => {
            let needed = grant.scopes.by_protocol.clone();
            first.scopes.by_protocol.extend(needed);
        }
        Some(what) => {
            let fault = Fault::GrantDiffers {
                grant: grant.name.clone(),
                other: other.clone(),
                what,
            };
            check.report.add(&at.child("oauth"), fault);
        }
    }
    Arc::new(grant)
}

/// Gives the accounts that share a grant one and the same.
pub(in super::super) fn share(accounts: &mut [Account], check: &mut Check<'_>) {
    let grants = std::mem::take(&mut check.grants);
    let whole: BTreeMap<String, Arc<Grant>> = grants
        .into_iter()
        .map(|(name, (_, grant))| (name, Arc::new(grant)))
        .collect();
    for account in accounts {
        if let AccountAuth::OAuth(grant) = &mut account.auth
            && let Some(whole) = whole.get(&grant.name)
        {
            *grant = Arc::clone(whole);
        }
    }
}

/// What two grants of one name do not agree in. A protocol that only one of them has is no difference, but what both
/// have is asked for with the same scopes.
fn difference(a: &Grant, b: &Grant) -> Option<&'static str> {
    let same_protocols = a.scopes.by_protocol.iter().all(|(protocol, scopes)| {
        let other = b.scopes.by_protocol.get(protocol);
        other.is_none_or(|other| other == scopes)
    });
    let same_scopes = a.scopes.common == b.scopes.common && a.scopes.separate == b.scopes.separate;
    let parameters = a.authorize_parameters == b.authorize_parameters
        && a.token_parameters == b.token_parameters;
    let checks = [
        ("issuer", a.issuer == b.issuer),
        ("client", a.client == b.client),
        ("flow", a.flow == b.flow),
        ("choice of scopes", same_scopes && same_protocols),
        ("choice of parameters", parameters),
    ];
    let found = checks.iter().find(|(_, same)| !same);
    found.map(|(what, _)| *what)
}
