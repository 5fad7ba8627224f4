//! Where people sign in and out: behind the control socket of a running service, and in the command itself where none
//! runs. Both do the same by the same code.
//!
//! A [`Visit`] is one person's conversation: it remembers the sign-in that it began, and a device code is asked about only
//! as long as somebody waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::callback::{Callback, CallbackError, in_full};
use super::request::{Failure, GrantView, Reply, Request, Way};
use crate::auth::oauth::{DeviceCode, OAuthError, SignInError, Tokens};
use crate::config::Found;
use crate::config::oauth::{Flow, Grant};
use crate::config::runtime::{AccountAuth, Config};
use crate::protocol::Protocol;

/// Where people sign in and out.
pub struct Desk {
    tokens: Tokens,
    config: Box<dyn Fn() -> Arc<Config> + Send + Sync>,
    callback: Mutex<Option<Callback>>,
}

/// One conversation.
pub struct Visit {
    desk: Arc<Desk>,
    under_way: Option<UnderWay>,
}

/// What was begun.
enum UnderWay {
    Redirect { grant: Arc<Grant>, state: String },
    Device { grant: Arc<Grant>, code: DeviceCode },
}

/// Why a sign-in cannot begin.
#[derive(Debug, thiserror::Error)]
enum DeskError {
    #[error("there is no account {0}; see: mailsluice account list")]
    NoAccount(String),
    #[error("{0} does not use OAuth: there is nothing to sign in to")]
    NoOAuth(String),
    #[error("{0} gets its tokens without a person: there is nobody to sign in")]
    NoPerson(String),
    #[error(transparent)]
    Callback(#[from] CallbackError),
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    #[error(transparent)]
    SignIn(#[from] SignInError),
    #[error("no sign-in was begun here")]
    NothingBegun,
    #[error("no service runs here")]
    NoService,
}

impl Desk {
    /// A desk for the grants of whatever configuration holds at the time.
    pub fn new(
        tokens: Tokens,
        config: impl Fn() -> Arc<Config> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            tokens,
            config: Box::new(config),
            callback: Mutex::new(None),
        })
    }

    /// Opens the callback listener where it is not open on the configured port. Without this it opens with the first
    /// sign-in that needs it.
    pub async fn open_callback(&self) -> Result<(), CallbackError> {
        let port = (self.config)().sign_in.port;
        let mut callback = self.callback.lock().await;
        let wanted = |open: &Callback| port == 0 || open.port() == port;
        if !callback.as_ref().is_some_and(wanted) {
            *callback = Some(Callback::open(port, self.tokens.clone()).await?);
        }
        Ok(())
    }

    /// Sends the last page and closes the callback listener.
    pub async fn close(&self) {
        if let Some(callback) = self.callback.lock().await.take() {
            callback.close().await;
        }
    }

    /// A new conversation.
    pub fn visit(self: &Arc<Self>) -> Visit {
        Visit {
            desk: Arc::clone(self),
            under_way: None,
        }
    }

    /// How all grants stand, in the order of their names.
    pub async fn grants(&self) -> Vec<GrantView> {
        let config = (self.config)();
        let mut views = Vec::new();
        for (grant, accounts) in with_accounts(&config).into_values() {
            let state = self.tokens.state(&grant).await;
            views.push(GrantView::new(grant.name.clone(), accounts, state));
        }
        views
    }

    /// The grant of an account, or of this name.
    fn grant(&self, name: &str) -> Result<Arc<Grant>, DeskError> {
        let config = (self.config)();
        let by_account = Protocol::ALL.into_iter().find_map(|protocol| {
            match config.accounts.find(protocol, name, None) {
                Found::Account(account) | Found::ProtocolOff(account) => Some(account),
                Found::Unknown => None,
            }
        });
        match by_account.map(|account| account.auth.clone()) {
            Some(AccountAuth::OAuth(grant)) => Ok(grant),
            Some(_) => Err(DeskError::NoOAuth(name.to_owned())),
            None => grants(&config)
                .into_iter()
                .find(|grant| grant.name == name)
                .ok_or_else(|| DeskError::NoAccount(name.to_owned())),
        }
    }

    async fn begin(&self, grant: Arc<Grant>, way: Way) -> Result<(Reply, UnderWay), DeskError> {
        if !grant.flow.needs_person() {
            return Err(DeskError::NoPerson(grant.name.clone()));
        }
        if way == Way::Device || grant.flow == Flow::Device {
            let code = self.tokens.sign_ins().device(Arc::clone(&grant)).await?;
            let reply = Reply::Code {
                user_code: code.user_code.clone(),
                url: code.verification_uri.clone(),
                url_with_code: code.verification_uri_complete.clone(),
                expires_s: seconds_until(code.expires),
            };
            return Ok((reply, UnderWay::Device { grant, code }));
        }
        self.open_callback().await?;
        let redirect_uri = match &*self.callback.lock().await {
            Some(callback) => callback.redirect_uri(&grant.client),
            None => return Err(DeskError::NothingBegun),
        };
        let sign_ins = self.tokens.sign_ins();
        let begun = sign_ins.begin(Arc::clone(&grant), &redirect_uri).await?;
        let reply = Reply::Open {
            url: begun.url,
            expires_s: seconds_until(begun.expires),
        };
        let state = begun.state;
        Ok((reply, UnderWay::Redirect { grant, state }))
    }

