//! `login = "none"`: a listener for senders that cannot log in. Whoever reaches it sends as one account, so it must be said
//! which, and off loopback who may reach it.

use ipnet::IpNet;

use super::super::accounts::CATCH_ALL;
use super::super::fault::Fault;
use super::super::file::{FromEntry, ListenerEntry, LoginWord, ProtocolWord, SenderWord};
use super::super::key::KeyPath;
use super::super::names::Names;
use super::super::runtime::{AccountAuth, Accounts, Listener, NoLogin};
use super::Check;
use super::ports::Written;
use crate::protocol::{Protocol, SenderRule};

/// Whether nobody logs in here.
pub(super) fn is_asked_for(entry: &ListenerEntry) -> bool {
    entry.login == Some(LoginWord::None)
}

/// The terms of an entry; the outer `None` comes after a report.
pub(super) fn no_login(
    entry: &ListenerEntry,
    at: &KeyPath,
    exposed: bool,
    check: &mut Check<'_>,
) -> Option<Option<NoLogin>> {
    if !is_asked_for(entry) {
        return without_need(entry, at, check).then_some(None);
    }
    let smtp = entry.protocol.is_none_or(|it| it == ProtocolWord::Smtp);
    if !smtp {
        check
            .report
            .add(&at.child("login"), Fault::LoginNoneForReaders);
    }
    let account = account(entry, at, check);
    let reached = reached_by_few(entry, at, exposed, check);
    let said = |word: Option<SenderWord>| match word {
        Some(SenderWord::Pin) => SenderRule::Pin,
        Some(SenderWord::Rewrite) | None => SenderRule::Rewrite,
    };
    let (envelope, header) = match &entry.from {
        None => (None, None),
        Some(FromEntry::Both(word)) => (Some(*word), Some(*word)),
        Some(FromEntry::Each(table)) => (table.envelope, table.header),
    };
    let limits = &entry.limits;
    let mut number = |name: &str, written: Option<u64>, usual: u64, max: u64| {
        let value = written.unwrap_or(usual);
        if value == 0 || value > max {
            let key = at.child("limits").child(name);
            check.report.add(&key, Fault::NotWithin(max));
        }
        value.clamp(1, max)
    };
    let of =
        |take: fn(&super::super::file::SendingTable) -> Option<u64>| limits.as_ref().and_then(take);
    let messages = number(
        "messages_per_hour",
        of(|it| it.messages_per_hour),
        MESSAGES,
        MESSAGES_MAX,
    );
    let recipients = number(
        "recipients",
        of(|it| it.recipients),
        RECIPIENTS,
        RECIPIENTS_MAX,
    );
    let size = number("size", of(|it| it.size), SIZE, SIZE_MAX);
    let account = account.filter(|_| smtp && reached)?;
    Some(Some(NoLogin {
        account,
        envelope: said(envelope),
        header: said(header),
        messages_per_hour: u32::try_from(messages).unwrap_or(u32::MAX),
        recipients: usize::try_from(recipients).unwrap_or(usize::MAX),
        size,
        plain_too: entry.allow_plain_from_network == Some(true),
    }))
}

/// Whether nothing is said that has no meaning where people log in.
fn without_need(entry: &ListenerEntry, at: &KeyPath, check: &mut Check<'_>) -> bool {
    let said = [
        ("from", entry.from.is_some()),
        ("limits", entry.limits.is_some()),
    ];
    for (name, _) in said.iter().filter(|(_, said)| *said) {
        check.report.add(&at.child(name), Fault::OnlyWithoutLogin);
    }
    said.iter().all(|(_, said)| !said)
}

fn account(entry: &ListenerEntry, at: &KeyPath, check: &mut Check<'_>) -> Option<String> {
    let key = at.child("account");
    let Some(address) = &entry.account else {
        check.report.add(&key, Fault::LoginNoneForWhom);
        return None;
    };
    let address = address.to_lowercase();
    let fault = if address.starts_with(CATCH_ALL) {
        Fault::LoginNoneForDomain
    } else if !can_be_written(&address) {
        Fault::NotASender(address.clone())
    } else {
        return Some(address);
    };
    check.report.add(&key, fault);
    None
}

/// Whether MAIL and `From` can hold the address as it stands: a dot-atom on either side of its @ (RFC 5322 section 3.4.1).
fn can_be_written(address: &str) -> bool {
    let local = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    let domain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    Names::of(address).is_some_and(|names| {
        names.local_part().bytes().all(local) && names.domain().bytes().all(domain)
    })
}

/// Whether off loopback the networks are named, and none is nearly everyone.
fn reached_by_few(
    entry: &ListenerEntry,
    at: &KeyPath,
    exposed: bool,
    check: &mut Check<'_>,
) -> bool {
    let named = entry.networks.iter().flatten();
    let wide = |text: &String| match text.parse::<IpNet>() {
        Ok(IpNet::V4(network)) => network.prefix_len() < WIDEST_V4,
        Ok(IpNet::V6(network)) => network.prefix_len() < WIDEST_V6,
        Err(_) => false,
    };
    let fault = if named.clone().any(wide) {
        Fault::LoginNoneForEveryone
    } else if exposed && named.count() == 0 {
        Fault::LoginNoneWithoutNetworks
    } else {
        return true;
    };
    check.report.add(&at.child("networks"), fault);
    false
}

/// That each account can be sent by without a word from the client, once all accounts are known.
pub(super) fn can_send(
    listeners: &[(Listener, Written)],
    accounts: &Accounts,
    check: &mut Check<'_>,
) {
    let mut told: Option<&KeyPath> = None;
    for (listener, written) in listeners {
        let Some(terms) = &listener.no_login else {
            continue;
        };
        let mut all = accounts.all.iter();
        let Some(account) = all.find(|it| it.address == terms.account) else {
            continue;
        };
        let fault = if !account.endpoints.contains_key(&Protocol::Smtp) {
            Fault::LoginNoneNoSmtp(account.address.clone())
        } else if matches!(account.auth, AccountAuth::Passthrough) {
            Fault::LoginNonePassthrough(account.address.clone())
        } else {
            continue;
        };
        // A listener for both loopbacks is written once.
        if told != Some(&written.key) {
            check.report.add(&written.key.sibling("account"), fault);
        }
        told = Some(&written.key);
    }
}

/// The largest network of private addresses, 10.0.0.0/8.
const WIDEST_V4: u8 = 8;

/// The unique local addresses, fc00::/7.
const WIDEST_V6: u8 = 7;

/// One a minute: more than a busy copier, less than anybody who sends spam is content with.
const MESSAGES: u64 = 60;

/// A monitor that has gone mad; beyond, providers refuse anyway.
const MESSAGES_MAX: u64 = 100_000;

/// A department in the copier's address book.
const RECIPIENTS: u64 = 50;

/// RFC 5321 section 4.5.3.1.8 asks for 100; no provider takes more than this.
const RECIPIENTS_MAX: u64 = 1000;

/// What most providers take.
const SIZE: u64 = 25 * 1024 * 1024;

/// More than any provider takes.
const SIZE_MAX: u64 = 1024 * 1024 * 1024;
