//! The checked configuration: what the rest of the program works with. No `Option` that must be `Some`; everything here
//! has been validated by the check that made it.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::oauth::Grant;
pub use super::reach::{ACTIVATION_VARIABLES, Door, ListenAddress};
use crate::address::authority;
use crate::peer::Peer;
use crate::profile::Profile;
use crate::protocol::{Protocol, SenderRule, TlsMode};

/// Everything that was asked for.
#[derive(Debug)]
pub struct Config {
    /// Where we listen.
    pub listeners: Vec<Listener>,
    /// Whom we serve.
    pub accounts: Accounts,
    /// How clients may be served, by name.
    pub profiles: HashMap<String, Arc<Profile>>,
    /// Where what the program learns is kept.
    pub store: StoreSettings,
    /// The folder of the store, the key, the control socket and generated certificates.
    pub state_dir: PathBuf,
    /// The name we give ourselves in greetings and in EHLO to the upstream.
    pub host: String,
    /// Bounds on work and time.
    pub limits: Limits,
    /// Upstream sessions that wait for the next login.
    pub warm: WarmSettings,
    /// How to log.
    pub log: LogSettings,
    /// How people sign in.
    pub sign_in: SignInSettings,
    /// Our own certificates.
    pub certificates: CertificateSettings,
}

impl Config {
    /// The variables of our environment that secrets are taken from.
    pub fn secret_variables(&self) -> Vec<String> {
        let sources = self.accounts.all.iter().flat_map(|account| {
            let (own, of_client) = match &account.auth {
                AccountAuth::Password(source) => (Some(source), None),
                AccountAuth::Passthrough => (None, None),
                AccountAuth::OAuth(grant) => (grant.flow.secret(), grant.client.secret()),
            };
            own.into_iter().chain(of_client)
        });
        let logins = self.accounts.all.iter().flat_map(|account| {
            let proxies = account
                .endpoints
                .values()
                .filter_map(|it| it.proxy.as_ref());
            proxies.filter_map(|proxy| proxy.login.as_ref())
        });
        // The variable that names the proxy of all programs is for our children, too.
        let of_proxies = logins.filter_map(|login| match &login.password {
            ProxyPassword::From(source) => Some(source),
            ProxyPassword::InUrlOf(_) => None,
        });
        let sources = sources.chain(of_proxies);
        let variables = sources.filter_map(|source| match source {
            SecretSource::Env(variable) => Some(variable.clone()),
            _ => None,
        });
        variables.collect()
    }
}

/// How people sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignInSettings {
    /// The port of the callback listener on both loopbacks; 0 takes a free one.
    pub port: u16,
    /// Run by `sh -c` when a sign-in is needed, with `MAILSLUICE_ACCOUNT`, `MAILSLUICE_URL` and `MAILSLUICE_CODE`.
    pub on_needed: Option<String>,
}

/// One port and what is behind it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it listens. A listener for both loopbacks is two of these.
    pub address: ListenAddress,
    /// TLS on the client leg.
    pub tls: ListenerTls,
    /// Peers outside these networks are closed without a word. Empty only for loopback: everyone who can reach it. Off
    /// loopback it is never empty; where a TLS listener names none, it is all of IPv4 and IPv6.
    pub networks: Vec<IpNet>,
    /// What else is asked of who connects.
    pub door: Door,
    /// Serves only this account or provider.
    pub pin: Option<Pin>,
    /// How clients are served here before a login, and after it unless the account or the local password has another.
    pub profile: Arc<Profile>,
    /// SMTP: nobody logs in here, and this is what they may do. The listener is pinned to the account, then.
    pub no_login: Option<NoLogin>,
}

/// What a client may do at a listener where nobody logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoLogin {
    /// The account that everything is sent by; never a catch-all entry, and never one under pass-through.
    pub account: String,
    /// Another sender in the envelope.
    pub envelope: SenderRule,
    /// Another sender in the header.
    pub header: SenderRule,
    /// From one peer, counted for an hour from the first.
    pub messages_per_hour: u32,
    /// In one message.
    pub recipients: usize,
    /// Of one message, in octets.
    pub size: u64,
    /// Whether mail is taken off loopback though TLS is on offer and was not asked for.
    pub plain_too: bool,
}

impl Listener {
    /// Whether a login of `peer` is taken while the leg is not encrypted. Off loopback a plain listener stands only where
    /// the configuration consents in words; one that offers STARTTLS then insists on it. So does one on loopback towards
    /// those for whom a load balancer connects, and systemd's sockets, wherever they are, towards others than this machine.
    pub fn takes_plain_login(&self, peer: Peer) -> bool {
        let near = self.address.is_local() || matches!(self.address, ListenAddress::Systemd(_));
        match self.tls {
            ListenerTls::Off => true,
            ListenerTls::StartTls(_) => {
                let plain_too = self.no_login.as_ref().is_some_and(|it| it.plain_too);
                plain_too || (near && peer.is_local())
            }
            ListenerTls::Implicit(_) => false,
        }
    }
}

/// TLS on the client leg, and the certificate for it.
#[derive(Clone, Debug)]
pub enum ListenerTls {
    /// Plain.
    Off,
    /// Plain, with STARTTLS or STLS on offer.
    StartTls(CertificateSource),
    /// TLS from the first byte.
    Implicit(CertificateSource),
}

impl ListenerTls {
    /// What the listener presents, where it does.
    pub fn certificate(&self) -> Option<&CertificateSource> {
        match self {
            Self::Off => None,
            Self::StartTls(source) | Self::Implicit(source) => Some(source),
        }
    }
}

