//! What a login costs before anything goes upstream: the account, the local password in the store's index, and the
//! provider's password from memory.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mailsluice::auth::oauth::Tokens;
use mailsluice::auth::{Authenticator, add_chosen, add_generated};
use mailsluice::config::runtime::{
    Account, AccountAuth, Accounts, CertificateSettings, Config, Endpoint, IDLE_RENEWAL, KeySource,
    Limits, LogSettings, SecretSource, SignInSettings, StoreSettings, Trust, WarmSettings,
};
use mailsluice::proto::dialogue::LoginAttempt;
use mailsluice::protocol::{Protocol, TlsMode};
use mailsluice::secret::Secret;
use mailsluice::store::Store;
use tokio::runtime::Runtime;

fn local_password(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path());
    let authenticator = runtime.block_on(authenticator(&config));
    let mut group = criterion.benchmark_group("local-password");
    for (name, address, password) in runtime.block_on(passwords(&config)) {
        let check = async || {
            let attempt = LoginAttempt {
                name: address.to_owned(),
                proof: password.clone().into(),
                mechanism: "LOGIN",
            };
            let granted = authenticator
                .check(&config, None, Protocol::Imap, PEER, attempt)
                .await;
            assert!(granted.is_ok(), "the password is right");
        };
        // The first check of a chosen password is an argon2id, and reads the provider's password from its file.
        runtime.block_on(check());
        group.bench_function(name, |bencher| bencher.iter(|| runtime.block_on(check())));
    }
    group.finish();
}

async fn authenticator(config: &Config) -> Authenticator {
    let store = Store::open(&config.store).await.expect("a store");
    let tokens = Tokens::new(store.clone()).expect("tokens");
    Authenticator::new(store, tokens)
}

/// An account with a generated password, one with a chosen one, and one with both, whose chosen one nobody has used since
/// the start: what is logged in with, for each.
async fn passwords(config: &Config) -> [(&'static str, &'static str, Secret); 3] {
    let store = Store::open(&config.store).await.expect("a store");
    let chosen = Secret::from(CHOSEN);
    for address in [WITH_CHOSEN, WITH_BOTH] {
        add_chosen(&store, address, "chosen", chosen.clone())
            .await
            .expect("a password");
    }
    let generated = async |address| {
        let password = add_generated(&store, address, "generated").await;
        password.expect("a password")
    };
    [
        ("generated", WITH_GENERATED, generated(WITH_GENERATED).await),
        ("chosen", WITH_CHOSEN, chosen),
        (
            "generated-beside-an-unused-chosen",
            WITH_BOTH,
            generated(WITH_BOTH).await,
        ),
    ]
}

fn config(folder: &Path) -> Config {
    let secret = folder.join("app-password");
    std::fs::write(&secret, "app-secret").expect("a file is written");
    // A secret that others could read is refused.
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("0600");
    let account = |address: &str| Account {
        profile: None,
        idle_renewal: IDLE_RENEWAL,
        address: address.to_owned(),
        login_names: [address.to_owned()].into(),
        provider: "custom".to_owned(),
        auth: AccountAuth::Password(SecretSource::File(secret.clone())),
        endpoints: [(Protocol::Imap, endpoint(address, folder))].into(),
    };
    let accounts = [WITH_GENERATED, WITH_CHOSEN, WITH_BOTH].map(account);
    Config {
        profiles: std::collections::HashMap::new(),
        listeners: Vec::new(),
        accounts: Accounts::new(accounts.into()),
        store: StoreSettings {
            url: format!("sqlite:{}", folder.join("state/store.db").display()),
            key: KeySource::File(folder.join("state/store.key")),
        },
        state_dir: folder.to_owned(),
        sign_in: SignInSettings::default(),
        host: "sluice.test".to_owned(),
        limits: Limits {
            sessions: 1,
            sessions_per_peer: 1,
            before_login: Duration::from_secs(60),
            login: Duration::from_secs(25),
            drain: Duration::from_secs(1),
        },
        certificates: CertificateSettings::default(),
        warm: WarmSettings::default(),
        log: LogSettings {
            filter: "off".to_owned(),
            json: false,
        },
    }
}

fn endpoint(address: &str, folder: &Path) -> Endpoint {
    Endpoint {
        host: "localhost".to_owned(),
        port: 993,
        tls: TlsMode::Implicit,
        trust: Trust::CaFile(folder.join("ca.pem")),
        user: address.to_owned(),
    }
}

const WITH_GENERATED: &str = "generated@example.org";
const WITH_CHOSEN: &str = "chosen@example.org";
const WITH_BOTH: &str = "both@example.org";
const CHOSEN: &str = "wonderland";
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

criterion_group!(benches, local_password);
criterion_main!(benches);
