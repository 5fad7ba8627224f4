//! The two directions after login, in one task, with the watch between them.
//!
//! Bytes are read into a buffer that the thread's sessions share, shown to the watch and written straight from it; what
//! a slow peer does not take is kept, and while it is kept its source is not read. So an idle session holds no buffer, a
//! stalled one at most [`WINDOW`] bytes for each leg, and nothing is copied on the way through.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

mod ending;
mod heart;

pub(super) use self::heart::KeepAlive;
use self::heart::{Due, Heart};
use super::half::{Closing, Half};
use super::registry::SessionRecord;
use super::session::End;
use crate::net::Stream;
use crate::proto::dialogue::{Breach, Farewell, HOLD_MAX, Remains, Watch};
use crate::proto::flow::Flow;
use crate::protocol::{Leg, Protocol};

/// What the dialogues before login have read and not used.
#[derive(Debug)]
pub(super) struct Leftovers {
    pub(super) client: Bytes,
    pub(super) upstream: Bytes,
}

/// A session after login.
pub(super) struct Copy<'a> {
    record: &'a SessionRecord,
    watch: Box<dyn Watch>,
    client: Half,
    upstream: Half,
    flow: Flow,
    /// Set once nothing more is read: what is unsent goes out, then the session ends with this.
    end: Option<End>,
    /// The client has taken its leave, the upstream stays, and this is what is to be undone there.
    remains: Option<Remains>,
    /// The client is waited for at the end, so that it hears what was said last.
    lingers: bool,
    /// As it was told last.
    phase: &'static str,
    moved_at: Instant,
    heart: Heart,
}

/// An upstream that outlives its client.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) stream: Stream,
    pub(super) remains: Remains,
}

impl<'a> Copy<'a> {
    pub(super) fn new(
        record: &'a SessionRecord,
        watch: Box<dyn Watch>,
        client: Stream,
        upstream: Stream,
        leftovers: Leftovers,
    ) -> Self {
        Self {
            record,
            watch,
            client: Half::new(client, leftovers.client),
            upstream: Half::new(upstream, leftovers.upstream),
            flow: Flow::default(),
            end: None,
            remains: None,
            lingers: false,
            phase: "",
            moved_at: Instant::now(),
            heart: Heart::new(KeepAlive::default()),
        }
    }

