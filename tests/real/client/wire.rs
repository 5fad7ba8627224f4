//! A plain TCP connection read by lines and by counted octets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The connection. Anything that does not come within [`PATIENCE`] fails the case.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        Self {
            stream: BufReader::with_capacity(READ_AT_ONCE, stream),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("send");
    }

    /// One line without its CRLF, or `None` at the end of the stream.
    pub(crate) fn line_or_end(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        if self
            .stream
            .read_until(b'\n', &mut line)
            .expect("a line in time")
            == 0
        {
            return None;
        }
        let shown = String::from_utf8_lossy(&line).into_owned();
        assert!(line.ends_with(b"\r\n"), "a line without CRLF: {shown:?}");
        line.truncate(line.len() - 2);
        Some(line)
    }

    pub(crate) fn line(&mut self) -> Vec<u8> {
        self.line_or_end()
            .expect("a line, not the end of the stream")
    }

    pub(crate) fn text_line(&mut self) -> String {
        String::from_utf8(self.line()).expect("protocol lines are UTF-8")
    }

    /// Exactly `count` bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream
            .read_exact(&mut bytes)
            .expect("as many bytes as announced");
        bytes
    }

    /// Everything up to the end of the stream; a reset ends it as well.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // `read_to_end` keeps what came before an error.
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// Says that nothing more comes; reading goes on.
    pub(crate) fn finish(&mut self) {
        self.stream
            .get_mut()
            .shutdown(Shutdown::Write)
            .expect("shutdown");
    }
}

/// Longer than any answer of a loaded machine, and than the login budget of 25 s that the slow upstream uses up.
const PATIENCE: Duration = Duration::from_secs(90);
const READ_AT_ONCE: usize = 256 * 1024;
