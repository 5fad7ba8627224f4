//! Certificates of our own through the real service: every protocol, both ways TLS begins, both versions; what happens to
//! a session when another certificate takes the place of the one it began with.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code: what is not as expected has to stop the case"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mailsluice::auth::Authenticator;
use mailsluice::auth::oauth::Tokens;
use mailsluice::config::runtime::{
    Accounts, CertificateFiles, CertificateSettings, CertificateSource, Config, Door, KeySource,
    Limits, Listener, ListenerTls, LogSettings, SignInSettings, StoreSettings, WarmSettings,
};
use mailsluice::net::certificates::Folder;
use mailsluice::protocol::Protocol;
use mailsluice::relay::{Service, Workers};
use mailsluice::store::Store;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A service and the folder with its state.
struct House {
    folder: TempDir,
    service: Service,
}

impl House {
    async fn with(tls: ListenerTls) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let service = start(config(folder.path(), tls)).await;
        Self { folder, service }
    }

    fn address(&self, protocol: Protocol) -> SocketAddr {
        let addresses = self.service.overview().addresses();
        let found = addresses.into_iter().find(|(it, _)| *it == protocol);
        found.expect("it listens").1
    }

    /// What a person installs.
    fn authority(&self) -> CertificateDer<'static> {
        let found = Folder::at(self.folder.path()).look_at_authority();
        found.expect("readable").expect("there is one").der
    }

    fn trusting(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        trusting(self.authority(), version)
    }
}

fn trusting(
    root: CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn start(config: Config) -> Service {
    let store = Store::open(&config.store).await.expect("a store");
    let tokens = Tokens::new(store.clone()).expect("tokens");
    let authenticator = Arc::new(Authenticator::new(store, tokens));
    Service::start(Arc::new(config), authenticator, Workers::default()).expect("it starts")
}

/// One listener of each protocol on a free port.
fn config(state_dir: &Path, tls: ListenerTls) -> Config {
    let listeners = Protocol::ALL.map(|protocol| Listener {
        protocol,
        address: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
        door: Door::default(),
        tls: tls.clone(),
        networks: Vec::new(),
        pin: None,
        no_login: None,
        profile: Arc::default(),
    });
    Config {
        listeners: listeners.into(),
        accounts: Accounts::default(),
        profiles: std::collections::HashMap::new(),
        store: StoreSettings {
            url: format!("sqlite:{}", state_dir.join("store/db").display()),
            key: KeySource::File(state_dir.join("store/key")),
        },
        state_dir: state_dir.to_owned(),
        host: "mailsluice.localhost".to_owned(),
        limits: Limits {
            sessions: 100,
            sessions_per_peer: 100,
            before_login: Duration::from_secs(60),
            login: Duration::from_secs(25),
            drain: Duration::from_secs(30),
        },
        warm: WarmSettings::default(),
        log: LogSettings {
            filter: "info".to_owned(),
            json: false,
        },
        sign_in: SignInSettings::default(),
        certificates: CertificateSettings {
            names: vec!["mail.lan".to_owned()],
        },
    }
}

/// What each protocol says to begin TLS, and to be answered by itself.
fn words(protocol: Protocol) -> (&'static str, &'static str, &'static str) {
    match protocol {
        Protocol::Imap => ("a STARTTLS\r\n", "a OK", "b NOOP\r\n"),
        Protocol::Pop3 => ("STLS\r\n", "+OK", "CAPA\r\n"),
        Protocol::Smtp => ("STARTTLS\r\n", "220", "NOOP\r\n"),
    }
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(stream.read_u8().await.expect("a line"));
    }
    String::from_utf8(line).expect("UTF-8")
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), said: &str) -> String {
    stream.write_all(said.as_bytes()).await.expect("it reads");
    line(stream).await
}

