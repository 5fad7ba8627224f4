//! Who of this machine uses the store: a file beside it for each process, locked for as long as the process lives.
//!
//! The system lets go of the lock when the process ends, in whatever way. So a lease whose holder's file can be locked
//! belongs to the dead, and who finds that out gives it back in its name. Ids are random and never used again, and a file
//! is locked before the first lease is taken and until the last is over, so nobody alive is ever taken for dead.
//!
//! A holder whose file is not here, on another machine or buried already, loses its lease by time alone.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

use super::error::StoreError;
use super::{Store, files};

/// This process's file.
#[derive(Debug)]
pub(super) struct Presence {
    id: String,
    /// Locked.
    _file: File,
}

/// The locked file of one that has ended.
struct Dead {
    path: PathBuf,
    id: String,
    _file: File,
}

impl Presence {
    /// The holder of a lease for `request`, as it stands in a row.
    pub(super) fn holder(&self, request: &str) -> String {
        format!("{}{SEPARATOR}{request}", self.id)
    }

    fn begin(store: &Path) -> Result<Self, StoreError> {
        for _ in 0..TRIES {
            let id = random_id()?;
            let path = path_of(store, &id);
            let failed = |source| StoreError::File {
                path: path.clone(),
                source,
            };
            let file = files::open_private(&path).map_err(failed)?;
            file.lock().map_err(failed)?;
            // Somebody may have buried it in the moment before it was locked.
            if path.exists() {
                return Ok(Self { id, _file: file });
            }
        }
        Err(StoreError::Interrupted)
    }
}

impl Store {
    /// This process's presence; from the first call on it is known to others.
    pub(super) async fn presence(&self) -> Result<&Presence, StoreError> {
        let begin = || async {
            self.bury_all().await?;
            let path = self.inner.path.clone();
            off_the_runtime(move || Presence::begin(&path)).await
        };
        self.inner.presence.get_or_try_init(begin).await
    }

    /// Gives back what the holder of `name`'s lease holds, where it has ended. False where it may live.
    pub(super) async fn bury_holder(&self, name: &str) -> Result<bool, StoreError> {
        let holder: Option<String> =
            sqlx::query_scalar("SELECT holder FROM oauth_lease WHERE name = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await
                .map_err(|e| self.failed(e))?;
        let Some(holder) = holder else {
            return Ok(true);
        };
        let Some((id, _)) = holder.split_once(SEPARATOR) else {
            return Ok(false);
        };
        let (path, id) = (path_of(&self.inner.path, id), id.to_owned());
        match off_the_runtime(move || dead(path, id)).await? {
            Some(dead) => self.bury(dead).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Takes leave: gives back what this process still holds.
    pub(super) async fn leave(&self) -> Result<(), StoreError> {
        let Some(presence) = self.inner.presence.get() else {
            return Ok(());
        };
        self.give_all_back(&presence.id).await?;
        // Still locked: who has opened it meanwhile finds it gone.
        let _ = fs::remove_file(path_of(&self.inner.path, &presence.id));
        Ok(())
    }

    async fn bury_all(&self) -> Result<(), StoreError> {
        let path = self.inner.path.clone();
        let found = off_the_runtime(move || Ok(all_dead(&path))).await?;
        for dead in found {
            self.bury(dead).await?;
        }
        Ok(())
    }

    /// First the leases, then the file: until both are done, the next one does them.
    async fn bury(&self, dead: Dead) -> Result<(), StoreError> {
        self.give_all_back(&dead.id).await?;
        let _ = fs::remove_file(&dead.path);
        Ok(())
    }

    async fn give_all_back(&self, id: &str) -> Result<(), StoreError> {
        // An id is hexadecimal, so nothing in it means anything to LIKE.
        sqlx::query("DELETE FROM oauth_lease WHERE holder LIKE $1")
            .bind(format!("{id}{SEPARATOR}%"))
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }
}

/// The files of those that have ended, each locked by us now. A folder that cannot be read has none: leases end by time.
fn all_dead(store: &Path) -> Vec<Dead> {
    let (Some(folder), Some(start)) = (store.parent(), file_name(store, "")) else {
        return Vec::new();
    };
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let id = name.strip_prefix(&start)?.to_owned();
            dead(entry.path(), id).ok().flatten()
        })
        .collect()
}

/// The file of `id`, where its owner has let go of it.
fn dead(path: PathBuf, id: String) -> Result<Option<Dead>, StoreError> {
    if !is_id(&id) {
        return Ok(None);
    }
    let file = match File::options().write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::File { path, source }),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(Dead {
            path,
            id,
            _file: file,
        })),
        Err(TryLockError::WouldBlock) => Ok(None),
        // A file system without locks: then leases end by time.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn path_of(store: &Path, id: &str) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(MARK);
    path.push(id);
    PathBuf::from(path)
}

