//! The real proxy in front of the embedded provider: the service that `run` starts, with a configuration made here.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::folder::Folder;
use crate::auth::{Authenticator, PasswordError, add_generated};
use crate::bridge::provider::Provider;
use crate::config::runtime::{
    Account, AccountAuth, Accounts, Config, Endpoint, KeySource, Limits, Listener, ListenerTls,
    LogSettings, SecretSource, SignInSettings, StoreSettings, Trust,
};
use crate::net;
use crate::protocol::{Protocol, TlsMode};
use crate::relay::{Service, ServiceError};
use crate::secret::Secret;
use crate::store::{Store, StoreError};

/// The proxy at work.
pub(super) struct Proxy {
    service: Service,
    store: Store,
    local_password: Secret,
    /// Last, so that it goes when nothing uses it any more.
    _folder: Folder,
}

/// Why the proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No folder for the store.
    #[error("cannot make a folder for it")]
    Folder(#[source] std::io::Error),
    /// No store.
    #[error("cannot open its store")]
    Store(#[from] StoreError),
    /// No local password.
    #[error("cannot make a local password")]
    Password(#[from] PasswordError),
    /// No ports.
    #[error("no free port at {from} or the {PORTS_TRIED} after it")]
    Ports {
        /// The port it should have been.
        from: u16,
    },
    /// The service.
    #[error(transparent)]
    Service(Box<ServiceError>),
}

impl Proxy {
    /// Listens on `ports`, or the next free ones; 0 is any.
    pub(super) async fn start(provider: &Provider, ports: Ports) -> Result<Self, ProxyError> {
        let folder = Folder::make().map_err(ProxyError::Folder)?;
        let files = Files::write(provider, &folder).map_err(ProxyError::Folder)?;
        let store = Store::open(&store_settings(&folder)).await?;
        let local_password = add_generated(&store, Provider::USER, "demo").await?;
        let authenticator = Arc::new(Authenticator::new(store.clone()));
        let mut attempts = 1..ATTEMPTS;
        let service = loop {
            let config = Arc::new(config(provider, &folder, &files, ports)?);
            match Service::start(config, Arc::clone(&authenticator)) {
                Ok(service) => break service,
                // Somebody took a port between the look and the start: another demo, most likely.
                Err(errors) if attempts.next().is_some() && errors.iter().all(in_use) => {}
                Err(errors) => return Err(first(errors)),
            }
        };
        Ok(Self {
            service,
            store,
            local_password,
            _folder: folder,
        })
    }

    pub(super) fn addresses(&self) -> Vec<(Protocol, SocketAddr)> {
        self.service.overview().addresses()
    }

    pub(super) fn local_password(&self) -> &Secret {
        &self.local_password
    }

    pub(super) async fn stop(self) {
        self.service.drain().await;
        self.store.close().await;
    }
}

/// What the proxy has to know of the provider, as files.
struct Files {
    ca: PathBuf,
    app_password: PathBuf,
}

impl Files {
    fn write(provider: &Provider, folder: &Folder) -> std::io::Result<Self> {
        Ok(Self {
            ca: folder.write("ca.pem", provider.ca_pem().as_bytes())?,
            app_password: folder.write("app-password", provider.app_password().expose())?,
        })
    }
}

fn store_settings(folder: &Folder) -> StoreSettings {
    StoreSettings {
        url: format!("sqlite:{}", folder.path().join("store.db").display()),
        key: KeySource::File(folder.path().join("store.key")),
    }
}

fn config(
    provider: &Provider,
    folder: &Folder,
    files: &Files,
    ports: Ports,
) -> Result<Config, ProxyError> {
    let mut listeners = Vec::new();
    for (protocol, port) in ports {
        listeners.push(Listener {
            protocol,
            address: free_from(port)?,
            tls: ListenerTls::Off,
            networks: Vec::new(),
            pin: None,
        });
    }
    Ok(Config {
        listeners,
        accounts: Accounts::new(vec![account(provider, files)]),
        store: store_settings(folder),
        state_dir: folder.path().to_owned(),
        host: Provider::HOST.to_owned(),
        sign_in: SignInSettings::default(),
        limits: Limits {
            sessions: 100,
            sessions_per_peer: 100,
            before_login: Duration::from_secs(60),
            login: Duration::from_secs(25),
            drain: Duration::from_secs(2),
        },
        log: LogSettings {
            filter: "info".to_owned(),
            json: false,
        },
    })
}

fn account(provider: &Provider, files: &Files) -> Account {
    let endpoint = |protocol| Endpoint {
        host: Provider::HOST.to_owned(),
        port: provider.port(protocol),
        tls: TlsMode::Implicit,
        trust: Trust::CaFile(files.ca.clone()),
        user: Provider::USER.to_owned(),
    };
    Account {
        address: Provider::USER.to_owned(),
        login_names: Vec::new(),
        provider: "custom".to_owned(),
        auth: AccountAuth::Password(SecretSource::File(files.app_password.clone())),
        endpoints: Protocol::ALL
            .map(|protocol| (protocol, endpoint(protocol)))
            .into_iter()
            .collect::<HashMap<_, _>>(),
    }
}

/// The first port from `from` on that nobody listens on.
fn free_from(from: u16) -> Result<SocketAddr, ProxyError> {
    (from..=from.saturating_add(PORTS_TRIED))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| net::probe(*address).is_ok())
        .ok_or(ProxyError::Ports { from })
}

fn in_use(error: &ServiceError) -> bool {
    error.source.io_kind() == Some(ErrorKind::AddrInUse)
}

/// One reason is enough here.
fn first(errors: Vec<ServiceError>) -> ProxyError {
    match errors.into_iter().next() {
        Some(error) => ProxyError::Service(Box::new(error)),
        None => ProxyError::Ports { from: 0 },
    }
}

/// Where to listen, or from where on to look for a free port.
pub(super) type Ports = [(Protocol, u16); 3];

/// The ports that `run` listens on by default.
pub(super) const PORTS: Ports = [
    (Protocol::Imap, 1143),
    (Protocol::Pop3, 1110),
    (Protocol::Smtp, 1025),
];

/// Ports tried after the first; the three ranges do not meet within it.
const PORTS_TRIED: u16 = 30;

/// Starts tried when others take the ports that were free a moment ago; each finds another one.
const ATTEMPTS: usize = 5;
