//! The way to an upstream: its endpoint, and what is needed to get past the proxy before it.

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::auth::Authenticator;
use crate::config::runtime::Endpoint;
use crate::net::{Dialler, NetError, PROXY, PROXY_LOGIN, dial_through};
use crate::proto::refusal::{Cause, Refusal};
use crate::secret::Secret;

/// Where to connect, and how.
#[derive(Clone, Debug)]
pub(super) struct Way<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) proxy_password: Option<Secret>,
}

impl<'a> Way<'a> {
    /// The way to `endpoint`. A proxy's password may have to be asked for first.
    pub(super) async fn to(
        endpoint: &'a Endpoint,
        authenticator: &Authenticator,
        deadline: Instant,
    ) -> Result<Self, Refusal> {
        let proxy_password = match &endpoint.proxy {
            None => None,
            Some(proxy) => timeout_at(deadline, authenticator.proxy_password(proxy))
                .await
                .unwrap_or_else(|_| {
                    let text = format!("there was no password for {proxy} in time");
                    Err(Refusal::new(Cause::Unavailable, PROXY, text))
                })?,
        };
        Ok(Self {
            endpoint,
            proxy_password,
        })
    }

    /// A connection to the upstream that has said nothing yet. The caller sets the deadline.
    pub(super) async fn dial(&self, dialler: &Dialler) -> Result<TcpStream, NetError> {
        let Endpoint { host, port, .. } = self.endpoint;
        match &self.endpoint.proxy {
            None => dialler.dial(host, *port).await,
            Some(proxy) => {
                let password = self.proxy_password.as_ref();
                dial_through(dialler, proxy, password, host, *port).await
            }
        }
    }

    /// The phase that dialling belongs to.
    pub(super) fn phase(&self) -> &'static str {
        if self.endpoint.proxy.is_some() {
            PROXY
        } else {
            "connect"
        }
    }

    /// Who is being waited for in `phase`.
    pub(super) fn awaited(&self, phase: &'static str) -> String {
        match &self.endpoint.proxy {
            Some(proxy) if phase == PROXY => format!("the proxy {proxy}"),
            _ => self.endpoint.host.clone(),
        }
    }

    /// Takes note of why there is no connection: a password that the proxy refused is asked for anew next time.
    pub(super) fn learn(&self, refusal: &Refusal, authenticator: &Authenticator) {
        if let (PROXY_LOGIN, Some(proxy)) = (refusal.phase, &self.endpoint.proxy) {
            authenticator.proxy_refused(proxy);
        }
    }
}
