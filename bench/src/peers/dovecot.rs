//! Dovecot's login proxies in their high-performance mode: one process a core for each protocol, many clients each.
//!
//! A static passdb checks the client's password and gives the upstream's. The configuration is that of Dovecot 2.3.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::daemon::LOCAL_PASSWORD;
use super::{Peer, Ports, Running, Setup, daemon, first_line, free_ports};
use crate::error::BenchError;

/// See the module.
pub(crate) struct Dovecot;

impl Peer for Dovecot {
    fn name(&self) -> &'static str {
        "dovecot"
    }

    fn understands_protocol(&self) -> bool {
        true
    }

    fn find(&self) -> Option<String> {
        let version = first_line(Command::new(PROGRAM).arg("--version"))?;
        version.starts_with("2.3.").then_some(version)
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        let ports: [SocketAddr; 3] = free_ports()?;
        let text = configuration(setup, &setup.dir.join("run"), ports);
        let file = daemon::configuration(setup.dir, "dovecot.conf", &text)?;
        let mut command = Command::new(PROGRAM);
        command.arg("-F").arg("-c").arg(file);
        let child = daemon::start(PROGRAM, &mut command, setup.dir, &ports)?;
        Ok(Running::one(child, Ports::own(ports)))
    }
}

fn configuration(setup: &Setup<'_>, run: &Path, ports: [SocketAddr; 3]) -> String {
    let upstream = setup.upstream;
    let [imap, pop3, smtp] = upstream.addresses().map(|address| address.port());
    let ca = upstream.ca.display();
    // `pass` and `password` may hold no blank; those of the bench do not.
    let passdb = format!(
        "password={LOCAL_PASSWORD} proxy=y proxy_timeout=30 host={} hostip={} ssl=yes user={} pass={} \
         port=%{{if;%s;eq;imap;{imap};%{{if;%s;eq;pop3;{pop3};{smtp}}}}}",
        upstream.host,
        upstream.imap.ip(),
        upstream.user,
        upstream.password,
    );
    let mut text = format!(
        "base_dir = {run}\nstate_dir = {run}\nlog_path = /dev/stderr\ninfo_log_path = /dev/null\n\
         protocols = imap pop3 submission\nlisten = 127.0.0.1\nssl = no\n{VERIFY}ssl_ca = <{ca}\n\
         disable_plaintext_auth = no\nauth_mechanisms = plain login\ndefault_vsz_limit = 4 G\n\
         passdb {{\n  driver = static\n  args = {passdb}\n}}\n\
         userdb {{\n  driver = static\n  args = uid=65534 gid=65534 home=/nonexistent\n}}\n",
        run = run.display(),
    );
    if !rustix::process::geteuid().is_root() {
        text.push_str(&unprivileged());
    }
    for (name, port) in ["imap", "pop3", "submission"].into_iter().zip(ports) {
        text.push_str(&service(name, port));
    }
    text
}

/// The high-performance mode of the manual's "login processes".
fn service(name: &str, port: SocketAddr) -> String {
    let secure = match name {
        "submission" => String::new(),
        _ => format!("  inet_listener {name}s {{\n    port = 0\n  }}\n"),
    };
    format!(
        "service {name}-login {{\n  inet_listener {name} {{\n    port = {}\n  }}\n{secure}\
         \x20 service_count = 0\n  process_min_avail = {}\n  client_limit = 10240\n}}\n",
        port.port(),
        std::thread::available_parallelism().map_or(1, usize::from),
    )
}

/// Without root there is one user for everything, and no chroot.
fn unprivileged() -> String {
    let user = rustix::process::geteuid().as_raw();
    let mut text = format!(
        "default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {}\n",
        rustix::process::getegid().as_raw()
    );
    for name in ["imap-login", "pop3-login", "submission-login", "anvil"] {
        text.push_str(&format!("service {name} {{\n  chroot =\n}}\n"));
    }
    text
}

const PROGRAM: &str = "dovecot";

/// The login proxies of 2.3 verify with `ssl_ca`, not with `ssl_client_ca_file`, and ask for revocation lists by default.
const VERIFY: &str = "ssl_client_require_valid_cert = yes\nssl_require_crl = no\n";
