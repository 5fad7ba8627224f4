//! The requests of each flow: what is sent to the issuer. What comes of the answer is in `outcome`.
//!
//! | flow | request | RFC |
//! |---|---|---|
//! | a refresh token is held | `refresh_token` | 6749 section 6 |
//! | authorization code | `authorization_code` with the PKCE verifier | 6749 section 4.1, 7636, 8252 |
//! | device | see `device.rs` | 8628 |
//! | client credentials | `client_credentials` | 6749 section 4.4 |
//! | resource owner password | `password` | 6749 section 4.3 |
//! | service account | `urn:ietf:params:oauth:grant-type:jwt-bearer` | 7523 section 2.1 |
//!
//! In each of them the client proves itself as configured: not at all, by a secret, or by a signed JWT (RFC 7523).

use std::borrow::Cow;

use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, ResourceOwnerPassword, ResourceOwnerUsername,
    Scope, TokenUrl,
};

use super::assertion;
use super::error::OAuthError;
use super::http::{Answer, Http, Recorder};
use super::metadata::{Known, Metadata};
use super::outcome;
use crate::auth::source;
use crate::auth::token::{ANY, Audience, Outcome};
use crate::config::oauth::{ClientProof, Flow, Grant};
use crate::secret::Secret;
use crate::store::Store;

/// Asks issuers. One for the whole service.
pub(super) struct Issuers {
    http: Http,
    metadata: Metadata,
    store: Store,
}

/// What goes along with each request: who we are, and what is configured.
pub(super) struct Identity {
    pub(super) known: Known,
    pub(super) parameters: Vec<(String, String)>,
    client: BasicClient,
    secret: Option<Secret>,
}

impl Issuers {
    pub(super) fn new(store: Store) -> Result<Self, OAuthError> {
        Ok(Self {
            http: Http::new()?,
            metadata: Metadata::default(),
            store,
        })
    }

    /// Obtains an access token for `audience`: by the refresh token if there is one, otherwise anew.
    pub(super) async fn token(
        &self,
        grant: &Grant,
        audience: Audience,
        refresh: Option<&Secret>,
    ) -> Outcome {
        match self.try_token(grant, audience, refresh).await {
            Ok(outcome) => outcome,
            Err(error) => outcome::of_failure(&error),
        }
    }

    /// Exchanges the code of a redirect.
    pub(super) async fn exchange(
        &self,
        grant: &Grant,
        code: &Secret,
        verifier: &Secret,
        redirect_uri: &str,
    ) -> Result<Outcome, OAuthError> {
        let identity = self.identity(grant).await?;
        let redirect =
            RedirectUrl::new(redirect_uri.to_owned()).map_err(|_| not_url(redirect_uri))?;
        let client = identity.with_token_endpoint()?;
        let mut request = client
            .exchange_code(AuthorizationCode::new(text(code)))
            .set_pkce_verifier(PkceCodeVerifier::new(text(verifier)))
            .set_redirect_uri(Cow::Borrowed(&redirect));
        for (name, value) in &identity.parameters {
            request = request.add_extra_param(name, value);
        }
        let recorder = self.recorder(grant);
        // The recorder has what was answered.
        let _ = request.request_async(&recorder).await;
        let sent = [code, verifier];
        Ok(outcome::of(recorder.answer(), &grant.issuer.title, &sent))
    }

    /// Where the browser goes, always with a PKCE challenge of method S256, and whether the issuer will name itself in
    /// the redirect.
    pub(super) async fn authorize_url(
        &self,
        grant: &Grant,
        state: &str,
        challenge: PkceCodeChallenge,
        redirect_uri: &str,
    ) -> Result<(String, bool), OAuthError> {
        let known = self.metadata.of(&self.http, &grant.issuer).await?;
        if known.authorize.is_empty() {
            return Err(no_endpoint(grant, "authorization endpoint"));
        }
        let endpoint =
            AuthUrl::new(known.authorize.clone()).map_err(|_| not_url(&known.authorize))?;
        let redirect =
            RedirectUrl::new(redirect_uri.to_owned()).map_err(|_| not_url(redirect_uri))?;
        let client =
            BasicClient::new(ClientId::new(grant.client.id.clone())).set_auth_uri(endpoint);
        let state = state.to_owned();
        let mut request = client
            .authorize_url(move || CsrfToken::new(state))
            .set_redirect_uri(Cow::Borrowed(&redirect))
            .set_pkce_challenge(challenge)
            .add_scopes(scopes(grant, ANY).into_iter().map(Scope::new));
        for (name, value) in &grant.authorize_parameters {
            request = request.add_extra_param(name, value);
        }
        Ok((request.url().0.into(), known.names_itself))
    }

