//! The smallest mail program: enough plain IMAP, POP3 and SMTP over TCP to do what the demo's `curl` lines do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::proto::sasl;
use crate::proto::text::sanitise;
use crate::secret::Secret;

/// A connection to a mail server.
pub(super) struct Client {
    stream: BufStream<TcpStream>,
}

/// What went wrong between us and the server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// Nothing came.
    #[error("no answer for {} seconds", PATIENCE.as_secs())]
    Silent,
    /// It closed.
    #[error("the server closed the connection")]
    Closed,
    /// A line or literal that no server sends here.
    #[error("the answer is too long")]
    TooLong,
    /// Not the answer that was hoped for.
    #[error("the server said: {0}")]
    Said(String),
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, ClientError> {
        let connecting = timeout(PATIENCE, TcpStream::connect(address));
        let stream = connecting
            .await
            .map_err(|_| ClientError::Silent)?
            .map_err(|source| ClientError::Connect { address, source })?;
        Ok(Self {
            stream: BufStream::new(stream),
        })
    }

    /// Sends octets.
    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<(), ClientError> {
        let sending = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        Ok(timeout(PATIENCE, sending)
            .await
            .map_err(|_| ClientError::Silent)??)
    }

    /// A line without its end.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(LINE_MAX);
        timeout(PATIENCE, bounded.read_until(b'\n', &mut line))
            .await
            .map_err(|_| ClientError::Silent)??;
        match line.strip_suffix(b"\n") {
            Some(whole) => Ok(whole.strip_suffix(b"\r").unwrap_or(whole).to_vec()),
            None if line.len() as u64 == LINE_MAX => Err(ClientError::TooLong),
            None => Err(ClientError::Closed),
        }
    }

    /// IMAP: sends a command and returns the untagged responses, once its tagged OK is there.
    pub(super) async fn imap(&mut self, command: &str) -> Result<Vec<Response>, ClientError> {
        self.send(format!("{TAG} {command}\r\n").as_bytes()).await?;
        let mut untagged = Vec::new();
        loop {
            let response = self.imap_response().await?;
            match response.text.strip_prefix(TAG) {
                Some(rest) if rest.starts_with(" OK") => return Ok(untagged),
                Some(_) => return Err(said(response.text.as_bytes())),
                None => untagged.push(response),
            }
        }
    }

    /// IMAP: one response with its literals.
    pub(super) async fn imap_response(&mut self) -> Result<Response, ClientError> {
        let mut response = Response::default();
        loop {
            let line = String::from_utf8_lossy(&self.line().await?).into_owned();
            response.text.push_str(&line);
            let Some(octets) = literal(&line) else {
                return Ok(response);
            };
            if octets > LITERAL_MAX {
                return Err(ClientError::TooLong);
            }
            let mut literal = vec![0; octets];
            timeout(PATIENCE, self.stream.read_exact(&mut literal))
                .await
                .map_err(|_| ClientError::Silent)??;
            response.literals.push(literal);
        }
    }

    /// POP3: sends a command, if any, and returns what stands behind its `+OK`.
    pub(super) async fn pop3(&mut self, command: Option<&str>) -> Result<String, ClientError> {
        if let Some(command) = command {
            self.send(format!("{command}\r\n").as_bytes()).await?;
        }
        let line = self.line().await?;
        match line.strip_prefix(b"+OK") {
            Some(rest) => Ok(String::from_utf8_lossy(rest).trim().to_owned()),
            None => Err(said(&line)),
        }
    }

    /// POP3: the lines of a multi-line response, unstuffed and with CRLF.
    pub(super) async fn pop3_lines(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut text = Vec::new();
        loop {
            let line = self.line().await?;
            if line == b"." {
                return Ok(text);
            }
            text.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            text.extend_from_slice(b"\r\n");
            if text.len() > LITERAL_MAX {
                return Err(ClientError::TooLong);
            }
        }
    }

    /// SMTP: sends a command, if any, and reads its reply, which has to begin with `code`.
    pub(super) async fn smtp(
        &mut self,
        command: Option<&str>,
        code: &str,
    ) -> Result<(), ClientError> {
        if let Some(command) = command {
            self.send(format!("{command}\r\n").as_bytes()).await?;
        }
        loop {
            let line = self.line().await?;
            if !line.starts_with(code.as_bytes()) {
                return Err(said(&line));
            }
            if line.get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }

    /// SMTP: AUTH PLAIN with its initial response.
    pub(super) async fn smtp_login(
        &mut self,
        user: &str,
        password: &Secret,
    ) -> Result<(), ClientError> {
        let message = sasl::encode_plain(user, password);
        self.send(b"AUTH PLAIN ").await?;
        self.send(message.expose()).await?;
        self.send(b"\r\n").await?;
        self.smtp(None, "235").await
    }

    /// SMTP: the message with its dots doubled, and the end.
    pub(super) async fn smtp_message(&mut self, message: &str) -> Result<(), ClientError> {
        for line in message.split_inclusive("\r\n") {
            let stuffing = if line.starts_with('.') { "." } else { "" };
            self.send(format!("{stuffing}{line}").as_bytes()).await?;
        }
        self.smtp(Some("."), "250").await
    }
}

/// One IMAP response: its lines run together, and its literals.
#[derive(Debug, Default)]
pub(super) struct Response {
    pub(super) text: String,
    pub(super) literals: Vec<Vec<u8>>,
}

/// `{n}` at the end of a line.
fn literal(line: &str) -> Option<usize> {
    let (_, octets) = line.strip_suffix('}')?.rsplit_once('{')?;
    octets.parse().ok()
}

fn said(line: &[u8]) -> ClientError {
    ClientError::Said(sanitise(line))
}

/// One tag will do: there is never more than one command under way.
const TAG: &str = "t1";

/// For any one answer; the proxy's own limit for a login is 25 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// Octets of a line; servers of the demo send none this long.
const LINE_MAX: u64 = 64 * 1024;

/// Octets of a message; those of the demo are small.
const LITERAL_MAX: usize = 16 * 1024 * 1024;
