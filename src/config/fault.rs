//! What can be wrong with a setting, each with what to write instead. No variant holds a value that could be a secret.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

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
        "{title} takes no password for {protocols}: this needs a sign-in (OAuth), which this version does not have{}",
        and_switch_off(way_out.as_deref())
    )]
    SignInNeeded {
        title: String,
        protocols: String,
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

    // Passwords.
    #[error(
        "where is the password? Write password = \"stored\" and run `mailsluice account add`, or \
         password = {{ command = \"…\" }}, {{ file = \"…\" }}, {{ env = \"…\" }}, {{ systemd = \"…\" }} or \
         {{ keyring = \"…\" }}, or auth = \"passthrough\""
    )]
    NoPassword,
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
        "write an address with a port: \"127.0.0.1:1143\" or \"[::1]:1143\", or a list of them"
    )]
    NotASocketAddress,
    #[error("{0} is taken by another listener: choose another port")]
    AddressTaken(SocketAddr),
    #[error("{} {}", are(addresses), cannot_listen(*trouble, *by_default))]
    CannotListen {
        addresses: Vec<SocketAddr>,
        trouble: io::ErrorKind,
        by_default: bool,
    },
    #[error(
        "certificate and key are given, but tls is off: write tls = \"implicit\" or \"starttls\""
    )]
    CertificateWithoutTls,
    #[error("TLS needs certificate = \"…\" and key = \"…\", two PEM files")]
    NoCertificateFiles,
    #[error("write a network such as \"192.168.1.0/24\", or one address")]
    NotANetwork,
    #[error(
        "passwords and mail would cross the network unencrypted: write tls = \"implicit\" with a certificate, or, if \
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

    // The rest.
    #[error(
        "this is no name for greetings and EHLO: write a domain such as \"mail.example.com\", or an address as \
         \"[192.0.2.1]\""
    )]
    NotOurHost,
    #[error("this version keeps its store in SQLite: write \"sqlite:/path/to/mailsluice.db\"")]
    NotAStore,
    #[error("name either file or systemd")]
    NotOneKey,
    #[error("write a number from 1 to {0}")]
    NotWithin(u64),
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

/// What the system said, as a person would.
fn in_words(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        kind => kind.to_string(),
    }
}

/// "this is", "this and that are".
fn are(addresses: &[SocketAddr]) -> String {
    let names: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    match names.as_slice() {
        [.., last] if names.len() > 1 => {
            let others = names.len() - 1;
            format!(
                "{} and {last} are",
                names.get(..others).unwrap_or_default().join(", ")
            )
        }
        names => format!("{} is", names.join("")),
    }
}

fn cannot_listen(trouble: io::ErrorKind, by_default: bool) -> String {
    let elsewhere = if by_default {
        "write [[listener]] entries with other ports"
    } else {
        "choose another port"
    };
    match trouble {
        io::ErrorKind::AddrInUse => format!("in use by another program: stop it, or {elsewhere}"),
        io::ErrorKind::PermissionDenied => {
            "not for this user to open: choose a port above 1023, or grant CAP_NET_BIND_SERVICE"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no address of this machine: write one that is, such as 127.0.0.1".to_owned()
        }
        other => format!("not to be opened ({other}): {elsewhere}"),
    }
}

fn did_you_mean(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("known here: {known}"),
    }
}

fn provider_hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => "see `mailsluice providers`".to_owned(),
    }
}

fn and_switch_off(off: Option<&str>) -> String {
    off.map_or_else(String::new, |off| format!("; write {off} to use the rest"))
}
