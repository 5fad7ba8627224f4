//! OAuth: tokens of a real issuer at a real server.
//!
//! Here without the proxy's house-keeping; signing in, and what becomes of the tokens, in the files beside this one.

mod canaries;
mod grants;
mod illness;
mod kills;
mod sign_ins;
mod tokens;

use std::net::SocketAddr;
use std::time::Duration;

use mailsluice::config::runtime::{Endpoint, Trust};
use mailsluice::proto::dialogue::Credential;
use mailsluice::proto::refusal::{Cause, Refusal};
use mailsluice::protocol::{Protocol, TlsMode};
use mailsluice::relay::Probe;
use mailsluice::secret::Secret;

use crate::fixture::{Mailbox, oauth_servers, servers};

/// The five ports and how TLS begins there.
fn ports() -> [(Protocol, SocketAddr, TlsMode); 5] {
    let servers = oauth_servers();
    [
        (Protocol::Imap, servers.imaps, TlsMode::Implicit),
        (Protocol::Pop3, servers.pop3s, TlsMode::Implicit),
        (Protocol::Imap, servers.imap, TlsMode::StartTls),
        (Protocol::Pop3, servers.pop3, TlsMode::StartTls),
        (Protocol::Smtp, servers.submission, TlsMode::StartTls),
    ]
}

/// Logs in at one of them with `token`.
fn log_in(
    (protocol, server, tls): (Protocol, SocketAddr, TlsMode),
    user: &str,
    token: &str,
    mechanism: &str,
) -> Result<(), Refusal> {
    let endpoint = Endpoint {
        proxy: None,
        host: "localhost".to_owned(),
        port: server.port(),
        tls,
        trust: Trust::CaFile(servers().ca_file.clone()),
        user: user.to_owned(),
    };
    let credential = Credential::Bearer {
        user: user.to_owned(),
        token: Secret::from(token),
        host: endpoint.host.clone(),
        port: endpoint.port,
        mechanisms: vec![mechanism.to_owned()],
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let probe = Probe::new("client.example.org".to_owned(), PATIENCE);
    runtime.block_on(probe.log_in(protocol, &endpoint, None, credential))
}

#[test]
fn both_mechanisms_are_understood_on_every_port() {
    let user = Mailbox::new(servers()).user;
    let token = oauth_servers().issuer.access_token(&user);
    assert!(token.len() > 1500, "{} octets", token.len());
    for port in ports() {
        for mechanism in MECHANISMS {
            let outcome = log_in(port, &user, &token, mechanism);
            assert_eq!(outcome, Ok(()), "{port:?} {mechanism}");
        }
    }
}

#[test]
fn a_token_that_is_not_good_is_reported_as_one() {
    let user = Mailbox::new(servers()).user;
    let other = Mailbox::new(servers()).user;
    let token = oauth_servers().issuer.access_token(&other);
    for port in ports() {
        for mechanism in MECHANISMS {
            for wrong in [token.as_str(), "not-a-token"] {
                let refusal = log_in(port, &user, wrong, mechanism).expect_err("refused");
                assert_eq!(
                    refusal.cause,
                    Cause::TokenRejected,
                    "{port:?} {mechanism}: {refusal}"
                );
            }
        }
    }
}

const MECHANISMS: [&str; 2] = ["XOAUTH2", "OAUTHBEARER"];
const PATIENCE: Duration = Duration::from_secs(60);
