//! One client connection of an embedded server: bounded lines in, buffered bytes out, and how long to wait.
//!
//! Output is gathered and goes out before the next read that has to wait, so that the replies to pipelined commands
//! travel together. What was read ahead is bounded: nothing is read while a complete line is unread.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::proto::lines::{Line, Lines};
use crate::secret::Secret;

/// A byte stream, TLS or plain.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection seen as lines.
pub struct Wire<S> {
    stream: S,
    lines: Lines,
    read: BytesMut,
    out: BytesMut,
    patience: Patience,
    stop: CancellationToken,
}

/// How long a read may take.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// Up to a moment, however much comes before it: the time before login.
    Until(Instant),
    /// So long without a byte.
    Idle(Duration),
}

/// Why nothing more is read or written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The client closed.
    #[error("the client closed the connection")]
    Eof,
    /// The client was silent for too long.
    #[error("the client was silent for too long")]
    Silent,
    /// The service stops.
    #[error("the service stops")]
    Stopped,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] std::io::Error),
}

impl<S: Stream> Wire<S> {
    /// A connection that ends when `stop` says so.
    pub fn new(stream: S, patience: Patience, stop: CancellationToken) -> Self {
        Self {
            stream,
            lines: Lines::default(),
            read: BytesMut::with_capacity(READ_SIZE),
            out: BytesMut::new(),
            patience,
            stop,
        }
    }

    /// Waits this long from now on.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// The next line of at most `max` octets.
    pub async fn line(&mut self, max: usize) -> Result<Line, WireError> {
        loop {
            if let Some(line) = self.lines.next(max) {
                return Ok(line);
            }
            self.flush().await?;
            self.fill().await?;
        }
    }

    /// The next line if it is here already.
    pub fn buffered_line(&mut self, max: usize) -> Option<Line> {
        self.lines.next(max)
    }

    /// Exactly `n` octets; the caller has checked `n` against a limit.
    pub async fn octets(&mut self, n: usize) -> Result<Secret, WireError> {
        loop {
            if let Some(octets) = self.lines.take(n) {
                return Ok(octets);
            }
            self.flush().await?;
            self.fill().await?;
        }
    }

    /// What was read and not used yet.
    pub fn unread(&self) -> &[u8] {
        self.lines.peek()
    }

    /// Takes `n` octets of what was read as used.
    pub fn discard(&mut self, n: usize) {
        self.lines.discard(n);
    }

    /// Reads once. Nothing is lost when this is dropped before it is done.
    pub async fn fill(&mut self) -> Result<(), WireError> {
        self.read.clear();
        self.read.reserve(READ_SIZE);
        let read = self.stream.read_buf(&mut self.read);
        let waited = async {
            match self.patience {
                Patience::Until(moment) => timeout_at(moment, read).await,
                Patience::Idle(duration) => timeout(duration, read).await,
            }
        };
        let n = tokio::select! {
            () = self.stop.cancelled() => return Err(WireError::Stopped),
            read = waited => read.map_err(|_| WireError::Silent)??,
        };
        if n == 0 {
            return Err(WireError::Eof);
        }
        self.lines.push(&self.read);
        Ok(())
    }

    /// Says something; it goes out with the next flush.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.out.extend_from_slice(bytes.as_ref());
    }

    /// Says something large, and waits when much is unsent: a client that does not read is not written to.
    pub async fn say_much(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        if self.out.len() + bytes.len() <= UNSENT_MAX {
            self.say(bytes);
            return Ok(());
        }
        self.flush().await?;
        self.send(bytes).await
    }

    /// Sends what was said.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        let out = self.out.split();
        if out.is_empty() {
            return Ok(());
        }
        self.send(&out).await
    }

    /// Sends what was said and closes, as far as the client lets us.
    pub async fn close(mut self) {
        if self.flush().await.is_ok() {
            // The client may have gone first, which is no one's loss.
            let _ = timeout(WRITE_TIMEOUT, self.stream.shutdown()).await;
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        for chunk in bytes.chunks(UNSENT_MAX) {
            timeout(WRITE_TIMEOUT, self.stream.write_all(chunk))
                .await
                .map_err(|_| WireError::Silent)??;
        }
        timeout(WRITE_TIMEOUT, self.stream.flush())
            .await
            .map_err(|_| WireError::Silent)??;
        Ok(())
    }
}

/// How much one read takes: a TLS record.
const READ_SIZE: usize = 16 * 1024;

/// How much is gathered before it is sent, and the size of one write.
const UNSENT_MAX: usize = 64 * 1024;

/// How long the client may leave 64 KiB unread, RFC 5321 section 4.5.3.2 has five minutes for each step.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_literals_and_replies_alternate() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut wire = Wire::new(
            server,
            Patience::Idle(Duration::from_secs(60)),
            CancellationToken::new(),
        );
        client.write_all(b"a {3}\r\nxyzb\r\n").await.unwrap();
        let text = |line| match line {
            Line::Complete(line) => String::from_utf8(line.expose().to_vec()).unwrap(),
            Line::TooLong => "too long".into(),
        };
        assert_eq!(text(wire.line(9).await.unwrap()), "a {3}");
        assert_eq!(wire.octets(3).await.unwrap().expose(), b"xyz");
        wire.say("ok\r\n");
        assert_eq!(text(wire.line(9).await.unwrap()), "b");
        wire.close().await;
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "ok\r\n");
    }

    #[tokio::test]
    async fn a_stop_ends_a_wait() {
        let (_client, server) = tokio::io::duplex(64);
        let stop = CancellationToken::new();
        stop.cancel();
        let mut wire = Wire::new(server, Patience::Idle(Duration::from_secs(60)), stop);
        assert!(matches!(wire.line(9).await, Err(WireError::Stopped)));
    }
}
