//! The real proxy in front of the embedded provider: the service that `run` starts, with a configuration made here.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
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
    Account, AccountAuth, Accounts, Config, Endpoint, KeySource, Limits, Listener, ListenerTls,
    LogSettings, SecretSource, SignInSettings, StoreSettings, Trust,
};
use crate::protocol::{Protocol, TlsMode};
use crate::relay::{Service, ServiceError};
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
        let config = Arc::new(config(provider, &folder, ports)?);
        let store = Store::open(&config.store).await?;
        let local_passwords = [
            add_generated(&store, Provider::USER, "demo").await?,
            add_generated(&store, Provider::TOKEN_USER, "demo").await?,
        ];
        let tokens = Tokens::new(store.clone())?;
        let authenticator = Arc::new(Authenticator::new(store.clone(), tokens.clone()));
        let service = Service::start(config, authenticator).map_err(first)?;
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

fn config(provider: &Provider, folder: &Folder, ports: Ports) -> Result<Config, ProxyError> {
    let write = |name, bytes: &[u8]| folder.write(name, bytes).map_err(ProxyError::Folder);
    let ca_file = write("ca.pem", provider.ca_pem().as_bytes())?;
    let trust = Trust::CaFile(ca_file.clone());
    let password = write("app-password", provider.app_password().expose())?;
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
        accounts: Accounts::new(vec![
            account(
                provider,
                &trust,
                Provider::USER,
                AccountAuth::Password(SecretSource::File(password)),
            ),
            account(
                provider,
                &trust,
                Provider::TOKEN_USER,
                AccountAuth::OAuth(Arc::new(grant(provider, ca_file))),
            ),
        ]),
        store: StoreSettings {
            url: format!("sqlite:{}", folder.path().join("store.db").display()),
            key: KeySource::File(folder.path().join("store.key")),
        },
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

fn account(provider: &Provider, trust: &Trust, address: &str, auth: AccountAuth) -> Account {
    let endpoint = |protocol| Endpoint {
        host: Provider::HOST.to_owned(),
        port: provider.port(protocol),
        tls: TlsMode::Implicit,
        trust: trust.clone(),
        user: address.to_owned(),
    };
    Account {
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

/// The first port from `from` on that nobody listens on. Somebody may take it before we do; the service then says so.
fn free_from(from: u16) -> Result<SocketAddr, ProxyError> {
    (from..=from.saturating_add(PORTS_TRIED))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .ok_or(ProxyError::Ports { from })
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
