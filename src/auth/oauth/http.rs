//! HTTP towards issuers: 10 s deadlines, no redirects, connections kept, the proxy of the environment (HTTP or SOCKS), bounded answers.
//!
//! HTTPS only, but for loopback addresses: there is nobody between (RFC 8252 section 8.3), no proxy either.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dashmap::DashMap;
use oauth2::url::{Host, form_urlencoded};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, Url};

use super::error::OAuthError;
use crate::secret::Secret;
use crate::store;

/// HTTP clients by whom they talk to. One for the whole service, so that connections are reused.
#[derive(Default)]
pub(super) struct Http {
    clients: DashMap<Kind, Client>,
}

/// What sets one client apart from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Kind {
    /// The CA file that is trusted in place of the system's roots.
    ca_file: Option<PathBuf>,
    /// The issuer is on this machine: a proxy has no part in that, and a plain request must not leave the machine.
    is_here: bool,
}

/// What an issuer answered. The body may hold tokens.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// When we may come back, where the issuer says so in seconds (RFC 9110 section 10.2.3); a date is not read.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Secret,
}

impl Http {
    /// The client for the system's roots is made at once: whether it can be is known at the start.
    pub(super) fn new() -> Result<Self, OAuthError> {
        let http = Self::default();
        http.clients
            .insert(Kind::default(), client(&Kind::default())?);
        Ok(http)
    }

    /// Sends `request`; an answer of any status is an answer.
    pub(super) async fn send(
        &self,
        ca_file: Option<&Path>,
        request: HttpRequest,
    ) -> Result<Answer, OAuthError> {
        let url = request.uri().to_string();
        let is_here = refuse_plain(&url)?;
        let ca_file = ca_file.map(Path::to_path_buf);
        let client = self.client(Kind { ca_file, is_here })?;
        let exchange = async {
            let request = reqwest::Request::try_from(request)?;
            let mut response = client.execute(request).await?;
            let status = response.status().as_u16();
            let retry_after = retry_after(response.headers());
            // One allocation: a growing buffer would leave copies of a token behind.
            let mut body = zeroize::Zeroizing::new(Vec::with_capacity(ANSWER_MAX));
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > ANSWER_MAX {
                    body.clear();
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answer {
                status,
                retry_after,
                body: Secret::new(body.to_vec()),
            })
        };
        exchange.await.map_err(|error| unavailable(&url, error))
    }

    /// Fetches `url`.
    pub(super) async fn get(
        &self,
        ca_file: Option<&Path>,
        url: &str,
    ) -> Result<Answer, OAuthError> {
        let request = oauth2::http::Request::get(url)
            .header("accept", "application/json")
            .body(Vec::new());
        let request = request.map_err(|_| not_https(url))?;
        self.send(ca_file, request).await
    }

    /// Posts a form to `url`; `basic` are client id and secret for the Authorization header (RFC 6749 section 2.3.1).
    pub(super) async fn post(
        &self,
        ca_file: Option<&Path>,
        url: &str,
        form: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<Answer, OAuthError> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut request = oauth2::http::Request::post(url)
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some((id, secret)) = basic {
            let part = |text: &str| -> String {
                form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let pair = STANDARD.encode(format!("{}:{}", part(id), part(secret)));
            request = request.header("authorization", format!("Basic {pair}"));
        }
        let request = request.body(body.into_bytes());
        self.send(ca_file, request.map_err(|_| not_https(url))?)
            .await
    }

    fn client(&self, kind: Kind) -> Result<Client, OAuthError> {
        if let Some(client) = self.clients.get(&kind) {
            return Ok(client.clone());
        }
        let made = client(&kind)?;
        self.clients.insert(kind, made.clone());
        Ok(made)
    }
}

/// Sends the requests that the `oauth2` crate builds, and keeps the answer: what it means is for `outcome` to say, which
/// tolerates more than the crate does.
pub(super) struct Recorder<'a> {
    http: &'a Http,
    ca_file: Option<&'a Path>,
    answer: Mutex<Option<Result<Answer, OAuthError>>>,
}

