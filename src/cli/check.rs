//! `mailsluice check`: the configuration, and with `--connect` the providers behind it.

use std::io::Write;
use std::sync::Arc;

use serde_json::json;

use super::args::CheckArguments;
use super::certs::{Presented, presented};
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::no_login::{Unlocked, unlocked};
use crate::auth::Authenticator;
use crate::auth::oauth::Tokens;
use crate::config::Loaded;
use crate::config::problem::Problems;
use crate::config::runtime::{Account, Config, Endpoint, ListenAddress};
use crate::proto::refusal::Refusal;
use crate::protocol::Protocol;
use crate::relay::Probe;
use crate::secret::Secret;

/// Says everything that is wrong, and whether the logins work.
pub(crate) fn check(context: &Context, arguments: &CheckArguments) -> Result<Exit, CliError> {
    // The ports of a running service are taken by itself.
    let loaded = match context.running()? {
        Some(_) => context.load_for_service(),
        None => context.load_for_start(),
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(CliError::Config(problems)) if arguments.json => {
            super::print_json(&mut context.out(), &problem_documents(&problems))?;
            return Ok(CliError::Config(problems).exit());
        }
        Err(error) => return Err(error),
    };
    let outcomes = if arguments.connect {
        super::block_on(log_in_everywhere(context, &loaded, arguments.json))??
    } else {
        Vec::new()
    };
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.error.is_some())
        .count();
    let certificates = presented(&loaded.config);
    let faulty = certificates.iter().filter(|it| it.fault().is_some());
    let faults: Vec<_> = faulty.map(ToString::to_string).collect();
    let mut out = context.out();
    if arguments.json {
        let logins: Vec<_> = outcomes.iter().map(Outcome::document).collect();
        let certificates: Vec<_> = certificates.iter().map(Presented::document).collect();
        let unlocked: Vec<_> = unlocked(&loaded.config)
            .iter()
            .map(Unlocked::document)
            .collect();
        let document = json!({
            "problems": [],
            "logins": logins,
            "certificates": certificates,
            "without_login": unlocked,
        });
        super::print_json(&mut out, &document)?;
    } else {
        let sound = certificates.iter().filter(|it| it.fault().is_none());
        sound.into_iter().try_for_each(|it| writeln!(out, "{it}"))?;
        let unlocked = unlocked(&loaded.config);
        unlocked.iter().try_for_each(|it| writeln!(out, "{it}"))?;
        for listener in &loaded.config.listeners {
            if let ListenAddress::Systemd(_) = listener.address {
                let (protocol, address) = (listener.protocol, &listener.address);
                writeln!(
                    out,
                    "{protocol} {address}: opened by systemd, when it starts the service"
                )?;
            }
        }
        if failed == 0 && faults.is_empty() {
            writeln!(out, "{}", summary(&loaded))?;
        }
    }
    if !faults.is_empty() {
        let lines = faults.join("\n");
        return if arguments.json {
            Ok(Exit::Config)
        } else {
            Err(CliError::Certificates { lines })
        };
    }
    match (failed, arguments.json) {
        (0, _) => Ok(Exit::Ok),
        (_, true) => Ok(Exit::Unavailable),
        (failed, false) => Err(CliError::Connect {
            failed,
            tried: outcomes.len(),
        }),
    }
}

fn summary(loaded: &Loaded) -> String {
    let from = if loaded.exists {
        loaded.path.display().to_string()
    } else {
        format!("{} is not there yet; the defaults", loaded.path.display())
    };
    format!(
        "{from}: all is well, {}, {}",
        super::count(loaded.config.accounts.all.len(), "account"),
        super::count(loaded.config.listeners.len(), "listener")
    )
}

fn problem_documents(problems: &Problems) -> serde_json::Value {
    let list: Vec<_> = problems
        .iter()
        .map(|problem| json!({ "place": problem.place().to_string(), "key": problem.key(), "text": problem.advice() }))
        .collect();
    json!({ "problems": list, "logins": [] })
}

/// One login at one provider.
struct Outcome {
    account: String,
    protocol: Protocol,
    server: String,
    /// The proxy on the way, without its password.
    proxy: Option<String>,
    error: Option<String>,
}

impl Outcome {
    fn document(&self) -> serde_json::Value {
        json!({
            "account": self.account,
            "protocol": self.protocol.name(),
            "server": self.server,
            "proxy": self.proxy,
            "ok": self.error.is_none(),
            "error": self.error,
        })
    }
}

/// One after the other: providers count logins, and a wrong password tried at once on three protocols locks accounts.
async fn log_in_everywhere(
    context: &Context,
    loaded: &Loaded,
    quiet: bool,
) -> Result<Vec<Outcome>, CliError> {
    let store = context.store(&loaded.config).await?;
    let authenticator = Authenticator::new(store.clone(), Tokens::new(store.clone())?);
    let probe = Probe::new(loaded.config.host.clone(), loaded.config.limits.login);
    let mut outcomes = Vec::new();
    for account in mailboxes(&loaded.config) {
        for protocol in Protocol::ALL {
            let Some(outcome) = log_in(&authenticator, &probe, account, protocol).await else {
                continue;
            };
            if !quiet {
                let result = outcome.error.as_deref().unwrap_or("ok");
                let through = outcome.proxy.as_ref();
                let through = through.map(|proxy| format!(" through {proxy}"));
                let mut out = context.out();
                writeln!(
                    out,
                    "{} {protocol} at {}{}: {result}",
                    outcome.account,
                    outcome.server,
                    through.unwrap_or_default()
                )?;
            }
            outcomes.push(outcome);
        }
    }
    store.close().await;
    Ok(outcomes)
}

/// A catch-all entry stands for many mailboxes and is none itself.
fn mailboxes(config: &Config) -> impl Iterator<Item = &Arc<Account>> {
    let all = config.accounts.all.iter();
    all.filter(|account| !account.address.starts_with('*'))
}

async fn log_in(
    authenticator: &Authenticator,
    probe: &Probe,
    account: &Account,
    protocol: Protocol,
) -> Option<Outcome> {
    let endpoint = account.endpoints.get(&protocol)?;
    let tried = match authenticator.credential(account, protocol).await {
        Ok(Some(credential)) => match proxy_password(authenticator, endpoint).await {
            Ok(password) => {
                let tried = probe.log_in(protocol, endpoint, password, credential);
                tried.await
            }
            Err(refusal) => Err(refusal),
        },
        Ok(None) => return None,
        Err(refusal) => Err(refusal),
    };
    Some(Outcome {
        account: account.address.clone(),
        protocol,
        server: endpoint.authority(),
        proxy: endpoint.proxy.as_ref().map(ToString::to_string),
        error: tried.err().map(|refusal| refusal.to_string()),
    })
}

async fn proxy_password(
    authenticator: &Authenticator,
    endpoint: &Endpoint,
) -> Result<Option<Secret>, Refusal> {
    match &endpoint.proxy {
        Some(proxy) => authenticator.proxy_password(proxy).await,
        None => Ok(None),
    }
}
