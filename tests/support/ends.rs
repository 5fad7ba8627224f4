//! How sessions ended, read from the one line each of them logs.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// The ends of all sessions of this process, by the client's address.
#[derive(Clone, Default)]
pub(crate) struct Ends {
    ended: Arc<Mutex<HashMap<String, End>>>,
    news: Arc<Notify>,
}

/// The `leg` and `cause` of the line.
#[derive(Clone, Debug, Default)]
pub(crate) struct End {
    pub(crate) leg: String,
    pub(crate) cause: String,
}

impl Ends {
    /// The one collector; the first call makes it the process's log.
    pub(crate) fn collected() -> Self {
        static ENDS: OnceLock<Ends> = OnceLock::new();
        let made = ENDS.get_or_init(|| {
            let ends = Self::default();
            let log = tracing_subscriber::registry().with(ends.clone());
            assert!(tracing::subscriber::set_global_default(log).is_ok());
            ends
        });
        made.clone()
    }

    /// Waits until the session of the client at `peer` has ended.
    pub(crate) async fn of(&self, peer: &str) -> End {
        loop {
            let news = self.news.notified();
            let end = self.lock().remove(peer);
            match end {
                Some(end) => return end,
                None => news.await,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, End>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Ends {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.message == "session ended" {
            self.lock().insert(line.peer, line.end);
            self.news.notify_waiters();
        }
    }
}

#[derive(Default)]
struct Line {
    message: String,
    peer: String,
    end: End,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let to = match field.name() {
            "message" => &mut self.message,
            "peer" => &mut self.peer,
            "leg" => &mut self.end.leg,
            "cause" => &mut self.end.cause,
            _ => return,
        };
        value.clone_into(to);
    }
}
