//! The control socket: a Unix socket in the state folder, for this user only.
//!
//! Whoever connects gets the status as one JSON document, and the end of the stream. Nothing is read, so there is
//! nothing to parse.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Status;

/// The control socket could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another instance answers on it: two services would share one state folder.
    #[error("the service is running already and answers on {}; see: mailsluice status", path.display())]
    Running {
        /// The socket.
        path: PathBuf,
    },
    /// Nobody answers.
    #[error("the service is not running (nothing answers on {}); start it: mailsluice run", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The system refused.
    #[error("the control socket {} cannot be used", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What answers is no mailsluice of this version.
    #[error("what answers on {} is not understood; is it another version?", path.display())]
    NotUnderstood {
        /// The socket.
        path: PathBuf,
    },
}

/// An open control socket; removed when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    task: AbortHandle,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the socket of a service with this state folder is.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

impl ControlSocket {
    /// Opens it and answers with what `status` returns. A socket left behind by a killed service is replaced.
    pub async fn open<F>(state_dir: &Path, status: F) -> Result<Self, ControlError>
    where
        F: Fn() -> Status + Send + Sync + 'static,
    {
        let path = socket_path(state_dir);
        if UnixStream::connect(&path).await.is_ok() {
            return Err(ControlError::Running { path });
        }
        let failed = |source| ControlError::Io {
            path: path.clone(),
            source,
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        // The folder is closed to others already; this is for folders that an administrator opened.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let task = tokio::spawn(serve(listener, Arc::new(status))).abort_handle();
        Ok(Self { path, task })
    }
}

/// Asks the service with this state folder.
pub async fn ask(state_dir: &Path) -> Result<Status, ControlError> {
    let path = socket_path(state_dir);
    let mut stream = UnixStream::connect(&path).await.map_err(|source| {
        let path = path.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ControlError::NotRunning { path }
            }
            _ => ControlError::Io { path, source },
        }
    })?;
    let mut document = Vec::new();
    let read = timeout(ANSWER_TIME, stream.read_to_end(&mut document)).await;
    read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| ControlError::Io {
            path: path.clone(),
            source,
        })?;
    serde_json::from_slice(&document).map_err(|_| ControlError::NotUnderstood { path })
}

async fn serve<F>(listener: UnixListener, status: Arc<F>)
where
    F: Fn() -> Status + Send + Sync + 'static,
{
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let status = Arc::clone(&status);
        tokio::spawn(async move {
            let document = serde_json::to_vec(&status()).unwrap_or_default();
            let _ = timeout(ANSWER_TIME, stream.write_all(&document)).await;
        });
    }
}

/// The answer is made from memory; who takes longer to read it is stuck.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long to wait when nothing can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::ListenerView;

    fn status() -> Status {
        Status {
            version: "1".into(),
            pid: 7,
            up_s: 0,
            listeners: vec![ListenerView {
                protocol: "imap".into(),
                address: "[::1]:1143".into(),
            }],
            accounts: 1,
            connections: 0,
            sessions: Vec::new(),
        }
    }

    #[tokio::test]
    async fn one_instance_answers_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let error = ask(folder.path()).await.unwrap_err();
        assert!(matches!(error, ControlError::NotRunning { .. }), "{error}");

        // Left by a killed service: a socket file nobody listens on.
        drop(std::os::unix::net::UnixListener::bind(socket_path(folder.path())).unwrap());
        let socket = ControlSocket::open(folder.path(), status).await.unwrap();
        assert_eq!(
            ask(folder.path()).await.unwrap().listeners,
            status().listeners
        );
        let second = ControlSocket::open(folder.path(), status).await;
        assert!(matches!(second.unwrap_err(), ControlError::Running { .. }));

        drop(socket);
        assert!(!socket_path(folder.path()).exists());
    }
}
