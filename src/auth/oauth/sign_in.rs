//! [`SignIns`]: sign-ins under way, matched by `state`.
//!
//! Each has a `state` of 128 random bits, compared in constant time and good for one answer; a PKCE verifier (RFC 7636,
//! method S256, always); ten minutes. An answer names its issuer where the issuer said it would (RFC 9207). All of it is
//! in memory: a sign-in that the service did not live to see is begun anew.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::{constant_time, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth2::url::form_urlencoded;
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::system_time;
use super::error::{OAuthError, SignInError};
use super::outcome;
use super::tokens::Core;
use crate::auth::token::{ANY, Given, Outcome, Unix};
use crate::config::oauth::{Flow, Grant};
use crate::secret::Secret;

/// The sign-ins under way, of all grants.
pub struct SignIns {
    pub(super) core: Arc<Core>,
    under_way: Mutex<Vec<UnderWay>>,
}

/// A sign-in that has begun: where the person goes.
pub struct Begun {
    /// What the browser opens.
    pub url: String,
    /// What the redirect is matched by.
    pub state: String,
    /// When it is too late.
    pub expires: SystemTime,
}

/// One sign-in.
struct UnderWay {
    state: Secret,
    expires: Instant,
    /// Until the answer has come.
    open: Option<Open>,
    end: End,
}

/// Tells those who wait how a sign-in ended.
type End = watch::Sender<Option<Result<(), SignInError>>>;

/// What the answer is checked and exchanged with.
struct Open {
    grant: Arc<Grant>,
    verifier: Secret,
    redirect_uri: String,
    /// Whether the redirect must name the issuer.
    names_itself: bool,
}

/// The parameters of a redirect that count.
#[derive(Default)]
struct Redirect {
    state: String,
    code: Option<Secret>,
    issuer: Option<String>,
    error: Option<String>,
    description: String,
}

impl SignIns {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            under_way: Mutex::default(),
        }
    }

    /// Begins a sign-in by authorization code and PKCE; the issuer sends the person back to `redirect_uri`.
    pub async fn begin(&self, grant: Arc<Grant>, redirect_uri: &str) -> Result<Begun, OAuthError> {
        if grant.flow != Flow::AuthorizationCode {
            return Err(other_flow(&grant, "a sign-in in the browser"));
        }
        let state = random_state()?;
        let (challenge, verifier) = pkce()?;
        let (url, names_itself) = self
            .core
            .issuers
            .authorize_url(&grant, &state, challenge, redirect_uri)
            .await?;
        let until = self.pending(&grant, EXPIRES);
        let sign_in = UnderWay {
            state: Secret::from(state.as_str()),
            expires: Instant::now() + EXPIRES,
            open: Some(Open {
                grant,
                verifier,
                redirect_uri: redirect_uri.to_owned(),
                names_itself,
            }),
            end: watch::Sender::new(None),
        };
        let mut under_way = super::slot::locked(&self.under_way);
        under_way.retain(|other| other.expires > Instant::now());
        if under_way.len() >= UNDER_WAY_MAX {
            return Err(OAuthError::TooMany);
        }
        under_way.push(sign_in);
        Ok(Begun {
            url,
            state,
            expires: system_time(until),
        })
    }

    /// Finishes the sign-in that `query`, the raw query of the redirect or the whole pasted URL, belongs to.
    ///
    /// Goes on to its end also where the caller goes away: a code is good for one exchange.
    pub async fn finish(&self, query: &str) -> Result<Arc<Grant>, SignInError> {
        let redirect = Redirect::read(query)?;
        let (open, end) = self.take(&redirect.state)?;
        let core = Arc::clone(&self.core);
        let task = tokio::spawn(async move {
            let result = exchange(&core, &open, redirect).await;
            if result.is_err() {
                core.slot(&open.grant).life().pending_over();
            }
            end.send_replace(Some(result.clone()));
            result.map(|()| open.grant)
        });
        task.await.unwrap_or(Err(OAuthError::Interrupted.into()))
    }

    /// Waits until the sign-in of `state` ends.
    pub async fn wait(&self, state: &str) -> Result<(), SignInError> {
        let (mut end, expires) = {
            let under_way = super::slot::locked(&self.under_way);
            let sign_in = under_way.iter().find(|sign_in| sign_in.is(state));
            let sign_in = sign_in.ok_or(SignInError::Unknown)?;
            (sign_in.end.subscribe(), sign_in.expires)
        };
        let ended = end.wait_for(Option::is_some);
        match tokio::time::timeout_at(expires, ended).await {
            Ok(Ok(result)) => result.clone().unwrap_or(Err(SignInError::Unknown)),
            // Dropped unfinished: it made room for others, or the service stops.
            Ok(Err(_)) | Err(_) => Err(SignInError::Expired),
        }
    }

    /// Marks the sign-in of a person as under way; until when it is.
    pub(super) fn pending(&self, grant: &Grant, lasts: Duration) -> Unix {
        let lasts = Unix::try_from(lasts.as_secs()).unwrap_or(Unix::MAX);
        let until = self.core.clock.now().saturating_add(lasts);
        self.core.slot(grant).life().pending(until);
        until
    }

    /// The sign-in of `state`, once. All are compared, each in constant time.
    fn take(&self, state: &str) -> Result<(Open, End), SignInError> {
        let mut under_way = super::slot::locked(&self.under_way);
        let mut found = None;
        for sign_in in under_way.iter_mut() {
            if sign_in.is(state) {
                found = Some(sign_in);
            }
        }
        let sign_in = found.ok_or(SignInError::Unknown)?;
        let open = sign_in.open.take().ok_or(SignInError::Unknown)?;
        if sign_in.expires <= Instant::now() {
            self.core.slot(&open.grant).life().pending_over();
            return Err(SignInError::Expired);
        }
        Ok((open, sign_in.end.clone()))
    }
}