    /// With another way to keep idling legs alive.
    pub(super) fn kept_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.heart = Heart::new(keep_alive);
        self
    }

    /// Relays until either leg ends, both are silent for too long, or `drain` is cancelled and the watch finds a place
    /// to say so.
    pub(super) async fn run(mut self, drain: &CancellationToken) -> (End, Option<Kept>) {
        let mut drained = pin!(drain.cancelled());
        let mut draining = false;
        let mut clock = pin!(sleep_until(self.due()));
        let end = poll_fn(|cx| {
            draining = draining || drained.as_mut().poll(cx).is_ready();
            self.poll(cx, draining, clock.as_mut())
        })
        .await;
        let stream = self.upstream.stream;
        let kept = self.remains.map(|remains| Kept { stream, remains });
        (end, kept)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        draining: bool,
        mut clock: Pin<&mut Sleep>,
    ) -> Poll<End> {
        let mut moves = 0;
        loop {
            if draining && self.end.is_none() {
                self.say_farewell(cx, Farewell::Shutdown);
            }
            self.poll_send(cx, Leg::Client);
            self.poll_send(cx, Leg::Upstream);
            if self.end.is_none() {
                if self.poll_move(cx) {
                    self.moved_at = Instant::now();
                    moves += 1;
                    if moves < MOVES_AT_ONCE {
                        continue;
                    }
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            } else if self.is_closed(cx) {
                break;
            }
            self.tell_phase();
            // Later is soon enough: a clock that is early looks again, and a busy session need not wind it.
            if self.due() < clock.deadline() {
                clock.as_mut().reset(self.due());
            }
            ready!(clock.as_mut().poll(cx));
            if self.is_overdue(cx) {
                break;
            }
            clock.as_mut().reset(self.due());
        }
        Poll::Ready(
            self.end
                .take()
                .unwrap_or_else(|| self.ended(Leg::Client, "closed")),
        )
    }

    /// Takes from both legs once. True if anything moved, or the session came to its end.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> bool {
        let down = self.poll_take(cx, Leg::Upstream);
        let up = self.poll_take(cx, Leg::Client);
        self.part();
        if down && self.client.eof && self.end.is_none() {
            self.ask_whether_done(cx);
        }
        down || up || self.end.is_some()
    }

    /// The record is behind a lock, and the phase seldom changes.
    fn tell_phase(&mut self) {
        self.heart.feel(self.watch.pulse(), self.moved_at);
        let phase = self.watch.phase();
        if self.phase != phase {
            self.phase = phase;
            self.record.set_phase(phase);
        }
    }

    /// Sends what `leg` is owed.
    fn poll_send(&mut self, cx: &mut Context<'_>, leg: Leg) {
        if let Poll::Ready(Err(error)) = self.half(leg).poll_send(cx) {
            self.takes_nothing(cx, leg, &error);
        }
    }

    /// Reads from `leg`, if that is possible and wanted now, and passes on what the watch says. True if anything moved.
    fn poll_take(&mut self, cx: &mut Context<'_>, leg: Leg) -> bool {
        if self.end.is_some() || self.is_held(leg) {
            return false;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let half = self.half(leg);
            let held = half.unread.len();
            let Some((kept, free)) = scratch.split_at_mut_checked(held) else {
                return false;
            };
            kept.copy_from_slice(&half.unread);
            let mut filled = held;
            if half.seen || held == 0 {
                if half.eof {
                    return false;
                }
                let mut buffer = ReadBuf::new(free);
                match Pin::new(&mut half.stream).poll_read(cx, &mut buffer) {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(())) => filled += buffer.filled().len(),
                    Poll::Ready(Err(error)) if is_end(&error) => {}
                    Poll::Ready(Err(error)) => {
                        self.lost(cx, leg, &error);
                        return false;
                    }
                }
                if filled == held {
                    self.finished(cx, leg);
                    return true;
                }
            }
            self.show(cx, leg, scratch.get(..filled).unwrap_or_default());
            true
        })
    }

    /// Whether `leg` may not be read: its peer has not taken what came before, or the watch keeps the order.
    fn is_held(&mut self, leg: Leg) -> bool {
        let owed_back = self.half(leg).unsent.len();
        let ahead = self.half(leg.other());
        !ahead.unsent.is_empty()
            || ahead.unflushed
            || ahead.deaf.is_some()
            || owed_back > OWED_MAX
            || !self.watch.reads(leg)
    }

    /// Shows `window` to the watch until it wants no more of it, or owes `leg` too much; keeps the rest.
    fn show(&mut self, cx: &mut Context<'_>, leg: Leg, window: &[u8]) {
        let mut taken = 0;
        let mut seen = false;
        while let Some(rest) = window.get(taken..).filter(|rest| !rest.is_empty()) {
            if !self.watch.reads(leg) || self.half(leg).unsent.len() > OWED_MAX {
                break;
            }
            self.flow.clear();
            match self.watch.step(leg, rest, &mut self.flow) {
                Ok(n) => {
                    self.deliver(cx, rest);
                    taken += n;
                    if n == 0 {
                        seen = true;
                        break;
                    }
                }
                Err(breach) => return self.breached(cx, breach, rest),
            }
        }
        self.record.count(leg, taken);
        let rest = window.get(taken..).unwrap_or_default();
        if rest.len() > HOLD_MAX && seen {
            let what = "a line over the limit";
            self.flow.clear();
            return self.breached(cx, Breach { leg, what }, &[]);
        }
        let half = self.half(leg);
        half.unread = BytesMut::from(rest);
        half.seen = seen;
    }

    /// Writes the pieces of the flow, whose ranges are of `window`; keeps what is not taken.
    fn deliver(&mut self, cx: &mut Context<'_>, window: &[u8]) {
        let flow = std::mem::take(&mut self.flow);
        for leg in [Leg::Client, Leg::Upstream] {
            if let Err(error) = self.half(leg).write(cx, flow.pieces(leg), window) {
                self.takes_nothing(cx, leg, &error);
            }
        }
        self.flow = flow;
    }

    /// When the session has to go, or its upstream to be told, if nothing moves until then.
    fn due(&self) -> Instant {
        let patience = self.moved_at + self.patience();
        match self.heart.next() {
            Some(beat) if self.end.is_none() => beat.min(patience),
            _ => patience,
        }
    }

    /// How long nothing may move.
    fn patience(&self) -> Duration {
        if self.end.is_some() {
            let closed = self.client.is_done() && self.upstream.is_done();
            if closed { LINGER_TIME } else { CLOSE_TIME }
        } else if self.waits_for_answers() || self.upstream.deaf.is_some() {
            ANSWER_TIME
        } else if self.stalled_leg().is_some() {
            STALL_TIME
        } else if self.heart.is_idling() {
            NEVER
        } else {
            idle_time(self.record.protocol)
        }
    }

    /// Does what is due. True if the session has to go at once.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if Instant::now() < self.due() {
            return false;
        }
        if self.end.is_some() {
            return true;
        }
        if Instant::now() < self.moved_at + self.patience() {
            self.beat(cx);
            return false;
        }
        if self.upstream.deaf.is_some() {
            self.lost(cx, Leg::Upstream, &io::ErrorKind::TimedOut.into());
        } else if self.waits_for_answers() {
            self.upstream.close_when_sent();
        } else if let Some(leg) = self.stalled_leg() {
            self.half(leg).give_up();
            self.finish(leg, "does not read");
            return true;
        } else {
            self.say_farewell(cx, Farewell::Idle);
            self.finish(Leg::Client, "idle for too long");
        }
        false
    }

    /// Keeps the legs of an idling client alive; one that has gone needs no more of it.
    fn beat(&mut self, cx: &mut Context<'_>) {
        match self.heart.due(Instant::now()) {
            Due::Beat(beat) if !self.client.eof => {
                self.flow.clear();
                self.watch.beat(beat, &mut self.flow);
                self.deliver(cx, &[]);
                self.heart.feel(self.watch.pulse(), Instant::now());
            }
            Due::Lost => self.lost(cx, Leg::Upstream, &io::ErrorKind::TimedOut.into()),
            Due::Beat(_) | Due::Nothing => {}
        }
    }

    /// Whether it is the upstream's silence, and not the client's slowness, that passes the time.
    fn waits_for_answers(&self) -> bool {
        self.client.eof && self.upstream.closing == Closing::No && !self.client.is_blocked()
    }

    fn stalled_leg(&self) -> Option<Leg> {
        if self.client.is_blocked() {
            Some(Leg::Client)
        } else if self.upstream.is_blocked() {
            Some(Leg::Upstream)
        } else {
            None
        }
    }

    fn half(&mut self, leg: Leg) -> &mut Half {
        match leg {
            Leg::Client => &mut self.client,
            Leg::Upstream => &mut self.upstream,
        }
    }
}

