//! `certs …` on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `certs …`
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Show our CA, the certificate that it gave, and what each listener with TLS presents.
    Show {
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Write our CA's certificate, for other machines and programs. Keys stay where they are.
    #[command(after_long_help = EXPORT_EXAMPLES)]
    Export(CertsExportArguments),
    /// Make this machine and its programs trust our CA.
    ///
    /// Prints the commands that this takes and asks before it runs them: for the system (Debian and its kin, p11-kit,
    /// macOS, Windows), and for each profile of Firefox and Thunderbird where NSS's certutil is installed. The CA can vouch
    /// only for local names and addresses, and for what the configuration named when it was made.
    Trust(CertsTrustArguments),
    /// Make a new CA in place of the one that is there.
    ///
    /// For when somebody may have got its key, or when it may not vouch for a name. Whatever trusts the old one has to be
    /// told again.
    New(CertsNewArguments),
}

/// `certs export`
#[derive(Debug, Args)]
pub(crate) struct CertsExportArguments {
    /// The CA's certificate, made now where there is none. The default.
    #[arg(long, conflicts_with = "leaf")]
    pub(crate) ca: bool,
    /// The certificate that listeners present, for programs that want that one.
    #[arg(long)]
    pub(crate) leaf: bool,
    /// The file's format; p12 is a trust store for Java.
    #[arg(long, value_enum, default_value = "pem", value_name = "FORMAT")]
    pub(crate) format: CertificateFormat,
    /// The file to write to, in place of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// How a certificate is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CertificateFormat {
    /// Text, for nearly everything.
    Pem,
    /// Binary, for Windows and Android.
    Der,
    /// PKCS#12, for Java.
    P12,
}

/// `certs trust`
#[derive(Debug, Args)]
pub(crate) struct CertsTrustArguments {
    /// Make them forget it.
    #[arg(long)]
    pub(crate) remove: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Only the system, or only programs with certificates of their own.
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) only: Option<TrustScope>,
}

/// Whose trust is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrustScope {
    /// The operating system's certificates.
    System,
    /// Those of Firefox, Thunderbird and the like.
    Programs,
}

/// `certs new`
#[derive(Debug, Args)]
pub(crate) struct CertsNewArguments {
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  mailsluice certs export > mailsluice-ca.pem
  mailsluice certs export --format der --out mailsluice-ca.cer    Windows, Android
  mailsluice certs export --format p12 --out mailsluice.p12       Java: -Djavax.net.ssl.trustStore=mailsluice.p12";
