//! One leg of a session after login: what was read from it and not taken, what is for it and not sent.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Stream;
use crate::proto::flow::Piece;

/// One leg: its stream, what was read from it and not taken, what is for it and not sent.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) stream: Stream,
    pub(super) unread: BytesMut,
    /// Whether the watch has seen all of `unread` and waits for more.
    pub(super) seen: bool,
    pub(super) unsent: BytesMut,
    /// Whether the stream may hold bytes that are not on the wire.
    pub(super) unflushed: bool,
    pub(super) eof: bool,
    pub(super) closing: Closing,
    /// Why it takes nothing more, though it may still have something to say.
    pub(super) deaf: Option<io::ErrorKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    WhenSent,
    Done,
    /// It is not closed properly, for the peer is gone or does not read.
    GivenUp,
}

impl Half {
    pub(super) fn new(stream: Stream, leftover: Bytes) -> Self {
        Self {
            stream,
            unread: BytesMut::from(leftover),
            seen: false,
            unsent: BytesMut::new(),
            unflushed: false,
            eof: false,
            closing: Closing::No,
            deaf: None,
        }
    }

    /// Sends what is owed, flushes, and closes the writing side when that was asked for.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[Piece],
        window: &[u8],
    ) -> io::Result<()> {
        if self.deaf.is_some() {
            return Ok(());
        }
        let mut runs = pieces.iter().map(|piece| run(piece, window)).peekable();
        while self.unsent.is_empty() && runs.peek().is_some() {
            let mut slices = [IoSlice::new(&[]); VECTOR];
            let (mut offered, mut filled) = (0, 0);
            for (slot, bytes) in slices.iter_mut().zip(runs.by_ref()) {
                *slot = IoSlice::new(bytes);
                offered += bytes.len();
                filled += 1;
            }
            let mut slices = slices.get_mut(..filled).unwrap_or_default();
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

    pub(super) fn close_when_sent(&mut self) {
        if self.closing == Closing::No {
            self.closing = Closing::WhenSent;
        }
    }

    /// Reads and throws away until the peer closes too. To close a socket with something unread would reset the
    /// connection, and the reset may overtake what was said last.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 4096];
        while !self.eof && self.closing != Closing::GivenUp {
            let mut buffer = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => self.eof = true,
            }
        }
        Poll::Ready(())
    }

    /// The peer takes nothing more: what it was owed is dropped.
    pub(super) fn go_deaf(&mut self, why: io::ErrorKind) {
        self.unsent = BytesMut::new();
        self.unflushed = false;
        self.closing = Closing::Done;
        self.deaf = Some(why);
    }

    /// The peer is gone: what it was owed is dropped.
    pub(super) fn give_up(&mut self) {
        self.unsent = BytesMut::new();
        self.unflushed = false;
        self.closing = Closing::GivenUp;
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.unsent.is_empty() || self.unflushed
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.closing, Closing::Done | Closing::GivenUp)
    }
}

fn run<'a>(piece: &'a Piece, window: &'a [u8]) -> &'a [u8] {
    match piece {
        Piece::Input(range) => window.get(range.clone()).unwrap_or_default(),
        Piece::Own(bytes) => bytes,
    }
}

/// Pieces written at once.
const VECTOR: usize = 16;
