//! Files the configuration names: there, readable, and closed to others where they hold a secret. Each is looked at
//! once, however many accounts share it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::fault::Fault;
use crate::secret::Audience;

/// What is known of the files looked at so far.
#[derive(Default)]
pub(in super::super) struct Files(HashMap<(PathBuf, Holds), Option<Fault>>);

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Holds {
    /// A password, or the private key of a listener.
    Secret,
    /// The key of our own store.
    StoreKey,
    /// Certificates in PEM.
    Certificates,
}

impl Files {
    /// What is wrong with the file, if anything is.
    pub(super) fn check(&mut self, path: &Path, holds: Holds) -> Option<Fault> {
        let looked = self.0.entry((path.to_owned(), holds));
        looked.or_insert_with(|| look(path, holds)).clone()
    }
}

fn look(path: &Path, holds: Holds) -> Option<Fault> {
    let unreadable = |error: std::io::Error| {
        Some(Fault::UnreadableFile {
            path: path.to_owned(),
            why: error.kind(),
        })
    };
    match holds {
        Holds::Secret => look_at_secret(path, Audience::Group).unwrap_or_else(unreadable),
        Holds::StoreKey => look_at_secret(path, Audience::Owner).unwrap_or_else(unreadable),
        Holds::Certificates => match fs::read(path) {
            Ok(pem) => {
                let found = CertificateDer::from_pem_slice(&pem).is_ok();
                (!found).then(|| Fault::NoCertificate(path.to_owned()))
            }
            Err(error) => unreadable(error),
        },
    }
}

fn look_at_secret(path: &Path, audience: Audience) -> std::io::Result<Option<Fault>> {
    let metadata = fs::File::open(path)?.metadata()?;
    if !metadata.is_file() {
        return Ok(Some(Fault::NotAFile(path.to_owned())));
    }
    Ok(open_beyond(audience, path, &metadata))
}

#[cfg(unix)]
fn open_beyond(audience: Audience, path: &Path, metadata: &fs::Metadata) -> Option<Fault> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    audience.is_exceeded_by(mode).then(|| Fault::OpenToOthers {
        path: path.to_owned(),
        mode,
        audience,
    })
}

/// Elsewhere access is no matter of mode bits.
#[cfg(not(unix))]
fn open_beyond(_: Audience, _: &Path, _: &fs::Metadata) -> Option<Fault> {
    None
}
