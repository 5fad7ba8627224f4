//! Files that hold secrets: made private, written whole or not at all, read with a bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::secret::{Audience, Secret};

/// Makes `folder`, and those above it that are not there, with mode 0700. One that is there stays as it is.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Opens `path` for writing with mode 0600, making it where it is not there.
pub fn open_private(path: &Path) -> io::Result<File> {
    private_options().create(true).truncate(false).open(path)
}

/// Makes a file of mode 0600 that holds `content`, whole or not at all, and on the disk when this returns.
///
/// The caller holds the lock that keeps a second process from doing the same.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private_options().create_new(true).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_folder(path)
}

/// Reads at most `max` bytes; more is an error, so that a wrong path such as `/dev/zero` ends.
pub fn read_bounded(path: &Path, max: u64) -> io::Result<Secret> {
    let mut content = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut content)?;
    let content = Secret::new(content);
    if content.expose().len() as u64 > max {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(content)
}

/// The permission bits of `path` where they let in more than `audience`. Always `None` where there are no such bits.
pub fn open_beyond(audience: Audience, path: &Path) -> io::Result<Option<u32>> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        Ok(audience.is_exceeded_by(mode).then_some(mode))
    }
    #[cfg(not(unix))]
    {
        let _ = (audience, metadata);
        Ok(None)
    }
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a rename durable: the folder has to be synced too.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        #[cfg(unix)]
        Some(folder) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