/// Where a listener's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateSource {
    /// Ours: made in the state folder, by a CA that is made there too.
    Generated,
    /// The user's.
    Own(CertificateFiles),
}

/// What our own certificates are made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateSettings {
    /// Host names and addresses, besides those that are known without being said.
    pub names: Vec<String>,
}

/// A PEM chain and its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What a listener is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The account with this address.
    Account(String),
    /// The accounts of this provider.
    Provider(String),
}

/// All accounts, found by the name a client logs in with.
///
/// Names are compared in lower case. A full address or an alias always wins; a local part counts where it is unique
/// among the accounts a listener serves; a catch-all entry takes what is left of its domain.
#[derive(Debug, Default)]
pub struct Accounts {
    /// In the order of the file.
    pub all: Vec<Arc<Account>>,
    /// Lower-case full addresses and aliases → index in `all`.
    pub by_name: HashMap<String, usize>,
    /// Lower-case local part → indices in `all`.
    pub by_local_part: HashMap<String, Vec<usize>>,
    /// Lower-case domain → the catch-all entry (its `address` is `*@domain`). Until [`Accounts::find`] derives an
    /// account from it, its users and its secret's source may hold `{address}`, `{localpart}` and `{domain}`.
    pub by_domain: HashMap<String, usize>,
}

/// One mailbox.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its address in lower case; its identity in the store, in logs and in commands. `*@domain` for a catch-all entry.
    pub address: String,
    /// Further names it answers to, lower case.
    pub login_names: Vec<String>,
    /// The preset's name, or `custom`.
    pub provider: String,
    /// What the upstream takes.
    pub auth: AccountAuth,
    /// How its clients are served after login, where that is not the listener's business.
    pub profile: Option<Arc<Profile>>,
    /// How old an IDLE may grow at the provider before it is begun anew there.
    pub idle_renewal: Duration,
    /// Where to connect, for each protocol that is on.
    pub endpoints: HashMap<Protocol, Endpoint>,
}

/// Where a provider is not known to be less patient: below the 29 minutes of RFC 2177.
pub const IDLE_RENEWAL: Duration = Duration::from_secs(25 * 60);

/// What the upstream takes.
#[derive(Clone, Debug)]
pub enum AccountAuth {
    /// A password of the provider's, from here.
    Password(SecretSource),
    /// The client's own password; nothing is stored.
    Passthrough,
    /// An OAuth token. Catch-all entries cannot have it.
    OAuth(Arc<Grant>),
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// The first line of what this prints, run by `sh -c`.
    Command(String),
    /// The first line of this file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A file of this name under `$CREDENTIALS_DIRECTORY` (systemd `LoadCredential=`).
    SystemdCredential(String),
    /// The entry of the operating system's keyring under service `mailsluice` with this user name.
    Keyring(String),
    /// In the store, put there by `mailsluice account add` or `set-password`.
    Stored,
}

/// One server of a provider, for one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name; it is also what the certificate must prove.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How TLS begins.
    pub tls: TlsMode,
    /// What the certificate is checked against.
    pub trust: Trust,
    /// The upstream identity: the user name said there.
    pub user: String,
    /// What leads there, if it is not reached directly.
    pub proxy: Option<Arc<Proxy>>,
}

impl Endpoint {
    /// `host:port`.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }
}

/// What stands between us and an upstream, and is told whom to connect to. Shown without its user and password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who we are there, if it asks.
    pub login: Option<ProxyLogin>,
}

/// What a proxy speaks. Both resolve the upstream's name themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// SOCKS version 5, RFC 1928.
    Socks5,
    /// HTTP CONNECT, RFC 9110 section 9.3.6.
    Http,
}

/// Who we are to a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyLogin {
    /// The user name.
    pub user: String,
    /// Where the password comes from.
    pub password: ProxyPassword,
}

/// Where the password of a proxy comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProxyPassword {
    /// A source of its own.
    From(SecretSource),
    /// The URL that this environment variable holds.
    InUrlOf(String),
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        };
        write!(f, "{scheme}://{}", authority(&self.host, self.port))
    }
}

/// What an upstream certificate is checked against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The operating system's roots.
    Platform,
    /// The certificates of this PEM file, and no others.
    CaFile(PathBuf),
    /// The SHA-256 of the leaf's SubjectPublicKeyInfo, whatever signed it.
    PublicKey([u8; 32]),
}

/// Where the store is and what unlocks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// `sqlite:PATH`.
    pub url: String,
    /// The key that encrypts its rows.
    pub key: KeySource,
}

/// Where the store's key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file, made on first use with mode 0600.
    File(PathBuf),
    /// The operating system's keyring.
    Keyring,
    /// A systemd credential of this name.
    SystemdCredential(String),
}

/// Bounds on work and time. Durations in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once, all listeners together.
    pub sessions: usize,
    /// Sessions at once from one peer address that is not loopback.
    pub sessions_per_peer: usize,
    /// From accept to a login attempt: PROTOCOL B.7, 60 s in total.
    pub before_login: Duration,
    /// From a login attempt to the reply: DNS, TCP, TLS and authentication, 25 s.
    pub login: Duration,
    /// How long open sessions may go on after SIGTERM.
    pub drain: Duration,
}

/// Upstream sessions that wait for the account's next login after a client has logged out. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarmSettings {
    /// At once, for each account and protocol; 0 is none.
    pub sessions: usize,
    /// How long one waits.
    pub idle: Duration,
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A `tracing` filter: `info`, `mailsluice=debug`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}