    /// Revokes a refresh token (RFC 7009). False where the issuer has no way to.
    pub(super) async fn revoke(&self, grant: &Grant, refresh: &Secret) -> Result<bool, OAuthError> {
        let identity = self.identity(grant).await?;
        let Some(url) = identity.known.revoke.clone() else {
            return Ok(false);
        };
        let token = text(refresh);
        let form = [
            ("token", token.as_str()),
            ("token_type_hint", "refresh_token"),
        ];
        let answer = self.post(grant, &identity, &url, &form).await?;
        if answer.status == 200 {
            return Ok(true);
        }
        let words = outcome::error_in(&answer, &[refresh]).map(|refused| refused.why);
        let words = words.unwrap_or_else(|| format!("HTTP status {}", answer.status));
        Err(OAuthError::Refused(words))
    }

    /// Posts `form` with who we are to `url`.
    pub(super) async fn post(
        &self,
        grant: &Grant,
        identity: &Identity,
        url: &str,
        form: &[(&str, &str)],
    ) -> Result<Answer, OAuthError> {
        let secret = identity.secret.as_ref().map(text);
        let mut form = form.to_vec();
        let mut basic = None;
        match &secret {
            Some(secret) if !identity.known.secret_in_body => {
                basic = Some((grant.client.id.as_str(), secret.as_str()));
            }
            Some(secret) => {
                form.extend([
                    ("client_id", grant.client.id.as_str()),
                    ("client_secret", secret),
                ]);
            }
            None => form.push(("client_id", &grant.client.id)),
        }
        for (name, value) in &identity.parameters {
            form.push((name, value));
        }
        let ca_file = grant.issuer.ca_file.as_deref();
        self.http.post(ca_file, url, &form, basic).await
    }

    /// Who we are to the issuer of `grant`; may ask for metadata and secrets.
    pub(super) async fn identity(&self, grant: &Grant) -> Result<Identity, OAuthError> {
        let known = self.metadata.of(&self.http, &grant.issuer).await?;
        let mut parameters: Vec<_> = grant
            .token_parameters
            .iter()
            .filter(|(name, _)| *name != USERNAME)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut client = BasicClient::new(ClientId::new(grant.client.id.clone())).set_auth_type(
            match known.secret_in_body {
                true => AuthType::RequestBody,
                false => AuthType::BasicAuth,
            },
        );
        let mut kept = None;
        match &grant.client.proof {
            ClientProof::None => {}
            ClientProof::Secret(source) => {
                let secret = source::ask(source, &grant.client.id, &self.store).await?;
                client = client.set_client_secret(ClientSecret::new(text(&secret)));
                kept = Some(secret);
            }
            ClientProof::Assertion { certificate, key } => {
                let (id, audience) = (grant.client.id.clone(), known.token.clone());
                let (certificate, key) = (certificate.clone(), key.clone());
                let proof = off_the_runtime(move || {
                    assertion::of_client(&id, &audience, &key, certificate.as_deref())
                });
                parameters.push(("client_assertion_type".into(), ASSERTION_TYPE.into()));
                parameters.push(("client_assertion".into(), text(&proof.await?)));
            }
        }
        Ok(Identity {
            known,
            parameters,
            client,
            secret: kept,
        })
    }

    async fn try_token(
        &self,
        grant: &Grant,
        audience: Audience,
        refresh: Option<&Secret>,
    ) -> Result<Outcome, OAuthError> {
        if let Flow::ServiceAccount { key, subject } = &grant.flow {
            return self.service_account(grant, audience, key, subject).await;
        }
        let identity = self.identity(grant).await?;
        let recorder = self.recorder(grant);
        match (refresh, &grant.flow) {
            (Some(refresh), _) => {
                self.refresh(grant, audience, &identity, refresh, &recorder)
                    .await?;
            }
            (None, Flow::ClientCredentials) => {
                let client = identity.with_token_endpoint()?;
                let mut request = client
                    .exchange_client_credentials()
                    .add_scopes(scopes(grant, audience).into_iter().map(Scope::new));
                for (name, value) in &identity.parameters {
                    request = request.add_extra_param(name, value);
                }
                let _ = request.request_async(&recorder).await;
            }
            (None, Flow::Password(source)) => {
                let password = source::ask(source, &grant.name, &self.store).await?;
                self.password(grant, audience, &identity, &password, &recorder)
                    .await?;
                let title = &grant.issuer.title;
                return Ok(outcome::of(recorder.answer(), title, &[&password]));
            }
            (None, _) => {
                return Err(OAuthError::OtherFlow {
                    grant: grant.name.clone(),
                    what: "a request without a refresh token",
                });
            }
        }
        let sent: Vec<&Secret> = refresh.into_iter().chain(&identity.secret).collect();
        Ok(outcome::of(recorder.answer(), &grant.issuer.title, &sent))
    }