/// The answer is with the recorder.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
pub(super) struct NoAnswer;

impl<'a> Recorder<'a> {
    pub(super) fn new(http: &'a Http, ca_file: Option<&'a Path>) -> Self {
        Self {
            http,
            ca_file,
            answer: Mutex::new(None),
        }
    }

    /// What was answered to the last request.
    pub(super) fn answer(self) -> Result<Answer, OAuthError> {
        let answer = self
            .answer
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        answer.unwrap_or(Err(OAuthError::Interrupted))
    }
}

impl<'c> AsyncHttpClient<'c> for Recorder<'_> {
    type Error = NoAnswer;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, NoAnswer>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.http.send(self.ca_file, request).await;
            *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            Err(NoAnswer)
        })
    }
}

fn client(kind: &Kind) -> Result<Client, OAuthError> {
    let mut builder = Client::builder()
        .user_agent(concat!("mailsluice/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(DEADLINE)
        .timeout(DEADLINE)
        .referer(false);
    if let Some(path) = &kind.ca_file {
        builder = builder.tls_certs_only(certificates(path)?);
    }
    if kind.is_here {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|e| OAuthError::Setup(Arc::new(e)))
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, OAuthError> {
    let pem = store::read_bounded(path, CA_FILE_MAX).map_err(|source| OAuthError::File {
        path: path.to_owned(),
        source: Arc::new(source),
    })?;
    match Certificate::from_pem_bundle(pem.expose()) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(OAuthError::NotAKey {
            path: path.to_owned(),
            expected: "file of PEM certificates",
        }),
    }
}

/// Refuses what would send a secret in the clear. True where the issuer is on this machine.
///
/// The name `localhost` may lead elsewhere, which only TLS finds out.
fn refuse_plain(url: &str) -> Result<bool, OAuthError> {
    let parsed = Url::parse(url).map_err(|_| not_https(url))?;
    let (is_loopback, is_named_so) = match parsed.host() {
        Some(Host::Ipv4(address)) => (address.is_loopback(), false),
        Some(Host::Ipv6(address)) => (address.is_loopback(), false),
        Some(Host::Domain(name)) => (false, name == "localhost"),
        None => (false, false),
    };
    match parsed.scheme() {
        "https" => Ok(is_loopback || is_named_so),
        "http" if is_loopback => Ok(true),
        _ => Err(not_https(url)),
    }
}

fn not_https(url: &str) -> OAuthError {
    let url = url.to_owned();
    OAuthError::NotHttps { url }
}

/// What went wrong on the way, with its causes and without the URL's query.
fn unavailable(url: &str, error: reqwest::Error) -> OAuthError {
    let host = Url::parse(url).ok();
    let host = host
        .as_ref()
        .and_then(Url::host_str)
        .unwrap_or("the issuer");
    let what = if error.is_timeout() {
        format!("{host} did not answer in time")
    } else {
        let words = crate::causes::with_causes(&error.without_url());
        format!("cannot reach {host}: {words}")
    };
    OAuthError::Unavailable(what)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// From DNS to the last byte: two of them and a login's own exchanges fit in its 25 s.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Token answers have some KiB, metadata up to about 10.
const ANSWER_MAX: usize = 128 * 1024;

/// A bundle of all public roots has about 250 KiB.
const CA_FILE_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_a_loopback_address() {
        for (fine, is_here) in [
            ("https://login.example.org/token", false),
            ("https://127.0.0.1/token", true),
            ("https://localhost:8443/token", true),
            ("http://127.0.0.1:8080/token", true),
            ("http://[::1]/token", true),
        ] {
            assert_eq!(refuse_plain(fine).ok(), Some(is_here), "{fine}");
        }
        for wrong in [
            "",
            "token",
            "http://login.example.org/token",
            "http://localhost/token",
            "http://127.0.0.1.example.org/token",
            "file:///etc/passwd",
        ] {
            assert!(refuse_plain(wrong).is_err(), "{wrong}");
        }
    }
}
