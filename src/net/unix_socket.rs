//! Unix sockets that listen: the file in front of one, made and taken away.
//!
//! A file stays behind when its process is killed. Whether it is one of those only a connection tells, and between that
//! and the new socket nobody else may come to the same answer: it happens under the lock of a file beside it, `….lock`,
//! which stays, since a lock that is removed is no lock.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::listen::BACKLOG;
use crate::disk;

/// The file of a socket of ours; removed when dropped, unless another has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let lock = lock(&self.path);
        if lock.is_ok() && identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`. The file has its mode before anybody can connect.
pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    let _lock = lock(path)?;
    if is_left_behind(path)? {
        fs::remove_file(path)?;
    }
    let socket = socket()?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path)?,
    };
    permit(path, mode)?;
    socket.listen(BACKLOG)?;
    Ok((socket, file))
}

/// Who may connect, in permission bits.
pub(super) fn permit(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Whether [`bind`] would succeed as things are. Changes nothing.
pub(super) fn probe(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};

    is_left_behind(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Whether a dead process left its socket at `path`. A live one is an error, and so is anything that is no socket.
fn is_left_behind(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(_) => {}
    }
    match socket()?.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // A queue that is full is one that somebody has opened.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::ErrorKind::AddrInUse.into())
        }
        Err(error) => Err(error),
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Keeps others from the path for as long as it is held. Who holds it is at the same work: the path is in use.
fn lock(path: &Path) -> io::Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = disk::open_private(Path::new(&beside))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::AddrInUse.into()),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_ours_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imap.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists() && probe(&path).is_ok());
        let (socket, file) = bind(&path, 0o660).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        UnixStream::connect(&path).unwrap();
        drop((socket, file));
        assert!(!path.exists());
    }

    #[test]
    fn a_live_socket_is_left_alone_also_with_a_full_queue() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imap.sock");
        let other = socket().unwrap();
        other.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        other.listen(0).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            assert_eq!(probe(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            let error = bind(&path, 0o600).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            let client = socket().unwrap();
            let _ = client.connect(&SockAddr::unix(&path).unwrap());
            waiting.push(client);
        }
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_and_a_missing_folder_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "mail").unwrap();
        let error = bind(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mail");
        let nowhere = folder.path().join("not-there/imap.sock");
        let kinds =
            [probe(&nowhere), bind(&nowhere, 0o600).map(drop)].map(|r| r.unwrap_err().kind());
        assert_eq!(kinds, [io::ErrorKind::NotFound; 2]);
    }

    #[test]
    fn who_holds_the_lock_has_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imap.sock");
        let held = lock(&path).unwrap();
        let error = bind(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(held);
        bind(&path, 0o600).unwrap();
    }

    #[test]
    fn the_file_of_a_successor_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imap.sock");
        let (_socket, file) = bind(&path, 0o600).unwrap();
        fs::rename(&path, folder.path().join("away")).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }
}