async fn handshake(
    config: ClientConfig,
    name: &str,
    tcp: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

fn presented(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let certificates = stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("they are kept");
    certificates[0].clone().into_owned()
}

#[tokio::test]
async fn a_generated_certificate_serves_every_protocol_under_both_versions() {
    let house = House::with(ListenerTls::Implicit(CertificateSource::Generated)).await;
    let mut shown = Vec::new();
    for protocol in Protocol::ALL {
        for version in [&TLS12, &TLS13] {
            for name in ["localhost", "127.0.0.1", "mailsluice.localhost", "mail.lan"] {
                let tcp = TcpStream::connect(house.address(protocol))
                    .await
                    .expect("it listens");
                let tls = handshake(house.trusting(version), name, tcp).await;
                let mut tls = tls.expect("it is trusted");
                assert_eq!(tls.get_ref().1.protocol_version(), Some(version.version));
                let greeting = line(&mut tls).await;
                assert!(
                    greeting.contains("OK") || greeting.starts_with("220 "),
                    "{greeting}"
                );
                shown.push(presented(&tls));
            }
        }
    }
    shown.dedup();
    assert_eq!(shown.len(), 1, "one certificate for all");
    let tcp = TcpStream::connect(house.address(Protocol::Imap))
        .await
        .expect("it listens");
    let foreign = handshake(house.trusting(&TLS13), "imap.gmx.net", tcp).await;
    assert!(foreign.is_err(), "another name is not proved");
}

#[tokio::test]
async fn a_generated_certificate_serves_starttls_under_both_versions() {
    let house = House::with(ListenerTls::StartTls(CertificateSource::Generated)).await;
    for protocol in Protocol::ALL {
        for version in [&TLS12, &TLS13] {
            let (starttls, go_on, noop) = words(protocol);
            let tcp = TcpStream::connect(house.address(protocol)).await;
            let mut tcp = tcp.expect("it listens");
            line(&mut tcp).await;
            let answer = exchange(&mut tcp, starttls).await;
            assert!(answer.starts_with(go_on), "{answer}");
            let tls = handshake(house.trusting(version), "localhost", tcp).await;
            let mut tls = tls.expect("it is trusted");
            assert_eq!(tls.get_ref().1.protocol_version(), Some(version.version));
            let answer = exchange(&mut tls, noop).await;
            assert!(
                answer.contains("OK") || answer.starts_with("250 "),
                "{answer}"
            );
        }
    }
}

/// ALPACA, on every port: what means to speak HTTP to a mail server is not talked to.
#[tokio::test]
async fn a_client_of_another_protocol_is_turned_away_from_every_port() {
    let house = House::with(ListenerTls::Implicit(CertificateSource::Generated)).await;
    for protocol in Protocol::ALL {
        for version in [&TLS12, &TLS13] {
            for (alpn, fits) in [("h2", false), ("http/1.1", false), (protocol.name(), true)] {
                let mut config = house.trusting(version);
                config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
                let tcp = TcpStream::connect(house.address(protocol))
                    .await
                    .expect("it listens");
                let shaken = handshake(config, "localhost", tcp).await;
                assert_eq!(shaken.is_ok(), fits, "{protocol} {alpn}: {shaken:?}");
            }
        }
    }
}

#[tokio::test]
async fn another_certificate_takes_over_while_the_service_runs_and_open_sessions_go_on() {
    let house = House::with(ListenerTls::Implicit(CertificateSource::Generated)).await;
    let open = async || {
        let tcp = TcpStream::connect(house.address(Protocol::Imap))
            .await
            .expect("it listens");
        let tls = handshake(house.trusting(&TLS13), "localhost", tcp).await;
        let mut tls = tls.expect("it is trusted");
        line(&mut tls).await;
        tls
    };
    let mut before = open().await;
    let certificates = house.service.certificates();
    certificates.renew(SystemTime::now());
    assert_eq!(
        presented(&open().await),
        presented(&before),
        "there is no need yet"
    );

    // It ends in a year, and a month before that there is another; the day before today is in both.
    let later = SystemTime::now() + Duration::from_secs(367 * 24 * 60 * 60);
    certificates.renew(later);
    let look = Folder::at(house.folder.path()).look_at_leaf();
    let renewed = look.expect("readable").expect("there is one").der;
    assert_ne!(renewed, presented(&before));
    let answer = exchange(&mut before, "a NOOP\r\n").await;
    assert!(answer.starts_with("a OK"), "{answer}");
    // Renewed for then, it does not count yet: a client says so, and that is how we know that it was shown.
    let tcp = TcpStream::connect(house.address(Protocol::Imap))
        .await
        .expect("it listens");
    let refused = handshake(house.trusting(&TLS13), "localhost", tcp).await;
    let refused = refused.expect_err("of the future").to_string();
    assert!(refused.contains("not valid yet"), "{refused}");
    // Back in our time one is made for now.
    certificates.renew(SystemTime::now());
    let mut after = open().await;
    assert_ne!(presented(&after), presented(&before));
    for session in [&mut before, &mut after] {
        let answer = exchange(session, "b NOOP\r\n").await;
        assert!(answer.starts_with("b OK"), "{answer}");
    }
}

#[tokio::test]
async fn own_files_that_are_renewed_are_shown_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = CertificateFiles {
        certificate: folder.path().join("own.pem"),
        key: folder.path().join("own.key"),
    };
    let put = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let key = made.signing_key.serialize_pem();
        mailsluice::disk::write_new(&files.certificate, made.cert.pem().as_bytes()).expect("put");
        mailsluice::disk::write_new(&files.key, key.as_bytes()).expect("put");
        made.cert.der().clone()
    };
    let first = put();
    let tls = ListenerTls::Implicit(CertificateSource::Own(files.clone()));
    let mut house = House::with(tls.clone()).await;
    let shown = async |house: &House, trusted: &CertificateDer<'static>| {
        let tcp = TcpStream::connect(house.address(Protocol::Pop3))
            .await
            .expect("it listens");
        let shaken = handshake(trusting(trusted.clone(), &TLS13), "localhost", tcp).await;
        presented(&shaken.expect("it is trusted"))
    };
    assert_eq!(shown(&house, &first).await, first);
    let second = put();
    house.service.certificates().renew(SystemTime::now());
    assert_eq!(shown(&house, &second).await, second);
    // A reload looks, too, and does not end over a file that is half written.
    let third = put();
    let reload = |house: &mut House| {
        let config = config(house.folder.path(), tls.clone());
        house.service.reload(Arc::new(config)).expect("it goes on");
    };
    reload(&mut house);
    assert_eq!(shown(&house, &third).await, third);
    std::fs::write(&files.certificate, "half").expect("written");
    reload(&mut house);
    assert_eq!(shown(&house, &third).await, third);
}

