//! What can be wrong with a certificate of ours or of the user's.

use std::io;
use std::path::PathBuf;

/// Why a listener has no certificate, or keeps its old one.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file cannot be read, or holds nothing in PEM that is of use.
    #[error("{} cannot be used", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Its first certificate is none.
    #[error("{} holds no certificate that can be read", path.display())]
    NotACertificate {
        /// The file.
        path: PathBuf,
    },
    /// The two do not belong together, or TLS cannot use such a key.
    #[error("{} is not the key of {}", key.display(), certificate.display())]
    NotItsKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// A file or folder of ours cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What holds a key is open to others.
    #[error("{} is open to others (mode {mode:04o}): `chmod {}` it", path.display(), if path.is_dir() { "700" } else { "600" })]
    Loose {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The authority's file is there and damaged. It is not replaced: it may be trusted by mail programs.
    #[error(
        "{} does not hold a certificate authority and its key: put it back from a backup, or make a new one, which every mail \
         program has to be told again (mailsluice certs new)", path.display()
    )]
    BrokenAuthority {
        /// The file.
        path: PathBuf,
    },
    /// Its certificate is there, so it was given away; its key is not.
    #[error(
        "{} is gone, and with it the key of the certificate authority: put it back from a backup, or make a new one, which \
         every mail program has to be told again (mailsluice certs new)", path.display()
    )]
    LostAuthority {
        /// The file.
        path: PathBuf,
    },
    /// rcgen failed.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// TLS does not take what was made.
    #[error("the certificate that was made cannot be used")]
    Use(#[source] rustls::Error),
}
