//! The authenticator as the relay sees it: names, passwords and upstream decisions in; grants and refusals out.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::local_check::FAILURE_ANSWER;
use super::oauth::Tokens;
use super::*;
use crate::config::runtime::{
    Account, AccountAuth, Accounts, CertificateSettings, Config, Endpoint, IDLE_RENEWAL, KeySource,
    Limits, LogSettings, SecretSource, SignInSettings, StoreSettings, Trust, WarmSettings,
};
use crate::proto::dialogue::{Credential, LoginAttempt, Proof};
use crate::proto::refusal::{Cause, Refusal};
use crate::protocol::{Protocol, TlsMode};
use crate::secret::Secret;
use crate::store::{Store, StoreError};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CANARY: &str = "canary-51c0-secret";

/// A service with the account anna@x.org (IMAP and SMTP) and one generated local password `laptop`.
struct House {
    folder: tempfile::TempDir,
    config: Config,
    store: Store,
    authenticator: Authenticator,
    local: Secret,
}

impl House {
    async fn new(auth: impl FnOnce(&std::path::Path) -> AccountAuth) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path().join("state"), auth(folder.path()));
        let store = Store::open(&config.store).await.unwrap();
        let local = add_generated(&store, "anna@x.org", "laptop").await.unwrap();
        Self {
            authenticator: Authenticator::new(store.clone(), Tokens::new(store.clone()).unwrap()),
            folder,
            config,
            store,
            local,
        }
    }

    async fn with_source(source: SecretSource) -> Self {
        Self::new(|_| AccountAuth::Password(source)).await
    }

    async fn stored() -> Self {
        let house = Self::with_source(SecretSource::Stored).await;
        house.put(CANARY).await;
        house
    }

    /// A command that prints the canary and leaves a line in the file `runs`.
    async fn counting() -> Self {
        Self::new(|folder| {
            let runs = folder.join("runs");
            let line = format!("echo x >> '{}'; echo {CANARY}", runs.display());
            AccountAuth::Password(SecretSource::Command(line))
        })
        .await
    }

    fn runs(&self) -> usize {
        let runs = std::fs::read_to_string(self.folder.path().join("runs"));
        runs.map_or(0, |text| text.lines().count())
    }

    async fn put(&self, secret: &str) {
        let secret = Secret::from(secret);
        self.store
            .put_stored_secret("anna@x.org", &secret)
            .await
            .unwrap();
    }

    async fn login(&self, name: &str, password: &Secret) -> Result<Granted, Refusal> {
        self.login_on(Protocol::Imap, name, password).await
    }

    async fn login_on(
        &self,
        protocol: Protocol,
        name: &str,
        password: &Secret,
    ) -> Result<Granted, Refusal> {
        let attempt = LoginAttempt {
            name: name.to_owned(),
            proof: Proof::Password(password.clone()),
            mechanism: "LOGIN",
        };
        self.authenticator
            .check(&self.config, None, protocol, PEER, attempt)
            .await
    }

    async fn cause(&self, name: &str, password: &str) -> Cause {
        let refused = self.login(name, &Secret::from(password)).await;
        refused.unwrap_err().cause
    }
}

pub(super) fn config(state_dir: PathBuf, auth: AccountAuth) -> Config {
    let endpoint = |port| Endpoint {
        host: "mail.x.org".into(),
        port,
        tls: TlsMode::Implicit,
        trust: Trust::Platform,
        user: "anna@x.org".into(),
    };
    let account = Account {
        profile: None,
        idle_renewal: IDLE_RENEWAL,
        address: "anna@x.org".into(),
        login_names: Vec::new(),
        provider: "custom".into(),
        auth,
        endpoints: [
            (Protocol::Imap, endpoint(993)),
            (Protocol::Smtp, endpoint(465)),
        ]
        .into(),
    };
    Config {
        profiles: Default::default(),
        listeners: Vec::new(),
        accounts: Accounts {
            all: vec![Arc::new(account)],
            by_name: [("anna@x.org".into(), 0)].into(),
            ..Accounts::default()
        },
        store: StoreSettings {
            url: format!("sqlite:{}", state_dir.join("store.db").display()),
            key: KeySource::File(state_dir.join("store.key")),
        },
        state_dir,
        host: "localhost".into(),
        certificates: CertificateSettings::default(),
        warm: WarmSettings::default(),
        limits: Limits {
            sessions: 1,
            sessions_per_peer: 1,
            before_login: Duration::ZERO,
            login: Duration::ZERO,
            drain: Duration::ZERO,
        },
        log: LogSettings {
            filter: String::new(),
            json: false,
        },
        sign_in: SignInSettings::default(),
    }
}

/// A file that only its owner may read.
pub(super) fn write_private(path: &std::path::Path, content: &str) {
    std::fs::write(path, content).unwrap();
    #[cfg(unix)]
    {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, private).unwrap();
    }
}

