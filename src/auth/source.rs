//! Where a provider's secret comes from: asks the source once. What is remembered is `secrets`' business.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::error::SecretError;
use crate::config::runtime::{ACTIVATION_VARIABLES, SecretSource};
use crate::proto::text::sanitise;
use crate::secret::{Audience, Secret};
use crate::store::{self, Store};

/// The secret of `account` from `source`, within 20 s. Remembers nothing: for `mailsluice check`, which tries a source.
pub async fn ask(
    source: &SecretSource,
    account: &str,
    store: &Store,
) -> Result<Secret, SecretError> {
    let source_name = name(source);
    let answer = async {
        match source {
            SecretSource::Command(line) => run(line).await,
            SecretSource::File(path) => read_file(path.clone(), Privacy::Checked).await,
            SecretSource::Env(variable) => read_env(variable),
            SecretSource::SystemdCredential(name) => match store::systemd_credential(name) {
                Some(path) => read_file(path, Privacy::Systemd).await,
                None => Err(absent(source_name, name)),
            },
            SecretSource::Keyring(user) => read_keyring(user.clone()).await,
            SecretSource::Stored => match store.stored_secret(account).await {
                // A stored one is the whole of what was put there, not a line of text.
                Ok(Some(secret)) => return Ok(secret),
                Ok(None) => Err(absent(source_name, account)),
                Err(error) => Err(SecretError::Store(Arc::new(error))),
            },
        }
        .and_then(|output| first_line(&output, source_name))
    };
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(SecretError::Deadline { source_name }),
    }
}

/// How a person names the kind of source.
fn name(source: &SecretSource) -> &'static str {
    match source {
        SecretSource::Command(_) => "password command",
        SecretSource::File(_) => "password file",
        SecretSource::Env(_) => "environment variable",
        SecretSource::SystemdCredential(_) => "systemd credential",
        SecretSource::Keyring(_) => "keyring entry",
        SecretSource::Stored => "store entry of",
    }
}

/// Runs `line` by `sh -c` in a process group of its own, so that its deadline ends whatever it started.
async fn run(line: &str) -> Result<Secret, SecretError> {
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for variable in ACTIVATION_VARIABLES {
        command.env_remove(variable);
    }
    #[cfg(unix)]
    command.process_group(0);
    let failed = |error| SecretError::Spawn(Arc::new(error));
    let mut group = Group(command.spawn().map_err(failed)?);
    let stdout = group.0.stdout.take();
    let stderr = group.0.stderr.take();
    let (stdout, stderr, status) = tokio::join!(drain(stdout), drain(stderr), group.0.wait());
    let status = status.map_err(failed)?;
    if status.success() {
        return Ok(stdout);
    }
    Err(SecretError::Command {
        status,
        stderr: sanitise(stderr.expose()),
    })
}

