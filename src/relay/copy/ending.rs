//! How a session after login ends: who goes first, what is still said, and what becomes of the other leg.

use std::io;
use std::task::Context;

use tokio::time::Instant;

use super::super::session::End;
use super::Copy;
use crate::proto::dialogue::{Breach, Ending, Farewell};
use crate::protocol::Leg;

impl Copy<'_> {
    /// `leg` sends nothing more.
    pub(super) fn finished(&mut self, cx: &mut Context<'_>, leg: Leg) {
        let half = self.half(leg);
        half.eof = true;
        let rest = std::mem::take(&mut half.unread);
        self.flow.clear();
        let ending = self.watch.eof(leg, &rest, &mut self.flow);
        self.deliver(cx, &rest);
        self.record.count(leg, rest.len());
        let other_was_first = self.half(leg.other()).eof;
        if ending == Ending::Close || other_was_first {
            let first = if other_was_first { leg.other() } else { leg };
            match self.half(leg).deaf {
                Some(why) => self.fail(leg, format!("connection lost: {why}")),
                None => self.finish(first, "closed"),
            }
        }
    }

    /// A client that has said all it had to stays until it has its answers.
    pub(super) fn ask_whether_done(&mut self, cx: &mut Context<'_>) {
        self.flow.clear();
        if self.watch.eof(Leg::Client, &[], &mut self.flow) == Ending::Close {
            self.deliver(cx, &[]);
            self.finish(Leg::Client, "closed");
        }
    }

    /// Where the watch has taken leave of the client, the upstream stays, if all that it was told and said is through.
    pub(super) fn part(&mut self) {
        let Some(remains) = self.watch.remains().filter(|_| self.end.is_none()) else {
            return;
        };
        let cause = "logged out";
        if !self.upstream.is_at_rest() {
            return self.finish(Leg::Client, cause);
        }
        self.remains = Some(remains);
        self.end = Some(self.ended(Leg::Client, cause));
        self.client.close_when_sent();
    }

    pub(super) fn breached(&mut self, cx: &mut Context<'_>, breach: Breach, window: &[u8]) {
        self.deliver(cx, window);
        self.fail(breach.leg, breach.to_string());
    }

    /// `leg` cannot be written to. An upstream may have said why before it closed, as one does that refuses a message
    /// while it is still being sent.
    pub(super) fn takes_nothing(&mut self, cx: &mut Context<'_>, leg: Leg, error: &io::Error) {
        if leg == Leg::Upstream && self.end.is_none() && !self.upstream.eof {
            self.upstream.go_deaf(error.kind());
            self.moved_at = Instant::now();
        } else {
            self.lost(cx, leg, error);
        }
    }

    pub(super) fn lost(&mut self, cx: &mut Context<'_>, leg: Leg, error: &io::Error) {
        if self.end.is_some() {
            // Already ending: what cannot be sent is given up.
            self.half(leg).give_up();
            return;
        }
        self.half(leg).give_up();
        if leg == Leg::Upstream {
            self.say_farewell(cx, Farewell::UpstreamLost);
        }
        self.fail(leg, format!("connection lost: {}", error.kind()));
    }

    /// Lets the watch take leave of the client; for a shutdown it may find no place for that yet.
    pub(super) fn say_farewell(&mut self, cx: &mut Context<'_>, why: Farewell) {
        self.flow.clear();
        self.watch.farewell(why, &mut self.flow);
        let said = !self.flow.pieces(Leg::Client).is_empty();
        self.deliver(cx, &[]);
        if said && why == Farewell::Shutdown {
            self.finish(Leg::Client, "shutdown");
        }
    }

    /// Finishes in the middle of something: the client may be sending, and shall still hear why it ends.
    pub(super) fn fail(&mut self, leg: Leg, cause: impl Into<String>) {
        self.lingers = true;
        self.finish(leg, cause);
    }

    /// Nothing more is read; both legs are closed when they have what they are owed.
    pub(super) fn finish(&mut self, leg: Leg, cause: impl Into<String>) {
        if self.end.is_none() {
            self.end = Some(self.ended(leg, cause));
        }
        self.client.close_when_sent();
        self.upstream.close_when_sent();
        self.moved_at = Instant::now();
    }

    pub(super) fn is_closed(&mut self, cx: &mut Context<'_>) -> bool {
        let gone = !self.lingers || self.client.poll_discard(cx).is_ready();
        gone && self.client.is_done() && (self.upstream.is_done() || self.remains.is_some())
    }

    pub(super) fn ended(&self, leg: Leg, cause: impl Into<String>) -> End {
        End::new(leg, self.watch.phase(), cause)
    }
}
