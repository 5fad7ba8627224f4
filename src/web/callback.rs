//! The callback listener: where the browser comes back to after a sign-in. One for all accounts; the `state` in the query
//! tells whose it is.
//!
//! It reads one request a connection and answers with one page, which tells what happened after the code was exchanged,
//! not before. Only `GET` on a path that a sign-in was begun with, and only under a name of the loopback, does anything;
//! a favicon or a scan ends nobody's sign-in. Deliberately absent: any way to learn of sign-ins under way.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::auth::oauth::{SignInError, Tokens};
use crate::bridge::wire::{Patience, Stream, Wire, WireError};
use crate::causes::with_causes;
use crate::config::oauth::Client;
use crate::proto::http::{Answer, HEAD_MAX, Request, escaped};
use crate::proto::text::sanitise;

/// The callback listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "the callback listener cannot be opened on {address}; choose another sign_in.port or end what uses it"
)]
pub struct CallbackError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// Ends sign-ins by the query of their redirect.
pub trait Finish: Send + Sync + 'static {
    /// The name of the grant that was signed in.
    fn finish<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Result<String, SignInError>>;
}

impl Finish for Tokens {
    fn finish<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Result<String, SignInError>> {
        Box::pin(async move { Ok(self.sign_ins().finish(query).await?.name.clone()) })
    }
}

/// An open callback listener. It closes when dropped.
#[derive(Debug)]
pub struct Callback {
    port: u16,
    paths: Paths,
    connections: TaskTracker,
    stop: DropGuard,
}

/// The paths that sign-ins lead back to.
type Paths = Arc<Mutex<BTreeSet<String>>>;

impl Callback {
    /// Opens `port` on both loopbacks, or on the one there is; 0 takes a free one.
    pub async fn open(port: u16, finish: impl Finish) -> Result<Self, CallbackError> {
        let (port, listeners) = bind(port).await?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            paths: Paths::default(),
            finish,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            connections: TaskTracker::new(),
            stop: stop.clone(),
        });
        let (paths, connections) = (Arc::clone(&shared.paths), shared.connections.clone());
        for listener in listeners {
            tokio::spawn(serve(listener, Arc::clone(&shared)));
        }
        Ok(Self {
            port,
            paths,
            connections,
            stop: stop.drop_guard(),
        })
    }

    /// Closes it once the page that is on its way has been sent.
    pub async fn close(self) {
        self.connections.close();
        // Where nobody takes the page, nobody misses it.
        let _ = timeout(LAST_PAGE, self.connections.wait()).await;
        drop(self.stop);
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The redirect URI of a client: its own where it has one, with our port for `{port}` or where it leaves the port out
    /// (RFC 8252 section 7.3: any port of the loopback will do), or the root of this listener.
    ///
    /// By the name `localhost`, since Microsoft takes no other without a detour; both loopbacks are ours, so it leads
    /// nowhere else.
    pub fn redirect_uri(&self, client: &Client) -> String {
        let own = client.redirect_uri.as_deref().unwrap_or(DEFAULT);
        let own = own.replace(PORT, &self.port.to_string());
        match Url::parse(&own) {
            Ok(url) => {
                self.paths().insert(url.path().to_owned());
                with_port(&own, &url, self.port)
            }
            Err(_) => own,
        }
    }

    fn paths(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `own` with `port` behind its host, where it is plain HTTP on loopback without one. Otherwise octet for octet as it was
/// registered: issuers compare redirect URIs as strings.
fn with_port(own: &str, url: &Url, port: u16) -> String {
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    if url.scheme() != "http" || !loopback || url.port().is_some() {
        return own.to_owned();
    }
    let rest = own.get("http://".len()..).unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    format!("http://{host}:{port}{path}")
}

async fn bind(port: u16) -> Result<(u16, Vec<TcpListener>), CallbackError> {
    for _ in 0..FREE_PORT_TRIES {
        let (v4, port4) = open((Ipv4Addr::LOCALHOST, port).into()).await?;
        match open((Ipv6Addr::LOCALHOST, port4).into()).await {
            Ok((v6, _)) => return Ok((port4, vec![v4, v6])),
            // Free on one loopback and taken on the other.
            Err(error) if port == 0 && error.source.kind() == io::ErrorKind::AddrInUse => {}
            // Somebody who sits on the other loopback would get codes that a browser takes there.
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // No IPv6 on this machine.
            Err(_) => return Ok((port4, vec![v4])),
        }
    }
    Err(CallbackError {
        address: (Ipv6Addr::LOCALHOST, port).into(),
        source: io::ErrorKind::AddrInUse.into(),
    })
}

async fn open(address: SocketAddr) -> Result<(TcpListener, u16), CallbackError> {
    let failed = |source| CallbackError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, port))
}