    /// What a person who was not asking has to know to sign in, for `on_needed`. A device code is asked about by the
    /// future that comes with it.
    pub(super) async fn invite(
        self: &Arc<Self>,
        grant: Arc<Grant>,
    ) -> (Reply, BoxFuture<'static, Reply>) {
        let mut visit = self.visit();
        let begun = visit.begin(grant, Way::Configured).await;
        let reply = begun.unwrap_or_else(|error| failed(&error));
        let waiting = async move {
            let waited = visit.wait().await;
            waited.unwrap_or_else(|error| failed(&error))
        };
        (reply, Box::pin(waiting))
    }
}

impl Visit {
    /// Answers one request. [`Request::Wait`] takes as long as the person does; dropping the future gives up nothing
    /// but the wait, and a device code.
    pub async fn answer(&mut self, request: Request) -> Reply {
        let answered = match request {
            Request::Grants => Ok(Reply::Grants(self.desk.grants().await)),
            // Only a service has one, and its control socket answers it.
            Request::Status => Err(DeskError::NoService),
            Request::SignIn { account, way } => match self.desk.grant(&account) {
                Ok(grant) => self.begin(grant, way).await,
                Err(error) => Err(error),
            },
            Request::Paste { address } => self.paste(&address).await,
            Request::Wait => self.wait().await,
            Request::SignOut { account } => self.sign_out(&account).await,
        };
        answered.unwrap_or_else(|error| failed(&error))
    }

    async fn begin(&mut self, grant: Arc<Grant>, way: Way) -> Result<Reply, DeskError> {
        self.under_way = None;
        let (reply, under_way) = self.desk.begin(grant, way).await?;
        self.under_way = Some(under_way);
        Ok(reply)
    }

    async fn paste(&mut self, address: &str) -> Result<Reply, DeskError> {
        let grant = self.desk.tokens.sign_ins().finish(address.trim()).await?;
        Ok(done(&grant))
    }

    async fn wait(&mut self) -> Result<Reply, DeskError> {
        let sign_ins = self.desk.tokens.sign_ins();
        match self.under_way.take() {
            Some(UnderWay::Redirect { grant, state }) => {
                sign_ins.wait(&state).await?;
                Ok(done(&grant))
            }
            Some(UnderWay::Device { grant, code }) => {
                sign_ins.wait_device(Arc::clone(&grant), code).await?;
                Ok(done(&grant))
            }
            None => Err(DeskError::NothingBegun),
        }
    }

    async fn sign_out(&mut self, account: &str) -> Result<Reply, DeskError> {
        let grant = self.desk.grant(account)?;
        self.desk.tokens.sign_out(&grant).await?;
        Ok(done(&grant))
    }
}

/// Every grant once, in the order of their names.
pub fn grants(config: &Config) -> Vec<Arc<Grant>> {
    let served = with_accounts(config);
    served.into_values().map(|(grant, _)| grant).collect()
}

/// By name: every grant, and the accounts that it serves.
fn with_accounts(config: &Config) -> BTreeMap<&str, (Arc<Grant>, Vec<String>)> {
    let mut served = BTreeMap::new();
    for account in &config.accounts.all {
        if let AccountAuth::OAuth(grant) = &account.auth {
            let (_, accounts) = served
                .entry(grant.name.as_str())
                .or_insert_with(|| (Arc::clone(grant), Vec::new()));
            accounts.push(account.address.clone());
        }
    }
    served
}

/// The accounts that `grant` serves.
pub(super) fn accounts_of(config: &Config, grant: &Grant) -> Vec<String> {
    let uses =
        |auth: &AccountAuth| matches!(auth, AccountAuth::OAuth(own) if own.name == grant.name);
    let accounts = config.accounts.all.iter().filter(|a| uses(&a.auth));
    accounts.map(|account| account.address.clone()).collect()
}

fn done(grant: &Grant) -> Reply {
    Reply::Done {
        grant: grant.name.clone(),
    }
}

fn failed(error: &DeskError) -> Reply {
    let kind = match error {
        DeskError::NoAccount(_) | DeskError::NoOAuth(_) | DeskError::NoPerson(_) => {
            Failure::NoAccount
        }
        DeskError::NothingBegun | DeskError::NoService => Failure::NotUnderstood,
        DeskError::Callback(_) | DeskError::SignIn(SignInError::Exchange(_)) => {
            Failure::Unavailable
        }
        DeskError::OAuth(OAuthError::Refused(_)) | DeskError::SignIn(_) => Failure::Refused,
        DeskError::OAuth(_) => Failure::Unavailable,
    };
    Reply::Failed {
        kind,
        why: in_full(error),
    }
}

fn seconds_until(time: SystemTime) -> u64 {
    let left = time.duration_since(SystemTime::now());
    left.map_or(0, |left| left.as_secs())
}

#[cfg(test)]
mod tests;
