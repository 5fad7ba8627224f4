//! nginx: its stream module as a blind tunnel, and its mail module, which understands the protocols.
//!
//! The mail module cannot speak TLS to an upstream, so it gets what its users put behind it: an nginx stream that does.
//! Both processes are its cost. It injects the upstream's credential, which its auth server answers it with; that server
//! is a fixed answer of the same nginx. The module leaves Nagle's algorithm on and has no option for it, which costs it
//! 40 ms wherever two small writes follow each other.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};

use super::{Peer, Ports, Running, Setup, daemon, first_line, free_ports};
use crate::error::BenchError;

/// The stream module.
pub(crate) struct Stream {
    /// The size of its two buffers for a connection; `None` for the default, which is 16 KiB.
    pub(crate) buffer: Option<&'static str>,
}

/// The mail module before a stream.
pub(crate) struct Mail;

impl Peer for Stream {
    fn name(&self) -> &'static str {
        match self.buffer {
            None => "nginx-stream",
            Some(_) => "nginx-stream-64k",
        }
    }

    fn understands_protocol(&self) -> bool {
        false
    }

    fn find(&self) -> Option<String> {
        version(&[STREAM])
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        let ports: [SocketAddr; 3] = free_ports()?;
        let child = start_stream(setup, ports, self.buffer)?;
        Ok(Running::one(child, Ports::blind(setup.upstream, ports)))
    }
}

impl Peer for Mail {
    fn name(&self) -> &'static str {
        "nginx-mail"
    }

    fn understands_protocol(&self) -> bool {
        true
    }

    fn find(&self) -> Option<String> {
        version(&[STREAM, MAIL])
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        let [a, b, c, d, e, f, auth] = free_ports()?;
        let (tunnel, ports) = ([a, b, c], [d, e, f]);
        let stream = start_stream(setup, tunnel, Some("64k"))?;
        // From here on an early return ends it.
        let mut running = Running::one(stream, Ports::own(ports));
        let text = mail_configuration(setup, ports, tunnel, auth);
        let mail = start(setup.dir, "mail", MAIL, &text, &ports)?;
        running.roots.push(mail.id());
        running.children.push(mail);
        Ok(running)
    }
}

fn version(modules: &[&str]) -> Option<String> {
    let all_there = modules.iter().all(|module| Path::new(module).exists());
    all_there.then(|| first_line(Command::new(PROGRAM).arg("-v")))?
}

fn start_stream(
    setup: &Setup<'_>,
    ports: [SocketAddr; 3],
    buffer: Option<&str>,
) -> Result<Child, BenchError> {
    let text = stream_configuration(setup, ports, buffer);
    start(setup.dir, "stream", STREAM, &text, &ports)
}

fn start(
    dir: &Path,
    name: &str,
    module: &str,
    text: &str,
    ports: &[SocketAddr],
) -> Result<Child, BenchError> {
    let head = format!(
        "load_module {module};\ndaemon off;\npid {}/{name}.pid;\nerror_log stderr error;\nworker_processes auto;\n\
         events {{ worker_connections {WORKER_CONNECTIONS}; }}\n",
        dir.display()
    );
    let file = daemon::configuration(dir, &format!("{name}.conf"), &format!("{head}{text}"))?;
    let mut command = Command::new(PROGRAM);
    // The log of before the configuration is read is compiled in, and only root may write there.
    command
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(dir)
        .arg("-c")
        .arg(file);
    daemon::start(PROGRAM, &mut command, dir, ports)
}

fn stream_configuration(setup: &Setup<'_>, ports: [SocketAddr; 3], buffer: Option<&str>) -> String {
    let upstream = setup.upstream;
    let buffer = buffer.map_or_else(String::new, |size| {
        format!("    proxy_buffer_size {size};\n")
    });
    let mut text = format!(
        "stream {{\n    proxy_ssl on;\n    proxy_ssl_verify on;\n\
         \x20   proxy_ssl_trusted_certificate {};\n    proxy_ssl_name {};\n    proxy_ssl_server_name on;\n\
         \x20   proxy_timeout 1h;\n{buffer}",
        upstream.ca.display(),
        upstream.host,
    );
    for (listen, to) in ports.into_iter().zip(upstream.addresses()) {
        text.push_str(&format!(
            "    server {{ listen {listen} backlog=1024; proxy_pass {to}; }}\n"
        ));
    }
    text.push_str("}\n");
    text
}

fn mail_configuration(
    setup: &Setup<'_>,
    ports: [SocketAddr; 3],
    tunnel: [SocketAddr; 3],
    auth: SocketAddr,
) -> String {
    let upstream = setup.upstream;
    let dir = setup.dir.display();
    let mut http = String::new();
    for (name, to) in PROTOCOLS.into_iter().zip(tunnel) {
        http.push_str(&format!(
            "        location = /{name} {{ add_header Auth-Status OK; add_header Auth-Server {}; \
             add_header Auth-Port {}; add_header Auth-User {}; add_header Auth-Pass {}; return 204; }}\n",
            to.ip(),
            to.port(),
            upstream.user,
            upstream.password,
        ));
    }
    let mut mail = String::new();
    for (name, listen) in PROTOCOLS.into_iter().zip(ports) {
        mail.push_str(&format!(
            "    server {{ listen {listen} backlog=1024; protocol {name}; auth_http {auth}/{name}; }}\n"
        ));
    }
    format!(
        "http {{\n    access_log off;\n    client_body_temp_path {dir}/body;\n\
         \x20   proxy_temp_path {dir}/proxy;\n    fastcgi_temp_path {dir}/fastcgi;\n    uwsgi_temp_path {dir}/uwsgi;\n\
         \x20   scgi_temp_path {dir}/scgi;\n    server {{\n        listen {auth};\n{http}    }}\n}}\n\
         mail {{\n    server_name {host};\n    timeout 1h;\n    proxy_timeout 1h;\n    proxy_buffer 64k;\n    proxy_smtp_auth on;\n\
         \x20   xclient off;\n    smtp_auth plain login;\n{mail}}}\n",
        host = upstream.host,
    )
}

const PROGRAM: &str = "nginx";
const PROTOCOLS: [&str; 3] = ["imap", "pop3", "smtp"];
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
const MAIL: &str = "/usr/lib/nginx/modules/ngx_mail_module.so";

/// Both connections of 10 000 sessions, should one worker get all of them.
const WORKER_CONNECTIONS: u32 = 20_480;
