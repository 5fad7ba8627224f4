//! What is asked of the issuer: scopes, and further parameters of its requests.

use std::collections::BTreeMap;

use super::super::super::fault::Fault;
use super::super::super::file::{ScopesEntry, ScopesTable};
use super::super::super::issuers::FlowName;
use super::super::super::key::KeyPath;
use super::super::super::oauth::Scopes;
use super::super::Check;
use super::Level;
use super::issuer::Known;
use crate::protocol::Protocol;

/// Further parameters, merged.
pub(super) struct Parameters {
    pub(super) authorize: BTreeMap<String, String>,
    pub(super) token: BTreeMap<String, String>,
}

/// Checks what `[issuer.NAME]` asks for, whoever uses it.
pub(super) fn check_entry(known: &Known<'_>, check: &mut Check<'_>) {
    let Some(entry) = known.entry else { return };
    if let Some(scopes) = &entry.scopes {
        are_scopes(scopes, &known.at, check);
    }
    let at = known.at.child("authorize_parameters");
    not_reserved(entry.authorize_parameters.as_ref(), &at, AUTHORIZE, check);
    let at = known.at.child("token_parameters");
    not_reserved(entry.token_parameters.as_ref(), &at, TOKEN, check);
}

/// The preset's scopes, and over them what is said, the weakest level first.
pub(super) fn scopes(
    known: &Known<'_>,
    flow: FlowName,
    protocols: &[Protocol],
    levels: &[Level<'_>],
    check: &mut Check<'_>,
) -> Option<Scopes> {
    let mut scopes = preset(known, flow);
    let of_issuer = known.entry.and_then(|e| e.scopes.as_ref());
    let of_levels = levels.iter().rev();
    let of_levels = of_levels.filter_map(|l| Some((l.said.scopes.as_ref()?, &l.at)));
    let mut good = true;
    for (said, at) in of_issuer
        .map(|said| (said, &known.at))
        .into_iter()
        .chain(of_levels)
    {
        good &= are_scopes(said, at, check);
        match said {
            ScopesEntry::Exactly(list) => {
                scopes = Scopes {
                    common: list.clone(),
                    ..Scopes::default()
                };
            }
            ScopesEntry::Over(table) => lay_over(&mut scopes, table),
        }
    }
    let on = |protocol: &Protocol| protocols.contains(protocol);
    scopes
        .by_protocol
        .retain(|protocol, list| on(protocol) && !list.is_empty());
    good.then_some(scopes)
}

/// The preset's parameters, and over them what is said. An empty text takes one away.
pub(super) fn parameters(
    known: &Known<'_>,
    login_hint: Option<&str>,
    levels: &[Level<'_>],
    check: &mut Check<'_>,
) -> Parameters {
    let mut authorize = BTreeMap::new();
    let mut token = BTreeMap::new();
    // OpenID Connect Core section 3.1.2.1: spares the person the choice of an account.
    authorize.extend(login_hint.map(|hint| ("login_hint".to_owned(), hint.to_owned())));
    authorize.extend(
        known
            .preset
            .into_iter()
            .flat_map(|p| p.authorize_parameters.clone()),
    );
    if let Some(entry) = known.entry {
        authorize.extend(entry.authorize_parameters.clone().unwrap_or_default());
        token.extend(entry.token_parameters.clone().unwrap_or_default());
    }
    for level in levels.iter().rev() {
        let said = level.said.authorize_parameters.as_ref();
        let at = level.at.child("authorize_parameters");
        not_reserved(said, &at, AUTHORIZE, check);
        authorize.extend(said.cloned().unwrap_or_default());
        let said = level.said.token_parameters.as_ref();
        let at = level.at.child("token_parameters");
        not_reserved(said, &at, TOKEN, check);
        token.extend(said.cloned().unwrap_or_default());
    }
    authorize.retain(|_, value| !value.is_empty());
    token.retain(|_, value| !value.is_empty());
    Parameters { authorize, token }
}

fn preset(known: &Known<'_>, flow: FlowName) -> Scopes {
    let Some(preset) = known.preset else {
        return Scopes::default();
    };
    if flow == FlowName::ClientCredentials && !preset.scopes.app.is_empty() {
        return Scopes {
            common: preset.scopes.app.clone(),
            ..Scopes::default()
        };
    }
    Scopes {
        common: preset.scopes.common.clone(),
        by_protocol: Protocol::ALL
            .map(|protocol| (protocol, preset.scopes(protocol).to_vec()))
            .into(),
        separate: false,
    }
}

fn lay_over(scopes: &mut Scopes, table: &ScopesTable) {
    if let Some(common) = &table.common {
        scopes.common.clone_from(common);
    }
    let of_protocols = [
        (Protocol::Imap, &table.imap),
        (Protocol::Pop3, &table.pop3),
        (Protocol::Smtp, &table.smtp),
    ];
    for (protocol, list) in of_protocols {
        if let Some(list) = list {
            scopes.by_protocol.insert(protocol, list.clone());
        }
    }
    scopes.separate = table.separate.unwrap_or(scopes.separate);
}

fn are_scopes(entry: &ScopesEntry, at: &KeyPath, check: &mut Check<'_>) -> bool {
    let lists: Vec<&String> = match entry {
        ScopesEntry::Exactly(list) => list.iter().collect(),
        ScopesEntry::Over(table) => [&table.common, &table.imap, &table.pop3, &table.smtp]
            .into_iter()
            .flatten()
            .flatten()
            .collect(),
    };
    let good = lists.iter().all(|scope| is_scope(scope));
    if !good {
        check.report.add(&at.child("scopes"), Fault::NotAScope);
    }
    good
}

/// `scope-token` (RFC 6749 section 3.3).
fn is_scope(text: &str) -> bool {
    let token = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    !text.is_empty() && text.chars().all(token)
}

fn not_reserved(
    said: Option<&BTreeMap<String, String>>,
    at: &KeyPath,
    reserved: &[&str],
    check: &mut Check<'_>,
) {
    for name in said.into_iter().flat_map(BTreeMap::keys) {
        if reserved.contains(&name.as_str()) {
            check.report.add(&at.child(name), Fault::ReservedParameter);
        }
    }
}

/// What an authorization request is made of (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
const AUTHORIZE: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// What token requests are made of (RFC 6749, 7521, 7636, 8628). No secret is written here.
const TOKEN: &[&str] = &[
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "assertion",
    "redirect_uri",
    "scope",
    "code",
    "code_verifier",
    "device_code",
    "refresh_token",
    "username",
    "password",
];
