//! `[[listener]]` entries → listeners; without any, one of each protocol on both loopbacks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use figment::value::Value;
use ipnet::IpNet;

use super::super::fault::Fault;
use super::super::file::{ClientTlsWord, ListenerEntry, ProtocolWord};
use super::super::key::KeyPath;
use super::super::problem::Place;
use super::super::read::read;
use super::super::runtime::{
    Accounts, CertificateFiles, CertificateSource, Door, ListenAddress, Listener, ListenerTls, Pin,
};
use super::Check;
use super::files::Holds;
use super::no_login::{can_send, is_asked_for, no_login};
use super::ports::Written;
use super::profile::chosen;
use super::reach::{self, Taken};
use crate::profile::Profile;
use crate::protocol::Protocol;

/// Reads and checks every entry. With each listener comes where it is written.
pub(in super::super) fn listeners(
    entries: Vec<Value>,
    accounts: &Accounts,
    check: &mut Check<'_>,
) -> Vec<(Listener, Written)> {
    let listeners = if entries.is_empty() {
        let unwritten = Written {
            place: Place::Default,
            key: KeyPath::dotted("listener"),
        };
        defaults(usual(check))
            .map(|listener| (listener, unwritten.clone()))
            .collect()
    } else {
        written(entries, check)
    };
    no_loop(&listeners, check);
    can_send(&listeners, accounts, check);
    listeners
}

/// An upstream that is one of our own listeners would call us without end.
fn no_loop(listeners: &[(Listener, Written)], check: &mut Check<'_>) {
    for (key, port) in std::mem::take(&mut check.loopback_upstreams) {
        let ours = |address: &SocketAddr| {
            address.port() == port && (address.ip().is_loopback() || address.ip().is_unspecified())
        };
        if listeners
            .iter()
            .any(|(listener, _)| listener.address.tcp().as_ref().is_some_and(ours))
        {
            check.report.add(&key, Fault::OurOwnPort(port));
        }
    }
}

fn written(entries: Vec<Value>, check: &mut Check<'_>) -> Vec<(Listener, Written)> {
    let mut taken = Taken::default();
    let mut listeners = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let at = KeyPath::root().child("listener").child(index);
        let Some(entry) = read::<ListenerEntry>(entry, &at, &mut check.report) else {
            continue;
        };
        let key = address_key(&entry, &at);
        let place = check.report.sources().place(&key);
        let written = Written { place, key };
        for listener in listener(&entry, &at, check) {
            if let Some(fault) = taken.take(&listener.address) {
                check.report.add(&written.key, fault);
            }
            listeners.push((listener, written.clone()));
        }
    }
    listeners
}

fn defaults(profile: Arc<Profile>) -> impl Iterator<Item = Listener> {
    DEFAULT_PORTS.into_iter().flat_map(move |(protocol, port)| {
        let profile = Arc::clone(&profile);
        loopbacks(port).map(|address| Listener {
            protocol,
            address: address.into(),
            tls: ListenerTls::Off,
            networks: Vec::new(),
            door: Door::default(),
            pin: None,
            profile: Arc::clone(&profile),
            no_login: None,
        })
    })
}

/// The profile of a listener that names none: `modern`, as the file may have changed it.
fn usual(check: &Check<'_>) -> Arc<Profile> {
    let usual = Profile::default();
    check.profiles.get(&usual.name).cloned().unwrap_or_default()
}

pub(super) fn loopbacks(port: u16) -> [SocketAddr; 2] {
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    [v4, v6].map(|ip| SocketAddr::new(ip, port))
}

/// One listener for each address of the entry; none after a report.
fn listener(entry: &ListenerEntry, at: &KeyPath, check: &mut Check<'_>) -> Vec<Listener> {
    let protocol = protocol(entry, at, check);
    let addresses = addresses(entry, at, protocol, check);
    let tls = tls(entry, at, check);
    let written = addresses.as_deref().unwrap_or_default();
    let networks = reach::networks(entry, at, written, check);
    let door = reach::door(entry, at, written, check);
    let pin = pin(entry, at, check);
    let profile = chosen(entry.profile.as_ref(), &at.child("profile"), check);
    let profile = profile.unwrap_or_else(|| usual(check));
    let exposed = reach::is_exposed(written, networks.as_deref().unwrap_or_default());
    let consent = consent(entry, at, exposed, check);
    let no_login = no_login(entry, at, exposed, check);
    let (Some(protocol), Some(addresses), Some(tls)) = (protocol, addresses, tls) else {
        return Vec::new();
    };
    let (Some(networks), Some(door), Some(pin), true) = (networks, door, pin, consent) else {
        return Vec::new();
    };
    let Some(no_login) = no_login else {
        return Vec::new();
    };
    addresses
        .into_iter()
        .map(|address| Listener {
            protocol,
            tls: tls.clone(),
            networks: reach::reach(&networks, &address, &door),
            address,
            door: door.clone(),
            pin: pin.clone(),
            profile: Arc::clone(&profile),
            no_login: no_login.clone(),
        })
        .collect()
}

fn protocol(entry: &ListenerEntry, at: &KeyPath, check: &mut Check<'_>) -> Option<Protocol> {
    if entry.protocol.is_none() {
        check.report.add(&at.child("protocol"), Fault::NoProtocol);
    }
    entry.protocol.map(|word| match word {
        ProtocolWord::Imap => Protocol::Imap,
        ProtocolWord::Pop3 => Protocol::Pop3,
        ProtocolWord::Smtp => Protocol::Smtp,
    })
}

