//! The embedded provider's authorization server: authorization code with PKCE (RFC 7636), refresh with rotation, and
//! revocation (RFC 7009), for one client and one user.
//!
//! Stricter than most: PKCE with S256 is required, a code works once, a refresh token works once, and a used one that
//! comes again ends the grant (RFC 9700 section 4.14.2). Tokens can be told to expire, so nobody has to wait for it.

mod endpoint;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

pub(super) use self::endpoint::serve;
use crate::proto::http::{Answer, escaped};

/// Who has been granted what.
pub struct Issuer {
    identifier: String,
    user: &'static str,
    granted: Mutex<Granted>,
}

#[derive(Default)]
struct Granted {
    codes: HashMap<String, Code>,
    /// Refresh tokens, used ones too, and whether each may still be used.
    refresh: HashMap<String, bool>,
    access: HashMap<String, Instant>,
    token_requests: u32,
}

/// What an authorization code is bound to.
struct Code {
    challenge: String,
    redirect_uri: String,
    made: Instant,
}

/// Form fields; the first of a name counts.
type Fields = HashMap<String, String>;

impl Issuer {
    /// The only client.
    pub const CLIENT_ID: &str = "mailsluice-demo";

    pub(super) fn new(identifier: String, user: &'static str) -> Self {
        Self {
            identifier,
            user,
            granted: Mutex::default(),
        }
    }

    /// The issuer identifier (RFC 9207).
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Whether `token` is an access token that is still good.
    pub fn takes(&self, token: &[u8]) -> bool {
        let granted = self.granted();
        let live = std::str::from_utf8(token)
            .ok()
            .and_then(|token| granted.access.get(token));
        live.is_some_and(|until| Instant::now() < *until)
    }

    /// Ends every access token now, as if its time were over.
    pub fn expire_tokens(&self) {
        self.granted().access.clear();
    }

    /// Ends the grant: no token of any kind works any more.
    pub fn revoke_all(&self) {
        let mut granted = self.granted();
        granted.access.clear();
        granted.refresh.clear();
    }

    /// How many token requests there have been.
    pub fn token_requests(&self) -> u32 {
        self.granted().token_requests
    }

    /// The page that asks the person; with `consent=yes` or `no` the way back to the client.
    fn authorize(&self, fields: &Fields, query: &str) -> Answer {
        let field = |name| fields.get(name).map_or("", String::as_str);
        let redirect = Url::parse(field("redirect_uri")).ok().filter(is_loopback);
        let (Some(mut redirect), Self::CLIENT_ID) = (redirect, field("client_id")) else {
            return Answer::page(
                "400 Bad Request",
                "Unknown client or redirect.\n".to_owned(),
            );
        };
        let problem = if field("response_type") != "code" {
            Some("unsupported_response_type")
        } else if field("code_challenge_method") != "S256" || field("code_challenge").is_empty() {
            Some("invalid_request")
        } else {
            None
        };
        let outcome = match (problem, field("consent")) {
            (Some(problem), _) => ("error", problem.to_owned()),
            (None, "yes") => match self.code(fields) {
                Some(code) => ("code", code),
                None => ("error", "server_error".to_owned()),
            },
            (None, "no") => ("error", "access_denied".to_owned()),
            (None, _) => return self.question(query),
        };
        redirect
            .query_pairs_mut()
            .append_pair(outcome.0, &outcome.1)
            .append_pair("state", field("state"))
            .append_pair("iss", &self.identifier);
        let mut answer = Answer::page("303 See Other", String::new());
        answer.fields.push(("Location", redirect.into()));
        answer
    }

    fn question(&self, query: &str) -> Answer {
        let (user, query) = (escaped(self.user), escaped(query));
        Answer::page(
            "200 OK",
            format!(
                "<!doctype html><title>Demo provider</title><h1>The demo's provider</h1>\
                 <p>A program wants to read and send mail as <b>{user}</b>.</p>\
                 <p><a href=\"/authorize?{query}&amp;consent=yes\">Allow</a> \
                 <a href=\"/authorize?{query}&amp;consent=no\">Refuse</a></p>\n"
            ),
        )
    }

    fn code(&self, fields: &Fields) -> Option<String> {
        let field = |name| fields.get(name).cloned().unwrap_or_default();
        let code = random()?;
        let bound = Code {
            challenge: field("code_challenge"),
            redirect_uri: field("redirect_uri"),
            made: Instant::now(),
        };
        self.granted().codes.insert(code.clone(), bound);
        Some(code)
    }

    /// RFC 6749 sections 4.1.3 and 6.
    fn token(&self, fields: &Fields) -> Answer {
        let field = |name| fields.get(name).map_or("", String::as_str);
        let mut granted = self.granted();
        granted.token_requests += 1;
        if field("client_id") != Self::CLIENT_ID {
            return error("401 Unauthorized", "invalid_client");
        }
        let good = match field("grant_type") {
            "authorization_code" => granted.codes.remove(field("code")).is_some_and(|code| {
                code.made.elapsed() < CODE_LIFE
                    && code.redirect_uri == field("redirect_uri")
                    && code.challenge == s256(field("code_verifier"))
            }),
            "refresh_token" => granted.use_refresh_token(field("refresh_token")),
            _ => return error("400 Bad Request", "unsupported_grant_type"),
        };
        match (good, random(), random()) {
            (false, ..) => error("400 Bad Request", "invalid_grant"),
            (true, Some(access), Some(refresh)) => granted.issue(&access, &refresh),
            (true, ..) => error("500 Internal Server Error", "server_error"),
        }
    }

    /// RFC 7009: whatever the token was, the answer is the same.
    fn revoke(&self) -> Answer {
        self.revoke_all();
        json("200 OK", &serde_json::json!({}))
    }

    fn granted(&self) -> MutexGuard<'_, Granted> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Granted {
    /// Whether `token` may be used, which it may once.
    fn use_refresh_token(&mut self, token: &str) -> bool {
        let unused = self.refresh.get_mut(token).map(std::mem::take);
        if unused == Some(false) {
            // A thief has it, or its owner lost the answer. Nobody can tell, so the grant ends.
            self.refresh.clear();
            self.access.clear();
        }
        unused == Some(true)
    }

    fn issue(&mut self, access: &str, refresh: &str) -> Answer {
        let until = Instant::now() + TOKEN_LIFE;
        self.access.insert(access.to_owned(), until);
        self.refresh.insert(refresh.to_owned(), true);
        let document = serde_json::json!({
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": TOKEN_LIFE.as_secs(),
            "refresh_token": refresh,
            "scope": "mail",
        });
        json("200 OK", &document)
    }
}

fn error(status: &'static str, error: &str) -> Answer {
    json(status, &serde_json::json!({ "error": error }))
}

fn json(status: &'static str, document: &serde_json::Value) -> Answer {
    Answer {
        status,
        content_type: "application/json",
        fields: Vec::new(),
        content: document.to_string(),
    }
}

/// RFC 8252 section 7.3: plain HTTP on loopback, any port.
fn is_loopback(url: &Url) -> bool {
    url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// RFC 7636 section 4.2.
fn s256(verifier: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

/// 144 random bits.
fn random() -> Option<String> {
    let mut bytes = [0; 18];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// RFC 6749 section 4.1.2 recommends at most ten minutes.
const CODE_LIFE: Duration = Duration::from_secs(60);

/// Short, so that a demo left running shows a refresh.
const TOKEN_LIFE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
