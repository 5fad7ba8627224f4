//! A connection read by lines and by counts, into one buffer that is used again: for the upstream and for the clients.

use std::io;

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A stream and what was read of it but not yet taken.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// With a buffer of this many octets, which bounds the length of a line.
    pub(crate) fn new(stream: S, capacity: usize) -> Self {
        Self {
            stream,
            buffer: vec![0; capacity].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// The next line, without its end.
    pub(crate) async fn line(&mut self) -> io::Result<&[u8]> {
        let mut seen = 0;
        let length = loop {
            let unseen = &self.buffer[self.start + seen..self.end];
            if let Some(at) = memchr(b'\n', unseen) {
                break seen + at;
            }
            seen = self.end - self.start;
            self.fill().await?;
        };
        let line = &self.buffer[self.start..self.start + length];
        self.start += length + 1;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Takes `count` octets and shows them to `see`, in pieces.
    pub(crate) async fn take(
        &mut self,
        mut count: usize,
        mut see: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        while count > 0 {
            if self.start == self.end {
                self.fill().await?;
            }
            let piece = count.min(self.end - self.start);
            see(&self.buffer[self.start..self.start + piece]);
            self.start += piece;
            count -= piece;
        }
        Ok(())
    }

    /// What is there, and at least `least` octets: to look at. [`Wire::consume`] takes it.
    pub(crate) async fn peek(&mut self, least: usize) -> io::Result<&[u8]> {
        while self.end - self.start < least {
            self.fill().await?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Takes what was looked at.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// Whether something is there that needs no reading.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Writes all of it, and waits until the socket has it.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Says that nothing more will be written.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads until the end of the stream. An end without the goodbye of TLS is one.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        loop {
            self.start = self.end;
            match self.fill().await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end == self.buffer.len() {
            if self.start == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let read = self.stream.read(&mut self.buffer[self.end..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += read;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_and_counts_survive_every_split() {
        let text = b"* 1 FETCH {5}\r\nab\r\nc)\r\nlast\n";
        for capacity in 16..text.len() {
            let (mut far, near) = tokio::io::duplex(3);
            let writer = tokio::spawn(async move { far.write_all(text).await });
            let mut wire = Wire::new(near, capacity);
            assert_eq!(wire.line().await.unwrap(), b"* 1 FETCH {5}");
            let mut literal = Vec::new();
            wire.take(5, |piece| literal.extend_from_slice(piece))
                .await
                .unwrap();
            assert_eq!(literal, b"ab\r\nc");
            assert_eq!(wire.line().await.unwrap(), b")");
            assert_eq!(wire.line().await.unwrap(), b"last");
            assert!(wire.line().await.is_err());
            writer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_line_longer_than_the_buffer_is_an_error() {
        let (mut far, near) = tokio::io::duplex(64);
        far.write_all(&[b'x'; 20]).await.unwrap();
        let mut wire = Wire::new(near, 8);
        assert!(wire.line().await.is_err());
    }
}
