//! The control socket: a Unix socket in the state folder, for this user only.
//!
//! A connection is one conversation at the [`Desk`]: requests and replies take turns, each one line of JSON
//! (`request.rs`). A client that goes away while it waits ends its wait.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::GrantView;
use super::Status;
use super::desk::{Desk, Visit};
use super::request::{Envelope, Failure, Reply, Request, VERSION};

/// The control socket could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another instance answers on it: two services would share one state folder.
    #[error("mailsluice is running already (its control socket is {})", path.display())]
    Running {
        /// The socket.
        path: PathBuf,
    },
    /// Nobody answers.
    #[error("mailsluice is not running (nothing answers on {})", path.display())]
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

/// Makes the answer to [`Request::Status`], given how the grants stand.
pub type StatusSource = dyn Fn(Vec<GrantView>) -> Status + Send + Sync;

/// An open control socket; removed when dropped, and its conversations with it.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    _stop: DropGuard,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the socket of a service with this state folder is.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

impl ControlSocket {
    /// Opens it for conversations at `desk`. A socket left behind by a killed service is replaced.
    pub async fn open(
        state_dir: &Path,
        desk: Arc<Desk>,
        status: Arc<StatusSource>,
    ) -> Result<Self, ControlError> {
        let path = socket_path(state_dir);
        if UnixStream::connect(&path).await.is_ok() {
            return Err(ControlError::Running { path });
        }
        let failed = |source| ControlError::Io {
            path: path.clone(),
            source,
        };
        // Where the store is elsewhere, nobody has made it yet.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(failed)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        // The folder is closed to others already; this is for folders that an administrator opened.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let stop = CancellationToken::new();
        let serving = serve(listener, desk, status);
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        let _stop = stop.drop_guard();
        Ok(Self { path, _stop })
    }
}

/// A conversation with the service, from outside.
#[derive(Debug)]
pub struct ControlClient {
    path: PathBuf,
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl ControlClient {
    /// Connects to the service with this state folder.
    pub async fn connect(state_dir: &Path) -> Result<Self, ControlError> {
        let path = socket_path(state_dir);
        match UnixStream::connect(&path).await {
            Ok(stream) => {
                let (from, to) = stream.into_split();
                let from = BufReader::new(from);
                Ok(Self { path, from, to })
            }
            Err(source) => Err(match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ControlError::NotRunning { path }
                }
                _ => ControlError::Io { path, source },
            }),
        }
    }

    /// Asks and waits for the reply; for [`Request::Wait`] as long as it takes.
    pub async fn ask(&mut self, request: Request) -> Result<Reply, ControlError> {
        let patience = match &request {
            Request::Wait => None,
            Request::Status | Request::Grants => Some(ANSWER_TIME),
            _ => Some(ISSUER_TIME),
        };
        let path = self.path.clone();
        let failed = |source| ControlError::Io {
            path: path.clone(),
            source,
        };
        write(&mut self.to, request).await.map_err(failed)?;
        let reading = read(&mut self.from, REPLY_MAX);
        let line = match patience {
            None => reading.await,
            Some(patience) => timeout(patience, reading)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        };
        let line = line.map_err(failed)?;
        parse(line.as_ref().map(|line| line.as_slice()))
            .ok_or_else(|| ControlError::NotUnderstood { path: path.clone() })
    }

    /// The service at this moment.
    pub async fn status(&mut self) -> Result<Status, ControlError> {
        match self.ask(Request::Status).await? {
            Reply::Status(status) => Ok(*status),
            _ => Err(ControlError::NotUnderstood {
                path: self.path.clone(),
            }),
        }
    }
}

async fn serve(listener: UnixListener, desk: Arc<Desk>, status: Arc<StatusSource>) {
    // Conversations end with the socket.
    let mut conversations = tokio::task::JoinSet::new();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = conversations.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        if !is_ours(&stream) {
            continue;
        }
        let (visit, status) = (desk.visit(), Arc::clone(&status));
        let desk = Arc::clone(&desk);
        conversations.spawn(async move {
            let _place = place;
            if let Err(error) = converse(stream, &desk, visit, &*status).await {
                tracing::debug!(cause = %error, "control connection ended");
            }
        });
    }
}

/// Whether the same user, or root, is at the other end. The modes of folder and socket say so already; this holds where an
/// administrator opened them.
fn is_ours(stream: &UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == ours || peer.uid() == 0)
}

async fn converse(
    stream: UnixStream,
    desk: &Desk,
    mut visit: Visit,
    status: &StatusSource,
) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    loop {
        let reading = timeout(IDLE, read(&mut from, REQUEST_MAX));
        let Some(line) = reading.await.unwrap_or(Ok(None))? else {
            return Ok(());
        };
        let reply = match parse::<Request>(Some(line.as_slice())) {
            None => Reply::Failed {
                kind: Failure::NotUnderstood,
                why: "the service does not understand this; restart it with this version"
                    .to_owned(),
            },
            Some(Request::Status) => Reply::Status(Box::new(status(desk.grants().await))),
            Some(request) => tokio::select! {
                reply = visit.answer(request) => reply,
                () = gone(&mut from) => return Ok(()),
            },
        };
        timeout(ANSWER_TIME, write(&mut to, reply))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    }
}

/// Returns when the other end has closed; never while it has said something that is unread.
async fn gone(from: &mut (impl AsyncBufRead + Unpin)) {
    if from.fill_buf().await.is_ok_and(|unread| !unread.is_empty()) {
        std::future::pending::<()>().await;
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), say: impl Serialize) -> io::Result<()> {
    let mut line = zeroize::Zeroizing::new(serde_json::to_vec(&Envelope { v: VERSION, say })?);
    line.push(b'\n');
    to.write_all(&line).await
}

/// A line of at most `max` octets; `None` at the end of the stream.
async fn read(
    from: &mut (impl AsyncBufRead + Unpin),
    max: u64,
) -> io::Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    let mut line = zeroize::Zeroizing::new(Vec::new());
    from.take(max).read_until(b'\n', &mut line).await?;
    match line.last() {
        Some(b'\n') => Ok(Some(line)),
        _ if line.len() as u64 == max => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Ok(None),
    }
}

fn parse<T: DeserializeOwned>(line: Option<&[u8]>) -> Option<T> {
    let envelope: Envelope<T> = serde_json::from_slice(line?).ok()?;
    (envelope.v == VERSION).then_some(envelope.say)
}

/// A status is made from memory; who takes longer is stuck.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// For what asks an issuer: discovery and a request, 10 s each, with one retry.
const ISSUER_TIME: Duration = Duration::from_secs(60);

/// How long a client may think between two requests: a person reads and pastes.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// Conversations at once; a person has one or two.
const AT_ONCE: usize = 64;

/// The longest request: an address with a code, which an HTTP head of 16 KiB holds too.
const REQUEST_MAX: u64 = 64 * 1024;

/// The longest reply: a status of ten thousand sessions has some 3 MB.
const REPLY_MAX: u64 = 16 * 1024 * 1024;

/// How long to wait when nothing can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