/// Many servers close the connection without TLS' close_notify. The watch knows from the protocol whether something was
/// cut off.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// How long both legs may be silent after login, PROTOCOL B.7.
fn idle_time(protocol: Protocol) -> Duration {
    match protocol {
        // RFC 3501 section 5.4 demands 30 minutes.
        Protocol::Imap => Duration::from_secs(31 * 60),
        // RFC 1939 section 3 demands 10 minutes; RFC 5321 section 4.5.3.2.6 lets the reply to DATA take as long.
        Protocol::Pop3 | Protocol::Smtp => Duration::from_secs(11 * 60),
    }
}

thread_local! {
    /// Where every session of this thread reads into. Borrowed only between two awaits.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; WINDOW + HOLD_MAX].into());
}

/// One read: four full TLS records. Larger ones gain little.
const WINDOW: usize = 64 * 1024;

/// How much of our own may wait for a leg before that leg is not read any more: a client that pipelines and does not
/// read its answers is made to.
const OWED_MAX: usize = 64 * 1024;

/// How often a session takes from its legs, a megabyte at most, before the others of its thread have their turn.
const MOVES_AT_ONCE: usize = 16;

/// A client that idles is not logged out: keepalives find out whether it is still there.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A leg that takes no byte for this long has stalled (Dovecot waits as long).
const STALL_TIME: Duration = Duration::from_secs(5 * 60);

/// How long an upstream that owes answers may be silent before it is told that the client sends nothing more. Such
/// clients have mostly gone altogether, out of IDLE; the provider's session should not outlive them by much.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long a closing leg may take to read the end.
const CLOSE_TIME: Duration = Duration::from_secs(30);

/// How long a client that was cut off in the middle of something may take to close too (nginx: `lingering_timeout`).
const LINGER_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
