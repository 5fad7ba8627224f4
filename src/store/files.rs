//! The store's files: made private, and refused with the store's words when they are not.

use std::io;
use std::path::Path;

use super::error::StoreError;
use crate::disk;
pub use crate::disk::{open_beyond, read_bounded};
pub(super) use crate::disk::{open_private, write_new};
use crate::secret::Audience;

/// Makes `folder` with mode 0700, or checks that one that is there is not open to others.
///
/// An existing folder is refused rather than tightened: it may be one that others need, such as `/tmp`.
pub(super) fn private_folder(folder: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Folder {
        path: folder.to_owned(),
        source,
    };
    disk::make_private_folder(folder).map_err(failed)?;
    match open_beyond(Audience::Owner, folder).map_err(failed)? {
        None => Ok(()),
        Some(mode) => Err(StoreError::LooseFolder {
            path: folder.to_owned(),
            mode,
        }),
    }
}

/// Refuses a file that others may read or write; one that is not there is fine.
pub(super) fn refuse_loose(path: &Path) -> Result<(), StoreError> {
    match open_beyond(Audience::Owner, path) {
        Ok(None) => Ok(()),
        Ok(Some(mode)) => Err(StoreError::LooseFile {
            path: path.to_owned(),
            mode,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError::File {
            path: path.to_owned(),
            source,
        }),
    }
}
