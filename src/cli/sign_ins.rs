//! What serves OAuth accounts beside their sessions: tokens kept fresh, people told and served. For `run` and `demo`.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::oauth::Tokens;
use crate::config::oauth::{Flow, Grant};
use crate::relay::Overview;
use crate::web::{CallbackError, Desk, grants, tell_when_needed};

/// At work until stopped.
pub(super) struct SignIns {
    desk: Arc<Desk>,
    overview: Overview,
    stop: CancellationToken,
    keeping_fresh: JoinHandle<()>,
}

impl SignIns {
    /// For the accounts of whatever configuration `overview` holds at the time.
    pub(super) async fn start(tokens: Tokens, overview: Overview) -> Result<Self, CallbackError> {
        let stop = CancellationToken::new();
        let config = {
            let overview = overview.clone();
            move || overview.config()
        };
        let desk = Desk::new(tokens.clone(), config.clone());
        tell_when_needed(&tokens, Arc::clone(&desk), config.clone(), stop.clone());
        let keeping_fresh = {
            let stop = stop.clone();
            let all = move || grants(&config());
            tokio::spawn(async move { tokens.keep_fresh(all, stop).await })
        };
        let started = Self {
            desk,
            overview,
            stop,
            keeping_fresh,
        };
        started.open_callback().await?;
        Ok(started)
    }

    /// Where people sign in.
    pub(super) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Opens the callback listener where somebody may come back to it.
    pub(super) async fn open_callback(&self) -> Result<(), CallbackError> {
        let redirected = |grant: &Arc<Grant>| grant.flow == Flow::AuthorizationCode;
        if grants(&self.overview.config()).iter().any(redirected) {
            self.desk.open_callback().await?;
        }
        Ok(())
    }

    /// Ends what is under way; a token that is being renewed is stored first.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.desk.close().await;
        let _ = self.keeping_fresh.await;
    }
}