impl UnderWay {
    fn is(&self, state: &str) -> bool {
        constant_time::verify_slices_are_equal(self.state.expose(), state.as_bytes()).is_ok()
    }
}

impl Redirect {
    /// Decodes once. A parameter given twice is nobody's honest answer (RFC 6749 section 3.1).
    fn read(query: &str) -> Result<Self, SignInError> {
        let query = query.trim();
        let query = query.split_once('?').map_or(query, |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        if query.len() > QUERY_MAX {
            return Err(SignInError::Malformed);
        }
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if seen.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(SignInError::Malformed);
            }
        }
        let redirect = Self {
            state: seen.remove("state").unwrap_or_default(),
            code: seen.remove("code").map(Secret::from),
            issuer: seen.remove("iss"),
            error: seen.remove("error"),
            description: seen.remove("error_description").unwrap_or_default(),
        };
        if redirect.state.is_empty() || redirect.code.is_some() == redirect.error.is_some() {
            return Err(SignInError::Malformed);
        }
        Ok(redirect)
    }
}

async fn exchange(core: &Core, open: &Open, redirect: Redirect) -> Result<(), SignInError> {
    let expected = open.grant.issuer.identifier.as_deref();
    match (redirect.issuer.as_deref(), expected) {
        // RFC 9207 section 2.4: compared as text, and missing only where it was not promised.
        (Some(said), Some(expected)) if said != expected => return Err(SignInError::OtherIssuer),
        (None, _) if open.names_itself => return Err(SignInError::OtherIssuer),
        _ => {}
    }
    let code = match (redirect.code, redirect.error) {
        (Some(code), None) => code,
        (_, Some(error)) => {
            let words = outcome::words(&error, &redirect.description);
            return Err(SignInError::Denied(words));
        }
        (None, None) => return Err(SignInError::Malformed),
    };
    let answer = core
        .issuers
        .exchange(&open.grant, &code, &open.verifier, &open.redirect_uri)
        .await?;
    commit(core, &open.grant, answer).await
}

/// Puts what a sign-in brought in force.
pub(super) async fn commit(core: &Core, grant: &Grant, answer: Outcome) -> Result<(), SignInError> {
    let given: Given = match answer {
        Outcome::Refreshed(given) => given,
        Outcome::Transient { why, .. } => return Err(OAuthError::Unavailable(why).into()),
        Outcome::Permanent { why, .. } => return Err(OAuthError::Refused(why).into()),
    };
    let audience = (!grant.scopes.separate).then_some(ANY);
    let (now, jitter) = (core.clock.now(), core.jitter());
    let slot = core.slot(grant);
    core.signed_in(&slot, |life| {
        life.signed_in(audience, given.clone(), now, jitter)
    })
    .await?;
    tracing::info!(grant = grant.name, "signed in");
    Ok(())
}

pub(super) fn other_flow(grant: &Grant, what: &'static str) -> OAuthError {
    OAuthError::OtherFlow {
        grant: grant.name.clone(),
        what,
    }
}

/// 128 bits, in characters that no URL has to encode.
fn random_state() -> Result<String, OAuthError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| OAuthError::Cryptography)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// 256 bits, as RFC 7636 section 4.1 recommends.
fn pkce() -> Result<(PkceCodeChallenge, Secret), OAuthError> {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| OAuthError::Cryptography)?;
    let verifier = PkceCodeVerifier::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    Ok((challenge, Secret::from(verifier.into_secret())))
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SignIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIns").finish_non_exhaustive()
    }
}

/// How long a person has: enough for a second factor that has to be looked for.
const EXPIRES: Duration = Duration::from_secs(10 * 60);

/// Sign-ins at once: more than a service has accounts that need one.
const UNDER_WAY_MAX: usize = 1_000;

/// A redirect is the target of one HTTP request line; codes have up to about 2 KiB.
const QUERY_MAX: usize = 16 * 1024;
