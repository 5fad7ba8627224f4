//! What to type into a mail program: the listeners that serve an account, as a table.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::config::runtime::{Account, AccountAuth, Config, Listener, ListenerTls, Pin};
use crate::protocol::Protocol;
use crate::web::GrantView;

/// The listeners of `config` that serve `account`, one for each protocol that is on: loopback first, IPv4 first, since
/// old programs know no other.
fn serving<'a>(config: &'a Config, account: &'a Account) -> impl Iterator<Item = &'a Listener> {
    Protocol::ALL
        .into_iter()
        .filter(|protocol| account.endpoints.contains_key(protocol))
        .filter_map(|protocol| {
            config
                .listeners
                .iter()
                .filter(|l| l.protocol == protocol && serves(l, account))
                .min_by_key(|l| (!l.address.ip().is_loopback(), l.address.is_ipv6()))
        })
}

fn serves(listener: &Listener, account: &Account) -> bool {
    match &listener.pin {
        None => true,
        Some(Pin::Account(address)) => *address == account.address,
        Some(Pin::Provider(name)) => *name == account.provider,
    }
}

/// The table for people.
pub(crate) fn write(out: &mut impl Write, config: &Config, account: &Account) -> io::Result<()> {
    writeln!(out, "Settings for {}:", account.address)?;
    for listener in serving(config, account) {
        writeln!(
            out,
            "  {:5} server {}, port {}, security {}",
            listener.protocol.name().to_uppercase(),
            host(listener.address),
            listener.address.port(),
            security(&listener.tls)
        )?;
    }
    writeln!(out, "  user name {}", account.address)?;
    match account.auth {
        AccountAuth::Password(_) | AccountAuth::OAuth(_) => writeln!(
            out,
            "  password: a local one (mailsluice password add {})",
            account.address
        ),
        AccountAuth::Passthrough => writeln!(out, "  password: the provider's own"),
    }
}

/// The same for scripts.
pub(crate) fn document(config: &Config, account: &Account, grant: Option<&GrantView>) -> Value {
    let listeners: Vec<_> = serving(config, account)
        .map(|listener| {
            json!({
                "protocol": listener.protocol.name(),
                "host": host(listener.address),
                "port": listener.address.port(),
                "security": security(&listener.tls),
            })
        })
        .collect();
    json!({
        "address": account.address,
        "login_names": account.login_names,
        "provider": account.provider,
        "passthrough": matches!(account.auth, AccountAuth::Passthrough),
        "grant": grant,
        "listeners": listeners,
    })
}

/// An address a person can type: an unspecified one stands for all of this machine's.
fn host(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        "this machine's name or address".to_owned()
    } else {
        address.ip().to_string()
    }
}

fn security(tls: &ListenerTls) -> &'static str {
    match tls {
        ListenerTls::Off => "none",
        ListenerTls::StartTls(_) => "STARTTLS",
        ListenerTls::Implicit(_) => "TLS",
    }
}
