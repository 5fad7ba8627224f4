//! `mailsluice run`: the service in the foreground.

use std::sync::Arc;
use std::time::Instant;

use super::context::{Context, ports};
use super::error::CliError;
use super::exit::Exit;
use super::sign_ins::SignIns;
use super::{harden, logging};
use crate::auth::Authenticator;
use crate::auth::oauth::Tokens;
use crate::config::Loaded;
use crate::config::runtime::{Config, ListenAddress};
use crate::net::Inherited;
use crate::relay::{Service, Workers};
use crate::web::{Desk, ListenerView, Status};

/// Runs until a signal ends it.
pub(crate) fn run(context: &Context) -> Result<Exit, CliError> {
    // Before any descriptor is opened: systemd's are known by their numbers.
    let inherited = Inherited::take();
    // Before anything else: two services in one state folder would also dispute the ports.
    context.refuse_second()?;
    let loaded = context.load_for_start()?;
    logging::start(&loaded.config.log)?;
    if let Err(error) = harden::close_memory() {
        tracing::warn!(cause = %error, "core dumps cannot be switched off");
    }
    if let Err(error) = harden::raise_files() {
        tracing::warn!(cause = %error, "the limit of open files cannot be raised");
    }
    super::block_on(serve(context, loaded, inherited?))?
}

async fn serve(context: &Context, loaded: Loaded, inherited: Inherited) -> Result<Exit, CliError> {
    // Before anything is opened: a signal during the start must not be lost.
    let mut signals = Signals::listen()?;
    let store = context.store(&loaded.config).await?;
    let tokens = Tokens::new(store.clone())?;
    let authenticator = Arc::new(Authenticator::new(store.clone(), tokens.clone()));
    let config = Arc::clone(&loaded.config);
    let workers = Workers::start().map_err(CliError::Runtime)?;
    let unused = unused(&inherited, &config);
    let mut service = Service::start_with(
        Arc::clone(&config),
        Arc::clone(&authenticator),
        workers,
        inherited,
    )
    .map_err(|errors| ports(&loaded, &errors))?;
    for name in unused {
        tracing::warn!(name, "systemd handed over a socket that no listener names");
    }
    let sign_ins = SignIns::start(tokens, service.overview()).await?;
    let _control = open_control(&config, &service, sign_ins.desk()).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        accounts = config.accounts.all.len(),
        "ready"
    );
    if config.accounts.all.is_empty() {
        tracing::warn!(
            "there are no accounts, so nobody can log in; add one: mailsluice account add"
        );
    }
    while let Signal::Reload = signals.next().await {
        reload(context, &authenticator, &mut service, &sign_ins, &config).await;
    }
    tracing::info!(open = service.overview().registry().open(), "stopping");
    let by_themselves = tokio::select! {
        by_themselves = service.drain() => by_themselves,
        () = signals.stop_again() => false,
    };
    sign_ins.stop().await;
    store.close().await;
    tracing::info!(by_themselves, "stopped");
    Ok(Exit::Ok)
}

/// The names of what systemd opened and nobody listens on.
fn unused(inherited: &Inherited, config: &Config) -> Vec<String> {
    let used = |name: &str| {
        let name = ListenAddress::Systemd(name.to_owned());
        config.listeners.iter().any(|l| l.address == name)
    };
    let names = inherited.names().into_iter();
    names
        .filter(|name| !used(name))
        .map(str::to_owned)
        .collect()
}

/// A configuration with a mistake changes nothing: the old one goes on.
async fn reload(
    context: &Context,
    authenticator: &Authenticator,
    service: &mut Service,
    sign_ins: &SignIns,
    at_start: &Config,
) {
    let reloaded = context.load_for_service().and_then(|loaded| {
        let config = Arc::clone(&loaded.config);
        service
            .reload(Arc::clone(&config))
            .map_err(|errors| ports(&loaded, &errors))?;
        Ok(config)
    });
    match reloaded {
        Ok(config) => {
            authenticator.reloaded();
            tracing::info!(
                accounts = config.accounts.all.len(),
                "configuration read again"
            );
            if needs_restart(at_start, &config) {
                tracing::warn!("a change of log, store or state_dir counts from the next start on");
            }
            // Mail goes on without it; the next sign-in tries again and says why it cannot.
            if let Err(error) = sign_ins.open_callback().await {
                tracing::error!(cause = %error, reason = %error.source, "no callback listener");
            }
        }
        // A line each: the log is read line by line.
        Err(CliError::Config(problems)) => {
            for problem in problems.iter() {
                tracing::error!(cause = %problem, "the old configuration stays");
            }
        }
        Err(error) => tracing::error!(cause = %error, "the old configuration stays"),
    }
}

fn needs_restart(old: &Config, new: &Config) -> bool {
    old.log != new.log || old.store != new.store || old.state_dir != new.state_dir
}

#[cfg(unix)]
async fn open_control(
    config: &Config,
    service: &Service,
    desk: &Arc<Desk>,
) -> Result<crate::web::ControlSocket, CliError> {
    let started = Instant::now();
    let overview = service.overview();
    let status = move |grants| Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        up_s: started.elapsed().as_secs(),
        listeners: overview
            .places()
            .into_iter()
            .map(|(protocol, address)| ListenerView {
                protocol: protocol.to_string(),
                address: address.to_string(),
            })
            .collect(),
        accounts: overview.accounts(),
        grants,
        connections: overview.registry().total(),
        sessions: overview.registry().view(),
    };
    let (desk, status) = (Arc::clone(desk), Arc::new(status));
    Ok(crate::web::ControlSocket::open(&config.state_dir, desk, status).await?)
}

#[cfg(not(unix))]
async fn open_control(
    _config: &Config,
    _service: &Service,
    _desk: &Arc<Desk>,
) -> Result<(), CliError> {
    Ok(())
}

enum Signal {
    Reload,
    Stop,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Result<Self, CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        let open = |kind| signal(kind).map_err(CliError::Signals);
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
            hangup: open(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }

    /// A second request to stop: somebody is in a hurry.
    async fn stop_again(&mut self) {
        while !matches!(self.next().await, Signal::Stop) {}
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Result<Self, CliError> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        let _ = tokio::signal::ctrl_c().await;
        Signal::Stop
    }

    async fn stop_again(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
