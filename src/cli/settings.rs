//! What to type into a mail program: the listeners that serve an account, as a table.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::config::runtime::{
    Account, AccountAuth, Config, ListenAddress, Listener, ListenerTls, Pin,
};
use crate::protocol::Protocol;
use crate::secret::Secret;
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
                .min_by_key(|l| rank(&l.address))
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
            "  {:9}  {}, security {}",
            listener.protocol.name().to_uppercase(),
            place(&listener.address),
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
pub(crate) fn document(config: &Config, account: &Account, grant: Option<&GrantView>) -> Value {
    let listeners: Vec<_> = serving(config, account)
        .map(|listener| {
            let (protocol, security) = (listener.protocol.name(), security(&listener.tls));
            match listener.address.tcp() {
                Some(address) => json!({
                    "protocol": protocol,
                    "host": host(address),
                    "port": address.port(),
                    "security": security,
                }),
                None => json!({
                    "protocol": protocol,
                    "socket": listener.address.to_string(),
                    "security": security,
                }),
            }
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

/// What programs know best comes first; a Unix socket last.
fn rank(address: &ListenAddress) -> (bool, bool, bool) {
    match address {
        ListenAddress::Tcp(address) => (false, !address.ip().is_loopback(), address.is_ipv6()),
        ListenAddress::Systemd(_) => (true, false, false),
        ListenAddress::Unix(_) => (true, true, false),
    }
}

/// What to type as the server.
fn place(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => {
            format!("server {}, port {}", host(*address), address.port())
        }
        ListenAddress::Unix(path) => format!("Unix socket {}", path.display()),
        ListenAddress::Systemd(name) => {
            format!("where the systemd socket named {name} listens")
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_comes_before_what_few_programs_know() {
        let mut addresses = [
            ListenAddress::Unix("/run/imap.sock".into()),
            ListenAddress::Systemd("imap".to_owned()),
            ListenAddress::Tcp("0.0.0.0:143".parse().unwrap()),
            ListenAddress::Tcp("[::1]:143".parse().unwrap()),
            ListenAddress::Tcp("127.0.0.1:143".parse().unwrap()),
        ];
        addresses.sort_by_key(rank);
        assert_eq!(
            addresses.map(|address| place(&address)),
            [
                "server 127.0.0.1, port 143",
                "server ::1, port 143",
                "server this machine's name or address, port 143",
                "where the systemd socket named imap listens",
                "Unix socket /run/imap.sock",
            ]
        );
    }
}
