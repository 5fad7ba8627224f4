//! What is measured: every proxy, and the baselines, behind one trait.
//!
//! A peer that is not installed is left out. One that understands the protocol logs in upstream by itself, with the
//! upstream's secret; a blind one passes on what the client says, so the client says the upstream's secret.

mod daemon;
mod direct;
mod dovecot;
mod emailproxy;
mod haproxy;
mod mailsluice;
mod nginx;
mod perdition;
mod splice;
mod stunnel;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::process::{self, Tree};

pub(crate) use mailsluice::Mailsluice;

/// A proxy, or what stands in for one.
pub(crate) trait Peer {
    /// What it is called in tables and in `--targets`.
    fn name(&self) -> &'static str;

    /// Whether it logs in upstream by itself. If not it is blind, and the client has to know the upstream's password.
    fn understands_protocol(&self) -> bool;

    /// Its version, if it is on this machine.
    fn find(&self) -> Option<String>;

    /// Starts it; it answers on all of its ports when this returns.
    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError>;
}

/// What a peer is started with.
pub(crate) struct Setup<'a> {
    /// An empty folder of its own, for configuration and state.
    pub(crate) dir: &'a Path,
    /// Where it leads to.
    pub(crate) upstream: &'a Upstream,
}

/// The upstream, as a peer sees it. All ports speak TLS from the first byte.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    /// IMAP.
    pub(crate) imap: SocketAddr,
    /// POP3.
    pub(crate) pop3: SocketAddr,
    /// Submission.
    pub(crate) smtp: SocketAddr,
    /// The name in its certificate; it resolves to the addresses above.
    pub(crate) host: &'static str,
    /// The authority that signed it, PEM.
    pub(crate) ca: PathBuf,
    /// The user name of its one mailbox.
    pub(crate) user: String,
    /// That mailbox's password.
    pub(crate) password: String,
    /// Gives an access token for that mailbox to whoever POSTs a token request with any grant: plain HTTP, loopback.
    pub(crate) token_endpoint: String,
}

/// Where clients connect, and what they say there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    /// IMAP, if it has that.
    pub(crate) imap: Option<SocketAddr>,
    /// POP3, if it has that.
    pub(crate) pop3: Option<SocketAddr>,
    /// Submission, if it has that.
    pub(crate) smtp: Option<SocketAddr>,
    /// The user name clients say.
    pub(crate) user: String,
    /// The password clients say.
    pub(crate) password: String,
    /// The same for an account that the target logs in upstream with a token, if it can.
    pub(crate) oauth: Option<Login>,
    /// Clients speak TLS from the first byte: only the direct baseline.
    pub(crate) tls: bool,
}

/// A user name and a password.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The user name.
    pub(crate) user: String,
    /// The password.
    pub(crate) password: String,
}

/// A started peer. Dropping it ends every process of it.
#[derive(Debug)]
pub(crate) struct Running {
    /// The processes we started ourselves.
    pub(crate) children: Vec<Child>,
    /// Where clients go.
    pub(crate) ports: Ports,
    /// The processes whose trees are the peer: what they use is what it costs. Empty for the direct baseline.
    pub(crate) roots: Vec<u32>,
}

impl Running {
    /// One process, and what it forks.
    pub(crate) fn one(child: Child, ports: Ports) -> Self {
        Self {
            roots: vec![child.id()],
            children: vec![child],
            ports,
        }
    }

    /// Its processes, for accounting.
    pub(crate) fn tree(&self) -> Tree {
        Tree::new(self.roots.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let all = self.tree().pids();
        process::end(&self.roots, &all, GRACE);
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// All targets this bench knows but mailsluice itself, whose binary is known only then; baselines first.
pub(crate) fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(direct::Direct),
        Box::new(splice::Splice),
        Box::new(splice::SpliceBuffered),
        Box::new(stunnel::Stunnel),
        Box::new(haproxy::Haproxy),
        Box::new(nginx::Stream { buffer: None }),
        Box::new(nginx::Stream {
            buffer: Some("64k"),
        }),
        Box::new(nginx::Mail),
        Box::new(dovecot::Dovecot),
        Box::new(perdition::Perdition),
        Box::new(emailproxy::EmailProxy),
    ]
}

/// `N` ports of the loopback that were free a moment ago.
pub(crate) fn free_ports<const N: usize>() -> Result<[SocketAddr; N], BenchError> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(BenchError::io("looking for a free port"))?;
        *port = listener
            .local_addr()
            .map_err(BenchError::io("looking for a free port"))?;
        held.push(listener);
    }
    Ok(ports)
}

/// Waits until something accepts connections there.
pub(crate) fn wait_ready(program: &str, address: SocketAddr) -> Result<(), BenchError> {
    let end = Instant::now() + READY;
    while Instant::now() < end {
        if TcpStream::connect_timeout(&address, READY).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(BenchError::start(
        program,
        format!("nothing answers on {address}"),
    ))
}

/// The first line of what a command prints, if it is there at all: for versions.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map(|line| line.trim().to_owned())
}

/// How long a target may take to come up.
const READY: Duration = Duration::from_secs(20);
/// How long it may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);