#[tokio::test]
async fn a_start_without_a_certificate_opens_nothing_and_says_why_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let certs = folder.path().join("certs");
    mailsluice::disk::make_private_folder(&certs).expect("a folder");
    mailsluice::disk::write_new(&certs.join("ca-with-key.pem"), b"broken").expect("written");
    let config = config(
        folder.path(),
        ListenerTls::StartTls(CertificateSource::Generated),
    );
    let store = Store::open(&config.store).await.expect("a store");
    let tokens = Tokens::new(store.clone()).expect("tokens");
    let authenticator = Arc::new(Authenticator::new(store, tokens));
    let started = Service::start(Arc::new(config), authenticator, Workers::default());
    let errors = started.expect_err("it cannot");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let why = errors[0].source.to_string();
    assert!(
        why.contains("ca-with-key.pem") && why.contains("mailsluice certs new"),
        "{why}"
    );
}

/// Nobody calls: five minutes later, by a clock that is moved on, what is missing is there again.
#[tokio::test]
async fn the_service_looks_after_its_certificates_by_itself() {
    let house = House::with(ListenerTls::Implicit(CertificateSource::Generated)).await;
    let file = house.folder.path().join("certs/server-with-key.pem");
    std::fs::remove_file(&file).expect("it was made");
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert!(!file.exists(), "it is not time yet");
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The clock stands for as long as the look takes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(file.exists());
}
