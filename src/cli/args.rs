//! The command line as clap sees it. The texts here are the help, the man page and the completions.

mod certs;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::certs::{
    CertificateFormat, CertsCommand, CertsExportArguments, CertsNewArguments, CertsTrustArguments,
    TrustScope,
};

/// Lets old mail programs and devices keep working with today's mail providers.
///
/// mailsluice listens on this machine for plain IMAP, POP3 and SMTP, checks a local password that it made itself, and
/// forwards over TLS to the provider with the provider's password.
#[derive(Debug, Parser)]
#[command(name = "mailsluice", version, after_long_help = FIRST_STEPS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The configuration file [default: ~/.config/mailsluice/mailsluice.toml].
    #[arg(long, short, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,
    /// Set one key of the configuration for this run, like `log.filter=debug`. May be given several times.
    #[arg(long, short, global = true, value_name = "KEY=VALUE", help_heading = EVERYWHERE)]
    pub(crate) set: Vec<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service in the foreground.
    ///
    /// It logs to standard error and needs no privilege. SIGTERM or Ctrl-C ends it: sessions are told and may finish what
    /// they are doing; a second one ends it at once. SIGHUP reads the configuration again and keeps the open sessions;
    /// with a mistake in it, the old one goes on.
    Run,
    /// Check the configuration and say everything that is wrong with it.
    ///
    /// Looks at every key, at the files that are named, and, while no service runs, whether the ports are free.
    /// Everything is told at once, each with file, line and key, and what to write instead.
    Check(CheckArguments),
    /// Try it without any account: a provider inside this program, the proxy in front, and what to type into a mail program.
    Demo(DemoArguments),
    /// Add, list, show and remove accounts.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Sign in to an account that uses OAuth, in a browser.
    ///
    /// Works while the service runs and without it. Opens the system's browser where there is one, and prints the address
    /// in any case.
    SignIn(SignInArguments),
    /// Revoke the sign-in of an account and forget its tokens.
    SignOut(AccountArguments),
    /// Make, list and revoke the local passwords that mail programs log in with.
    #[command(subcommand)]
    Password(PasswordCommand),
    /// Show, export and install the certificates of listeners with TLS.
    #[command(subcommand)]
    Certs(CertsCommand),
    /// List the providers that are known by name, or tell all about one.
    Providers(ProvidersArguments),
    /// List how kinds of clients are served, or tell all about one.
    ///
    /// A profile is chosen by a listener, an account or a local password.
    Profiles(ProfilesArguments),
    /// Print a configuration file that shows and explains every key.
    Example,
    /// Show what the running service is doing.
    Status(StatusArguments),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page a command into a folder.
    Man {
        /// The folder to write into.
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Also log in at every account's provider with the stored password, on every protocol that is on.
    #[arg(long)]
    pub(crate) connect: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Do what the printed lines say (list, fetch, send, see it arrive), print what was done, and end.
    #[arg(long)]
    pub(crate) check: bool,
}

/// `account …`
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Add an account to the configuration file and make its first local password.
    ///
    /// The provider is found by the address. The provider's password is asked for and kept encrypted in the store,
    /// unless one of the --password options says where it comes from. From a script, give it on standard input; the
    /// local password then stands alone on standard output. Where the provider takes nothing but tokens no password is
    /// asked for: sign in afterwards.
    #[command(after_long_help = ADD_EXAMPLES)]
    Add(Box<AccountAddArguments>),
    /// List the accounts.
    List(ListArguments),
    /// Show what to type into a mail program for an account.
    Show(AccountShowArguments),
    /// Store the provider's password anew, after it was changed there.
    ///
    /// It is asked for, or read from standard input. A running service takes it by itself once the provider has refused
    /// the old one.
    SetPassword(AccountArguments),
    /// Remove an account from the configuration file, and its secrets and local passwords from the store.
    Remove(AccountArguments),
}

/// `account add`
#[derive(Debug, Args)]
pub(crate) struct AccountAddArguments {
    /// The mail address.
    pub(crate) address: String,
    /// The provider's name, where the address does not tell (see `mailsluice providers`).
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// The mail server: an own one, or of a provider that is a template (hosted Exchange).
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// The user name at the provider, where it is not the address.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// A further name mail programs may log in with. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) login_name: Vec<String>,
    #[command(flatten)]
    pub(crate) password: PasswordSource,
    #[command(flatten)]
    pub(crate) oauth: OAuthOptions,
    /// Print one JSON document, the local password in it.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the provider's password comes from; by default it is asked for and stored.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct PasswordSource {
    /// The first line of what this command prints is the provider's password.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) password_command: Option<String>,
    /// The first line of this file is the provider's password.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The provider's password is in this entry of the system's keyring.
    #[arg(long, value_name = "NAME")]
    pub(crate) password_keyring: Option<String>,
    /// Store nothing: mail programs send the provider's password themselves.
    #[arg(long)]
    pub(crate) passthrough: bool,
    /// No password: sign in with the provider (OAuth). Implied where it takes nothing else.
    #[arg(long)]
    pub(crate) oauth: bool,
}

