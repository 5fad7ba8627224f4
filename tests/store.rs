//! The store from outside, as the service and the command line use it: files and modes, keys, damage, several processes,
//! a process killed at any moment.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its files has failed"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mailsluice::config::runtime::{KeySource, StoreSettings};
use mailsluice::secret::Secret;
use mailsluice::store::{NewPassword, PasswordKind, Store, StoreError};

const ACCOUNT: &str = "anna@example.org";
const CANARY: &str = "canary-0b7e-secret";

/// The files of one store; the folder goes when this is dropped.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn database(&self) -> PathBuf {
        self.state().join("store.db")
    }

    fn key(&self) -> PathBuf {
        self.state().join("store.key")
    }

    fn settings(&self) -> StoreSettings {
        settings(&self.state())
    }

    async fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.settings()).await
    }

    /// A store with one local password and one stored secret, closed again.
    async fn filled() -> Self {
        let place = Self::new();
        let store = place.open().await.unwrap();
        add(&store, "laptop").await.unwrap();
        let secret = Secret::from(CANARY);
        store.put_stored_secret(ACCOUNT, &secret).await.unwrap();
        store.close().await;
        place
    }
}

fn settings(state: &Path) -> StoreSettings {
    StoreSettings {
        url: format!("sqlite:{}", state.join("store.db").display()),
        key: KeySource::File(state.join("store.key")),
    }
}

async fn add(store: &Store, name: &str) -> Result<(), StoreError> {
    let new = NewPassword {
        name: name.to_owned(),
        kind: PasswordKind::Generated,
        verifier: Secret::from(CANARY),
        profile: None,
    };
    store.add_local_password(ACCOUNT, &new).await
}

async fn names(store: &Store) -> Vec<String> {
    let passwords = store.local_passwords(ACCOUNT).await.unwrap();
    passwords
        .into_iter()
        .map(|password| password.name)
        .collect()
}

#[tokio::test]
async fn what_was_put_is_there_after_reopening_and_not_in_the_files() {
    let place = Place::filled().await;
    let store = place.open().await.unwrap();
    let password = store
        .local_passwords("Anna@Example.org")
        .await
        .unwrap()
        .remove(0);
    assert_eq!(password.verifier.expose(), CANARY.as_bytes());
    assert_eq!(
        (password.name.as_str(), password.kind),
        ("laptop", PasswordKind::Generated)
    );
    assert!(password.created_at > 1_700_000_000);
    let secret = store.stored_secret(ACCOUNT).await.unwrap().unwrap();
    assert_eq!(secret.expose(), CANARY.as_bytes());
    let files: Vec<_> = fs::read_dir(place.state()).unwrap().collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes()));
    }
    let shown = format!("{store:?} {password:?}");
    assert!(!shown.contains(CANARY));
}

