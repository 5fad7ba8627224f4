//! An issuer's endpoints: given, or from its metadata (RFC 8414, OpenID Connect Discovery 1.0), kept for a day.

use std::time::Duration;

use dashmap::DashMap;
use oauth2::url::Url;
use serde::Deserialize;
use tokio::time::Instant;

use super::error::OAuthError;
use super::http::Http;
use crate::config::oauth::{Endpoints, Issuer};

/// What was discovered, by issuer identifier.
#[derive(Default)]
pub(super) struct Metadata {
    known: DashMap<String, (Instant, Known)>,
}

/// Where an issuer is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Empty where there is none.
    pub(super) authorize: String,
    pub(super) token: String,
    pub(super) device: Option<String>,
    pub(super) revoke: Option<String>,
    /// Whether every redirect names the issuer (RFC 9207 section 3).
    pub(super) names_itself: bool,
    /// Whether a client secret goes into the body; otherwise into the Authorization header.
    pub(super) secret_in_body: bool,
}

/// The members of the metadata that count here (RFC 8414 section 2).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    #[serde(default)]
    authorization_endpoint: String,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// The endpoints of `issuer`; may ask it.
    pub(super) async fn of(&self, http: &Http, issuer: &Issuer) -> Result<Known, OAuthError> {
        if let Endpoints::Given {
            authorize,
            token,
            device,
            revoke,
        } = &issuer.endpoints
        {
            return Ok(Known {
                authorize: authorize.clone(),
                token: token.clone(),
                device: device.clone(),
                revoke: revoke.clone(),
                names_itself: false,
                // Microsoft and Google document the body; none of the presets takes only the header.
                secret_in_body: true,
            });
        }
        let identifier = issuer.identifier.as_deref().ok_or(OAuthError::NoEndpoint {
            issuer: issuer.title.clone(),
            what: "issuer identifier to discover its endpoints by",
        })?;
        let known = self.known.get(identifier).map(|entry| entry.clone());
        if let Some((at, known)) = known
            && at.elapsed() < KEPT
        {
            return Ok(known);
        }
        let found = discover(http, issuer, identifier).await?;
        let entry = (Instant::now(), found.clone());
        self.known.insert(identifier.to_owned(), entry);
        Ok(found)
    }
}

/// OpenID's place first: more issuers have it. The other is asked where that has nothing.
async fn discover(http: &Http, issuer: &Issuer, identifier: &str) -> Result<Known, OAuthError> {
    let mut failure = None;
    for url in places(identifier)? {
        let answer = match http.get(issuer.ca_file.as_deref(), &url).await {
            Ok(answer) => answer,
            Err(error) => {
                failure.get_or_insert(error);
                continue;
            }
        };
        if answer.status == 200
            && let Ok(document) = serde_json::from_slice::<Document>(answer.body.expose())
        {
            return known(document, identifier);
        }
    }
    Err(failure.unwrap_or_else(|| {
        OAuthError::Unavailable(format!("{} gave no usable metadata", issuer.title))
    }))
}

/// Appended after the path (OpenID Connect Discovery section 4), and put before it (RFC 8414 section 3.1).
fn places(identifier: &str) -> Result<[String; 2], OAuthError> {
    let url = Url::parse(identifier).map_err(|_| OAuthError::NotHttps {
        url: identifier.to_owned(),
    })?;
    let path = url.path().trim_end_matches('/').to_owned();
    let (mut openid, mut oauth) = (url.clone(), url);
    openid.set_path(&format!("{path}/.well-known/openid-configuration"));
    oauth.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    Ok([openid.into(), oauth.into()])
}

fn known(document: Document, identifier: &str) -> Result<Known, OAuthError> {
    // RFC 8414 section 3.3: identical, or the document must not be used.
    if document.issuer != identifier {
        return Err(OAuthError::OtherIssuer {
            expected: identifier.to_owned(),
        });
    }
    // RFC 8414 section 2: where it is not said, the methods are client_secret_basic alone.
    let methods = document
        .token_endpoint_auth_methods_supported
        .unwrap_or_default();
    Ok(Known {
        authorize: document.authorization_endpoint,
        token: document.token_endpoint,
        device: document.device_authorization_endpoint,
        revoke: document.revocation_endpoint,
        names_itself: document.authorization_response_iss_parameter_supported,
        secret_in_body: methods.iter().any(|method| method == "client_secret_post"),
    })
}

/// Endpoints move rarely, and with notice.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_places_are_those_of_the_rfcs() {
        assert_eq!(
            places("https://issuer.example.org/tenant/").unwrap(),
            [
                "https://issuer.example.org/tenant/.well-known/openid-configuration",
                "https://issuer.example.org/.well-known/oauth-authorization-server/tenant",
            ]
        );
        assert_eq!(
            places("https://issuer.example.org").unwrap(),
            [
                "https://issuer.example.org/.well-known/openid-configuration",
                "https://issuer.example.org/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn metadata_of_another_issuer_are_refused_and_defaults_are_those_of_the_rfc() {
        let text =
            r#"{"issuer": "https://a.example", "token_endpoint": "https://a.example/token"}"#;
        let document = || serde_json::from_str::<Document>(text).unwrap();
        let found = known(document(), "https://a.example").unwrap();
        assert!(!found.secret_in_body && !found.names_itself && found.device.is_none());
        let other = known(document(), "https://a.example/");
        assert!(matches!(other, Err(OAuthError::OtherIssuer { .. })));
    }
}