    async fn refresh(
        &self,
        grant: &Grant,
        audience: Audience,
        identity: &Identity,
        refresh: &Secret,
        recorder: &Recorder<'_>,
    ) -> Result<(), OAuthError> {
        let client = identity.with_token_endpoint()?;
        let token = RefreshToken::new(text(refresh));
        let mut request = client.exchange_refresh_token(&token);
        if grant.scopes.separate {
            // Otherwise the scope that was granted is meant (RFC 6749 section 6), whatever it is called now.
            request = request.add_scopes(scopes(grant, audience).into_iter().map(Scope::new));
        }
        for (name, value) in &identity.parameters {
            request = request.add_extra_param(name, value);
        }
        let _ = request.request_async(recorder).await;
        Ok(())
    }

    async fn password(
        &self,
        grant: &Grant,
        audience: Audience,
        identity: &Identity,
        password: &Secret,
        recorder: &Recorder<'_>,
    ) -> Result<(), OAuthError> {
        let client = identity.with_token_endpoint()?;
        let user = grant.token_parameters.get(USERNAME).unwrap_or(&grant.name);
        let user = ResourceOwnerUsername::new(user.clone());
        let password = ResourceOwnerPassword::new(text(password));
        let mut request = client
            .exchange_password(&user, &password)
            .add_scopes(scopes(grant, audience).into_iter().map(Scope::new));
        for (name, value) in &identity.parameters {
            request = request.add_extra_param(name, value);
        }
        let _ = request.request_async(recorder).await;
        Ok(())
    }

    async fn service_account(
        &self,
        grant: &Grant,
        audience: Audience,
        key: &std::path::Path,
        subject: &str,
    ) -> Result<Outcome, OAuthError> {
        let known = self.metadata.of(&self.http, &grant.issuer).await?;
        let (key, subject) = (key.to_owned(), subject.to_owned());
        let scope = scopes(grant, audience).join(" ");
        let (assertion, endpoint) = off_the_runtime(move || {
            assertion::of_service_account(&key, &subject, &scope, &known.token)
        })
        .await?;
        let sent = text(&assertion);
        let mut form = vec![("grant_type", JWT_BEARER), ("assertion", sent.as_str())];
        for (name, value) in &grant.token_parameters {
            form.push((name, value));
        }
        let ca_file = grant.issuer.ca_file.as_deref();
        let answer = self.http.post(ca_file, &endpoint, &form, None).await;
        Ok(outcome::of(answer, &grant.issuer.title, &[&assertion]))
    }

    fn recorder<'a>(&'a self, grant: &'a Grant) -> Recorder<'a> {
        Recorder::new(&self.http, grant.issuer.ca_file.as_deref())
    }
}

impl Identity {
    fn with_token_endpoint(
        &self,
    ) -> Result<
        BasicClient<
            oauth2::EndpointNotSet,
            oauth2::EndpointNotSet,
            oauth2::EndpointNotSet,
            oauth2::EndpointNotSet,
            oauth2::EndpointSet,
        >,
        OAuthError,
    > {
        let url = &self.known.token;
        let endpoint = TokenUrl::new(url.clone()).map_err(|_| not_url(url))?;
        Ok(self.client.clone().set_token_uri(endpoint))
    }
}

/// What is asked for: the common scopes, and those of one protocol or of all.
pub(super) fn scopes(grant: &Grant, audience: Audience) -> Vec<String> {
    let of_protocols = grant
        .scopes
        .by_protocol
        .iter()
        .filter(|(protocol, _)| audience == ANY || protocol.name() == audience)
        .flat_map(|(_, scopes)| scopes);
    let mut all: Vec<String> = Vec::new();
    for scope in of_protocols.chain(&grant.scopes.common) {
        if !all.contains(scope) {
            all.push(scope.clone());
        }
    }
    all
}

/// The `oauth2` crate takes text only. Tokens are text; a secret that is none is sent as far as it is one, and refused.
pub(super) fn text(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

pub(super) fn no_endpoint(grant: &Grant, what: &'static str) -> OAuthError {
    OAuthError::NoEndpoint {
        issuer: grant.issuer.title.clone(),
        what,
    }
}

/// Files are read, and RSA takes milliseconds.
async fn off_the_runtime<T: Send + 'static>(
    blocking: impl FnOnce() -> Result<T, OAuthError> + Send + 'static,
) -> Result<T, OAuthError> {
    let finished = tokio::task::spawn_blocking(blocking).await;
    finished.unwrap_or(Err(OAuthError::Interrupted))
}

fn not_url(url: &str) -> OAuthError {
    let url = url.to_owned();
    OAuthError::NotHttps { url }
}

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// RFC 7523 section 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A token parameter of this name is the user of the password flow, where that is not the grant's name.
const USERNAME: &str = "username";
