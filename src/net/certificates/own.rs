//! Certificate files of the user's, which somebody else renews.

use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::super::tls::provider;
use super::error::CertificateError;
use super::x509::{self, Facts};
use crate::config::runtime::CertificateFiles;
use crate::disk;
use crate::secret::{Audience, Secret};

/// Tells a file from what it was when it was looked at last. Links are followed: certbot renews by changing one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<(SystemTime, u64, u64)>>);

/// How both files look now.
pub(super) fn stamp(files: &CertificateFiles) -> Stamp {
    let of = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), inode(&metadata)))
    };
    Stamp([&files.certificate, &files.key].map(|path| of(path)).into())
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

/// The chain and its key, and what the first certificate says. They are taken only together.
pub(super) fn read(files: &CertificateFiles) -> Result<(CertifiedKey, Facts), CertificateError> {
    let chain = chain(&files.certificate)?;
    let facts = chain.first().and_then(|first| x509::read(first));
    let facts = facts.ok_or_else(|| CertificateError::NotACertificate {
        path: files.certificate.clone(),
    })?;
    let key = key(&files.key)?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|source| {
        CertificateError::NotItsKey {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        }
    })?;
    Ok((key, facts))
}

/// What the first certificate says, once it is sure that the key fits.
pub fn describe(files: &CertificateFiles) -> Result<Facts, CertificateError> {
    read(files).map(|(_, facts)| facts)
}

/// The chain and its key alone.
pub(in super::super) fn read_key(
    files: &CertificateFiles,
) -> Result<CertifiedKey, CertificateError> {
    read(files).map(|(key, _)| key)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let unusable = |source| CertificateError::Pem {
        path: path.to_owned(),
        source,
    };
    let text = content(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.expose()).collect();
    let chain = chain.map_err(unusable)?;
    if chain.is_empty() {
        return Err(unusable(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let loose = disk::open_beyond(Audience::Group, path);
    if let Some(mode) = loose.map_err(|source| failed(path, source))? {
        return Err(CertificateError::Loose {
            path: path.to_owned(),
            mode,
        });
    }
    PrivateKeyDer::from_pem_slice(content(path)?.expose()).map_err(|source| CertificateError::Pem {
        path: path.to_owned(),
        source,
    })
}

fn content(path: &Path) -> Result<Secret, CertificateError> {
    disk::read_bounded(path, FILE_MAX).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: std::io::Error) -> CertificateError {
    CertificateError::File {
        path: path.to_owned(),
        source,
    }
}

/// Room for a long chain with its explanations as text, which openssl writes before the PEM.
const FILE_MAX: u64 = 1024 * 1024;
