//! stunnel as a client tunnel: a thread for each connection, its defaults, and the upstream's name verified.

use std::net::SocketAddr;
use std::process::Command;

use super::{Peer, Ports, Running, Setup, daemon, free_ports};
use crate::error::BenchError;

/// See the module.
pub(crate) struct Stunnel;

impl Peer for Stunnel {
    fn name(&self) -> &'static str {
        "stunnel"
    }

    fn understands_protocol(&self) -> bool {
        false
    }

    fn find(&self) -> Option<String> {
        // Behind what it logs about its start.
        let output = Command::new(PROGRAM).arg("-version").output().ok()?;
        let said = String::from_utf8_lossy(&output.stderr);
        said.lines()
            .find(|line| line.starts_with("stunnel "))
            .map(str::to_owned)
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        let ports: [SocketAddr; 3] = free_ports()?;
        let file = daemon::configuration(setup.dir, "stunnel.conf", &configuration(setup, ports))?;
        let child = daemon::start(PROGRAM, Command::new(PROGRAM).arg(file), setup.dir, &ports)?;
        Ok(Running::one(child, Ports::blind(setup.upstream, ports)))
    }
}

fn configuration(setup: &Setup<'_>, ports: [SocketAddr; 3]) -> String {
    let upstream = setup.upstream;
    let mut text = format!(
        "foreground = yes\npid =\nsyslog = no\ndebug = err\nclient = yes\nverifyChain = yes\nCAfile = {}\n\
         checkHost = {host}\nsni = {host}\n",
        upstream.ca.display(),
        host = upstream.host,
    );
    let services = ["imap", "pop3", "smtp"].into_iter().zip(ports);
    for ((name, accept), connect) in services.zip(upstream.addresses()) {
        text.push_str(&format!(
            "[{name}]\naccept = {accept}\nconnect = {connect}\n"
        ));
    }
    text
}

const PROGRAM: &str = "stunnel4";
