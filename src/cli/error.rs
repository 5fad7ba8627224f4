//! Why a command did not do what it was asked, and the exit code for it.

use std::io;
use std::path::PathBuf;

use super::exit::Exit;
use crate::auth::PasswordError;
use crate::auth::oauth::OAuthError;
use crate::config::edit::EditError;
use crate::config::{Problem, Problems};
use crate::net::NetError;
use crate::net::certificates::CertificateError;
use crate::store::StoreError;
use crate::web::{CallbackError, Failure};

/// A command that failed. Its text is for the person who typed it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// `--set` without `=`.
    #[error("--set takes KEY=VALUE, like log.filter=debug; {text} has no =")]
    Set { text: String },
    /// Everything that is wrong with the configuration, a line each.
    #[error("the configuration has to be mended first\n{0}")]
    Config(Problems),
    /// An account that the command line does not describe well enough.
    #[error(
        "{address} cannot be added like this; nothing was changed{}",
        advice(problems)
    )]
    NotAdded { address: String, problems: Problems },
    /// The account's password comes from elsewhere.
    #[error("the password of {account} is not in the store; the configuration says where it is")]
    NotStored { account: String },
    /// What systemd says it handed over is not there.
    #[error(transparent)]
    Activation(#[from] NetError),
    /// Listeners that cannot be opened.
    #[error("not every listener can be opened\n{lines}")]
    Ports { lines: String, denied: bool },
    /// No such account.
    #[error("there is no account {name}; see: mailsluice account list")]
    NoAccount { name: String },
    /// No such local password.
    #[error("{account} has no local password \"{name}\"; see: mailsluice password list {account}")]
    NoPassword { account: String, name: String },
    /// No such profile.
    #[error("no profile is called \"{name}\"; there are {known}")]
    NoProfile { name: String, known: String },
    /// Nothing matches.
    #[error("no provider matches {search}; any server can be spelled out, see: mailsluice example")]
    NoProvider { search: String },
    /// The two typed passwords differ.
    #[error("the two entries are not the same; nothing was changed")]
    Mismatch,
    /// No password was given.
    #[error("no password was given; nothing was changed")]
    NoSecret,
    /// Editing the configuration file failed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A local password could not be made.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The control socket.
    #[cfg(unix)]
    #[error(transparent)]
    Control(#[from] crate::web::ControlError),
    /// A sign-in or sign-out that did not come to its end.
    #[error("{why}")]
    SignIn { kind: Failure, why: String },
    /// OAuth.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// The callback listener.
    #[error(transparent)]
    Callback(#[from] CallbackError),
    /// The log filter cannot be understood.
    #[error("log.filter = \"{filter}\" is no filter; write \"info\" or \"mailsluice=debug\"")]
    LogFilter {
        filter: String,
        source: tracing_subscriber::filter::ParseError,
    },
    /// Our certificates.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Certificates of listeners that nobody would take.
    #[error("not every certificate can be presented\n{lines}")]
    Certificates { lines: String },
    /// There is no certificate yet.
    #[error(
        "there is no certificate yet: it is made when the service starts with a listener that has tls and no certificate files"
    )]
    NoCertificate,
    /// What cannot go to a terminal, or to standard output at all.
    #[error("this is no text: say where to write it with --out FILE")]
    NeedsOut,
    /// A trust store with a certificate that is no root.
    #[error("a p12 is a trust store and holds the CA: leave out --leaf, or write --format pem")]
    LeafInP12,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandom,
    /// Nobody said yes.
    #[error("nothing was done; say --yes to go on without being asked")]
    NotConfirmed,
    /// No store of trust is known here.
    #[error(
        "no place is known here that could be told; give {} to your programs by hand, or see: mailsluice certs export --help",
        file.display()
    )]
    NowhereToTrust { file: PathBuf },
    /// Commands that change trust failed.
    #[error("{failed} of {tried} places could not be changed; what the commands said is above")]
    Trust { failed: usize, tried: usize },
    /// The demo.
    #[error(transparent)]
    Demo(#[from] super::demo::DemoError),
    /// Accounts that cannot be logged in at their provider.
    #[error("{failed} of {tried} logins failed")]
    Connect { failed: usize, tried: usize },
    /// Signals cannot be listened to.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// No runtime.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// Writing a file failed.
    #[error("cannot write to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// Reading from the terminal or writing to the output failed.
    #[error("input or output failed")]
    Io(#[from] io::Error),
}

impl From<Problems> for CliError {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

impl CliError {
    /// Whether the reader of our output has gone, as `head` does.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Set { .. } => Exit::Usage,
            Self::Config(problems) => ports_alone(problems).unwrap_or(Exit::Config),
            Self::LogFilter { .. } => Exit::Config,
            Self::Ports { denied: true, .. } => Exit::NoPerm,
            Self::Ports { .. } | Self::Connect { .. } | Self::Demo(_) => Exit::Unavailable,
            Self::NoAccount { .. }
            | Self::NoPassword { .. }
            | Self::NoProfile { .. }
            | Self::NoProvider { .. } => Exit::NoInput,
            Self::Password(PasswordError::Store(error)) | Self::Store(error) => store(error),
            Self::NeedsOut | Self::LeafInP12 | Self::NotConfirmed => Exit::Usage,
            Self::NoCertificate => Exit::NoInput,
            Self::Certificates { .. } => Exit::Config,
            Self::Certificate(error) => certificate(error),
            Self::NowhereToTrust { .. } | Self::Trust { .. } => Exit::Unavailable,
            Self::NoRandom => Exit::Software,
            Self::NotAdded { .. } | Self::NotStored { .. } => Exit::DataErr,
            Self::SignIn { kind, .. } => match kind {
                Failure::NoAccount => Exit::NoInput,
                Failure::Refused => Exit::NoPerm,
                Failure::Unavailable | Failure::NotUnderstood => Exit::Unavailable,
            },
            Self::OAuth(_) | Self::Callback(_) | Self::Activation(_) => Exit::Unavailable,
            Self::Mismatch | Self::NoSecret | Self::Password(_) => Exit::DataErr,
            Self::Edit(error) => edit(error),
            Self::Write { .. } => Exit::CantCreat,
            Self::Io(_) => Exit::IoErr,
            #[cfg(unix)]
            Self::Control(_) => Exit::Unavailable,
            Self::Signals(_) | Self::Runtime(_) => Exit::Software,
        }
    }
}

