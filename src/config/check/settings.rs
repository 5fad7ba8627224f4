//! The settings that are neither accounts nor listeners.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::super::fault::Fault;
use super::super::file::{
    CertificatesTable, KeyEntry, LimitsTable, LogFormat, LogTable, SignInTable, StoreTable,
    WarmTable,
};
use super::super::key::KeyPath;
use super::super::runtime::{
    CertificateSettings, KeySource, Limits, Listener, LogSettings, SignInSettings, StoreSettings,
    WarmSettings,
};
use super::Check;
use super::files::Holds;
use super::provider::is_label;
use super::secret::{credential, is_credential_name};

/// The name in greetings and in EHLO: a domain or an address literal (RFC 5321 section 4.1.3).
pub(in super::super) fn host(host: &str, check: &mut Check<'_>) {
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let address = |text: &str| {
        let v6 = text
            .strip_prefix("IPv6:")
            .map(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok());
        v6.unwrap_or_else(|| text.parse::<std::net::Ipv4Addr>().is_ok())
    };
    let good = literal.map_or_else(|| is_domain(host), address);
    if !good || host.len() > HOST_MAX {
        check
            .report
            .add(&KeyPath::dotted("host"), Fault::NotOurHost);
    }
}

fn is_domain(text: &str) -> bool {
    let label = |l: &str| l.len() <= LABEL_MAX && is_label(l);
    text.len() <= HOST_MAX && text.split('.').all(label)
}

/// The store and its key.
pub(in super::super) fn store(
    table: &StoreTable,
    state_dir: &Path,
    check: &mut Check<'_>,
) -> StoreSettings {
    let at = KeyPath::dotted("store");
    let url = match table.url.as_deref().map(|url| (url, url.split_once(':'))) {
        None => format!("sqlite:{}", state_dir.join(STORE_FILE).display()),
        Some((_, Some(("sqlite", path)))) if !path.is_empty() => {
            format!("sqlite:{}", check.path(path).display())
        }
        Some((url, _)) => {
            check.report.add(&at.child("url"), Fault::NotAStore);
            url.to_owned()
        }
    };
    StoreSettings {
        url,
        key: key(table.key.as_ref(), &at.child("key"), state_dir, check),
    }
}

fn key(
    entry: Option<&KeyEntry>,
    at: &KeyPath,
    state_dir: &Path,
    check: &mut Check<'_>,
) -> KeySource {
    let default = KeySource::File(state_dir.join(KEY_FILE));
    let source = match entry {
        None => default,
        Some(KeyEntry::Keyring) => KeySource::Keyring,
        Some(KeyEntry::From(table)) => match (&table.file, &table.systemd) {
            (Some(file), None) => KeySource::File(check.path(file)),
            (None, Some(name)) if is_credential_name(name) => {
                KeySource::SystemdCredential(name.clone())
            }
            (None, Some(_)) => {
                check.report.add(&at.child("systemd"), Fault::NoName);
                default
            }
            (None, None) | (Some(_), Some(_)) => {
                if !check.report.refused_below(at) {
                    check.report.add(at, Fault::NotOneKey);
                }
                default
            }
        },
    };
    let fault = match &source {
        // Made on first use.
        KeySource::File(path) if path.exists() => check.files.check(path, Holds::StoreKey),
        KeySource::SystemdCredential(name) if check.for_service => credential(name, check),
        _ => None,
    };
    if let Some(fault) = fault {
        check.report.add(at, fault);
    }
    source
}

/// Bounds that are not zero, and times that are no longer than a day.
pub(in super::super) fn limits(table: &LimitsTable, check: &mut Check<'_>) -> Limits {
    let at = KeyPath::dotted("limits");
    let mut number = |name: &str, value: u64, max: u64| {
        if value == 0 || value > max {
            check.report.add(&at.child(name), Fault::NotWithin(max));
        }
        value.clamp(1, max)
    };
    let sessions = number("sessions", table.sessions, SESSIONS_MAX);
    let per_peer = number("sessions_per_peer", table.sessions_per_peer, SESSIONS_MAX);
    let mut seconds = |name: &str, value: u64| Duration::from_secs(number(name, value, DAY));
    Limits {
        before_login: seconds("before_login", table.before_login),
        login: seconds("login", table.login),
        drain: seconds("drain", table.drain),
        sessions: usize::try_from(sessions).unwrap_or(usize::MAX),
        sessions_per_peer: usize::try_from(per_peer).unwrap_or(usize::MAX),
    }
}

