//! Whether anything was committed to the database, by whatever process, told without asking SQLite: a question costs two
//! hand-overs between threads, and a login would ask one.
//!
//! In WAL mode the first 48 octets of the `-shm` file are the header of the WAL index, which every commit writes before it
//! returns, with a counter and a checksum over all frames (<https://sqlite.org/walformat.html>, section 2.3.1). All
//! connections map that file, so on Linux a read of it sees what they see. Elsewhere, and where the file is not to be had,
//! there is no answer, and who wants to know asks the database.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A moment in the life of a database. Equal ones have nothing committed between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark([u8; HEADER]);

/// Tells marks of one database.
#[derive(Debug)]
pub(super) struct Changes {
    path: Option<PathBuf>,
    /// Never closed: with any descriptor of the file that this process closes, POSIX drops the locks that SQLite holds on
    /// it here.
    file: Mutex<Option<ManuallyDrop<File>>>,
}

impl Changes {
    /// Of the database at `path`, which is there.
    pub(super) fn of(path: &Path) -> Self {
        // SQLite, too, puts its files beside what a link leads to.
        let real = std::fs::canonicalize(path).ok();
        let beside = real.filter(|_| cfg!(target_os = "linux")).map(|real| {
            let mut beside = real.into_os_string();
            beside.push("-shm");
            PathBuf::from(beside)
        });
        Self {
            path: beside,
            file: Mutex::default(),
        }
    }

    /// The present one.
    pub(super) fn mark(&self) -> Option<Mark> {
        let path = self.path.as_deref()?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // The last process to leave a database removes the file; the next one makes another.
        if !file.as_ref().is_some_and(|file| is_there(file)) {
            *file = File::open(path).ok().map(ManuallyDrop::new);
        }
        read(file.as_ref()?).ok().filter(Mark::is_made)
    }
}

impl Mark {
    /// `isInit`: before the first connection has read the WAL there is nothing to compare.
    fn is_made(&self) -> bool {
        self.0.get(IS_INIT) == Some(&1)
    }
}

#[cfg(unix)]
fn is_there(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}

#[cfg(unix)]
fn read(file: &File) -> io::Result<Mark> {
    use std::os::unix::fs::FileExt;
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0)?;
    Ok(Mark(header))
}

#[cfg(not(unix))]
fn is_there(_: &File) -> bool {
    false
}

#[cfg(not(unix))]
fn read(_: &File) -> io::Result<Mark> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The first of the two copies of the header; the second is written before it.
const HEADER: usize = 48;

const IS_INIT: usize = 12;
