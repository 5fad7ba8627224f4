//! What a transcript is played on over sockets: the real service with its store and local password, and a port for the
//! scripted upstream behind real TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mailsluice::auth::oauth::Tokens;
use mailsluice::auth::{Authenticator, Making, add_chosen};
use mailsluice::config::runtime::{
    Account, AccountAuth, Accounts, CertificateFiles, CertificateSettings, CertificateSource,
    Config, Door, Endpoint, IDLE_RENEWAL, KeySource, Limits, Listener, ListenerTls, LogSettings,
    NoLogin, SecretSource, SignInSettings, StoreSettings, Trust, WarmSettings,
};
use mailsluice::net::{Acceptor, acceptor};
use mailsluice::profile::builtin;
use mailsluice::proto::dialogue::ClientTls;
use mailsluice::protocol::Leg;
use mailsluice::relay::{Service, Workers};
use mailsluice::secret::Secret;
use mailsluice::store::Store;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::ends::Ends;
use super::peer::{PATIENCE, Peer};
use super::script::{WRONG_IN_FILE, due};
use super::transcript::{Credential, Expected, Settings, Transcript};

/// What all transcripts of a run share: a folder with a store, certificates and the upstream's password.
pub(crate) struct House {
    folder: tempfile::TempDir,
    store: Store,
    /// For the transcripts in which nothing is refused: it has seen the local password already.
    authenticator: Arc<Authenticator>,
    ends: Ends,
}

/// One service, and the upstream it knows.
pub(crate) struct Stage {
    /// Until somebody drains it.
    pub(crate) service: Option<Service>,
    pub(crate) address: SocketAddr,
    pub(crate) upstream: TcpListener,
    pub(crate) acceptor: Acceptor,
    pub(crate) trust: Trust,
    pub(crate) ends: Ends,
}

impl Stage {
    /// A client of the service.
    pub(crate) async fn client(&self) -> Peer {
        Peer::dial(self.address).await.expect("the service")
    }

    /// The upstream's side of a connection that the service makes, under TLS.
    pub(crate) async fn upstream(&self) -> Peer {
        let accepted = timeout(PATIENCE, self.upstream.accept()).await;
        let (tcp, _) = accepted.expect("in time").expect("a connection");
        let mut upstream = Peer::new(tcp).expect("a connection");
        upstream.accept_tls(&self.acceptor).await.expect("TLS");
        upstream
    }

    /// The service reads its configuration anew, in which the account is another.
    pub(crate) fn change_account(&mut self, change: impl FnOnce(&mut Account)) {
        let service = self.service.as_mut().expect("it runs");
        let old = service.overview().config();
        let mut account = Account::clone(old.accounts.all.first().expect("an account"));
        change(&mut account);
        let config = Config {
            listeners: old.listeners.clone(),
            accounts: Accounts::new(vec![account]),
            profiles: old.profiles.clone(),
            store: old.store.clone(),
            state_dir: old.state_dir.clone(),
            host: old.host.clone(),
            certificates: old.certificates.clone(),
            limits: old.limits.clone(),
            warm: old.warm.clone(),
            log: old.log.clone(),
            sign_in: old.sign_in.clone(),
        };
        service
            .reload(Arc::new(config))
            .expect("the same listeners");
        // It was told to take any free port, and so it did again.
        let addresses = service.overview().addresses();
        self.address = addresses.first().expect("a listener").1;
    }
}

