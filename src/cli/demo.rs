//! `mailsluice demo`: a provider inside this process, the real proxy in front of it, and what to type into a mail
//! program. `--check` does what the printed lines say.
//!
//! Nothing stays: the mailbox is in memory, and the store with the local password is in a folder that goes at the end.

mod check;
mod client;
mod folder;
mod proxy;
mod settings;

use std::io::{self, Write};

use self::check::CheckError;
use self::proxy::{Ports, Proxy, ProxyError};
use self::settings::Settings;
use super::args::DemoArguments;
use super::error::CliError;
use super::exit::Exit;
use super::logging;
use crate::bridge::provider::{Provider, ProviderError};

/// Why the demo did not work.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The provider did not start.
    #[error("the embedded provider does not start")]
    Provider(#[from] ProviderError),
    /// The proxy did not start.
    #[error("the proxy does not start")]
    Proxy(#[from] ProxyError),
    /// A step of the check failed.
    #[error("the check failed")]
    Check(#[from] CheckError),
    /// Nothing can be printed.
    #[error("cannot write to standard output")]
    Print(#[from] io::Error),
}

/// Runs until the check is through, or until it is interrupted.
pub(crate) fn demo(arguments: &DemoArguments) -> Result<Exit, CliError> {
    // The check tells its steps itself; what goes wrong is told either way.
    logging::start_plain(if arguments.check { "warn" } else { SESSIONS })?;
    super::block_on(run(arguments.check, proxy::PORTS, &mut io::stdout()))??;
    Ok(Exit::Ok)
}

async fn run(check: bool, ports: Ports, out: &mut impl Write) -> Result<(), DemoError> {
    let provider = Provider::start().await?;
    let proxy = Proxy::start(&provider, ports).await?;
    let settings = Settings {
        addresses: proxy.addresses(),
        user: Provider::USER,
        password: proxy.local_password(),
    };
    let outcome = if check {
        check::run(&settings, &*provider.mailbox(), out)
            .await
            .map_err(DemoError::from)
    } else {
        show(&settings, out).await
    };
    proxy.stop().await;
    provider.stop().await;
    outcome
}

async fn show(settings: &Settings<'_>, out: &mut impl Write) -> Result<(), DemoError> {
    writeln!(out, "{settings}")?;
    writeln!(
        out,
        "Each login and each end of a session is told below. Ctrl-C stops the demo."
    )?;
    out.flush()?;
    interrupted().await;
    Ok(())
}

/// Ctrl-C or SIGTERM. Without a handler a signal ends the process, which serves as well but leaves the folder behind.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Each login and each end of a session. The ports are told already, and nobody has to keep the store.
const SESSIONS: &str = "warn,mailsluice::relay::session=debug";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_check_passes_through_the_real_proxy() {
        let any_port = Protocol::ALL.map(|protocol| (protocol, 0));
        let mut out = Vec::new();
        run(true, any_port, &mut out).await.unwrap();
        let told = String::from_utf8(out).unwrap();
        assert_eq!(told.lines().count(), 5, "{told}");
        assert!(told.ends_with("all well\n"), "{told}");
    }
}
