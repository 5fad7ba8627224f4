//! A desk with accounts, the embedded issuer or one that is not there, and a browser: for tests of sign-ins.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Desk, Reply, Request, Visit, Way};
use crate::auth::oauth::Tokens;
use crate::bridge::provider::{self, Provider};
use crate::config::oauth::{Client, ClientProof, Endpoints, Flow, Grant, Issuer, Scopes};
use crate::config::runtime::{
    Account, AccountAuth, Accounts, CertificateSettings, Config, IDLE_RENEWAL, KeySource, Limits,
    LogSettings, SignInSettings, StoreSettings, WarmSettings,
};
use crate::store::Store;

/// Anna passes through, Ole would sign in at an issuer that is not there.
pub(crate) async fn desk(state_dir: &Path) -> Arc<Desk> {
    let config = Arc::new(config(state_dir, grant(), SignInSettings::default()));
    let tokens = tokens(&config).await;
    Desk::new(tokens, move || Arc::clone(&config))
}

pub(crate) async fn tokens(config: &Config) -> Tokens {
    Tokens::new(Store::open(&config.store).await.unwrap()).unwrap()
}

/// The same with an issuer that is there.
pub(crate) struct House {
    pub(crate) provider: Provider,
    pub(crate) config: Arc<Config>,
    pub(crate) tokens: Tokens,
    pub(crate) desk: Arc<Desk>,
    /// Of the store and the certificate.
    _folder: tempfile::TempDir,
}

impl House {
    pub(crate) async fn new(on_needed: Option<String>) -> Self {
        let provider = Provider::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, provider.ca_pem()).unwrap();
        let mut grant = grant();
        grant.client.id = provider::Issuer::CLIENT_ID.to_owned();
        grant.issuer.identifier = Some(provider.issuer().identifier().to_owned());
        grant.issuer.ca_file = Some(ca_file);
        grant.issuer.endpoints = Endpoints::Given {
            authorize: provider.authorize_url(),
            token: provider.token_url(),
            device: None,
            revoke: Some(provider.revoke_url()),
        };
        let sign_in = SignInSettings { port: 0, on_needed };
        let config = Arc::new(config(folder.path(), grant, sign_in));
        let tokens = tokens(&config).await;
        let of_desk = Arc::clone(&config);
        let desk = Desk::new(tokens.clone(), move || Arc::clone(&of_desk));
        Self {
            provider,
            config,
            tokens,
            desk,
            _folder: folder,
        }
    }

    /// Begins a sign-in; the visit and where the person goes.
    pub(crate) async fn begin(&self) -> (Visit, String) {
        let mut visit = self.desk.visit();
        let account = OLE.to_owned();
        let way = Way::Configured;
        match visit.answer(Request::SignIn { account, way }).await {
            Reply::Open { url, .. } => (visit, url),
            other => panic!("{other:?}"),
        }
    }

    /// The state that the only grant is in.
    pub(crate) async fn state(&self) -> String {
        self.desk.grants().await[0].state.clone()
    }
}

/// Opens `url` and, where that leads to a redirect, what is behind it: the address at the end and the page.
pub(crate) async fn browse(url: &str) -> (String, String) {
    let browser = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = browser.get(url).send().await.unwrap();
    let at = answer.url().to_string();
    (at, answer.text().await.unwrap())
}

/// Who signs in.
pub(crate) const OLE: &str = "ole@x.org";

fn config(state_dir: &Path, grant: Grant, sign_in: SignInSettings) -> Config {
    let store = state_dir.join("store");
    let account = |address: &str, auth| Account {
        profile: None,
        idle_renewal: IDLE_RENEWAL,
        address: address.to_owned(),
        login_names: Vec::new(),
        provider: "custom".to_owned(),
        auth,
        endpoints: HashMap::new(),
    };
    Config {
        profiles: Default::default(),
        listeners: Vec::new(),
        accounts: Accounts::new(vec![
            account("anna@x.org", AccountAuth::Passthrough),
            account(OLE, AccountAuth::OAuth(Arc::new(grant))),
        ]),
        store: StoreSettings {
            url: format!("sqlite:{}", store.join("store.db").display()),
            key: KeySource::File(store.join("store.key")),
        },
        state_dir: state_dir.to_owned(),
        host: "localhost".to_owned(),
        certificates: CertificateSettings::default(),
        warm: WarmSettings::default(),
        limits: Limits {
            sessions: 1,
            sessions_per_peer: 1,
            before_login: Duration::from_secs(1),
            login: Duration::from_secs(1),
            drain: Duration::from_secs(1),
        },
        log: LogSettings {
            filter: "info".to_owned(),
            json: false,
        },
        sign_in,
    }
}

/// Port 9 discards, and nobody listens on it.
fn grant() -> Grant {
    Grant {
        name: OLE.to_owned(),
        issuer: Issuer {
            name: "custom".to_owned(),
            title: "Nobody".to_owned(),
            identifier: None,
            endpoints: Endpoints::Given {
                authorize: "https://localhost:9/authorize".to_owned(),
                token: "https://localhost:9/token".to_owned(),
                device: None,
                revoke: None,
            },
            ca_file: None,
            sasl: Vec::new(),
        },
        client: Client {
            id: "id".to_owned(),
            proof: ClientProof::None,
            redirect_uri: None,
        },
        flow: Flow::AuthorizationCode,
        scopes: Scopes::default(),
        authorize_parameters: BTreeMap::new(),
        token_parameters: BTreeMap::new(),
    }
}
