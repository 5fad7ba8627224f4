//! Ports that cannot be had, so that this is told with everything else that is wrong and before any port opens.
//!
//! Looking is not done here: who loads the configuration says how, and whether it makes sense. It does not while our own
//! service has the ports.

use std::io;

use super::super::fault::Fault;
use super::super::key::KeyPath;
use super::super::oauth::Flow;
use super::super::problem::{Place, Problem};
use super::super::runtime::{AccountAuth, Accounts, ListenAddress, Listener};
use super::Check;
use super::listener::loopbacks;

/// Tells why an address cannot be listened on. It opens nothing.
pub type PortProbe = fn(&ListenAddress) -> Result<(), io::ErrorKind>;

/// Where a listener is written: the key of its address, and the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Written {
    pub(in super::super) place: Place,
    pub(in super::super) key: KeyPath,
}

impl Written {
    /// The problem that `addresses`, which are written here, cannot be listened on.
    pub(in super::super) fn cannot_listen(
        &self,
        addresses: Vec<ListenAddress>,
        trouble: io::ErrorKind,
    ) -> Problem {
        let by_default = self.place == Place::Default;
        let fault = Fault::CannotListen {
            addresses,
            trouble,
            by_default,
        };
        Problem::new(self.place.clone(), &self.key, fault)
    }
}

/// Probes every listener; what stands at one key and has one reason is one problem.
pub(in super::super) fn ports(
    listeners: &[(Listener, Written)],
    probe: PortProbe,
    check: &mut Check<'_>,
) {
    let mut troubles: Vec<(&Written, io::ErrorKind, Vec<ListenAddress>)> = Vec::new();
    for (listener, written) in listeners {
        let Err(trouble) = probe(&listener.address) else {
            continue;
        };
        let same = troubles
            .iter_mut()
            .find(|(at, kind, _)| *at == written && *kind == trouble);
        match same {
            Some((_, _, addresses)) => addresses.push(listener.address.clone()),
            None => troubles.push((written, trouble, vec![listener.address.clone()])),
        }
    }
    let problems = troubles
        .into_iter()
        .map(|(written, trouble, addresses)| written.cannot_listen(addresses, trouble));
    check.report.extend(problems);
}

/// Probes the port that sign-ins come back to, where somebody may sign in with a browser. It opens on both loopbacks, and
/// does without the IPv6 one only where there is none.
pub(in super::super) fn callback_port(
    port: u16,
    accounts: &Accounts,
    probe: PortProbe,
    check: &mut Check<'_>,
) {
    let redirected = |auth: &AccountAuth| matches!(auth, AccountAuth::OAuth(grant) if grant.flow == Flow::AuthorizationCode);
    if port == 0 || !accounts.all.iter().any(|a| redirected(&a.auth)) {
        return;
    }
    let troubles = loopbacks(port).into_iter().filter_map(|address| {
        let trouble = probe(&address.into()).err()?;
        let counts = address.is_ipv4() || trouble == io::ErrorKind::AddrInUse;
        counts.then_some((address.into(), trouble))
    });
    let (addresses, kinds): (Vec<_>, Vec<_>) = troubles.unzip();
    if let Some(trouble) = kinds.first().copied() {
        let fault = Fault::CannotListen {
            addresses,
            trouble,
            by_default: false,
        };
        check.report.add(&KeyPath::dotted("sign_in.port"), fault);
    }
}