/// The name of the file of `id`.
fn file_name(store: &Path, id: &str) -> Option<String> {
    let path = path_of(store, id);
    Some(path.file_name()?.to_str()?.to_owned())
}

/// 128 bits in hexadecimal.
fn random_id() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| StoreError::Cryptography)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Locks wait for no other process here, but the file system may be slow.
async fn off_the_runtime<T: Send + 'static>(
    blocking: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let finished = tokio::task::spawn_blocking(blocking).await;
    finished.unwrap_or(Err(StoreError::Interrupted))
}

/// Between the store's name and an id.
const MARK: &str = ".alive-";

/// Between the id of a process and that of its request.
const SEPARATOR: char = '/';

/// A new file is taken for a dead one's only by who starts at the same instant.
const TRIES: usize = 100;

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::super::tests::{fresh, settings};
    use super::*;

    /// Nothing here waits for a lease to end by time.
    const LONG: Duration = Duration::from_secs(1_000);

    fn alive(folder: &Path) -> usize {
        let entries = fs::read_dir(folder.join("state")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(MARK)).count()
    }

    /// The parent starts this very test again as a child that takes the lease, and kills it.
    #[tokio::test]
    async fn the_lease_of_a_killed_process_is_taken_over_at_once() {
        if let Some(folder) = std::env::var_os(FOLDER) {
            let store = Store::open(&settings(Path::new(&folder))).await.unwrap();
            assert!(store.take_lease("anna", "1", LONG).await.unwrap());
            fs::write(Path::new(&folder).join(TAKEN), "").unwrap();
            return std::future::pending().await;
        }
        let (folder, store) = fresh().await;
        for _ in 0..5 {
            let mut child = child(folder.path());
            while !folder.path().join(TAKEN).exists() {
                assert!(child.try_wait().unwrap().is_none(), "the child ended");
                std::thread::yield_now();
            }
            fs::remove_file(folder.path().join(TAKEN)).unwrap();
            assert!(!store.take_lease("anna", "2", LONG).await.unwrap());
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(store.take_lease("anna", "2", LONG).await.unwrap());
            assert_eq!(alive(folder.path()), 1, "the dead one's file is left");
            store.give_lease_back("anna", "2").await.unwrap();
        }
    }

    fn child(folder: &Path) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    const NAME: &str = concat!(
        "store::presence::tests::",
        "the_lease_of_a_killed_process_is_taken_over_at_once"
    );
    const FOLDER: &str = "MAILSLUICE_TEST_LEASE_FOLDER";
    const TAKEN: &str = "taken";

    #[tokio::test]
    async fn who_lives_keeps_its_lease_and_who_leaves_gives_it_back() {
        let (folder, store) = fresh().await;
        let other = Store::open(&settings(folder.path())).await.unwrap();
        assert_eq!(alive(folder.path()), 0, "only who takes a lease is present");
        assert!(store.take_lease("anna", "1", LONG).await.unwrap());
        for _ in 0..3 {
            assert!(!other.take_lease("anna", "2", LONG).await.unwrap());
        }
        assert_eq!(alive(folder.path()), 2);
        store.close().await;
        assert_eq!(alive(folder.path()), 1);
        assert!(other.take_lease("anna", "2", LONG).await.unwrap());
    }

    #[tokio::test]
    async fn a_holder_without_a_file_here_loses_its_lease_by_time_alone() {
        let (_folder, store) = fresh().await;
        assert!(store.take_lease("anna", "1", LONG).await.unwrap());
        let elsewhere = format!("{}/1", "0".repeat(32));
        for holder in [elsewhere.as_str(), "of a version before"] {
            sqlx::query("UPDATE oauth_lease SET holder = $1")
                .bind(holder)
                .execute(&store.pool)
                .await
                .unwrap();
            assert!(!store.take_lease("anna", "2", LONG).await.unwrap());
        }
        sqlx::query("UPDATE oauth_lease SET until = 1")
            .execute(&store.pool)
            .await
            .unwrap();
        assert!(store.take_lease("anna", "2", LONG).await.unwrap());
    }

    #[tokio::test]
    async fn what_others_left_beside_the_store_stays() {
        let (folder, store) = fresh().await;
        let foreign = folder.path().join("state/store.db.alive-not-an-id");
        fs::write(&foreign, "").unwrap();
        assert!(store.take_lease("anna", "1", LONG).await.unwrap());
        assert!(foreign.exists());
    }
}
