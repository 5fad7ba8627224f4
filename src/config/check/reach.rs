//! Where a listener stands and who may come in: `address`, `networks`, `mode`, `allow_uids`, `proxy_protocol`.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::super::fault::Fault;
use super::super::file::{ListenerEntry, UserEntry};
use super::super::key::KeyPath;
use super::super::reach::{SYSTEMD, UNIX};
use super::super::runtime::{Door, ListenAddress};
use super::Check;

/// The addresses as they are written; `None` after a report.
pub(super) fn addresses(
    texts: &[String],
    key: &KeyPath,
    check: &mut Check<'_>,
) -> Option<Vec<ListenAddress>> {
    let parsed: Result<Vec<_>, _> = texts.iter().map(|text| address(text, check)).collect();
    let found = parsed.and_then(|all| {
        if all.is_empty() {
            Err(Fault::NotASocketAddress)
        } else {
            Ok(all)
        }
    });
    found.map_err(|fault| check.report.add(key, fault)).ok()
}

fn address(text: &str, check: &Check<'_>) -> Result<ListenAddress, Fault> {
    if let Some(path) = text.strip_prefix(UNIX) {
        return unix(path, check);
    }
    if let Some(name) = text.strip_prefix(SYSTEMD) {
        return systemd(name);
    }
    let address: SocketAddr = text.parse().map_err(|_| Fault::NotASocketAddress)?;
    Ok(address.into())
}

#[cfg(unix)]
fn unix(path: &str, check: &Check<'_>) -> Result<ListenAddress, Fault> {
    let path = check.path(path);
    let named = path.file_name().is_some() && !path.to_string_lossy().ends_with('/');
    // Also what the system has no room for.
    let fits = std::os::unix::net::SocketAddr::from_pathname(&path).is_ok();
    match (named, fits) {
        (true, true) => Ok(ListenAddress::Unix(path)),
        (false, _) => Err(Fault::NotASocketAddress),
        (true, false) => Err(Fault::SocketPathTooLong),
    }
}

#[cfg(not(unix))]
fn unix(_: &str, _: &Check<'_>) -> Result<ListenAddress, Fault> {
    Err(Fault::NoUnixSockets)
}

/// systemd.socket(5): ASCII without control characters and colons, at most 255 of them.
fn systemd(name: &str) -> Result<ListenAddress, Fault> {
    let fits =
        (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if !cfg!(target_os = "linux") {
        return Err(Fault::NoSystemd);
    }
    fits.then(|| ListenAddress::Systemd(name.to_owned()))
        .ok_or(Fault::NotASocketName)
}

/// `networks`, or `None` after a report.
pub(super) fn networks(
    entry: &ListenerEntry,
    at: &KeyPath,
    addresses: &[ListenAddress],
    check: &mut Check<'_>,
) -> Option<Vec<IpNet>> {
    let key = at.child("networks");
    let unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
    if entry.networks.is_some() && addresses.iter().any(unix) {
        check.report.add(&key, Fault::SocketHasNoNetworks);
        return None;
    }
    nets(&entry.networks, &key, check)
}

fn nets(texts: &Option<Vec<String>>, key: &KeyPath, check: &mut Check<'_>) -> Option<Vec<IpNet>> {
    let mut networks = Vec::new();
    let mut good = true;
    for (index, text) in texts.iter().flatten().enumerate() {
        let host = || text.parse::<IpAddr>().map(IpNet::from).ok();
        match text.parse::<IpNet>().ok().or_else(host) {
            Some(network) => networks.push(canonical(network)),
            None => {
                check.report.add(&key.child(index), Fault::NotANetwork);
                good = false;
            }
        }
    }
    good.then_some(networks)
}

/// Whether others than programs of this machine can reach what `entry` opens. systemd's sockets serve them only where
/// their networks are named.
pub(super) fn is_exposed(addresses: &[ListenAddress], networks: &[IpNet]) -> bool {
    let elsewhere = || networks.iter().any(|network| !network.addr().is_loopback());
    addresses.iter().any(|address| match address {
        ListenAddress::Tcp(address) => !address.ip().is_loopback(),
        ListenAddress::Unix(_) => false,
        ListenAddress::Systemd(_) => elsewhere(),
    })
}

/// Off loopback, and where load balancers speak for others, an empty list would read as nobody: there it is everybody,
/// said as such.
pub(super) fn reach(networks: &[IpNet], address: &ListenAddress, door: &Door) -> Vec<IpNet> {
    let off = address.tcp().is_some_and(|a| !a.ip().is_loopback());
    if networks.is_empty() && (off || !door.balancers.is_empty()) {
        return vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    }
    networks.to_vec()
}

/// What is asked of who connects; `None` after a report.
pub(super) fn door(
    entry: &ListenerEntry,
    at: &KeyPath,
    addresses: &[ListenAddress],
    check: &mut Check<'_>,
) -> Option<Door> {
    let mode = mode(entry, addresses);
    let users = users(entry, &at.child("allow_uids"), addresses, check);
    let balancers = balancers(entry, &at.child("proxy_protocol"), addresses, check);
    let mode = mode
        .map_err(|fault| check.report.add(&at.child("mode"), fault))
        .ok();
    let mode = mode?.unwrap_or(Door::default().mode);
    Some(Door {
        balancers: balancers?,
        users: users?,
        mode,
    })
}

fn mode(entry: &ListenerEntry, addresses: &[ListenAddress]) -> Result<Option<u32>, Fault> {
    let Some(text) = &entry.mode else {
        return Ok(None);
    };
    let unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
    if !addresses.iter().any(unix) {
        return Err(Fault::ModeWithoutSocket);
    }
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..b'8').contains(&b));
    let mode = u32::from_str_radix(text, 8).ok();
    let mode = mode.filter(|mode| octal && *mode <= 0o777);
    mode.map(Some).ok_or(Fault::NotAMode)
}