fn password_of(granted: &Granted) -> &[u8] {
    let Credential::Password { password, .. } = &granted.credential else {
        panic!("not a password: {:?}", granted.credential);
    };
    password.expose()
}

#[tokio::test]
async fn the_local_password_is_exchanged_for_the_providers() {
    let house = House::stored().await;
    let granted = house.login("Anna@X.org", &house.local).await.unwrap();
    assert_eq!(password_of(&granted), CANARY.as_bytes());
    assert_eq!(granted.local.as_ref().map(|it| &*it.name), Some("laptop"));
    assert!(!granted.passthrough);
    let shown = format!("{granted:?}");
    assert!(!shown.contains(CANARY), "{shown}");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer_and_none_early() {
    let house = House::stored().await;
    let attempts = [
        ("anna@x.org", "wrong"),
        ("anna@x.org", ""),
        ("anna@x.org", "0123-4567-89ab-cdef-ghjk-mnpq-rs"),
        ("nobody@x.org", "wrong"),
        ("", ""),
    ];
    let answers = attempts.map(|(name, password)| {
        let house = &house;
        async move {
            let began = Instant::now();
            let refusal = house.login(name, &Secret::from(password)).await;
            (refusal.unwrap_err(), began.elapsed() >= FAILURE_ANSWER)
        }
    });
    let answers = futures_util::future::join_all(answers).await;
    assert_eq!(answers[0].0.cause, Cause::WrongPassword);
    // Nobody is answered before the time that hides the work; what is before it is the same code for all.
    let expected = (answers[0].0.clone(), true);
    assert!(
        answers.iter().all(|answer| *answer == expected),
        "{answers:?}"
    );
}

#[tokio::test]
async fn guesses_in_parallel_end_in_a_limit_for_known_and_unknown_names_alike() {
    let house = House::stored().await;
    for name in ["anna@x.org", "nobody@x.org"] {
        let causes: Vec<_> = (0..40)
            .map(|guess| {
                let guess = Secret::from(format!("guess {guess}"));
                // Refused without any waiting, or waiting for its slot or the store.
                let refused = house.login(name, &guess).now_or_never()?;
                Some(refused.unwrap_err().cause)
            })
            .collect();
        assert_eq!(causes[..10], [None; 10], "{name}");
        assert_eq!(causes[20..], [Some(Cause::LimitReached); 20], "{name}");
    }
}

#[tokio::test]
async fn a_wrong_password_never_touches_the_secret() {
    let house = House::counting().await;
    assert_eq!(
        house.cause("anna@x.org", "wrong").await,
        Cause::WrongPassword
    );
    assert_eq!(
        house.cause("nobody@x.org", "wrong").await,
        Cause::WrongPassword
    );
    assert_eq!(house.runs(), 0);
    house.login("anna@x.org", &house.local).await.unwrap();
    assert_eq!(house.runs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_logins_at_once_ask_the_source_once() {
    let house = House::counting().await;
    let logins = (0..100).map(|_| house.login("anna@x.org", &house.local));
    let granted = futures_util::future::join_all(logins).await;
    assert!(granted.iter().all(Result::is_ok));
    assert_eq!(house.runs(), 1);
    house.authenticator.reloaded();
    house.login("anna@x.org", &house.local).await.unwrap();
    assert_eq!(house.runs(), 2, "a reload asks again");
}

#[tokio::test]
async fn another_process_adds_and_revokes_and_it_counts_at_once() {
    let house = House::stored().await;
    let other = Store::open(&house.config.store).await.unwrap();
    let added = add_generated(&other, "anna@x.org", "phone").await.unwrap();
    let granted = house.login("anna@x.org", &added).await.unwrap();
    assert_eq!(granted.local.as_ref().map(|it| &*it.name), Some("phone"));
    assert!(
        other
            .revoke_local_password("anna@x.org", "phone")
            .await
            .unwrap()
    );
    let refused = house.login("anna@x.org", &added).await.unwrap_err();
    assert_eq!(refused.cause, Cause::WrongPassword);
    assert!(
        house.login("anna@x.org", &house.local).await.is_ok(),
        "the other one stays"
    );
}

#[tokio::test]
async fn a_chosen_password_logs_in_and_its_name_is_taken() {
    let house = House::stored().await;
    let chosen = Secret::from("correct horse");
    add_chosen(&house.store, "anna@x.org", "printer", chosen.clone())
        .await
        .unwrap();
    for _ in 0..3 {
        let granted = house.login("anna@x.org", &chosen).await.unwrap();
        assert_eq!(granted.local.as_ref().map(|it| &*it.name), Some("printer"));
    }
    let again = add_generated(&house.store, "anna@x.org", "printer").await;
    assert!(matches!(
        again,
        Err(PasswordError::Store(StoreError::NameTaken { .. }))
    ));
}

#[tokio::test]
async fn an_account_that_left_the_configuration_lets_nobody_in() {
    let house = House::stored().await;
    let gone = add_generated(&house.store, "old@x.org", "laptop")
        .await
        .unwrap();
    let refused = house.login("old@x.org", &gone).await.unwrap_err();
    assert_eq!(refused.cause, Cause::WrongPassword);
}

#[tokio::test]
async fn a_protocol_that_is_off_is_said_only_to_the_owner() {
    let house = House::stored().await;
    let of = |password| house.login_on(Protocol::Pop3, "anna@x.org", password);
    assert_eq!(
        of(&house.local).await.unwrap_err().cause,
        Cause::ProtocolOff
    );
    let wrong = Secret::from("wrong");
    assert_eq!(of(&wrong).await.unwrap_err().cause, Cause::WrongPassword);
}

#[tokio::test]
async fn a_credential_refused_three_times_is_not_tried_until_it_changes() {
    let house = House::stored().await;
    for _ in 0..3 {
        let granted = house.login("anna@x.org", &house.local).await.unwrap();
        house.authenticator.rejected(&granted.receipt);
    }
    let refusal = house.login("anna@x.org", &house.local).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::CredentialRejected);
    assert!(!refusal.to_string().contains(CANARY));
    house.put("new").await;
    house.authenticator.reloaded();
    let granted = house.login("anna@x.org", &house.local).await.unwrap();
    assert_eq!(password_of(&granted), b"new");
    house.authenticator.accepted(&granted.receipt);
}

#[tokio::test]
async fn a_refused_credential_is_asked_for_again() {
    let house = House::stored().await;
    let granted = house.login("anna@x.org", &house.local).await.unwrap();
    house.put("new").await;
    house.authenticator.rejected(&granted.receipt);
    let granted = house.login("anna@x.org", &house.local).await.unwrap();
    assert_eq!(password_of(&granted), b"new");
}

#[tokio::test]
async fn a_source_that_fails_is_our_fault_and_not_the_clients() {
    let line = format!("echo {CANARY}; echo 'no\tkey' >&2; exit 3");
    let house = House::with_source(SecretSource::Command(line)).await;
    let refusal = house.login("anna@x.org", &house.local).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::ServerBug);
    assert!(!format!("{refusal:?} {refusal}").contains(CANARY));
}

#[tokio::test]
async fn a_store_that_cannot_be_trusted_is_not_a_wrong_password() {
    let house = House::stored().await;
    house.store.close().await;
    let refusal = house.login("anna@x.org", &house.local).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::ServerBug);
}

