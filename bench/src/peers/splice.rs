//! The splices of [`crate::splice`] as targets.

use std::ffi::OsStr;
use std::net::SocketAddr;

use super::{Peer, Ports, Running, Setup};
use crate::error::BenchError;
use crate::helper;

/// The ideal one: all ratios are to it.
#[derive(Debug)]
pub(crate) struct Splice;

/// The one over tokio-rustls.
#[derive(Debug)]
pub(crate) struct SpliceBuffered;

impl Peer for Splice {
    fn name(&self) -> &'static str {
        "splice"
    }

    fn understands_protocol(&self) -> bool {
        false
    }

    fn find(&self) -> Option<String> {
        Some("rustls unbuffered, 64 KiB".to_owned())
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        start(setup, &[])
    }
}

impl Peer for SpliceBuffered {
    fn name(&self) -> &'static str {
        "splice-tokio"
    }

    fn understands_protocol(&self) -> bool {
        false
    }

    fn find(&self) -> Option<String> {
        Some("tokio-rustls, 64 KiB reads".to_owned())
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        start(setup, &["--buffered"])
    }
}

fn start(setup: &Setup<'_>, flags: &[&str]) -> Result<Running, BenchError> {
    let upstream = setup.upstream;
    let targets = [upstream.imap, upstream.pop3, upstream.smtp].map(|port| port.to_string());
    let mut arguments = vec![OsStr::new("--ca"), upstream.ca.as_os_str()];
    arguments.extend(flags.iter().map(OsStr::new));
    arguments.extend(targets.iter().map(OsStr::new));
    let (child, [imap, pop3, smtp]) = helper::start::<[SocketAddr; 3]>(crate::SPLICE, &arguments)?;
    let ports = Ports {
        imap: Some(imap),
        pop3: Some(pop3),
        smtp: Some(smtp),
        user: upstream.user.clone(),
        password: upstream.password.clone(),
        ..Ports::default()
    };
    Ok(Running::one(child, ports))
}