/// The outer `None` comes after a report.
#[expect(
    clippy::option_option,
    reason = "whether it went well, and whether there is a list"
)]
fn users(
    entry: &ListenerEntry,
    key: &KeyPath,
    addresses: &[ListenAddress],
    check: &mut Check<'_>,
) -> Option<Option<Vec<u32>>> {
    let Some(list) = &entry.allow_uids else {
        return Some(None);
    };
    let mut faults: Vec<_> = unknowable(addresses)
        .into_iter()
        .map(|f| (key.clone(), f))
        .collect();
    if list.is_empty() {
        faults.push((key.clone(), Fault::NoUsers));
    }
    let mut users = Vec::new();
    for (index, user) in list.iter().enumerate() {
        match uid(user) {
            Ok(uid) => users.push(uid),
            Err(fault) => faults.push((key.child(index), fault)),
        }
    }
    let good = faults.is_empty();
    for (key, fault) in faults {
        check.report.add(&key, fault);
    }
    good.then_some(Some(users))
}

/// Why the users of connections to `addresses` cannot be known, if so.
fn unknowable(addresses: &[ListenAddress]) -> Option<Fault> {
    let mut ports = addresses.iter().filter_map(ListenAddress::tcp).peekable();
    if !cfg!(target_os = "linux") && ports.peek().is_some() {
        return Some(Fault::UsersOfAPort);
    }
    ports
        .any(|address| !address.ip().is_loopback())
        .then_some(Fault::UsersOffLoopback)
}

fn uid(user: &UserEntry) -> Result<u32, Fault> {
    match user {
        UserEntry::Number(uid) => Ok(*uid),
        #[cfg(unix)]
        UserEntry::Name(name) => uzers::get_user_by_name(name)
            .map(|user| user.uid())
            .ok_or_else(|| Fault::NoSuchUser(name.clone())),
        #[cfg(not(unix))]
        UserEntry::Name(name) => Err(Fault::NoSuchUser(name.clone())),
    }
}

fn balancers(
    entry: &ListenerEntry,
    key: &KeyPath,
    addresses: &[ListenAddress],
    check: &mut Check<'_>,
) -> Option<Vec<IpNet>> {
    let balancers = nets(&entry.proxy_protocol, key, check)?;
    let unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
    let fault = if entry.proxy_protocol.is_none() {
        return Some(balancers);
    } else if addresses.iter().any(unix) {
        Fault::SocketHasNoBalancers
    } else if balancers.is_empty() {
        Fault::NoBalancers
    } else if balancers.iter().any(|network| network.prefix_len() == 0) {
        Fault::EveryoneBalances
    } else {
        return Some(balancers);
    };
    check.report.add(key, fault);
    None
}

/// What earlier entries have taken.
#[derive(Default)]
pub(super) struct Taken {
    ports: HashMap<(u16, bool), Vec<IpAddr>>,
    paths: HashSet<PathBuf>,
    names: HashSet<String>,
}

impl Taken {
    /// Takes `address`, unless another entry has it already, or all of its family.
    pub(super) fn take(&mut self, address: &ListenAddress) -> Option<Fault> {
        let free = match address {
            ListenAddress::Tcp(tcp) => self.take_port(*tcp),
            ListenAddress::Unix(path) => self.paths.insert(path.clone()),
            ListenAddress::Systemd(name) => self.names.insert(name.clone()),
        };
        (!free).then(|| Fault::AddressTaken {
            address: address.clone(),
        })
    }

    fn take_port(&mut self, address: SocketAddr) -> bool {
        if address.port() == ANY_PORT {
            return true;
        }
        let family = (address.port(), address.is_ipv4());
        let family = self.ports.entry(family).or_default();
        let ip = address.ip();
        let clash = |other: &IpAddr| *other == ip || other.is_unspecified() || ip.is_unspecified();
        let free = !family.iter().any(clash);
        family.push(ip);
        free
    }
}

/// The system chooses.
const ANY_PORT: u16 = 0;

/// Peers that arrive at an IPv6 socket with a mapped IPv4 address are held against networks of IPv4, so a mapped network
/// is one, too.
pub(super) fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else {
        return network;
    };
    let rest = mapped.prefix_len().checked_sub(MAPPED_PREFIX);
    let v4 = mapped.network().to_ipv4_mapped().zip(rest);
    match v4.and_then(|(address, length)| Ipv4Net::new(address, length).ok()) {
        Some(network) => IpNet::V4(network),
        None => network,
    }
}

/// RFC 4291 section 2.5.5.2.
const MAPPED_PREFIX: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_network_is_one_of_ipv4() {
        for (written, meant) in [
            ("::ffff:192.168.1.0/120", "192.168.1.0/24"),
            ("::ffff:192.168.1.2/128", "192.168.1.2/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("fd00::/8", "fd00::/8"),
            ("::/0", "::/0"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            let [written, meant] = [written, meant].map(|text| text.parse::<IpNet>().unwrap());
            assert_eq!(canonical(written), meant);
        }
    }
}
