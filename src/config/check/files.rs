//! Files the configuration names: there, readable, and closed to others where they hold a secret. Each is looked at
//! once, however many accounts share it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::fault::Fault;

/// What is known of the files looked at so far.
#[derive(Default)]
pub(in super::super) struct Files(HashMap<(PathBuf, Holds), Option<Fault>>);

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Holds {
    /// A password, or a private key.
    Secret,
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
    let unreadable = |error: std::io::Error| Fault::UnreadableFile {
        path: path.to_owned(),
        why: error.kind(),
    };
    match holds {
        Holds::Secret => match fs::File::open(path).and_then(|file| file.metadata()) {
            Ok(metadata) if !metadata.is_file() => Some(Fault::NotAFile(path.to_owned())),
            Ok(metadata) => open_to_others(path, &metadata),
            Err(error) => Some(unreadable(error)),
        },
        Holds::Certificates => match fs::read(path) {
            Ok(pem) => {
                let found = CertificateDer::from_pem_slice(&pem).is_ok();
                (!found).then(|| Fault::NoCertificate(path.to_owned()))
            }
            Err(error) => Some(unreadable(error)),
        },
    }
}

/// Others get nothing at all; the group may read, since a service often shares a group with who writes its secrets, but
/// not write.
#[cfg(unix)]
fn open_to_others(path: &Path, metadata: &fs::Metadata) -> Option<Fault> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & FORBIDDEN != 0).then(|| Fault::OpenToOthers {
        path: path.to_owned(),
        mode,
    })
}

/// Elsewhere access is no matter of mode bits.
#[cfg(not(unix))]
fn open_to_others(_: &Path, _: &fs::Metadata) -> Option<Fault> {
    None
}

#[cfg(unix)]
const FORBIDDEN: u32 = 0o037;
