//! A connection to an upstream through a proxy: SOCKS5 or HTTP CONNECT. TLS comes behind it, end to end.
//!
//! The two dialogues do no IO: what is said first, and for what the proxy says, how much of it is the proxy's own and
//! what to do then. Here the bytes are looked at before they are taken from the connection, so that what stands behind
//! the proxy's last word stays there for whoever comes next: a greeting that the upstream sends at once.

mod connect;
mod socks5;

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::connect::Connect;
use self::socks5::Socks5;
use super::{Dialler, NetError};
use crate::config::runtime::{Proxy, ProxyKind};
use crate::secret::Secret;

/// Why a proxy gives no connection. Holds nothing of what it said but numbers: it may repeat a password.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It takes no connections, or its name does not resolve.
    #[error("it cannot be reached")]
    Unreachable(#[source] Box<NetError>),
    /// The connection was lost.
    #[error("the connection to it broke")]
    Broken(#[source] io::Error),
    /// It hung up before it had answered.
    #[error("it closed the connection without an answer")]
    Closed,
    /// It speaks something else.
    #[error("what it says is not {0}")]
    Garbage(&'static str),
    /// Its answer does not end.
    #[error("its answer is longer than {} octets", connect::HEAD_MAX)]
    TooLong,
    /// It wants a login, and none is configured.
    #[error("it wants a user name and a password, and none is configured for it")]
    LoginNeeded,
    /// It does not take the login.
    #[error("it refuses the user name or the password")]
    LoginRefused,
    /// SOCKS5 has one octet for the length.
    #[error("the host name, the user name or the password is longer than SOCKS5 can say")]
    Unsayable,
    /// Its reply code (RFC 1928 section 6).
    #[error("it refuses: {} (SOCKS reply {code})", socks5::words(*code))]
    Reply {
        /// As it was sent.
        code: u8,
    },
    /// The status of its response (RFC 9110 section 15).
    #[error("it refuses: {} (HTTP status {code})", connect::words(*code))]
    Status {
        /// As it was sent.
        code: u16,
    },
}

/// The dialogue that opens a tunnel.
trait Opening {
    /// What is said first.
    fn begin(&mut self) -> Secret;

    /// What the proxy said, in any pieces. Tells how many of the bytes are its own, at least one, and what follows.
    fn take(&mut self, bytes: &[u8]) -> (usize, Result<Turn, ProxyError>);
}

/// What follows from what the proxy said.
#[derive(Debug)]
enum Turn {
    /// It has not come to its point.
    More,
    /// It is to be told this.
    Say(Secret),
    /// The rest is the upstream's.
    Open,
}

/// Connects to `host` through `proxy`, which resolves its name. The caller sets the deadline.
pub async fn dial_through(
    dialler: &Dialler,
    proxy: &Proxy,
    password: Option<&Secret>,
    host: &str,
    port: u16,
) -> Result<TcpStream, NetError> {
    let failed = |source| NetError::Proxy {
        proxy: proxy.to_string(),
        source,
    };
    let dialled = dialler.dial(&proxy.host, proxy.port).await;
    let mut tcp = dialled.map_err(|error| failed(ProxyError::Unreachable(Box::new(error))))?;
    let login = proxy.login.as_ref().zip(password);
    let login = login.map(|(login, password)| (login.user.as_str(), password));
    let opened = match proxy.kind {
        ProxyKind::Socks5 => match Socks5::new(host, port, login) {
            Ok(opening) => open(&mut tcp, opening).await,
            Err(error) => Err(error),
        },
        ProxyKind::Http => open(&mut tcp, Connect::new(host, port, login)).await,
    };
    opened.map(|()| tcp).map_err(failed)
}

async fn open(tcp: &mut TcpStream, mut opening: impl Opening) -> Result<(), ProxyError> {
    let first = opening.begin();
    say(tcp, &first).await?;
    let mut heard = vec![0; LOOK];
    loop {
        let seen = tcp.peek(&mut heard).await.map_err(ProxyError::Broken)?;
        let Some(bytes) = heard.get_mut(..seen).filter(|bytes| !bytes.is_empty()) else {
            return Err(ProxyError::Closed);
        };
        let (own, turn) = opening.take(bytes);
        let own = bytes.get_mut(..own).unwrap_or_default();
        tcp.read_exact(own).await.map_err(ProxyError::Broken)?;
        match turn? {
            Turn::More => {}
            Turn::Say(words) => say(tcp, &words).await?,
            Turn::Open => return Ok(()),
        }
    }
}

async fn say(tcp: &mut TcpStream, words: &Secret) -> Result<(), ProxyError> {
    let said = tcp.write_all(words.expose()).await;
    said.map_err(ProxyError::Broken)
}

/// Longer than any answer of SOCKS5, and than most heads of HTTP.
const LOOK: usize = 512;

#[cfg(test)]
mod tests;
