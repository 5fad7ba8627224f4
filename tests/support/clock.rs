//! A clock that moves only when it is told to.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::stage::House;

/// Runs `work` on one thread whose clock stands still; `None` if it hangs.
///
/// A paused clock moves by itself when nothing is left to do, unless a thread is at work. One is, until the work is over
/// or has hung; then every wait ends and the work with it.
pub(crate) fn with_a_still_clock<T>(work: impl AsyncFnOnce(&House) -> T) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let house = House::build().await;
        tokio::time::pause();
        let (done, hung) = mpsc::channel::<()>();
        let guard = tokio::task::spawn_blocking(move || hung.recv_timeout(HUNG));
        let outcome = work(&house).await;
        drop(done);
        match guard.await.expect("the guard") {
            Err(RecvTimeoutError::Timeout) => None,
            _ => Some(outcome),
        }
    })
}

/// When work that does not end is given up.
const HUNG: Duration = Duration::from_secs(30);
