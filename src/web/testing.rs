//! A desk with accounts and an issuer that is not there, for the tests of this folder.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Desk;
use crate::auth::oauth::Tokens;
use crate::config::oauth::{Client, ClientProof, Endpoints, Flow, Grant, Issuer, Scopes};
use crate::config::runtime::{
    Account, AccountAuth, Accounts, Config, KeySource, Limits, LogSettings, SignInSettings,
    StoreSettings,
};
use crate::store::Store;

/// Anna passes through, `ole@x.org` signs in.
pub(super) async fn desk(state_dir: &Path) -> Arc<Desk> {
    let config = Arc::new(config(state_dir, SignInSettings::default()));
    let tokens = tokens(&config).await;
    Desk::new(tokens, move || Arc::clone(&config))
}

pub(super) async fn tokens(config: &Config) -> Tokens {
    Tokens::new(Store::open(&config.store).await.unwrap()).unwrap()
}

pub(super) fn config(state_dir: &Path, sign_in: SignInSettings) -> Config {
    let store = state_dir.join("store");
    let account = |address: &str, auth| Account {
        address: address.to_owned(),
        login_names: Vec::new(),
        provider: "custom".to_owned(),
        auth,
        endpoints: HashMap::new(),
    };
    Config {
        listeners: Vec::new(),
        accounts: Accounts::new(vec![
            account("anna@x.org", AccountAuth::Passthrough),
            account("ole@x.org", AccountAuth::OAuth(Arc::new(grant()))),
        ]),
        store: StoreSettings {
            url: format!("sqlite:{}", store.join("store.db").display()),
            key: KeySource::File(store.join("store.key")),
        },
        state_dir: state_dir.to_owned(),
        host: "localhost".to_owned(),
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
        name: "ole@x.org".to_owned(),
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