/// What the connections share.
struct Shared<F> {
    paths: Paths,
    finish: F,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    stop: CancellationToken,
}

async fn serve<F: Finish>(listener: TcpListener, shared: Arc<Shared<F>>) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Who finds all places taken is closed: a browser tries again, a flood does not.
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            continue;
        };
        let shared = Arc::clone(&shared);
        shared.connections.clone().spawn(async move {
            let _place = place;
            if let Err(error) = connection(stream, &shared).await {
                tracing::debug!(cause = %error, "callback connection ended");
            }
        });
    }
}

async fn connection<S: Stream, F: Finish>(stream: S, shared: &Shared<F>) -> Result<(), WireError> {
    let patience = Patience::Until(Instant::now() + REQUEST_TIME);
    let mut wire = Wire::new(stream, patience, shared.stop.clone());
    let answer = match wire.head(HEAD_MAX).await? {
        None => problem(
            "431 Request Header Fields Too Large",
            "The request is too long.",
        ),
        Some(head) => match Request::parse(&head) {
            Err(error) => problem("400 Bad Request", &error.to_string()),
            Ok(request) => shared.answer(&request).await,
        },
    };
    wire.say(answer.encode());
    wire.close().await;
    Ok(())
}

impl<F: Finish> Shared<F> {
    async fn answer(&self, request: &Request) -> Answer {
        if !request.is_for_loopback() {
            return problem("421 Misdirected Request", "This is not a public site.");
        }
        if request.method != "GET" {
            let mut answer = problem("405 Method Not Allowed", "Only GET is served here.");
            answer.fields.push(("Allow", "GET".to_owned()));
            return answer;
        }
        let known = {
            let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
            paths.contains(&request.path)
        };
        if !known || request.query.is_empty() {
            return problem("404 Not Found", "There is nothing here.");
        }
        match self.finish.finish(&request.query).await {
            Ok(name) => page(
                "200 OK",
                "Signed in",
                &format!("{name} is signed in. You can close this page."),
            ),
            Err(error) => told(&error),
        }
    }
}

/// What a failed sign-in looks like in the browser.
fn told(error: &SignInError) -> Answer {
    let (status, title) = match error {
        SignInError::Unknown => ("410 Gone", "Not under way"),
        SignInError::Expired => ("410 Gone", "Expired"),
        SignInError::Malformed => ("400 Bad Request", "Not understood"),
        SignInError::OtherIssuer => ("403 Forbidden", "Another issuer"),
        SignInError::Denied(_) => ("403 Forbidden", "Refused"),
        SignInError::Exchange(_) => ("502 Bad Gateway", "Not completed"),
    };
    page(status, title, &in_full(error))
}

/// The error and what led to it, as one sentence for a person.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    sanitise(with_causes(error).as_bytes())
}

fn problem(status: &'static str, text: &str) -> Answer {
    page(status, status, text)
}

fn page(status: &'static str, title: &str, text: &str) -> Answer {
    let (title, text) = (escaped(title), escaped(text));
    Answer::page(
        status,
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title} - mailsluice</title>\n\
             <style>body{{font:1.1em sans-serif;max-width:36em;margin:4em auto;padding:0 1em}}</style>\n\
             <h1>{title}</h1>\n<p>{text}</p>\n</html>\n"
        ),
    )
}

/// Stands for our port in a redirect URI.
const PORT: &str = "{port}";

/// The redirect URI of a client without one of its own.
const DEFAULT: &str = "http://localhost:{port}/";

/// Connections at once; one person with a few tabs has less.
const AT_ONCE: usize = 32;

/// From accept to the end of the head; a browser on this machine takes milliseconds.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// For a page of a kilobyte to a browser on this machine.
const LAST_PAGE: Duration = Duration::from_secs(2);

/// How long to wait when nothing can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a free port of one loopback may be taken on the other.
const FREE_PORT_TRIES: u32 = 8;

#[cfg(test)]
mod tests;
