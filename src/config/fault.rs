//! What can be wrong with a setting, each with what to write instead. No variant holds a value that could be a secret.

mod words;

use std::io;
use std::path::PathBuf;

use self::words::{
    are, as_told, cannot_listen, device_hint, did_you_mean, in_words, issuer_hint, kind, or_oauth,
    or_switch_off, profile_hint, provider_hint,
};
use super::reach::ListenAddress;
use crate::secret::Audience;

/// One kind of mistake. Its text follows the place and the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    // The file as such.
    #[error("cannot be read: {}", in_words(*.0))]
    NoFile(io::ErrorKind),
    #[error("anyone may write to this file, and its commands are run: `chmod o-w` it")]
    WritableByAnyone,
    #[error("this is no TOML: {0}")]
    Syntax(String),
    #[error("cannot be understood")]
    Unreadable,

    // What serde sees.
    #[error("unknown key; {}", did_you_mean(nearest.as_deref(), known))]
    UnknownKey {
        nearest: Option<String>,
        known: String,
    },
    #[error("write {0}")]
    UnknownWord(String),
    #[error("write {expected}, not {found}")]
    WrongType {
        found: &'static str,
        expected: String,
    },
    #[error("out of range: write {0}")]
    OutOfRange(String),
    #[error("`{0}` is missing")]
    Missing(String),
    #[error("{0}")]
    Said(String),
    #[error("write [[{0}]] in double brackets: there can be several")]
    NeedsDoubleBrackets(&'static str),

    // Accounts.
    #[error("`address` is missing: write address = \"anna@example.com\"")]
    NoAddress,
    #[error(
        "\"{0}\" is no mail address: write \"anna@example.com\", or \"*@example.com\" for all addresses of a domain"
    )]
    NotAnAddress(String),
    #[error(
        "\"{name}\" already belongs to {other}: names are compared without case and must be unique"
    )]
    NameTaken { name: String, other: String },
    #[error("a catch-all account has no further names: remove login_names")]
    CatchAllWithNames,
    #[error("a login name is not empty and holds neither * nor control characters")]
    NotALoginName,
    #[error("this is one account's own: write it in its [[account]], not in [defaults]")]
    NotShared,
    #[error("no protocol is on: remove one of imap = false, pop3 = false, smtp = false")]
    NothingOn,

    // Providers and servers.
    #[error("no provider is called \"{name}\"; {}", provider_hint(nearest.as_deref()))]
    UnknownProvider {
        name: String,
        nearest: Option<String>,
    },
    #[error(
        "no provider is known for {0}: write provider = \"…\" (see `mailsluice providers`), or the server as \
         host = \"mail.{0}\""
    )]
    UnknownDomain(String),
    #[error("{0} offers no IMAP, POP3 or SMTP to mail programs, so nothing can be put between")]
    NoStandardAccess(String),
    #[error(
        "{title} takes no password for {protocols}: write auth = \"oauth\" in place of the password{}{}",
        as_told(guide.as_deref()), or_switch_off(way_out.as_deref())
    )]
    SignInNeeded {
        title: String,
        protocols: String,
        guide: Option<String>,
        way_out: Option<String>,
    },
    #[error("{0} is a template: write its server as host = \"mail.example.com\"")]
    HostNeeded(String),
    #[error(
        "the servers of {0} are known: remove host, or write provider = \"custom\" if the mailbox is elsewhere"
    )]
    HostNotNeeded(String),
    #[error("the host names of {0} hold the account: write it as hosting_account = \"…\"")]
    HostingAccountNeeded(String),
    #[error("a hosting account is one part of a host name: letters, digits and hyphens")]
    NotALabel,
    #[error("the host names of {0} do not hold the account: remove hosting_account")]
    HostingAccountNotNeeded(String),
    #[error("\"{0}\" is no host name: write \"mail.example.com\", without https:// and port")]
    NotAHost(String),
    #[error(
        "{title} has no {protocol}: write {protocol} = false, or its server as {protocol} = {{ host = \"…\" }}"
    )]
    NotOffered {
        title: String,
        protocol: &'static str,
    },
    #[error(
        "{title} has no {protocol} server with this port and tls: remove them, or add host = \"…\""
    )]
    NoSuchServer {
        title: String,
        protocol: &'static str,
    },
    #[error(
        "{title} speaks {protocol} without TLS, and a password is never sent that way: switch its TLS on and write \
         {protocol} = {{ host = \"…\", port = …, tls = \"…\" }}"
    )]
    PlainUpstream {
        title: String,
        protocol: &'static str,
    },
    #[error(
        "{0} makes its own certificate: write {1} = {{ ca_file = \"…\" }} with it in PEM, or \
         {1} = {{ public_key = \"sha256/…\" }}"
    )]
    OwnCertificate(String, &'static str),
    #[error(
        "{0} is a port of our own listeners, so the connection would come back here: choose another port there"
    )]
    OurOwnPort(u16),
    #[error("port 0 is no server's port")]
    PortZero,
    #[error("a user name is not empty and holds no control characters")]
    NotAUser,
    #[error("ca_file and public_key exclude each other: keep one")]
    TwoTrusts,
    #[error(
        "a public key is pinned as \"sha256/\" and 44 characters of base64, the SHA-256 of its SubjectPublicKeyInfo"
    )]
    NotAPin,

    // Proxies.
    #[error(
        "write \"socks5://host:1080\" or \"http://host:3128\"; proxies that speak SOCKS 4 or TLS (https://) cannot be used"
    )]
    NotAProxy,
    #[error(
        "this is no proxy that mailsluice can use: set it to socks5h://host:1080 or http://host:3128, or write \
         proxy = \"none\" in [defaults]"
    )]
    NotAProxyVariable,
    #[error(
        "a password does not belong in this file: write proxy = {{ url = \"socks5://anna@host:1080\", \
         password = {{ file = \"…\" }} }}, or {{ command = \"…\" }}, {{ env = \"…\" }}, {{ systemd = \"…\" }}, \
         {{ keyring = \"…\" }} there"
    )]
    ProxyPasswordInFile,
    #[error(
        "where is this user's password? Write proxy = {{ url = \"…\", password = {{ file = \"…\" }} }}"
    )]
    ProxyPasswordNeeded,
    #[error("whose password is it? Write the user into the URL: \"socks5://anna@host:1080\"")]
    ProxyUserNeeded,
    #[error(
        "a proxy's user name is up to 255 octets with SOCKS5, and holds no : with HTTP: this one cannot be said"
    )]
    NotAProxyUser,

    // Passwords.
    #[error(
        "where is the password? Write password = \"stored\" and run `mailsluice account set-password`, or \
         password = {{ command = \"…\" }}, {{ file = \"…\" }}, {{ env = \"…\" }}, {{ systemd = \"…\" }} or \
         {{ keyring = \"…\" }}, or auth = \"passthrough\"{}", or_oauth(*oauth)
    )]
    NoPassword {
        /// Whether a token would do, too.
        oauth: bool,
    },
    #[error(
        "auth = \"passthrough\" sends the client's own password on, so there is none to name: remove one of the two"
    )]
    PasswordWithPassthrough,
    #[error("name exactly one of command, file, env, systemd, keyring")]
    NotOneSource,
    #[error("a name that is not empty is needed, and for a systemd credential one without /")]
    NoName,
    #[error(
        "this address holds characters that a shell or a file system would act on: write it out instead of a \
         placeholder"
    )]
    AddressNotInert,
    #[error("the environment variable {0} is not set")]
    VariableNotSet(String),
    #[error(
        "$CREDENTIALS_DIRECTORY is not set: write LoadCredential={0}:/path into the systemd unit"
    )]
    NoCredentials(String),

    // OAuth.
    #[error(
        "auth = \"oauth\" needs no password: remove it; only oauth = {{ flow = \"password\" }} sends one to the issuer"
    )]
    PasswordWithOAuth,
    #[error("oauth goes with auth = \"oauth\": remove one of the two")]
    OAuthWithoutUse,
    #[error(
        "one sign-in is for one person, not for all addresses of a domain: write an [[account]] for each"
    )]
    CatchAllWithOAuth,
    #[error(
        "who issues the tokens? Write oauth = {{ issuer = \"…\" }} with one of {0}, or with one that you define as \
         [issuer.NAME]"
    )]
    IssuerNeeded(String),
    #[error(
        "no issuer is called \"{name}\"; {} One of your own is written as [issuer.{name}] with discover = \"https://…\", \
         or with authorize_url and token_url",
        issuer_hint(nearest.as_deref())
    )]
    UnknownIssuer {
        name: String,
        nearest: Option<String>,
    },
    #[error(
        "flow = \"{flow}\" needs the issuer's `{key}`: write it in [issuer.{issuer}], or discover = \"https://…\""
    )]
    EndpointNeeded {
        issuer: String,
        key: &'static str,
        flow: &'static str,
    },
    #[error("discover finds the endpoints: remove `{0}`, or discover")]
    EndpointBesideDiscovery(&'static str),
    #[error(
        "write a whole URL without user, password and #, such as \"https://login.example.com/token\""
    )]
    NotAUrl,
    #[error(
        "write the issuer's identifier, a URL without ? and #, such as \"https://login.example.com/realm\""
    )]
    NotAnIdentifier,
    #[error(
        "secrets and tokens go there, so it must be https:// (http:// only on this machine: 127.0.0.1, [::1])"
    )]
    PlainUrl,
    #[error(
        "sign-ins come back to this machine: write \"http://localhost:{{port}}/\" or \"http://127.0.0.1:{{port}}/\" \
         ({{port}} is that of [sign_in]), or an https:// address if you paste what the browser shows"
    )]
    NotARedirect,
    #[error(
        "{title} gives tokens only to programs registered with it: register yours in the five steps of {guide}, \
         and write [issuer.{issuer}] with client_id = \"…\""
    )]
    ClientIdNeeded {
        title: String,
        guide: String,
        issuer: String,
    },
    #[error("a client id is not empty and holds no white space")]
    NotAClientId,
    #[error(
        "{title} gives every client a secret and wants it: write client_secret = {{ file = \"…\" }} beside client_id ({guide})"
    )]
    ClientSecretNeeded { title: String, guide: String },
    #[error(
        "flow = \"client-credentials\" has no person who signs in, so the client must prove itself: write \
         client_secret = {{ file = \"…\" }}, or certificate and key"
    )]
    ClientProofNeeded,
    #[error("a certificate proves nothing without its private key: write key = \"…\", a PEM file")]
    CertificateWithoutKey,
    #[error(
        "a client proves itself by client_secret or by certificate and key: remove one of the two"
    )]
    TwoProofs,
    #[error(
        "{title} does not give tokens for mail by flow = \"{flow}\": write {supported}{}",
        device_hint(flow)
    )]
    FlowNotSupported {
        title: String,
        flow: &'static str,
        supported: String,
    },
    #[error(
        "flow = \"{flow}\" needs the tenant itself: write tenant = \"…\", its domain or id ({guide})"
    )]
    TenantNeeded { flow: &'static str, guide: String },
    #[error("a tenant is a domain or an id: letters, digits, dots and hyphens")]
    NotATenant,
    #[error(
        "flow = \"password\" sends the provider's password to the issuer: say where it is, password = \"stored\" or \
         {{ command = \"…\" }}, {{ file = \"…\" }}, {{ env = \"…\" }}, {{ systemd = \"…\" }}, {{ keyring = \"…\" }}"
    )]
    FlowPasswordNeeded,
    #[error(
        "flow = \"service-account\" signs with a key file that Google makes: write key = \"….json\" (docs/oauth/google.md)"
    )]
    ServiceKeyNeeded,
    #[error(
        "a shared grant of a service account must say for whom it acts: write subject = \"anna@example.com\""
    )]
    SubjectNeeded,
    #[error("\"{0}\" is no mail address: write subject = \"anna@example.com\"")]
    NotASubject(String),
    #[error("this goes with flow = \"service-account\" only: remove it, or write that flow")]
    OnlyForServiceAccount,
    #[error("a service account proves itself by its key file: remove this")]
    NotForServiceAccount,
    #[error("a grant's name is not empty and holds neither white space nor control characters")]
    NotAGrant,
    #[error(
        "the grant \"{grant}\" belongs to {other}, too, with another {what}: say the same in both (best in [defaults] \
         or [issuer.NAME]), or give this account a grant of its own"
    )]
    GrantDiffers {
        grant: String,
        other: String,
        what: &'static str,
    },
    #[error("{title} takes no tokens for {protocol}: write {protocol} = false")]
    NoTokensFor {
        title: String,
        protocol: &'static str,
    },
    #[error("this parameter is made by mailsluice itself: remove it")]
    ReservedParameter,
    #[error("a scope is not empty and holds no white space: write each one by itself")]
    NotAScope,
    #[error("port {0} is also that of a [[listener]]: choose another port here")]
    SignInPortTaken(u16),
    #[error("an empty command does nothing: remove it")]
    EmptyCommand,

    // Files.
    #[error("{} cannot be read: {}", path.display(), in_words(*why))]
    UnreadableFile { path: PathBuf, why: io::ErrorKind },
    #[error("{} is no file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is open to others (mode {mode:04o}): `chmod 600` it{}", path.display(), match audience {
        Audience::Owner => "",
        Audience::Group => "; the group may read at most",
    })]
    OpenToOthers {
        path: PathBuf,
        mode: u32,
        audience: Audience,
    },
    #[error("{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),

    // Listeners.
    #[error("`protocol` is missing: write protocol = \"imap\", \"pop3\" or \"smtp\"")]
    NoProtocol,
    #[error("port means both loopbacks and address spells it out: remove one of the two")]
    PortAndAddress,
    #[error(
        "write an address with a port, \"127.0.0.1:1143\" or \"[::1]:1143\", a path as \"unix:/run/imap.sock\", or a \
         name as \"systemd:imap\"; or a list of them"
    )]
    NotASocketAddress,
    #[error(
        "{address} is taken by another listener: choose another {}",
        kind(address)
    )]
    AddressTaken { address: ListenAddress },
    #[error("{} {}", are(addresses), cannot_listen(addresses, *trouble, *by_default))]
    CannotListen {
        addresses: Vec<ListenAddress>,
        trouble: io::ErrorKind,
        by_default: bool,
    },
    #[error(
        "certificate and key are given, but tls is off: write tls = \"implicit\" or \"starttls\""
    )]
    CertificateWithoutTls,
    #[error(
        "certificate and key go together: write both, two PEM files, or neither for a certificate that mailsluice makes"
    )]
    HalfACertificate,
    #[cfg(unix)]
    #[error("the system has no room for this path: choose a shorter one, of some 100 octets")]
    SocketPathTooLong,
    #[cfg(not(unix))]
    #[error("this system has no Unix sockets: write an address with a port")]
    NoUnixSockets,
    #[error("there is no systemd on this system: write an address with a port, or a path")]
    NoSystemd,
    #[error(
        "write what stands behind FileDescriptorName= in the socket unit, as in \"systemd:imap\""
    )]
    NotASocketName,
    #[error("a port has no mode: remove this")]
    ModeWithoutSocket,
    #[error("write the permissions of the socket's file in octal digits, such as \"0660\"")]
    NotAMode,
    #[error(
        "who connects to a Unix socket has no address: remove this; mode and allow_uids say who may"
    )]
    SocketHasNoNetworks,
    #[error("nobody could connect: name a user, or remove this")]
    NoUsers,
    #[error("this system has no user called \"{0}\"")]
    NoSuchUser(String),
    #[error(
        "whose program connects to a port is known on Linux only: remove this, or listen on a Unix socket"
    )]
    UsersOfAPort,
    #[error(
        "whose program connects is known on this machine only: listen on 127.0.0.1, [::1] or a Unix socket, or remove \
         this"
    )]
    UsersOffLoopback,
    #[error(
        "who connects to a Unix socket has no address by which to know a load balancer: remove this"
    )]
    SocketHasNoBalancers,
    #[error("nobody could connect: name the load balancers, or remove this")]
    NoBalancers,
    #[error(
        "this is everyone, and whoever is named here may claim any address: name the load balancers"
    )]
    EveryoneBalances,
    #[error("write a network such as \"192.168.1.0/24\", or one address")]
    NotANetwork,
    #[error(
        "passwords and mail would cross the network unencrypted: write tls = \"implicit\" or \"starttls\", or, if \
         that is what you want, allow_plain_from_network = true and networks = [\"192.168.1.0/24\"]"
    )]
    PlainOnNetwork,
    #[error("name the networks that may connect unencrypted: networks = [\"192.168.1.0/24\"]")]
    PlainWithoutNetworks,
    #[error("this is everyone: name the networks that may connect unencrypted")]
    PlainForEveryone,
    #[error("nothing here is plain on a network: remove allow_plain_from_network")]
    ConsentWithoutNeed,
    #[error("a listener is pinned to an account or to a provider: remove one of the two")]
    TwoPins,
    #[error("there is no account {0}")]
    NoSuchAccount(String),

    // Listeners without logins.
    #[error(
        "mail would cross the network unencrypted: write tls = \"starttls\" or \"implicit\", or, where the devices know no \
         TLS, allow_plain_from_network = true"
    )]
    LoginNonePlain,
    #[error("whoever reads mail logs in: login = \"none\" goes with protocol = \"smtp\" only")]
    LoginNoneForReaders,
    #[error(
        "whoever connects here sends without a login: name the account that it is sent by, \
         account = \"scanner@example.com\""
    )]
    LoginNoneForWhom,
    #[error("without a login nobody says which address is meant: name one account, not a domain")]
    LoginNoneForDomain,
    #[error(
        "\"{0}\" cannot be written into every message as it stands: name an account whose address has only letters, \
         digits and the usual signs"
    )]
    NotASender(String),
    #[error(
        "whoever connects here sends without a login: name the devices or their network, networks = [\"192.168.1.50\"]"
    )]
    LoginNoneWithoutNetworks,
    #[error(
        "this is nearly everyone, and whoever connects here sends without a login: name the devices or their network"
    )]
    LoginNoneForEveryone,
    #[error(
        "{0} has auth = \"passthrough\", so its password is only known while somebody logs in: store it, or name \
         another account"
    )]
    LoginNonePassthrough(String),
    #[error("SMTP is off for {0}: switch it on, or name another account")]
    LoginNoneNoSmtp(String),
    #[error("this is for senders without a login: remove it, or write login = \"none\"")]
    OnlyWithoutLogin,

    // Profiles.
    #[error(
        "no profile is called \"{name}\"; {} One of your own is written as [profile.{name}] with base = \"modern\"",
        profile_hint(nearest.as_deref())
    )]
    UnknownProfile {
        name: String,
        nearest: Option<String>,
    },
    #[error("a profile of your own changes another one: write base = \"…\" with one of {0}")]
    NoBase(String),
    #[error("this profile would stand on itself: choose another base")]
    BaseOfItself,
    #[error("no mechanism is called so; there are {0}")]
    UnknownMechanism(String),
    #[error("nobody could log in by SASL: name a mechanism, or remove this for those of the base")]
    NoMechanism,
    #[error("no quirk is called so; there are {0}")]
    UnknownQuirk(String),
    #[error("a capability is one word, as \"IDLE\"; \"SORT*\" is all that begin so")]
    NotACapability,

    // The rest.
    #[error(
        "this is no name for greetings and EHLO: write a domain such as \"mail.example.com\", or an address as \
         \"[192.0.2.1]\""
    )]
    NotOurHost,
    #[error(
        "\"{0}\" is nothing to prove: write a host name such as \"mail.lan\", or an address such as \"192.168.1.2\""
    )]
    NotACertificateName(String),
    #[error("this version keeps its store in SQLite: write \"sqlite:/path/to/mailsluice.db\"")]
    NotAStore,
    #[error("name either file or systemd")]
    NotOneKey,
    #[error("write a number from 1 to {0}")]
    NotWithin(u64),
    #[error("write a number from 0 to {0}")]
    NotUpTo(u64),
    #[error(
        "this is no filter: write a level such as \"info\", or \"info,mailsluice::relay=debug\""
    )]
    NotAFilter,
}

impl Fault {
    /// Whether the configuration may be right and only the machine does not let us listen.
    pub(super) fn is_about_a_port(&self) -> Option<io::ErrorKind> {
        match self {
            Self::CannotListen { trouble, .. } => Some(*trouble),
            _ => None,
        }
    }
}
