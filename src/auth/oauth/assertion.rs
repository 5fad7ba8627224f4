//! Signed JWTs (RFC 7519, RFC 7523): as proof of the client, and as a Google service account's grant.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::json;

use super::error::OAuthError;
use crate::auth::SecretError;
use crate::secret::{Audience, Secret};
use crate::store;

/// The proof of `client_id` for one request to the token endpoint `audience` (RFC 7523 section 2.2).
pub(super) fn of_client(
    client_id: &str,
    audience: &str,
    key: &Path,
    certificate: Option<&Path>,
) -> Result<Secret, OAuthError> {
    let signer = Signer::from_pem(key, &private(key)?, certificate.is_some())?;
    let header = match certificate {
        // RFC 7515 section 4.1.8; Entra finds the registered key by it.
        Some(path) => {
            let leaf = digest::digest(&digest::SHA256, &leaf(path)?);
            let thumbprint = URL_SAFE_NO_PAD.encode(leaf);
            json!({"alg": signer.algorithm(), "typ": "JWT", "x5t#S256": thumbprint})
        }
        None => json!({"alg": signer.algorithm(), "typ": "JWT"}),
    };
    let now = now();
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": audience, "jti": random_id()?,
        "iat": now, "nbf": now - CLOCK_SLACK, "exp": now + PROOF_LASTS,
    });
    signer.sign(&header, &claims)
}

/// What a service account's key file says.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key_id: String,
    private_key: String,
    token_uri: String,
}

/// A service account's request to act for `subject`: the assertion, and the token endpoint that the key file names.
pub(super) fn of_service_account(
    key: &Path,
    subject: &str,
    scope: &str,
    token_endpoint: &str,
) -> Result<(Secret, String), OAuthError> {
    let not_a_key = || OAuthError::NotAKey {
        path: key.to_owned(),
        expected: "key file of a service account (JSON)",
    };
    let content = private(key)?;
    let file: KeyFile = serde_json::from_slice(content.expose()).map_err(|_| not_a_key())?;
    let endpoint = match token_endpoint {
        "" => file.token_uri,
        given => given.to_owned(),
    };
    let signer = Signer::from_pem(key, &Secret::from(file.private_key), false)?;
    let header = json!({"alg": signer.algorithm(), "typ": "JWT", "kid": file.private_key_id});
    let now = now();
    let claims = json!({
        "iss": file.client_email, "sub": subject, "scope": scope, "aud": endpoint,
        "iat": now, "exp": now + GRANT_LASTS,
    });
    Ok((signer.sign(&header, &claims)?, endpoint))
}

enum Signer {
    /// Probabilistic padding: what Entra wants with a certificate.
    Ps256(RsaKeyPair),
    /// What every issuer knows.
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
}

impl Signer {
    fn from_pem(path: &Path, pem: &Secret, pss: bool) -> Result<Self, OAuthError> {
        let not_a_key = || OAuthError::NotAKey {
            path: path.to_owned(),
            expected: "PEM private key, RSA or P-256",
        };
        let key = PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| not_a_key())?;
        let rsa = match &key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
            _ => None,
        };
        if let Some(rsa) = rsa {
            return Ok(if pss {
                Self::Ps256(rsa)
            } else {
                Self::Rs256(rsa)
            });
        }
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec = match &key {
            PrivateKeyDer::Pkcs8(der) => {
                EcdsaKeyPair::from_pkcs8(curve, der.secret_pkcs8_der()).ok()
            }
            PrivateKeyDer::Sec1(der) => {
                EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der()).ok()
            }
            _ => None,
        };
        ec.map(Self::Es256).ok_or_else(not_a_key)
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ps256(_) => "PS256",
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
        }
    }

    /// The compact form (RFC 7515 section 7.1).
    fn sign(
        &self,
        header: &serde_json::Value,
        claims: &serde_json::Value,
    ) -> Result<Secret, OAuthError> {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut jwt = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ps256(key) => rsa(key, &RSA_PSS_SHA256, &random, &jwt),
            Self::Rs256(key) => rsa(key, &RSA_PKCS1_SHA256, &random, &jwt),
            Self::Es256(key) => key
                .sign(&random, jwt.as_bytes())
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| OAuthError::Cryptography),
        };
        jwt.push('.');
        jwt.push_str(&URL_SAFE_NO_PAD.encode(signature?));
        Ok(Secret::from(jwt))
    }
}

fn rsa(
    key: &RsaKeyPair,
    padding: &'static dyn RsaEncoding,
    random: &SystemRandom,
    jwt: &str,
) -> Result<Vec<u8>, OAuthError> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(padding, random, jwt.as_bytes(), &mut signature)
        .map_err(|_| OAuthError::Cryptography)?;
    Ok(signature)
}

/// A file that nobody may read but its owner and a group, as any secret file of the user's.
fn private(path: &Path) -> Result<Secret, OAuthError> {
    let failed = |source| OAuthError::File {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    if let Some(mode) = store::open_beyond(Audience::Group, path).map_err(failed)? {
        let path = path.to_owned();
        return Err(OAuthError::Secret(SecretError::LooseFile { path, mode }));
    }
    store::read_bounded(path, KEY_FILE_MAX).map_err(failed)
}

fn leaf(path: &Path) -> Result<CertificateDer<'static>, OAuthError> {
    let pem = store::read_bounded(path, KEY_FILE_MAX).map_err(|source| OAuthError::File {
        path: path.to_owned(),
        source: Arc::new(source),
    })?;
    CertificateDer::from_pem_slice(pem.expose()).map_err(|_| OAuthError::NotAKey {
        path: path.to_owned(),
        expected: "PEM certificate",
    })
}

fn random_id() -> Result<String, OAuthError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| OAuthError::Cryptography)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

/// Five minutes: longer than any exchange, and what Entra recommends at most ten of.
const PROOF_LASTS: i64 = 300;

/// Google takes no assertion that lasts longer than an hour.
const GRANT_LASTS: i64 = 3_600;

/// The issuer's clock may be behind ours.
const CLOCK_SLACK: i64 = 60;

/// A chain and a key of 4 096 bits have some KiB.
const KEY_FILE_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