/// How to sign in, where that does not follow from the provider and the configuration.
#[derive(Debug, Args)]
pub(crate) struct OAuthOptions {
    /// The issuer of the tokens, where it is not the provider's.
    #[arg(long, value_name = "NAME", requires = "oauth")]
    pub(crate) issuer: Option<String>,
    /// How the grant is obtained.
    #[arg(long, value_name = "FLOW", requires = "oauth",
        value_parser = ["code", "device", "client-credentials", "service-account"])]
    pub(crate) flow: Option<String>,
    /// The grant of another account, for a mailbox that one's person may open, too.
    #[arg(long, value_name = "NAME", requires = "oauth")]
    pub(crate) grant: Option<String>,
    /// The tenant: its domain or id.
    #[arg(long, value_name = "TENANT", requires = "oauth")]
    pub(crate) tenant: Option<String>,
    /// A client id for this account alone; for all accounts it stands in the file as [issuer.NAME].
    #[arg(long, value_name = "ID", requires = "oauth")]
    pub(crate) client_id: Option<String>,
}

/// An account named on the command line.
#[derive(Debug, Args)]
pub(crate) struct AccountArguments {
    /// The account's address or one of its login names.
    pub(crate) address: String,
}

/// `account show`
#[derive(Debug, Args)]
pub(crate) struct AccountShowArguments {
    /// The account's address or one of its login names.
    pub(crate) address: String,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `sign-in`
#[derive(Debug, Args)]
pub(crate) struct SignInArguments {
    /// The account's address or one of its login names.
    pub(crate) address: String,
    /// Show a code to type in on any other device, where the provider has that.
    #[arg(long)]
    pub(crate) device: bool,
    /// Use a browser on another machine: print the address to open, and ask for the one it ends at.
    #[arg(long, conflicts_with = "device")]
    pub(crate) paste: bool,
    /// Only print the address to open.
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Print one JSON document at the end; what to do is told on standard error.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Lists that a script may read.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `password …`
#[derive(Debug, Subcommand)]
pub(crate) enum PasswordCommand {
    /// Make a local password and show it, once.
    ///
    /// Where the output is no terminal, the password alone is printed.
    Add {
        /// The account's address.
        address: String,
        /// What it is for, to tell it from the others: "old laptop".
        #[arg(long, default_value = "default")]
        name: String,
        /// Choose it yourself: it is asked for, or read from standard input.
        #[arg(long)]
        choose: bool,
        /// Keep it so that CRAM-MD5, SCRAM-SHA-256 and APOP work with it.
        ///
        /// Those do not send the password, so it has to be kept itself, encrypted, and not only something to check it by.
        #[arg(long)]
        recoverable: bool,
        /// How the client that uses it is served: `mailsluice profiles` lists them.
        #[arg(long)]
        profile: Option<String>,
    },
    /// List the local passwords of an account: their names, and when they were last used.
    ///
    /// The passwords themselves are not kept and cannot be shown.
    List {
        /// The account's address.
        address: String,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a local password. It is refused from the next login on.
    Revoke {
        /// The account's address.
        address: String,
        /// Which one.
        #[arg(long, default_value = "default")]
        name: String,
    },
}

/// `profiles`
#[derive(Debug, Args)]
pub(crate) struct ProfilesArguments {
    /// Tell all about this one.
    pub(crate) name: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `providers`
#[derive(Debug, Args)]
pub(crate) struct ProvidersArguments {
    /// Part of a name, a domain or a host.
    pub(crate) search: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `status`
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The heading of the flags that every command takes.
const EVERYWHERE: &str = "Options of every command";

const ADD_EXAMPLES: &str = "\
Examples:
  mailsluice account add anna@gmx.de
  mailsluice account add anna@gmx.de --password-command 'pass show mail/gmx'
  mailsluice account add info@firma.example --provider ionos
  mailsluice account add eva@verein.example --host mail.verein.example
  pass show mail/gmx | mailsluice account add anna@gmx.de --json";

/// What follows the help, and stands in the manual page.
pub(crate) const FIRST_STEPS: &str = "\
First steps:
  mailsluice demo                       see it work, nothing is stored
  mailsluice account add anna@gmx.de    asks for the provider's password, shows a local one
  mailsluice run                        then set the mail program to this machine, port 1143
  mailsluice status                     what it is doing
  mailsluice check --connect            what is wrong, where mail does not flow

Exit codes are those of sysexits.h: 64 usage, 65 not valid, 66 no such account, 69 not running
or a port in use, 74 input or output, 77 no permission, 78 configuration.";