fn addresses(
    entry: &ListenerEntry,
    at: &KeyPath,
    protocol: Option<Protocol>,
    check: &mut Check<'_>,
) -> Option<Vec<ListenAddress>> {
    match (entry.port, &entry.address) {
        (Some(_), Some(_)) => {
            check.report.add(&at.child("port"), Fault::PortAndAddress);
            None
        }
        (Some(port), None) => Some(loopbacks(port).map(ListenAddress::from).into()),
        (None, None) => {
            let (_, port) = DEFAULT_PORTS
                .into_iter()
                .find(|(p, _)| Some(*p) == protocol)?;
            Some(loopbacks(port).map(ListenAddress::from).into())
        }
        (None, Some(list)) => reach::addresses(&list.0, &at.child("address"), check),
    }
}

fn tls(entry: &ListenerEntry, at: &KeyPath, check: &mut Check<'_>) -> Option<ListenerTls> {
    let word = entry.tls.unwrap_or_default();
    if word == ClientTlsWord::Off {
        if entry.certificate.is_some() || entry.key.is_some() {
            check
                .report
                .add(&at.child("tls"), Fault::CertificateWithoutTls);
            return None;
        }
        return Some(ListenerTls::Off);
    }
    let source = if entry.certificate.is_none() && entry.key.is_none() {
        CertificateSource::Generated
    } else {
        CertificateSource::Own(own_files(entry, at, check)?)
    };
    Some(match word {
        ClientTlsWord::Starttls => ListenerTls::StartTls(source),
        ClientTlsWord::Off | ClientTlsWord::Implicit => ListenerTls::Implicit(source),
    })
}

fn own_files(
    entry: &ListenerEntry,
    at: &KeyPath,
    check: &mut Check<'_>,
) -> Option<CertificateFiles> {
    let certificate = pem(
        &entry.certificate,
        at.child("certificate"),
        Holds::Certificates,
        check,
    );
    let key = pem(&entry.key, at.child("key"), Holds::Secret, check);
    Some(CertificateFiles {
        certificate: certificate?,
        key: key?,
    })
}

fn pem(
    path: &Option<String>,
    key: KeyPath,
    holds: Holds,
    check: &mut Check<'_>,
) -> Option<std::path::PathBuf> {
    let fault = match path {
        None => Fault::HalfACertificate,
        Some(path) => {
            let path = check.path(path);
            match check.files.check(&path, holds) {
                None => return Some(path),
                Some(fault) => fault,
            }
        }
    };
    check.report.add(&key, fault);
    None
}

/// Passwords and mail cross a network unencrypted only where the configuration says so, and says which network.
fn consent(entry: &ListenerEntry, at: &KeyPath, exposed: bool, check: &mut Check<'_>) -> bool {
    let tls = entry.tls.unwrap_or_default();
    let said = entry.allow_plain_from_network == Some(true);
    // Who does not log in may be let in without the TLS that is on offer; who does is not.
    let without = said && tls == ClientTlsWord::Starttls && is_asked_for(entry);
    let plain = tls == ClientTlsWord::Off || without;
    let everyone = |text: &String| {
        let network = text.parse::<IpNet>();
        network.is_ok_and(|network| reach::canonical(network).prefix_len() == 0)
    };
    let named = entry.networks.iter().flatten().count() > 0;
    let (key, fault) = if said && !(plain && exposed) {
        ("allow_plain_from_network", Fault::ConsentWithoutNeed)
    } else if !(plain && exposed) {
        return true;
    } else if !said && is_asked_for(entry) {
        ("address", Fault::LoginNonePlain)
    } else if !said {
        ("address", Fault::PlainOnNetwork)
    } else if is_asked_for(entry) {
        // Its networks are looked at more closely.
        return true;
    } else if !named {
        ("networks", Fault::PlainWithoutNetworks)
    } else if entry.networks.iter().flatten().any(everyone) {
        ("networks", Fault::PlainForEveryone)
    } else {
        return true;
    };
    check.report.add(&at.child(key), fault);
    false
}

/// The outer `None` comes after a report.
fn pin(entry: &ListenerEntry, at: &KeyPath, check: &mut Check<'_>) -> Option<Option<Pin>> {
    match (&entry.account, &entry.provider) {
        (None, None) => Some(None),
        (Some(_), Some(_)) => {
            check.report.add(&at.child("provider"), Fault::TwoPins);
            None
        }
        (Some(address), None) => {
            let address = address.to_lowercase();
            let known = check.addresses.contains(&address);
            if !known {
                check
                    .report
                    .add(&at.child("account"), Fault::NoSuchAccount(address.clone()));
            }
            known.then_some(Some(Pin::Account(address)))
        }
        (None, Some(name)) => {
            let provider = check.find_provider(name, &at.child("provider"))?;
            Some(Some(Pin::Provider(provider.name.clone())))
        }
    }
}

fn address_key(entry: &ListenerEntry, at: &KeyPath) -> KeyPath {
    at.child(if entry.address.is_some() {
        "address"
    } else {
        "port"
    })
}

/// DavMail's and Proton Bridge's ports: above 1024, and known to who has met a local mail gateway before.
const DEFAULT_PORTS: [(Protocol, u16); 3] = [
    (Protocol::Imap, 1143),
    (Protocol::Pop3, 1110),
    (Protocol::Smtp, 1025),
];