/// Upstream sessions that wait; none is a wish, no time is a mistake.
pub(in super::super) fn warm(table: &WarmTable, check: &mut Check<'_>) -> WarmSettings {
    let at = KeyPath::dotted("warm");
    if table.sessions > WARM_MAX {
        let fault = Fault::NotUpTo(WARM_MAX);
        check.report.add(&at.child("sessions"), fault);
    }
    if table.idle == 0 || table.idle > WARM_IDLE_MAX {
        let fault = Fault::NotWithin(WARM_IDLE_MAX);
        check.report.add(&at.child("idle"), fault);
    }
    WarmSettings {
        sessions: usize::try_from(table.sessions.min(WARM_MAX)).unwrap_or(0),
        idle: Duration::from_secs(table.idle.clamp(1, WARM_IDLE_MAX)),
    }
}

/// How to log.
pub(in super::super) fn log(table: &LogTable, check: &mut Check<'_>) -> LogSettings {
    if EnvFilter::try_new(&table.filter).is_err() {
        check
            .report
            .add(&KeyPath::dotted("log.filter"), Fault::NotAFilter);
    }
    LogSettings {
        filter: table.filter.clone(),
        json: table.format == LogFormat::Json,
    }
}

/// How people sign in. Its callback listener is on both loopbacks, so it shares no port with a listener there.
pub(in super::super) fn sign_in(
    table: &SignInTable,
    listeners: &[Listener],
    check: &mut Check<'_>,
) -> SignInSettings {
    let at = KeyPath::dotted("sign_in");
    let near = |a: &SocketAddr| a.ip().is_loopback() || a.ip().is_unspecified();
    let addresses = listeners.iter().filter_map(|l| l.address.tcp());
    let mut ports = addresses.filter(near).map(|address| address.port());
    if table.port != 0 && ports.any(|port| port == table.port) {
        let fault = Fault::SignInPortTaken(table.port);
        check.report.add(&at.child("port"), fault);
    }
    if table
        .on_needed
        .as_ref()
        .is_some_and(|c| c.trim().is_empty())
    {
        check
            .report
            .add(&at.child("on_needed"), Fault::EmptyCommand);
    }
    SignInSettings {
        port: table.port,
        on_needed: table.on_needed.clone(),
    }
}

/// What our own certificates are made for: names that a client can have typed as its server.
pub(in super::super) fn certificates(
    table: &CertificatesTable,
    check: &mut Check<'_>,
) -> CertificateSettings {
    let at = KeyPath::dotted("certificates.names");
    for (index, name) in table.names.iter().enumerate() {
        if !is_domain(name) && name.parse::<IpAddr>().is_err() {
            let fault = Fault::NotACertificateName(name.clone());
            check.report.add(&at.child(index), fault);
        }
    }
    CertificateSettings {
        names: table.names.clone(),
    }
}

const STORE_FILE: &str = "mailsluice.db";
const KEY_FILE: &str = "store.key";

/// RFC 1035 section 2.3.4.
const LABEL_MAX: usize = 63;
/// RFC 1035 section 2.3.4.
const HOST_MAX: usize = 255;

/// Twice this many sockets is what one process can hold with the highest `nr_open` Linux has by default.
const SESSIONS_MAX: u64 = 500_000;

/// Gmail takes 15 connections for an account, over all its devices.
const WARM_MAX: u64 = 10;

/// As long as an SMTP server waits for a command, RFC 5321 section 4.5.3.2.7.
const WARM_IDLE_MAX: u64 = 5 * 60;

/// No session waits longer for anything; and a time in this range cannot overflow a clock.
const DAY: u64 = 24 * 60 * 60;
