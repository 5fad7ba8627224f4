//! What keeps both legs of an idling session alive, and when the next beat is due.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::runtime::IDLE_RENEWAL;
use crate::proto::dialogue::{Beat, Pulse};

/// How an idling client and its upstream are kept alive.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct KeepAlive {
    /// How old an IDLE may grow upstream.
    pub(in super::super) renew: Duration,
    /// Whether the client is told now and then that we are still here.
    pub(in super::super) still_here: bool,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            renew: IDLE_RENEWAL,
            still_here: false,
        }
    }
}

/// When which beat is due.
#[derive(Debug)]
pub(super) struct Heart {
    keep_alive: KeepAlive,
    pulse: Pulse,
    /// When the upstream began to idle, or was asked to do so again.
    renewed_at: Instant,
    /// When the client was told last.
    said_at: Instant,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Beat(Beat),
    /// The upstream was asked to go on, and says nothing.
    Lost,
}

impl Heart {
    pub(super) fn new(keep_alive: KeepAlive) -> Self {
        let now = Instant::now();
        Self {
            keep_alive,
            pulse: Pulse::None,
            renewed_at: now,
            said_at: now,
        }
    }

    /// Takes the pulse of the session, which may have changed at `now`.
    pub(super) fn feel(&mut self, pulse: Pulse, now: Instant) {
        if self.pulse == pulse {
            return;
        }
        if self.pulse == Pulse::None {
            self.said_at = now;
        }
        self.pulse = pulse;
        self.renewed_at = now;
    }

    /// Whether the client waits for news, so that its silence means nothing.
    pub(super) fn is_idling(&self) -> bool {
        self.pulse != Pulse::None
    }

    /// When something is due next; `None` while nobody idles.
    pub(super) fn next(&self) -> Option<Instant> {
        let renewal = match self.pulse {
            Pulse::None => return None,
            Pulse::Idling => self.renewed_at + self.keep_alive.renew,
            Pulse::Renewing => return Some(self.renewed_at + RENEWAL_TIME),
        };
        let words = self.said_at + STILL_HERE;
        Some(if self.keep_alive.still_here {
            renewal.min(words)
        } else {
            renewal
        })
    }

    /// What is due at `now`; it is taken for done.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        match self.pulse {
            Pulse::Renewing if now >= self.renewed_at + RENEWAL_TIME => Due::Lost,
            Pulse::Idling if now >= self.renewed_at + self.keep_alive.renew => {
                self.renewed_at = now;
                Due::Beat(Beat::Renew)
            }
            Pulse::Idling if self.keep_alive.still_here && now >= self.said_at + STILL_HERE => {
                self.said_at = now;
                Due::Beat(Beat::StillHere)
            }
            _ => Due::Nothing,
        }
    }
}

/// As Dovecot says it (`imap_idle_notify_interval`); routers forget a silent connection after five minutes and more.
const STILL_HERE: Duration = Duration::from_secs(2 * 60);

/// An upstream that does not answer DONE or IDLE for so long is gone.
const RENEWAL_TIME: Duration = Duration::from_secs(60);