impl House {
    /// A house in which `anna@example.org` has the local password `wonderland`.
    pub(crate) async fn build() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ends = Ends::collected();
        let certificate =
            rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file is written");
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("0600");
        };
        write("certificate.pem", &certificate.cert.pem());
        write("key.pem", &certificate.signing_key.serialize_pem());
        write("app-password", "app-secret");
        let store = Store::open(&store_settings(folder.path()))
            .await
            .expect("a store");
        add_chosen(&store, ADDRESS, "transcripts", Secret::from("wonderland"))
            .await
            .expect("a local password");
        Self {
            authenticator: authenticator(&store),
            store,
            folder,
            ends,
        }
    }

    /// A service of its own for `transcript`, on free ports of the loopback.
    pub(crate) async fn stage(&self, transcript: &Transcript) -> io::Result<Stage> {
        self.stage_on(Ipv4Addr::LOCALHOST, transcript).await
    }

    /// The same on `ip`.
    pub(crate) async fn stage_on(
        &self,
        ip: Ipv4Addr,
        transcript: &Transcript,
    ) -> io::Result<Stage> {
        let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = upstream.local_addr()?.port();
        let settings = &transcript.settings;
        let config = Arc::new(self.config(ip, settings, account(self, transcript, port)));
        let authenticator = if is_refused_somewhere(transcript) {
            authenticator(&self.store)
        } else {
            Arc::clone(&self.authenticator)
        };
        let service = Service::start(config, authenticator, Workers::default())
            .map_err(|errors| io::Error::other(format!("{errors:?}")))?;
        let address = service.overview().addresses().first().map(|(_, it)| *it);
        Ok(Stage {
            address: address.ok_or(io::ErrorKind::AddrNotAvailable)?,
            service: Some(service),
            upstream,
            acceptor: acceptor(&self.certificate(), settings.protocol).map_err(io::Error::other)?,
            trust: self.trust(),
            ends: self.ends.clone(),
        })
    }

    /// The stored password is another from the next login on.
    pub(crate) fn change_app_password(&self, password: &str) {
        std::fs::write(self.path("app-password"), password).expect("a file is written");
        self.authenticator.reloaded();
    }

    /// Another local password of whatever account.
    pub(crate) async fn add(&self, account: &str, making: Making, password: &str) {
        let added = add_chosen(&self.store, account, making, Secret::from(password)).await;
        added.expect("a local password");
    }

    pub(crate) async fn revoke(&self, account: &str, name: &str) {
        let revoked = self.store.revoke_local_password(account, name).await;
        assert!(revoked.expect("a store"));
    }

    fn config(&self, ip: Ipv4Addr, settings: &Settings, account: Account) -> Config {
        Config {
            listeners: vec![Listener {
                protocol: settings.protocol,
                address: SocketAddr::from((ip, 0)).into(),
                door: Door::default(),
                tls: match settings.client_tls {
                    ClientTls::Off => ListenerTls::Off,
                    ClientTls::Offered => {
                        ListenerTls::StartTls(CertificateSource::Own(self.certificate()))
                    }
                    ClientTls::Active => {
                        ListenerTls::Implicit(CertificateSource::Own(self.certificate()))
                    }
                },
                networks: ["127.0.0.0/8".parse().expect("a network")].into(),
                pin: None,
                profile: Arc::clone(&settings.profile),
                no_login: settings.terms.as_deref().map(|terms| NoLogin {
                    account: terms.address.clone(),
                    envelope: terms.envelope,
                    header: terms.header,
                    messages_per_hour: settings.messages,
                    recipients: terms.recipients,
                    size: settings.max_message_size,
                    plain_too: false,
                }),
            }],
            accounts: Accounts::new(vec![account]),
            profiles: mailsluice::profile::names()
                .filter_map(|name| Some((name.to_owned(), Arc::new(builtin(name)?))))
                .collect(),
            store: store_settings(self.folder.path()),
            state_dir: self.folder.path().to_owned(),
            sign_in: SignInSettings::default(),
            host: "sluice.test".to_owned(),
            certificates: CertificateSettings::default(),
            warm: WarmSettings {
                sessions: usize::from(settings.keep),
                idle: WAITS,
            },
            limits: Limits {
                sessions: 100,
                sessions_per_peer: 100,
                before_login: BEFORE_LOGIN,
                login: Duration::from_secs(25),
                drain: Duration::from_secs(60),
            },
            log: LogSettings {
                filter: "info".to_owned(),
                json: false,
            },
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn certificate(&self) -> CertificateFiles {
        CertificateFiles {
            certificate: self.path("certificate.pem"),
            key: self.path("key.pem"),
        }
    }

    fn trust(&self) -> Trust {
        Trust::CaFile(self.path("certificate.pem"))
    }
}

/// Over `store`, with nothing seen yet.
fn authenticator(store: &Store) -> Arc<Authenticator> {
    let tokens = Tokens::new(store.clone()).expect("tokens");
    Arc::new(Authenticator::new(store.clone(), tokens))
}

fn account(house: &House, transcript: &Transcript, port: u16) -> Account {
    let Settings {
        protocol,
        credential,
        upstream_tls,
        ..
    } = transcript.settings;
    let (user, auth) = match credential {
        Credential::Passthrough => (name_said(transcript), AccountAuth::Passthrough),
        Credential::Stored | Credential::Bearer => {
            let password = SecretSource::File(house.path("app-password"));
            (ADDRESS, AccountAuth::Password(password))
        }
    };
    let endpoint = Endpoint {
        proxy: None,
        host: HOST.to_owned(),
        port,
        tls: upstream_tls,
        trust: house.trust(),
        user: user.to_owned(),
    };
    Account {
        profile: None,
        idle_renewal: IDLE_RENEWAL,
        address: ADDRESS.to_owned(),
        login_names: NAMES.map(str::to_lowercase).into(),
        provider: "custom".to_owned(),
        auth,
        endpoints: [(protocol, endpoint)].into(),
    }
}

/// The name that the file's upstream hears under pass-through. In memory it is what the client said; a service takes
/// it from the account.
fn name_said(transcript: &Transcript) -> &'static str {
    let said = String::from_utf8_lossy(&due(transcript, Leg::Upstream)).into_owned();
    let heard = NAMES.into_iter().find(|name| said.contains(name));
    heard.unwrap_or("anna")
}

/// Failures slow down an account's next logins, and refusals its next tries upstream: such a transcript is alone.
fn is_refused_somewhere(transcript: &Transcript) -> bool {
    let expected = transcript.turns.iter().flat_map(|turn| &turn.expected);
    expected.into_iter().any(|expected| match &expected.what {
        Expected::Bytes(_, bytes) => String::from_utf8_lossy(bytes).contains(WRONG_IN_FILE),
        Expected::Outcome(outcome) => outcome.starts_with("upstream failed"),
    })
}

fn store_settings(folder: &Path) -> StoreSettings {
    StoreSettings {
        url: format!("sqlite:{}", folder.join("state/store.db").display()),
        key: KeySource::File(folder.join("state/store.key")),
    }
}

/// What the upstream is dialled by and certified for: no resolver takes part, and no other address family.
pub(crate) const HOST: &str = "127.0.0.1";

const ADDRESS: &str = "anna@example.org";

/// Names that clients in pass-through files log in with, the longer ones first.
const NAMES: [&str; 5] = [
    "Anna@example.org",
    "anna@example.org",
    "DOMAIN\\anna",
    "an\"na",
    "anna",
];

/// Longer than any test.
pub(crate) const WAITS: Duration = Duration::from_secs(300);

/// PROTOCOL B.7.
pub(crate) const BEFORE_LOGIN: Duration = Duration::from_secs(60);