#[tokio::test]
async fn an_account_is_forgotten_as_a_whole_and_others_stay() {
    let place = Place::filled().await;
    let store = place.open().await.unwrap();
    let secret = Secret::from("bobs");
    store
        .put_stored_secret("bob@example.org", &secret)
        .await
        .unwrap();
    store.delete_account(ACCOUNT).await.unwrap();
    assert!(names(&store).await.is_empty());
    assert!(store.stored_secret(ACCOUNT).await.unwrap().is_none());
    assert!(
        store
            .stored_secret("bob@example.org")
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn names_are_unique_to_an_account_and_fit_a_line() {
    let place = Place::filled().await;
    let store = place.open().await.unwrap();
    let taken = add(&store, "laptop").await.unwrap_err();
    assert!(matches!(taken, StoreError::NameTaken { .. }));
    for bad in ["", "  ", "a\nb", &"x".repeat(65)] {
        assert!(
            matches!(add(&store, bad).await, Err(StoreError::BadName)),
            "{bad:?}"
        );
    }
    assert!(
        store
            .revoke_local_password(ACCOUNT, "laptop")
            .await
            .unwrap()
    );
    assert!(
        !store
            .revoke_local_password(ACCOUNT, "laptop")
            .await
            .unwrap()
    );
    add(&store, "laptop").await.unwrap();
}

#[tokio::test]
async fn a_lost_key_is_said_and_no_new_one_is_made() {
    let place = Place::filled().await;
    let kept = place.folder.path().join("kept");
    fs::rename(place.key(), &kept).unwrap();
    let error = place.open().await.unwrap_err();
    assert!(matches!(error, StoreError::KeyLost { .. }), "{error}");
    assert!(!place.key().exists());
    fs::rename(&kept, place.key()).unwrap();
    assert_eq!(names(&place.open().await.unwrap()).await, ["laptop"]);
}

#[tokio::test]
async fn a_wrong_or_damaged_key_is_said() {
    let place = Place::filled().await;
    let other = Place::filled().await;
    let right = fs::read(place.key()).unwrap();
    // Overwritten in place, so that the mode stays.
    fs::write(place.key(), fs::read(other.key()).unwrap()).unwrap();
    let error = place.open().await.unwrap_err();
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
    for damaged in [&b""[..], b"c2hvcnQ=", &right[1..], b"\xff\xfe"] {
        fs::write(place.key(), damaged).unwrap();
        let error = place.open().await.unwrap_err();
        assert!(matches!(error, StoreError::KeyMalformed { .. }), "{error}");
    }
    fs::write(place.key(), right).unwrap();
    assert_eq!(names(&place.open().await.unwrap()).await, ["laptop"]);
}

#[tokio::test]
async fn a_missing_systemd_credential_is_said() {
    let place = Place::new();
    let mut settings = place.settings();
    settings.key = KeySource::SystemdCredential("mailsluice.no-such-key".into());
    let error = Store::open(&settings).await.unwrap_err();
    assert!(matches!(error, StoreError::KeyAbsent { .. }), "{error}");
    assert!(!place.database().exists());
}

#[cfg(feature = "keyring")]
#[tokio::test]
async fn the_key_can_live_in_the_keyring() {
    keyring_core::set_default_store(keyring_core::mock::Store::new().unwrap());
    let place = Place::new();
    let mut settings = place.settings();
    settings.key = KeySource::Keyring;
    let store = Store::open(&settings).await.unwrap();
    add(&store, "laptop").await.unwrap();
    store.close().await;
    assert!(!place.key().exists());
    assert_eq!(
        names(&Store::open(&settings).await.unwrap()).await,
        ["laptop"]
    );
    keyring_core::set_default_store(keyring_core::mock::Store::new().unwrap());
    let error = Store::open(&settings).await.unwrap_err();
    assert!(matches!(error, StoreError::KeyLost { .. }), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private_and_looser_ones_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set =
        |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let place = Place::new();
    let store = place.open().await.unwrap();
    add(&store, "laptop").await.unwrap();
    assert_eq!(mode(&place.state()), 0o700);
    let files: Vec<_> = fs::read_dir(place.state()).unwrap().collect();
    assert!(files.len() >= 5, "database, wal, shm, key, lock: {files:?}");
    for file in files {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    store.close().await;
    for (path, right) in [
        (place.database(), 0o600),
        (place.key(), 0o600),
        (place.state(), 0o700),
    ] {
        set(&path, 0o755);
        let error = place.open().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("chmod") && text.contains("755"), "{text}");
        set(&path, right);
    }
    assert!(place.open().await.is_ok());
}

#[tokio::test]
async fn a_damaged_file_is_said_and_left_alone() {
    let place = Place::filled().await;
    let whole = fs::read(place.database()).unwrap();
    let mut torn = whole.clone();
    for byte in &mut torn[4_096..] {
        *byte ^= 0x5a;
    }
    for damaged in [
        &b"this is no database, whatever its name says"[..],
        &torn,
        &whole[..5_000],
    ] {
        fs::write(place.database(), damaged).unwrap();
        let error = place.open().await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert_eq!(fs::read(place.database()).unwrap(), damaged);
    }
    fs::write(place.database(), whole).unwrap();
    assert_eq!(names(&place.open().await.unwrap()).await, ["laptop"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_starts_at_the_same_time_agree_on_one_key_and_lose_no_write() {
    let place = Place::new();
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let settings = place.settings();
            tokio::spawn(async move {
                let store = Store::open(&settings).await.unwrap();
                for m in 0..5 {
                    add(&store, &format!("{n}-{m}")).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(names(&place.open().await.unwrap()).await.len(), 40);
}

#[tokio::test]
async fn what_one_process_does_another_sees_at_once() {
    let place = Place::filled().await;
    let (service, command_line) = (place.open().await.unwrap(), place.open().await.unwrap());
    add(&command_line, "phone").await.unwrap();
    assert_eq!(names(&service).await, ["laptop", "phone"]);
    assert!(
        command_line
            .revoke_local_password(ACCOUNT, "laptop")
            .await
            .unwrap()
    );
    assert_eq!(names(&service).await, ["phone"]);
}

/// The parent starts this very test again as a child that adds local passwords as fast as it can and says each one that
/// was acknowledged; it kills the child at some point and looks for all of them.
#[tokio::test]
async fn kill_nine_loses_nothing_acknowledged() {
    if let Some(state) = std::env::var_os(WRITER) {
        return write_until_killed(Path::new(&state)).await;
    }
    let place = Place::new();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kill_nine_loses_nothing_acknowledged",
                "--nocapture",
            ])
            .env(WRITER, place.state())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).filter_map(|line| {
            let name = line.split(SAID).nth(1)?;
            Some(name.to_owned())
        });
        let before = acknowledged.len();
        // Some rounds end while the store is being opened, the others after a few writes.
        acknowledged.extend(said.take(round % 7));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(
            acknowledged.len() - before,
            round % 7,
            "the child said too little"
        );
    }
    assert!(acknowledged.len() > ROUNDS);
    let kept = names(&place.open().await.unwrap()).await;
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|name| !kept.contains(name))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

async fn write_until_killed(state: &Path) {
    let store = Store::open(&settings(state)).await.unwrap();
    for n in 0.. {
        let name = format!("{}-{n}", std::process::id());
        add(&store, &name).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "{SAID}{name}").unwrap();
        out.flush().unwrap();
    }
}

/// In the environment of the child: the folder of the store.
const WRITER: &str = "MAILSLUICE_TEST_STORE_WRITER";

/// Before each acknowledged name.
const SAID: &str = "acknowledged: ";

/// Each starts a process; enough to end some of them in each phase of a write.
const ROUNDS: usize = 21;
