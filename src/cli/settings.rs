//! What to type into a mail program: the listeners that serve an account, as a table.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::config::runtime::{Account, AccountAuth, Config, Listener, ListenerTls, Pin};
use crate::protocol::Protocol;
use crate::secret::Secret;

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

/// What stands behind "password" in the table.
pub(crate) enum PasswordLine<'a> {
    /// It was made just now, and this is the one time it is shown.
    Now(&'a Secret),
    /// It was made just now, and stands alone on standard output.
    OnStandardOutput,
    /// It was made earlier and is not kept.
    Earlier,
}

/// The table for people.
pub(crate) fn write(
    out: &mut impl Write,
    config: &Config,
    account: &Account,
    password: &PasswordLine<'_>,
) -> io::Result<()> {
    writeln!(out, "Settings for {} in a mail program:", account.address)?;
    for listener in serving(config, account) {
        writeln!(
            out,
            "  {:9}  server {}, port {}, security {}",
            listener.protocol.name().to_uppercase(),
            host(listener.address),
            listener.address.port(),
            security(&listener.tls)
        )?;
    }
    if account.address.starts_with(CATCH_ALL) {
        writeln!(out, "  user name  the full address")?;
    } else {
        writeln!(out, "  user name  {}", account.address)?;
    }
    write!(out, "  password   ")?;
    match (&account.auth, password) {
        (AccountAuth::Passthrough, _) => writeln!(out, "the provider's own"),
        (_, PasswordLine::Now(secret)) => {
            out.write_all(secret.expose())?;
            writeln!(
                out,
                "\n             (shown only now; dashes and capitals do not matter)"
            )
        }
        (_, PasswordLine::OnStandardOutput) => {
            writeln!(out, "the one on standard output, shown only now")
        }
        (_, PasswordLine::Earlier) => writeln!(
            out,
            "a local one; a new one is made by: mailsluice password add {} --name \"old laptop\"",
            account.address
        ),
    }
}

/// The same for scripts.
pub(crate) fn document(config: &Config, account: &Account) -> Value {
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

/// What the address of a catch-all entry begins with.
const CATCH_ALL: char = '*';