/// Where nothing is wrong but ports, it is the machine's state and not the file that has to change.
fn ports_alone(problems: &Problems) -> Option<Exit> {
    let troubles: Option<Vec<_>> = problems.iter().map(Problem::port_trouble).collect();
    let denied = troubles?.contains(&io::ErrorKind::PermissionDenied);
    Some(if denied {
        Exit::NoPerm
    } else {
        Exit::Unavailable
    })
}

fn certificate(error: &CertificateError) -> Exit {
    match error {
        CertificateError::File { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Exit::NoPerm
        }
        CertificateError::File { .. } => Exit::IoErr,
        CertificateError::Make(_) | CertificateError::Use(_) => Exit::Software,
        _ => Exit::Config,
    }
}

fn store(error: &StoreError) -> Exit {
    match error {
        StoreError::NameTaken { .. } | StoreError::BadName => Exit::DataErr,
        StoreError::LooseFolder { .. } | StoreError::LooseFile { .. } => Exit::Config,
        StoreError::Folder { source, .. } | StoreError::File { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Exit::NoPerm
        }
        _ => Exit::IoErr,
    }
}

fn edit(error: &EditError) -> Exit {
    match error {
        EditError::NotToml | EditError::NotEntries => Exit::Config,
        EditError::Exists(_) | EditError::NotUtf8(_) => Exit::DataErr,
        EditError::NoSuchAccount(_) => Exit::NoInput,
        EditError::Write { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            Exit::NoPerm
        }
        EditError::Write { .. } => Exit::CantCreat,
    }
}

/// What is wrong with an account that is not written anywhere yet: without lines, and with the options' names.
fn advice(problems: &Problems) -> String {
    let mut text = String::new();
    let (mut of_keys, mut of_oauth) = (false, false);
    for problem in problems.iter() {
        let key = problem.key().trim_start_matches("account.");
        let advice = problem.advice();
        let names_keys = advice.contains(" = ");
        if key.starts_with("oauth") {
            of_oauth |= names_keys;
        } else {
            of_keys |= names_keys;
        }
        text.push_str(&format!("\n{key}: {advice}"));
    }
    let options = [(of_keys, OPTIONS), (of_oauth, OAUTH_OPTIONS)];
    for (_, options) in options.iter().filter(|(named, _)| *named) {
        text.push_str(&format!("\nHere these keys are options: {options}. {REST}"));
    }
    text
}

const OPTIONS: &str = "--provider NAME, --host HOST, --user NAME";

const OAUTH_OPTIONS: &str =
    "--oauth --client-id ID, --tenant TENANT, --issuer NAME, --flow FLOW, --grant NAME";

const REST: &str = "What has no option is written into the file; see: mailsluice example";
