//! The checked OAuth settings: which grant serves an account, who issues its tokens, and who we are to the issuer.
//!
//! Runtime types, as in [`super::runtime`]: validated, nothing optional that must be there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::runtime::SecretSource;
use crate::protocol::Protocol;

/// What a person (or an administrator's key) granted once. Accounts that name the same grant share its tokens: a
/// delegate's sign-in serves the shared mailboxes too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its identity in the store, in logs and for `sign-in`: by default the account's address.
    pub name: String,
    /// Who issues its tokens.
    pub issuer: Issuer,
    /// Who we are to the issuer.
    pub client: Client,
    /// How it is obtained.
    pub flow: Flow,
    /// What is asked for.
    pub scopes: Scopes,
    /// Further parameters of the authorization request (`login_hint`, `prompt`), as configured.
    pub authorize_parameters: BTreeMap<String, String>,
    /// Further parameters of every token request (`resource` for 21Vianet).
    pub token_parameters: BTreeMap<String, String>,
}

/// An authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The preset's name, or `custom`.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The issuer identifier (RFC 8414, RFC 9207): what `iss` must be where the server sends it, and where discovery
    /// begins. `None` where it is not known.
    pub identifier: Option<String>,
    /// Where its endpoints are.
    pub endpoints: Endpoints,
    /// A CA file for its HTTPS, where the system's roots do not do.
    pub ca_file: Option<PathBuf>,
    /// SASL mechanisms its mail servers take, preferred first: `XOAUTH2`, `OAUTHBEARER`. Empty: what the upstream offers.
    pub sasl: Vec<String>,
}

/// Endpoints, given or to be discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// Known.
    Given {
        /// Authorization endpoint; empty where the flow needs none.
        authorize: String,
        /// Token endpoint.
        token: String,
        /// Device authorization endpoint (RFC 8628).
        device: Option<String>,
        /// Revocation endpoint (RFC 7009).
        revoke: Option<String>,
    },
    /// From the metadata of `identifier` (RFC 8414, OpenID Connect Discovery).
    Discovered,
}

/// Who we are to the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client id of the user's own registration.
    pub id: String,
    /// How the client proves itself at the token endpoint.
    pub proof: ClientProof,
    /// The port of the loopback redirect; `None`: that of the one callback listener.
    pub redirect_uri: Option<String>,
}

/// How the client proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// A public client.
    None,
    /// A client secret.
    Secret(SecretSource),
    /// A JWT signed with a key (RFC 7523); with its certificate where the issuer identifies the key by it (Microsoft).
    Assertion {
        /// PEM certificate, for `x5t#S256`.
        certificate: Option<PathBuf>,
        /// PEM private key, RSA or P-256.
        key: PathBuf,
    },
}

/// How a grant is obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Authorization code with PKCE and a loopback redirect (RFC 8252).
    AuthorizationCode,
    /// Device authorization (RFC 8628).
    Device,
    /// Client credentials: no person.
    ClientCredentials,
    /// Resource owner password: the provider's password from here, the account's address as user name.
    Password(SecretSource),
    /// A Google service account with domain-wide delegation (RFC 7523 as authorization grant).
    ServiceAccount {
        /// The JSON key file.
        key: PathBuf,
        /// Whom it acts for.
        subject: String,
    },
}

impl Flow {
    /// Whether a person has to sign in once.
    pub fn needs_person(&self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::Device)
    }

    /// Where its password comes from, where it has one.
    pub fn secret(&self) -> Option<&SecretSource> {
        match self {
            Self::Password(source) => Some(source),
            _ => None,
        }
    }
}

impl Client {
    /// Where its secret comes from, where it has one.
    pub fn secret(&self) -> Option<&SecretSource> {
        match &self.proof {
            ClientProof::Secret(source) => Some(source),
            _ => None,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Asked for in every request (`offline_access`).
    pub common: Vec<String>,
    /// What each protocol needs.
    pub by_protocol: BTreeMap<Protocol, Vec<String>>,
    /// Whether each protocol gets an access token of its own, with its scopes alone: for issuers whose tokens are for one
    /// audience only. Otherwise one token has them all.
    pub separate: bool,
}