#[tokio::test]
async fn pass_through_sends_the_clients_own_password_and_counts_its_failures() {
    let house = House::new(|_| AccountAuth::Passthrough).await;
    tokio::time::pause();
    let granted = house
        .login("anna@x.org", &Secret::from(CANARY))
        .await
        .unwrap();
    assert!(granted.passthrough && granted.local.is_none());
    assert_eq!(password_of(&granted), CANARY.as_bytes());
    house.authenticator.accepted(&granted.receipt);
    assert_eq!(house.cause("anna@x.org", "").await, Cause::WrongPassword);
    let began = Instant::now();
    for guess in 0..8 {
        let guess = Secret::from(format!("guess {guess}"));
        let granted = house.login("anna@x.org", &guess).await.unwrap();
        house.authenticator.rejected(&granted.receipt);
    }
    assert!(
        began.elapsed() >= Duration::from_millis(250),
        "guesses wait"
    );
}

#[tokio::test]
async fn a_catch_all_entry_logs_in_upstream_under_the_clients_local_part() {
    let mut house = House::stored().await;
    let mut account = (*house.config.accounts.all[0]).clone();
    account.address = "*@x.org".into();
    for endpoint in account.endpoints.values_mut() {
        endpoint.user = "{address}".into();
    }
    house.config.accounts = Accounts {
        all: vec![Arc::new(account)],
        by_domain: [("x.org".into(), 0)].into(),
        ..Accounts::default()
    };
    // Each mailbox behind the entry has a local password and a secret of its own.
    let local = add_generated(&house.store, "info@x.org", "all")
        .await
        .unwrap();
    let secret = Secret::from(CANARY);
    house
        .store
        .put_stored_secret("info@x.org", &secret)
        .await
        .unwrap();
    assert!(house.login("sales@x.org", &local).await.is_err());
    let granted = house.login("info@x.org", &local).await.unwrap();
    let Credential::Password { user, .. } = &granted.credential else {
        panic!("not a password: {:?}", granted.credential);
    };
    assert_eq!(user, "info@x.org");
}
