//! HAProxy in TCP mode with a TLS server behind it, one thread a core, the upstream's name verified.

use std::net::SocketAddr;
use std::process::Command;

use super::{Peer, Ports, Running, Setup, daemon, first_line, free_ports};
use crate::error::BenchError;

/// See the module.
pub(crate) struct Haproxy;

impl Peer for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn understands_protocol(&self) -> bool {
        false
    }

    fn find(&self) -> Option<String> {
        first_line(Command::new(PROGRAM).arg("-v"))
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        let ports: [SocketAddr; 3] = free_ports()?;
        let file = daemon::configuration(setup.dir, "haproxy.cfg", &configuration(setup, ports))?;
        let mut command = Command::new(PROGRAM);
        command.arg("-db").arg("-f").arg(file);
        let child = daemon::start(PROGRAM, &mut command, setup.dir, &ports)?;
        Ok(Running::one(child, Ports::blind(setup.upstream, ports)))
    }
}

/// Without `maxconn` HAProxy takes as many connections as it may have descriptors for.
fn configuration(setup: &Setup<'_>, ports: [SocketAddr; 3]) -> String {
    let upstream = setup.upstream;
    let mut text = "defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 1h\n    timeout server 1h\n"
        .to_owned();
    let services = ["imap", "pop3", "smtp"].into_iter().zip(ports);
    for ((name, bind), server) in services.zip(upstream.addresses()) {
        text.push_str(&format!(
            "listen {name}\n    bind {bind}\n    server upstream {server} ssl verify required ca-file {ca} \
             verifyhost {host} sni str({host})\n",
            ca = upstream.ca.display(),
            host = upstream.host,
        ));
    }
    text
}

const PROGRAM: &str = "haproxy";
