//! The two directions after login, in one task, with the watch between them.
//!
//! Bytes are read into a buffer that the thread's sessions share, shown to the watch and written straight from it; what
//! a slow peer does not take is kept, and while it is kept its source is not read. So an idle session holds no buffer, a
//! stalled one at most [`WINDOW`] bytes for each leg, and nothing is copied on the way through.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::registry::SessionRecord;
use super::session::End;
use crate::net::Stream;
use crate::proto::dialogue::{Breach, Ending, Farewell, HOLD_MAX, Remains, Watch};
use crate::proto::flow::{Flow, Piece};
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
    moved_at: Instant,
}

/// An upstream that outlives its client.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) stream: Stream,
    pub(super) remains: Remains,
}

/// One leg: its stream, what was read from it and not taken, what is for it and not sent.
#[derive(Debug)]
struct Half {
    stream: Stream,
    unread: BytesMut,
    /// Whether the watch has seen all of `unread` and waits for more.
    seen: bool,
    unsent: BytesMut,
    /// Whether the stream may hold bytes that are not on the wire.
    unflushed: bool,
    eof: bool,
    closing: Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    WhenSent,
    Done,
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
            moved_at: Instant::now(),
        }
    }

    /// Relays until either leg ends, both are silent for too long, or `drain` is cancelled and the watch finds a place
    /// to say so.
    pub(super) async fn run(mut self, drain: &CancellationToken) -> (End, Option<Kept>) {
        self.record.set_phase(self.watch.phase());
        let mut drained = pin!(drain.cancelled());
        let mut draining = false;
        let mut tick = pin!(sleep(TICK));
        let end = poll_fn(|cx| {
            draining = draining || drained.as_mut().poll(cx).is_ready();
            self.poll(cx, draining, tick.as_mut())
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
        mut tick: Pin<&mut Sleep>,
    ) -> Poll<End> {
        loop {
            if draining && self.end.is_none() {
                self.say_farewell(cx, Farewell::Shutdown);
            }
            self.poll_send(cx, Leg::Client);
            self.poll_send(cx, Leg::Upstream);
            if self.end.is_none() {
                let down = self.poll_take(cx, Leg::Upstream);
                let up = self.poll_take(cx, Leg::Client);
                self.part();
                if down && self.client.eof && self.end.is_none() {
                    self.ask_whether_done(cx);
                }
                if down || up || self.end.is_some() {
                    self.moved_at = Instant::now();
                    continue;
                }
                self.record.set_phase(self.watch.phase());
                let quiet_at = self.moved_at + ANSWER_TIME;
                if self.waits_for_answers() && tick.deadline() > quiet_at {
                    tick.as_mut().reset(quiet_at);
                }
            } else if self.client.is_done() && (self.upstream.is_done() || self.remains.is_some()) {
                break;
            } else if tick.deadline() > self.moved_at + CLOSE_TIME {
                tick.as_mut().reset(self.moved_at + CLOSE_TIME);
            }
            ready!(tick.as_mut().poll(cx));
            tick.as_mut().reset(Instant::now() + TICK);
            if self.is_overdue(cx) {
                break;
            }
        }
        Poll::Ready(
            self.end
                .take()
                .unwrap_or_else(|| self.ended(Leg::Client, "closed")),
        )
    }

    /// Sends what `leg` is owed; a broken leg ends the session.
    fn poll_send(&mut self, cx: &mut Context<'_>, leg: Leg) {
        if let Poll::Ready(Err(error)) = self.half(leg).poll_send(cx) {
            self.lost(cx, leg, &error);
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
                self.lost(cx, leg, &error);
            }
        }
        self.flow = flow;
    }

    /// `leg` sends nothing more.
    fn finished(&mut self, cx: &mut Context<'_>, leg: Leg) {
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
            self.finish(first, "closed");
        }
    }

    /// A client that has said all it had to stays until it has its answers.
    fn ask_whether_done(&mut self, cx: &mut Context<'_>) {
        self.flow.clear();
        if self.watch.eof(Leg::Client, &[], &mut self.flow) == Ending::Close {
            self.deliver(cx, &[]);
            self.finish(Leg::Client, "closed");
        }
    }

    /// Where the watch has taken leave of the client, the upstream stays, if all that it was told and said is through.
    fn part(&mut self) {
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

    fn breached(&mut self, cx: &mut Context<'_>, breach: Breach, window: &[u8]) {
        self.deliver(cx, window);
        self.finish(breach.leg, breach.to_string());
    }

    fn lost(&mut self, cx: &mut Context<'_>, leg: Leg, error: &io::Error) {
        if self.end.is_some() {
            // Already ending: what cannot be sent is given up.
            self.half(leg).give_up();
            return;
        }
        self.half(leg).give_up();
        if leg == Leg::Upstream {
            self.say_farewell(cx, Farewell::UpstreamLost);
        }
        self.finish(leg, format!("connection lost: {}", error.kind()));
    }

    /// Lets the watch take leave of the client; for a shutdown it may find no place for that yet.
    fn say_farewell(&mut self, cx: &mut Context<'_>, why: Farewell) {
        self.flow.clear();
        self.watch.farewell(why, &mut self.flow);
        let said = !self.flow.pieces(Leg::Client).is_empty();
        self.deliver(cx, &[]);
        if said && why == Farewell::Shutdown {
            self.finish(Leg::Client, "shutdown");
        }
    }

    /// Nothing more is read; both legs are closed when they have what they are owed.
    fn finish(&mut self, leg: Leg, cause: impl Into<String>) {
        if self.end.is_none() {
            self.end = Some(self.ended(leg, cause));
        }
        self.client.close_when_sent();
        self.upstream.close_when_sent();
        self.moved_at = Instant::now();
    }

    fn ended(&self, leg: Leg, cause: impl Into<String>) -> End {
        End::new(leg, self.watch.phase(), cause)
    }

    /// Whether the session has to go: silent, stalled, or not done with closing.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let silent = self.moved_at.elapsed();
        if self.end.is_some() {
            return silent >= CLOSE_TIME;
        }
        if self.waits_for_answers() && silent >= ANSWER_TIME {
            self.upstream.close_when_sent();
        }
        if let Some(leg) = self.stalled_leg().filter(|_| silent >= STALL_TIME) {
            self.half(leg).give_up();
            self.finish(leg, "does not read");
            return true;
        }
        if silent >= idle_time(self.record.protocol) {
            self.say_farewell(cx, Farewell::Idle);
            self.finish(Leg::Client, "idle for too long");
        }
        false
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

impl Half {
    fn new(stream: Stream, leftover: Bytes) -> Self {
        Self {
            stream,
            unread: BytesMut::from(leftover),
            seen: false,
            unsent: BytesMut::new(),
            unflushed: false,
            eof: false,
            closing: Closing::No,
        }
    }

    /// Sends what is owed, flushes, and closes the writing side when that was asked for.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(n);
            self.unflushed = true;
            if self.unsent.is_empty() {
                self.unsent = BytesMut::new();
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        if self.closing == Closing::WhenSent {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.closing = Closing::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes `pieces` as far as the socket takes them at once and keeps the rest.
    fn write(&mut self, cx: &mut Context<'_>, pieces: &[Piece], window: &[u8]) -> io::Result<()> {
        let mut runs = pieces.iter().map(|piece| run(piece, window)).peekable();
        while self.unsent.is_empty() && runs.peek().is_some() {
            let mut slices = [IoSlice::new(&[]); VECTOR];
            let mut offered = 0;
            for (slot, bytes) in slices.iter_mut().zip(runs.by_ref()) {
                *slot = IoSlice::new(bytes);
                offered += bytes.len();
            }
            let mut slices: &mut [IoSlice<'_>] = &mut slices;
            while offered > 0 {
                match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(n)) => {
                        offered -= n;
                        self.unflushed = self.stream.is_tls();
                        IoSlice::advance_slices(&mut slices, n);
                    }
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => {
                        slices
                            .iter()
                            .for_each(|rest| self.unsent.extend_from_slice(rest));
                        break;
                    }
                }
            }
        }
        runs.for_each(|bytes| self.unsent.extend_from_slice(bytes));
        Ok(())
    }

    fn close_when_sent(&mut self) {
        if self.closing == Closing::No {
            self.closing = Closing::WhenSent;
        }
    }

    /// The peer is gone: what it was owed is dropped.
    fn give_up(&mut self) {
        self.unsent = BytesMut::new();
        self.unflushed = false;
        self.closing = Closing::Done;
    }

    fn is_blocked(&self) -> bool {
        !self.unsent.is_empty() || self.unflushed
    }

    fn is_done(&self) -> bool {
        self.closing == Closing::Done
    }

    /// Nothing of it is on its way through.
    fn is_at_rest(&self) -> bool {
        let read = self.unread.is_empty() && !self.eof;
        read && !self.is_blocked() && self.closing == Closing::No
    }
}

fn run<'a>(piece: &'a Piece, window: &'a [u8]) -> &'a [u8] {
    match piece {
        Piece::Input(range) => window.get(range.clone()).unwrap_or_default(),
        Piece::Own(bytes) => bytes,
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

/// Pieces written at once.
const VECTOR: usize = 16;

/// How often a session looks at the clock.
const TICK: Duration = Duration::from_secs(60);

/// A leg that takes no byte for this long has stalled (Dovecot waits as long).
const STALL_TIME: Duration = Duration::from_secs(5 * 60);

/// How long an upstream that owes answers may be silent before it is told that the client sends nothing more. Such
/// clients have mostly gone altogether, out of IDLE; the provider's session should not outlive them by much.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long a closing leg may take to read the end.
const CLOSE_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::relay::registry::Registry;

    /// Passes whole lines, each of which is answered; holds the client after `hold` until then; answers `help` itself, at
    /// length; says `bye` as a farewell.
    #[derive(Default)]
    struct Lines {
        held: bool,
        due: bool,
    }

    impl Watch for Lines {
        fn step(&mut self, leg: Leg, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
            let Some(end) = memchr::memchr(b'\n', input) else {
                return Ok(0);
            };
            if input.starts_with(b"help") {
                flow.say(leg, HELP);
                return Ok(end + 1);
            }
            flow.pass(leg.other(), 0..end + 1);
            match leg {
                Leg::Client => (self.held, self.due) = (input.starts_with(b"hold"), true),
                Leg::Upstream => (self.held, self.due) = (false, false),
            }
            Ok(end + 1)
        }

        fn reads(&self, leg: Leg) -> bool {
            leg == Leg::Upstream || !self.held
        }

        fn eof(&mut self, leg: Leg, rest: &[u8], flow: &mut Flow) -> Ending {
            flow.pass(leg.other(), 0..rest.len());
            match leg {
                Leg::Client if self.due => Ending::HalfClose,
                Leg::Client | Leg::Upstream => Ending::Close,
            }
        }

        fn farewell(&mut self, _why: Farewell, flow: &mut Flow) {
            flow.say(Leg::Client, "bye\n");
        }

        fn phase(&self) -> &'static str {
            "lines"
        }
    }

    const HELP: &[u8] = &[b'x'; 4096];

    struct Session {
        client: TcpStream,
        upstream: TcpStream,
        drain: CancellationToken,
        end: JoinHandle<(End, u64, u64)>,
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    async fn session(leftovers: Leftovers) -> Session {
        let (client, client_leg) = pair().await;
        let (upstream, upstream_leg) = pair().await;
        let drain = CancellationToken::new();
        let token = drain.clone();
        let end = tokio::spawn(async move {
            let registry = Arc::new(Registry::default());
            let peer = "127.0.0.1:1".parse().unwrap();
            let place = registry.admit(Protocol::Imap, peer, 1, 1).unwrap();
            let legs = (Stream::Plain(client_leg), Stream::Plain(upstream_leg));
            let watch = Box::new(Lines::default());
            let copy = Copy::new(&place.record, watch, legs.0, legs.1, leftovers);
            let (end, _) = copy.run(&token).await;
            let view = place.record.view();
            (end, view.bytes_up, view.bytes_down)
        });
        Session {
            client,
            upstream,
            drain,
            end,
        }
    }

    fn nothing() -> Leftovers {
        Leftovers {
            client: Bytes::new(),
            upstream: Bytes::new(),
        }
    }

    async fn expect(stream: &mut TcpStream, text: &str) {
        let mut got = vec![0; text.len()];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&got), text);
    }

    #[tokio::test]
    async fn leftovers_go_first_and_a_half_closed_client_still_gets_its_answer() {
        let mut session = session(Leftovers {
            client: "early ".into(),
            upstream: "greeting\n".into(),
        })
        .await;
        expect(&mut session.client, "greeting\n").await;
        session
            .client
            .write_all(b"line\nno line end")
            .await
            .unwrap();
        session.client.shutdown().await.unwrap();
        expect(&mut session.upstream, "early line\nno line end").await;
        session.upstream.write_all(b"answer\n").await.unwrap();
        let mut all = String::new();
        session.client.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "answer\n");
        let (end, up, down) = session.end.await.unwrap();
        assert_eq!((end.leg, up, down), (Leg::Client, 22, 16));
    }

    #[tokio::test]
    async fn a_held_client_goes_on_where_it_was() {
        let mut session = session(nothing()).await;
        session.client.write_all(b"hold\nafter\n").await.unwrap();
        expect(&mut session.upstream, "hold\n").await;
        session.upstream.write_all(b"go\n").await.unwrap();
        expect(&mut session.upstream, "after\n").await;
        expect(&mut session.client, "go\n").await;
    }

    #[tokio::test]
    async fn a_reader_that_stalls_stops_its_source_and_gets_every_byte_later() {
        let mut session = session(nothing()).await;
        let block = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let mut sent = 0;
        // As long as the sockets and one window take it; a relay without back-pressure would never end this.
        while let Ok(Ok(())) = tokio::time::timeout(
            Duration::from_millis(200),
            session.upstream.write_all(&block),
        )
        .await
        {
            sent += block.len();
            assert!(sent < 256 << 20, "no back-pressure");
        }
        let client = &mut session.client;
        let mut buffer = vec![0; 1 << 16];
        let mut got = 0;
        while got < sent {
            got += client.read(&mut buffer).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_our_answers_gets_no_more_of_them() {
        let (_client, client_leg) = pair().await;
        let (_upstream, upstream_leg) = pair().await;
        let registry = Arc::new(Registry::default());
        let peer = "127.0.0.1:1".parse().unwrap();
        let place = registry.admit(Protocol::Smtp, peer, 1, 1).unwrap();
        let legs = (Stream::Plain(client_leg), Stream::Plain(upstream_leg));
        let watch = Box::new(Lines::default());
        let mut copy = Copy::new(&place.record, watch, legs.0, legs.1, nothing());
        // The answers to these are 52 MB, more than any socket buffers.
        let window = b"help\n".repeat(WINDOW / 5);
        copy.show(
            &mut Context::from_waker(std::task::Waker::noop()),
            Leg::Client,
            &window,
        );
        assert!(copy.client.unsent.len() > OWED_MAX);
        assert!(copy.client.unsent.len() <= OWED_MAX + HELP.len());
        assert!(!copy.client.unread.is_empty() && !copy.client.seen);
    }

    #[tokio::test]
    async fn a_shutdown_is_said_and_ends_the_session() {
        let mut session = session(nothing()).await;
        session.drain.cancel();
        let mut all = String::new();
        session.client.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "bye\n");
        assert_eq!(session.end.await.unwrap().0.cause, "shutdown");
    }

    #[tokio::test]
    async fn an_upstream_that_breaks_is_told_to_the_client() {
        let mut session = session(nothing()).await;
        session.upstream.set_zero_linger().unwrap();
        drop(session.upstream);
        let mut all = String::new();
        session.client.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "bye\n");
        let (end, ..) = session.end.await.unwrap();
        assert_eq!(end.leg, Leg::Upstream);
        assert!(end.cause.starts_with("connection lost"), "{}", end.cause);
    }
}
