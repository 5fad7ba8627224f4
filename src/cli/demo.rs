//! `mailsluice demo`: a provider inside this process, the real proxy in front of it, and what to type into a mail
//! program. `--check` does what the printed lines say.
//!
//! Nothing stays: the mailboxes are in memory, and the store with local passwords and tokens is in a folder that goes at the end.

mod check;
mod client;
mod folder;
mod proxy;
mod settings;

use std::io::{self, Write};
use std::sync::Arc;

use self::check::CheckError;
use self::proxy::{Ports, Proxy, ProxyError};
use self::settings::Settings;
use super::args::DemoArguments;
use super::error::CliError;
use super::exit::Exit;
use super::logging;
use crate::bridge::provider::{Provider, ProviderError};
use crate::web::{Desk, Reply, Request, Way};

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
    logging::start_plain(if arguments.check { TROUBLE } else { SESSIONS })?;
    super::block_on(run(arguments.check, proxy::PORTS, &mut io::stdout()))??;
    Ok(Exit::Ok)
}

async fn run(check: bool, ports: Ports, out: &mut impl Write) -> Result<(), DemoError> {
    let provider = Provider::start().await?;
    let proxy = Proxy::start(&provider, ports).await?;
    let [password, token_users] = proxy.local_passwords();
    let addresses = proxy.addresses();
    let settings = Settings {
        addresses: addresses.clone(),
        user: Provider::USER,
        password,
    };
    let signed_in = Settings {
        addresses,
        user: Provider::TOKEN_USER,
        password: token_users,
    };
    let outcome = if check {
        check_all(&provider, &proxy, &settings, &signed_in, out).await
    } else {
        show(&proxy, &settings, &signed_in, out).await
    };
    proxy.stop().await;
    provider.stop().await;
    outcome
}

async fn check_all(
    provider: &Provider,
    proxy: &Proxy,
    settings: &Settings<'_>,
    signed_in: &Settings<'_>,
    out: &mut impl Write,
) -> Result<(), DemoError> {
    check::run(settings, &*provider.mailbox(), out).await?;
    check::run_signed_in(signed_in, provider, proxy.desk(), out).await?;
    writeln!(out, "all well")?;
    Ok(())
}

async fn show(
    proxy: &Proxy,
    settings: &Settings<'_>,
    signed_in: &Settings<'_>,
    out: &mut impl Write,
) -> Result<(), DemoError> {
    writeln!(out, "{settings}")?;
    let password = String::from_utf8_lossy(signed_in.password.expose());
    writeln!(
        out,
        "A second mailbox is opened by tokens. Its program has the same settings, with\n\n  \
         user name  {}\n  password   {password}\n\nand somebody has to sign in to it once, in a browser:\n",
        signed_in.user,
    )?;
    tokio::select! {
        told = invite(proxy.desk(), signed_in.user, out) => told?,
        () = interrupted() => return Ok(()),
    }
    interrupted().await;
    Ok(())
}

/// Prints where to sign in until somebody has; each address works for some minutes.
async fn invite(desk: &Arc<Desk>, user: &str, out: &mut impl Write) -> Result<(), DemoError> {
    let mut visit = desk.visit();
    loop {
        let request = Request::SignIn {
            account: user.to_owned(),
            way: Way::Configured,
        };
        let Reply::Open { url, .. } = visit.answer(request).await else {
            writeln!(out, "  (signing in does not work now)\n")?;
            return Ok(());
        };
        writeln!(out, "  {url}\n")?;
        writeln!(
            out,
            "Each login and each end of a session is told below. Ctrl-C stops the demo."
        )?;
        out.flush()?;
        match visit.answer(Request::Wait).await {
            Reply::Done { grant } => {
                writeln!(out, "{grant} is signed in.")?;
                return Ok(());
            }
            _ => writeln!(out, "Nobody signed in. A new address:\n")?,
        }
    }
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

/// Each login and each end of a session. The ports are told already, nobody has to keep the store, and that a sign-in is
/// needed is printed with its address.
const SESSIONS: &str = "warn,mailsluice::web::needed=off,mailsluice::relay::session=debug";

/// What goes wrong, but for the login that has to fail since nobody has signed in.
const TROUBLE: &str = "warn,mailsluice::web::needed=off,mailsluice::relay::session=off";

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
        assert_eq!(told.lines().count(), 16, "{told}");
        assert!(told.contains("the token was over"), "{told}");
        assert!(told.ends_with("all well\n"), "{told}");
    }
}