/// A child and what it started; all of it is killed when this is dropped before the child has ended.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            let id = self.0.id().and_then(|id| i32::try_from(id).ok());
            if let Some(group) = id.and_then(rustix::process::Pid::from_raw) {
                // Gone already is fine.
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Reads to the end, keeps one byte more than a secret may have, and takes the rest so that the child does not block.
async fn drain(from: Option<impl AsyncRead + Unpin>) -> Secret {
    let mut kept = Secret::new(Vec::new());
    let Some(mut from) = from else {
        return kept;
    };
    // One allocation: a growing buffer would leave copies behind.
    let mut head = zeroize::Zeroizing::new(Vec::with_capacity(SECRET_MAX + 1));
    let mut bounded = (&mut from).take(SECRET_MAX as u64 + 1);
    if bounded.read_to_end(&mut head).await.is_ok() {
        kept = Secret::new(std::mem::take(&mut *head));
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    kept
}

/// Who keeps others from a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Privacy {
    /// Its mode, which we look at.
    Checked,
    /// systemd, by the folder it is in.
    Systemd,
}

async fn read_file(path: PathBuf, privacy: Privacy) -> Result<Secret, SecretError> {
    off_the_runtime(move || {
        let read = || -> io::Result<_> {
            let loose = match privacy {
                Privacy::Checked => store::open_beyond(Audience::Group, &path)?,
                Privacy::Systemd => None,
            };
            Ok((loose, store::read_bounded(&path, SECRET_MAX as u64)?))
        };
        match read() {
            Ok((None, content)) => Ok(content),
            Ok((Some(mode), _)) => Err(SecretError::LooseFile { path, mode }),
            Err(source) => Err(unreadable(&path, source)),
        }
    })
    .await
}

async fn read_keyring(user: String) -> Result<Secret, SecretError> {
    off_the_runtime(move || match store::read_keyring(&user) {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(absent("keyring entry", &user)),
        Err(error) => Err(SecretError::Keyring(error)),
    })
    .await
}

fn read_env(variable: &str) -> Result<Secret, SecretError> {
    // A name with `=` or NUL in it, or an empty one, is simply not there.
    match std::env::var_os(variable) {
        Some(value) => Ok(Secret::new(value.into_encoded_bytes())),
        None => Err(absent("environment variable", variable)),
    }
}

async fn off_the_runtime(
    blocking: impl FnOnce() -> Result<Secret, SecretError> + Send + 'static,
) -> Result<Secret, SecretError> {
    let finished = tokio::task::spawn_blocking(blocking).await;
    finished.unwrap_or(Err(SecretError::Interrupted))
}

/// The first line without its line end; a blank one is refused, since upstreams count it as a wrong password.
fn first_line(output: &Secret, source_name: &'static str) -> Result<Secret, SecretError> {
    let bytes = output.expose();
    let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > SECRET_MAX {
        return Err(SecretError::TooLong { source_name });
    }
    if line.trim_ascii().is_empty() {
        return Err(SecretError::Blank { source_name });
    }
    Ok(Secret::new(line.to_vec()))
}

fn absent(source_name: &'static str, name: &str) -> SecretError {
    let name = name.to_owned();
    SecretError::Absent { source_name, name }
}

fn unreadable(path: &Path, source: io::Error) -> SecretError {
    SecretError::File {
        path: path.to_owned(),
        source: Arc::new(source),
    }
}

/// How long a source may take: below the 25 s of a login, long enough for a person to touch a security key.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// The longest secret: tokens of several KiB exist, and a SASL line ends at 12 288 octets.
pub(super) const SECRET_MAX: usize = 12_288;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::runtime::{KeySource, StoreSettings};

    async fn store(folder: &Path) -> Store {
        let state = folder.join("state");
        let settings = StoreSettings {
            url: format!("sqlite:{}", state.join("store.db").display()),
            key: KeySource::File(state.join("store.key")),
        };
        Store::open(&settings).await.unwrap()
    }

    async fn asked(source: SecretSource) -> Result<Vec<u8>, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let secret = ask(&source, "anna@x.org", &store).await?;
        Ok(secret.expose().to_vec())
    }

    async fn printed(line: &str) -> Result<Vec<u8>, SecretError> {
        asked(SecretSource::Command(line.to_owned())).await
    }

    #[tokio::test]
    async fn the_first_line_counts_whatever_follows_and_however_it_ends() {
        assert_eq!(
            printed("printf 'p w \\r\\nuser: anna\\n'").await.unwrap(),
            b"p w "
        );
        assert_eq!(printed("printf secret").await.unwrap(), b"secret");
        let long = printed("head -c 1000000 /dev/zero | tr '\\0' x").await;
        assert!(matches!(long, Err(SecretError::TooLong { .. })));
        let long_tail = printed("echo secret; head -c 1000000 /dev/zero").await;
        assert_eq!(long_tail.unwrap(), b"secret");
    }

    #[tokio::test]
    async fn a_blank_answer_is_no_password() {
        for line in ["true", "echo", "echo '  '", "printf '\\nsecret\\n'"] {
            let answer = printed(line).await;
            assert!(matches!(answer, Err(SecretError::Blank { .. })), "{line}");
        }
    }

    #[tokio::test]
    async fn a_failed_command_is_quoted_from_stderr_only_and_cut() {
        let line = "echo canary-secret; head -c 9999 /dev/zero | tr '\\0' e >&2; exit 3";
        let error = printed(line).await.unwrap_err();
        let words = format!("{error} {error:?}");
        assert!(words.contains("eee") && words.len() < 1_000, "{words}");
        assert!(!words.contains("canary"));
        let killed = printed("kill -9 $$").await;
        assert!(matches!(killed, Err(SecretError::Command { .. })));
    }

    #[tokio::test]
    async fn stdin_is_empty() {
        assert_eq!(printed("cat; echo end").await.unwrap(), b"end");
    }

    #[tokio::test]
    async fn a_command_without_an_end_meets_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        // Paused: the clock jumps to the deadline as soon as nothing else can happen.
        tokio::time::pause();
        let source = SecretSource::Command("sleep 100000".to_owned());
        let answer = ask(&source, "anna@x.org", &store).await;
        assert!(matches!(answer, Err(SecretError::Deadline { .. })));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn giving_up_kills_whatever_the_command_started() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        // The inner sleep holds the fifo open; `true` keeps the shell from becoming the sleep.
        let line = format!("sleep 100000 > '{}'; true", fifo.display());
        let running = tokio::spawn(async move { run(&line).await.is_ok() });
        // Opening waits for the writer, and reading ends when the last writer is gone.
        let reader = tokio::task::spawn_blocking(move || std::fs::File::open(fifo).unwrap());
        let mut reader = reader.await.unwrap();
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        let end = tokio::task::spawn_blocking(move || io::copy(&mut reader, &mut io::sink()));
        assert_eq!(end.await.unwrap().unwrap(), 0);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_open_to_others_is_refused_and_one_the_group_may_read_is_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "secret\n").unwrap();
        // What `check` accepts is read (tests/config.rs, `secrets_open_to_others_are_refused`), and nothing else.
        for (bits, accepted) in [
            (0o600, true),
            (0o400, true),
            (0o640, true),
            (0o660, false),
            (0o644, false),
            (0o604, false),
        ] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(bits)).unwrap();
            match asked(SecretSource::File(path.clone())).await {
                Ok(secret) => assert!(accepted && secret == b"secret", "{bits:o}"),
                Err(SecretError::LooseFile { mode, .. }) => assert!(!accepted && mode == bits),
                Err(other) => panic!("{bits:o}: {other}"),
            }
        }
        let gone = asked(SecretSource::File(folder.path().join("gone"))).await;
        assert!(matches!(gone, Err(SecretError::File { .. })));
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_by_name() {
        let variable = asked(SecretSource::Env("CARGO_MANIFEST_DIR".into())).await;
        assert_eq!(variable.unwrap(), env!("CARGO_MANIFEST_DIR").as_bytes());
        for source in [
            SecretSource::Env("MAILSLUICE_NO_SUCH_VARIABLE".into()),
            SecretSource::SystemdCredential("../etc/passwd".into()),
            SecretSource::Stored,
        ] {
            let error = asked(source.clone()).await.unwrap_err();
            assert!(matches!(error, SecretError::Absent { .. }), "{source:?}");
        }
    }

    #[cfg(feature = "keyring")]
    #[tokio::test]
    async fn the_keyring_is_asked_for_the_named_entry() {
        keyring_core::set_default_store(keyring_core::mock::Store::new().unwrap());
        let entry = keyring_core::Entry::new("mailsluice", "gmx").unwrap();
        let source = SecretSource::Keyring("gmx".into());
        let absent = asked(source.clone()).await;
        assert!(matches!(absent, Err(SecretError::Absent { .. })));
        entry.set_password("secret").unwrap();
        assert_eq!(asked(source).await.unwrap(), b"secret");
    }
}
