//! email-oauth2-proxy, signed in by the client credentials grant, so that no person is needed. Its first login asks for
//! the token and stores it; those that are measured find it there.
//!
//! It makes a certificate store for each connection. With the upstream's authority as the only one, it needs a ninth of
//! the memory that the usual bundle of authorities costs it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::{Login, Peer, Ports, Running, Setup, daemon, first_line, free_ports};
use crate::error::BenchError;

/// See the module.
pub(crate) struct EmailProxy;

impl Peer for EmailProxy {
    fn name(&self) -> &'static str {
        "email-oauth2-proxy"
    }

    fn understands_protocol(&self) -> bool {
        true
    }

    fn find(&self) -> Option<String> {
        first_line(Command::new(program()?).arg("--version"))
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        let program = program().ok_or_else(|| {
            BenchError::start("email-oauth2-proxy", "bench/install-peers installs it")
        })?;
        let addresses: [SocketAddr; 3] = free_ports()?;
        let text = configuration(setup, addresses);
        let file = daemon::configuration(setup.dir, "emailproxy.config", &text)?;
        let mut command = Command::new(program);
        command
            .args(["--no-gui", "--local-server-auth", "--config-file"])
            .arg(file)
            .arg("--log-file")
            .arg(setup.dir.join("sessions.log"))
            .env("SSL_CERT_FILE", &setup.upstream.ca);
        let child = daemon::start("emailproxy", &mut command, setup.dir, &addresses)?;
        // The name of the client's login is the upstream's, too.
        let ports = Ports {
            user: setup.upstream.user.clone(),
            ..Ports::own(addresses)
        };
        let oauth = Login {
            user: ports.user.clone(),
            password: ports.password.clone(),
        };
        Ok(Running::one(
            child,
            Ports {
                oauth: Some(oauth),
                ..ports
            },
        ))
    }
}

fn configuration(setup: &Setup<'_>, ports: [SocketAddr; 3]) -> String {
    let upstream = setup.upstream;
    let mut text = String::new();
    let servers = ["IMAP", "POP", "SMTP"].into_iter().zip(ports);
    for ((name, local), to) in servers.zip(upstream.addresses()) {
        text.push_str(&format!(
            "[{name}-{}]\nlocal_address = {}\nserver_address = {}\nserver_port = {}\n",
            local.port(),
            local.ip(),
            upstream.host,
            to.port(),
        ));
    }
    text.push_str(&format!(
        "[{}]\ntoken_url = {}\noauth2_scope = mail\noauth2_flow = client_credentials\n\
         client_id = bench\nclient_secret = bench\n",
        upstream.user, upstream.token_endpoint
    ));
    text
}

/// Where `bench/install-peers` puts it.
fn program() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    let program = target.join("peers/emailproxy/bin/emailproxy");
    program.exists().then_some(program)
}
