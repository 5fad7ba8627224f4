//! The threads that sessions run on: one a core, each a runtime of its own, and a session stays where it began.
//!
//! A runtime that shares its tasks among threads has one of them wait for the sockets of all. While a session moves a
//! large message on one thread, each of its sockets' events wakes another for nothing, which costs more than the
//! decryption. Where a thread waits only for its own sessions, it does not wait while one of them is busy.

use std::future::Future;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::{Detached, Socket};

/// Where sessions run. Without threads of its own ([`Workers::default`]): on the runtime that accepts them.
#[derive(Debug, Default)]
pub struct Workers {
    threads: Vec<Worker>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    sessions: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts a thread for each core. They end when this is dropped, and with them what still runs there.
    pub fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let mut workers = Self::default();
        for number in 0..cores {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .event_interval(EVENT_INTERVAL)
                .build()?;
            workers.threads.push(Worker {
                runtime: runtime.handle().clone(),
                sessions: Arc::default(),
            });
            let stop = workers.stop.clone();
            thread::Builder::new()
                .name(format!("sessions-{number}"))
                .spawn(move || runtime.block_on(stop.cancelled()))?;
        }
        Ok(workers)
    }

    /// Runs `session` with `socket` on the thread that has the fewest.
    pub(super) fn spawn<F>(
        &self,
        tracker: &TaskTracker,
        socket: Socket,
        session: impl FnOnce(Socket) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let fewest = |worker: &&Worker| worker.sessions.load(Ordering::Relaxed);
        let Some(worker) = self.threads.iter().min_by_key(fewest) else {
            tracker.spawn(session(socket));
            return;
        };
        let place = Place::on(worker);
        let moved = socket.detach();
        worker.runtime.spawn(tracker.track_future(async move {
            let _place = place;
            match moved.and_then(Detached::attach) {
                Ok(socket) => session(socket).await,
                // The connection is closed; nothing else can be done about it.
                Err(error) => tracing::error!(cause = %error, "a connection could not be served"),
            }
        }));
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One session of those that a thread has.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn on(worker: &Worker) -> Self {
        worker.sessions.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&worker.sessions))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// After how many turns of busy tasks the sockets of the others are looked at. A turn moves up to a megabyte, so the
/// runtime's own 61 would let a NOOP wait for a tenth of a second.
const EVENT_INTERVAL: u32 = 8;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Echoes a byte a session, each of which tells its thread; all are open at once.
    async fn threads_of(workers: &Workers, sessions: usize) -> Vec<Option<String>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tracker = TaskTracker::new();
        let (tell, told) = mpsc::channel();
        let mut clients = Vec::new();
        for _ in 0..sessions {
            let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let mut client = client.unwrap();
            let tell = tell.clone();
            let socket = accepted.unwrap().0.into();
            workers.spawn(&tracker, socket, |mut tcp| async move {
                tell.send(thread::current().name().map(str::to_owned))
                    .unwrap();
                let byte = tcp.read_u8().await.unwrap();
                tcp.write_u8(byte).await.unwrap();
                let _ = tcp.read_u8().await;
            });
            client.write_u8(7).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), 7);
            clients.push(client);
        }
        drop(clients);
        tracker.close();
        tracker.wait().await;
        assert!(
            workers
                .threads
                .iter()
                .all(|worker| worker.sessions.load(Ordering::Relaxed) == 0)
        );
        told.try_iter().collect()
    }

    #[tokio::test]
    async fn sessions_are_spread_over_the_threads_and_leave_no_trace() {
        let workers = Workers::start().unwrap();
        let mut threads = threads_of(&workers, 2 * workers.threads.len()).await;
        threads.sort();
        let expected: Vec<_> = threads.iter().step_by(2).cloned().collect();
        assert!(
            expected
                .iter()
                .all(|name| name.as_ref().unwrap().starts_with("sessions-"))
        );
        assert_eq!(threads.len(), 2 * expected.len());
        for pair in threads.chunks(2) {
            assert_eq!(pair[0], pair[1], "{threads:?}");
        }
        threads.dedup();
        assert_eq!(threads, expected);
    }

    #[tokio::test]
    async fn without_threads_they_run_where_they_are_accepted() {
        let here = thread::current().name().map(str::to_owned);
        assert_eq!(
            threads_of(&Workers::default(), 2).await,
            [here.clone(), here]
        );
    }
}
