//! perdition for IMAP and POP3: a process for each connection.
//!
//! It takes part in the login and says it again upstream, but it has no password but the client's: in the words of the
//! bench it is blind.

use std::net::SocketAddr;
use std::process::{Child, Command};

use super::{Peer, Ports, Running, Setup, daemon, first_line, free_ports};
use crate::error::BenchError;

/// See the module.
pub(crate) struct Perdition;

impl Peer for Perdition {
    fn name(&self) -> &'static str {
        "perdition"
    }

    fn understands_protocol(&self) -> bool {
        false
    }

    fn find(&self) -> Option<String> {
        first_line(Command::new("perdition").arg("--help"))
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        let [imap, pop3] = free_ports()?;
        let upstream = setup.upstream;
        let ports = Ports {
            smtp: None,
            ..Ports::blind(upstream, [imap, pop3, pop3])
        };
        let first = start("perdition.imap4", setup, imap, upstream.imap)?;
        // From here on an early return ends it.
        let mut running = Running::one(first, ports);
        let second = start("perdition.pop3", setup, pop3, upstream.pop3)?;
        running.roots.push(second.id());
        running.children.push(second);
        Ok(running)
    }
}

fn start(
    program: &str,
    setup: &Setup<'_>,
    listen: SocketAddr,
    upstream: SocketAddr,
) -> Result<Child, BenchError> {
    let mut command = Command::new(program);
    command
        .args([
            "--no_daemon",
            "--config_file",
            "/dev/null",
            "--pid_file",
            "",
        ])
        .args(["--log_facility", "-", "--quiet", "--connect_relog", "0"])
        .args(["--map_library", "", "--no_lookup", "--server_resp_line"])
        .args(["--bind_address", &listen.ip().to_string()])
        .args(["--listen_port", &listen.port().to_string()])
        .args(["--outgoing_server", setup.upstream.host])
        .args(["--outgoing_port", &upstream.port().to_string()])
        .args(["--ssl_mode", "ssl_outgoing", "--ssl_ca_file"])
        .arg(&setup.upstream.ca);
    // Its default is the user nobody, which only root can become.
    if !rustix::process::geteuid().is_root() {
        let ids = [
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ];
        let [user, group] = ids.map(|id| id.to_string());
        command.args(["--username", &user, "--group", &group]);
    }
    daemon::start(program, &mut command, setup.dir, &[listen])
}
