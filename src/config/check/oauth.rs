//! `oauth = { … }` and `[issuer.NAME]` → grants.
//!
//! Settings are looked for from the strongest level to the weakest: the account's `oauth`, that of `[defaults]`, the
//! issuer's own table, the preset.
//!
//! | file | what it settles |
//! |---|---|
//! | `issuer.rs` | who issues, and at which endpoints |
//! | `client.rs` | who we are there: id, proof, redirect |
//! | `ask.rs` | what is asked for: scopes and further parameters |
//! | `flow.rs` | how the grant is obtained, and what that needs |
//! | `share.rs` | which accounts have a grant in common |
//! | `address.rs` | URLs |

mod address;
mod ask;
mod client;
mod flow;
mod issuer;
mod share;

pub(super) use self::issuer::guide;
pub(in super::super) use self::issuer::issuers;
pub(super) use self::share::{register, share};
use super::super::accounts::{CATCH_ALL, is_address};
use super::super::fault::Fault;
use super::super::file::{AccountEntry, OAuthEntry};
use super::super::key::KeyPath;
use super::super::names::Names;
use super::super::oauth::Grant;
use super::Check;
use crate::protocol::Protocol;

/// One account that takes tokens.
pub(super) struct Asked<'a> {
    pub(super) entry: &'a AccountEntry,
    pub(super) at: &'a KeyPath,
    pub(super) names: &'a Names<'a>,
    /// The issuer of its provider; empty: none known.
    pub(super) provider_issuer: &'a str,
    /// The protocols that are on.
    pub(super) protocols: &'a [Protocol],
}

/// What one place says, strongest first in a list of them.
struct Level<'a> {
    said: &'a OAuthEntry,
    at: KeyPath,
}

impl Asked<'_> {
    /// A key of the account's `oauth`.
    fn key(&self, name: &str) -> KeyPath {
        self.at.child("oauth").child(name)
    }

    fn is_own(&self, level: &Level<'_>) -> bool {
        let own = self.entry.oauth.as_ref();
        own.is_some_and(|own| std::ptr::eq(own, level.said))
    }
}

/// The grant that serves this account, for its protocols alone; `None` after a report.
pub(super) fn grant(asked: &Asked<'_>, check: &mut Check<'_>) -> Option<Grant> {
    if asked.names.local_part() == CATCH_ALL {
        let key = asked.at.child("address");
        check.report.add(&key, Fault::CatchAllWithOAuth);
        return None;
    }
    let levels: Vec<Level<'_>> = [
        (asked.entry.oauth.as_ref(), asked.at.child("oauth")),
        (
            check.defaults.oauth.as_ref(),
            KeyPath::dotted("defaults.oauth"),
        ),
    ]
    .into_iter()
    .filter_map(|(said, at)| Some(Level { said: said?, at }))
    .collect();
    let known = issuer::find(asked, &levels, check)?;
    let name = name(asked, &levels, check);
    let asked_flow = flow::asked(&levels);
    let supported = flow::is_supported(asked_flow, &known, asked, &levels, check);
    let issuer = issuer::issuer(&known, asked_flow, asked, &levels, check);
    let client = client::client(&known, asked_flow, asked, &levels, check);
    let flow = flow::flow(asked_flow, asked, &levels, check);
    let scopes = ask::scopes(&known, asked_flow, asked.protocols, &levels, check);
    let name = name?;
    let hint = is_address(&name).then_some(name.as_str());
    let parameters = ask::parameters(&known, hint, &levels, check);
    if !supported {
        return None;
    }
    Some(Grant {
        issuer: issuer?,
        client: client?,
        flow: flow?,
        scopes: scopes?,
        authorize_parameters: parameters.authorize,
        token_parameters: parameters.token,
        name,
    })
}

/// By default the account's address.
fn name(asked: &Asked<'_>, levels: &[Level<'_>], check: &mut Check<'_>) -> Option<String> {
    let named = levels
        .iter()
        .find_map(|l| Some((l.said.grant.as_ref()?, &l.at)));
    let Some((template, at)) = named else {
        return Some(asked.names.fill("{address}").to_lowercase());
    };
    let name = asked.names.fill(template).to_lowercase();
    let key = at.child("grant");
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if name.is_empty() || name.contains(odd) {
        check.report.add(&key, Fault::NotAGrant);
        return None;
    }
    Some(name)
}
