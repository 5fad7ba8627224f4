//! The real proxy in front of the embedded provider: the service that `run` starts, with a configuration made here.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::folder::Folder;
use crate::auth::oauth::{OAuthError, Tokens};
use crate::auth::{Authenticator, PasswordError, add_generated};
use crate::bridge::provider::{self, Provider};
use crate::cli::sign_ins::SignIns;
use crate::config::oauth::{Client, ClientProof, Endpoints, Flow, Grant, Issuer, Scopes};
use crate::config::runtime::{
    Account, AccountAuth, Accounts, CertificateSettings, Config, Door, Endpoint, IDLE_RENEWAL,
    KeySource, Limits, Listener, ListenerTls, LogSettings, SecretSource, SignInSettings,
    StoreSettings, Trust, WarmSettings,
};
use crate::net;
use crate::protocol::{Protocol, TlsMode};
use crate::relay::{Service, ServiceError, Workers};
use crate::secret::Secret;
use crate::store::{Store, StoreError};
use crate::web::{CallbackError, Desk};

/// The proxy at work.
pub(super) struct Proxy {
    service: Service,
    store: Store,
    sign_ins: SignIns,
    local_passwords: [Secret; 2],
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
    /// No tokens.
    #[error("cannot prepare OAuth")]
    OAuth(#[from] OAuthError),
    /// No way back from the browser.
    #[error(transparent)]
    Callback(#[from] CallbackError),
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
        let local_passwords = [
            add_generated(&store, Provider::USER, "demo").await?,
            add_generated(&store, Provider::TOKEN_USER, "demo").await?,
        ];
        let tokens = Tokens::new(store.clone())?;
        let authenticator = Arc::new(Authenticator::new(store.clone(), tokens.clone()));
        let mut attempts = 1..ATTEMPTS;
        let service = loop {
            let config = Arc::new(config(provider, &folder, &files, ports)?);
            match Service::start(config, Arc::clone(&authenticator), Workers::default()) {
                Ok(service) => break service,
                // Somebody took a port between the look and the start: another demo, most likely.
                Err(errors) if attempts.next().is_some() && errors.iter().all(in_use) => {}
                Err(errors) => return Err(first(errors)),
            }
        };
        let sign_ins = SignIns::start(tokens, service.overview()).await?;
        Ok(Self {
            service,
            store,
            sign_ins,
            local_passwords,
            _folder: folder,
        })
    }

    pub(super) fn addresses(&self) -> Vec<(Protocol, SocketAddr)> {
        self.service.overview().addresses()
    }

    /// Of [`Provider::USER`] and of [`Provider::TOKEN_USER`].
    pub(super) fn local_passwords(&self) -> &[Secret; 2] {
        &self.local_passwords
    }

    /// Where one signs in.
    pub(super) fn desk(&self) -> &Arc<Desk> {
        self.sign_ins.desk()
    }

    pub(super) async fn stop(self) {
        self.service.drain().await;
        self.sign_ins.stop().await;
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
            profile: Arc::default(),
            protocol,
            address: free_from(port)?.into(),
            tls: ListenerTls::Off,
            networks: Vec::new(),
            door: Door::default(),
            pin: None,
            no_login: None,
        });
    }
    Ok(Config {
        profiles: HashMap::new(),
        listeners,
        accounts: Accounts::new(vec![
            account(
                provider,
                files,
                Provider::USER,
                AccountAuth::Password(SecretSource::File(files.app_password.clone())),
            ),
            account(
                provider,
                files,
                Provider::TOKEN_USER,
                AccountAuth::OAuth(Arc::new(grant(provider, files.ca.clone()))),
            ),
        ]),
        store: store_settings(folder),
        state_dir: folder.path().to_owned(),
        host: Provider::HOST.to_owned(),
        sign_in: SignInSettings::default(),
        certificates: CertificateSettings::default(),
        warm: WarmSettings::default(),
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

fn account(provider: &Provider, files: &Files, address: &str, auth: AccountAuth) -> Account {
    let endpoint = |protocol| Endpoint {
        proxy: None,
        host: Provider::HOST.to_owned(),
        port: provider.port(protocol),
        tls: TlsMode::Implicit,
        trust: Trust::CaFile(files.ca.clone()),
        user: address.to_owned(),
    };
    Account {
        profile: None,
        idle_renewal: IDLE_RENEWAL,
        address: address.to_owned(),
        login_names: Vec::new(),
        provider: "custom".to_owned(),
        auth,
        endpoints: Protocol::ALL
            .map(|protocol| (protocol, endpoint(protocol)))
            .into_iter()
            .collect::<HashMap<_, _>>(),
    }
}

fn grant(provider: &Provider, ca_file: PathBuf) -> Grant {
    Grant {
        name: Provider::TOKEN_USER.to_owned(),
        issuer: Issuer {
            name: "custom".to_owned(),
            title: "the demo's provider".to_owned(),
            identifier: Some(provider.issuer().identifier().to_owned()),
            endpoints: Endpoints::Given {
                authorize: provider.authorize_url(),
                token: provider.token_url(),
                device: None,
                revoke: Some(provider.revoke_url()),
            },
            ca_file: Some(ca_file),
            sasl: Vec::new(),
        },
        client: Client {
            id: provider::Issuer::CLIENT_ID.to_owned(),
            proof: ClientProof::None,
            redirect_uri: None,
        },
        flow: Flow::AuthorizationCode,
        scopes: Scopes {
            common: vec!["mail".to_owned()],
            ..Scopes::default()
        },
        authorize_parameters: BTreeMap::new(),
        token_parameters: BTreeMap::new(),
    }
}

/// The first port from `from` on that nobody listens on.
fn free_from(from: u16) -> Result<SocketAddr, ProxyError> {
    (from..=from.saturating_add(PORTS_TRIED))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| net::probe(&(*address).into()).is_ok())
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
