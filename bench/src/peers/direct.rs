//! No proxy: the client speaks TLS to the upstream itself.

use super::{Peer, Ports, Running, Setup};
use crate::error::BenchError;

/// The baseline without anything in between.
#[derive(Debug)]
pub(crate) struct Direct;

impl Peer for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn understands_protocol(&self) -> bool {
        false
    }

    fn find(&self) -> Option<String> {
        Some("TLS in the client".to_owned())
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Running, BenchError> {
        let upstream = setup.upstream;
        let ports = Ports {
            imap: Some(upstream.imap),
            pop3: Some(upstream.pop3),
            smtp: Some(upstream.smtp),
            tls: true,
            user: upstream.user.clone(),
            password: upstream.password.clone(),
            ..Ports::default()
        };
        Ok(Running {
            children: Vec::new(),
            ports,
            roots: Vec::new(),
        })
    }
}
