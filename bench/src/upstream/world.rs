//! What all sessions of the upstream share: its mailbox, who may open it, and what it has seen.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::mail::Mail;

/// The user name of the mailbox.
pub(crate) const USER: &str = "bench@localhost";
/// Its password. No target but a blind one gets to hear it from the client.
pub(crate) const PASSWORD: &str = "upstream-secret-Zk3u9";

/// The access token: as long as real ones are.
pub(crate) fn token() -> String {
    format!("ya29.bench-{}", "tOkEn0123456789a".repeat(64))
}

/// The upstream's state.
#[derive(Debug)]
pub(crate) struct World {
    /// What its messages are made of.
    pub(crate) mail: Mail,
    /// What it has seen.
    pub(crate) seen: Seen,
    token: String,
}

/// Counters.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    passwords: AtomicU64,
    tokens: AtomicU64,
    refused: AtomicU64,
    messages: AtomicU64,
    octets: AtomicU64,
    altered: AtomicU64,
    sessions: AtomicU64,
}

/// The counters at one moment, as the control port tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Logins with the upstream's password.
    pub(crate) passwords: u64,
    /// Logins with the upstream's token.
    pub(crate) tokens: u64,
    /// Logins with anything else.
    pub(crate) refused: u64,
    /// Messages taken by APPEND or DATA.
    pub(crate) messages: u64,
    /// Their size.
    pub(crate) octets: u64,
    /// Those among them that were not the canned text.
    pub(crate) altered: u64,
    /// Connections whose TLS handshake went well.
    pub(crate) sessions: u64,
}

/// What a client proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof<'a> {
    /// A password.
    Password(&'a [u8]),
    /// An access token.
    Token(&'a [u8]),
}

impl World {
    /// One whose largest message has this size.
    pub(crate) fn new(largest: usize) -> Self {
        Self {
            mail: Mail::new(largest),
            seen: Seen::default(),
            token: token(),
        }
    }

    /// Whether this login is right. Either way it is counted.
    pub(crate) fn admits(&self, user: &[u8], proof: Proof<'_>) -> bool {
        let right = user == USER.as_bytes()
            && match proof {
                Proof::Password(password) => password == PASSWORD.as_bytes(),
                Proof::Token(token) => token == self.token.as_bytes(),
            };
        let counter = match (right, proof) {
            (false, _) => &self.seen.refused,
            (true, Proof::Password(_)) => &self.seen.passwords,
            (true, Proof::Token(_)) => &self.seen.tokens,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        right
    }

    /// Whether a SASL response is right: PLAIN, XOAUTH2 or OAUTHBEARER, in base64.
    pub(crate) fn admits_sasl(&self, mechanism: &[u8], response: &[u8]) -> bool {
        let Ok(response) = STANDARD.decode(response) else {
            return false;
        };
        match sasl(mechanism, &response) {
            Some((user, proof)) => self.admits(user, proof),
            None => false,
        }
    }
}

impl Seen {
    /// A message came, and was the canned text or not.
    pub(crate) fn message(&self, octets: usize, intact: bool) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.octets.fetch_add(octets as u64, Ordering::Relaxed);
        if !intact {
            self.altered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A TLS handshake went well.
    pub(crate) fn session(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters now.
    pub(crate) fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            passwords: load(&self.passwords),
            tokens: load(&self.tokens),
            refused: load(&self.refused),
            messages: load(&self.messages),
            octets: load(&self.octets),
            altered: load(&self.altered),
            sessions: load(&self.sessions),
        }
    }
}

/// RFC 4616, RFC 7628, and Google's XOAUTH2.
fn sasl<'a>(mechanism: &[u8], response: &'a [u8]) -> Option<(&'a [u8], Proof<'a>)> {
    if mechanism.eq_ignore_ascii_case(b"PLAIN") {
        let mut fields = response.splitn(3, |octet| *octet == 0).skip(1);
        return Some((fields.next()?, Proof::Password(fields.next()?)));
    }
    let mut fields = response.split(|octet| *octet == 1);
    let first = fields.next()?;
    let user = if mechanism.eq_ignore_ascii_case(b"XOAUTH2") {
        first.strip_prefix(b"user=")?
    } else if mechanism.eq_ignore_ascii_case(b"OAUTHBEARER") {
        first.strip_prefix(b"n,a=")?.strip_suffix(b",")?
    } else {
        return None;
    };
    let token = fields.find_map(|field| field.strip_prefix(b"auth=Bearer "))?;
    Some((user, Proof::Token(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mechanism_gives_user_and_proof() {
        let plain = sasl(b"plain", b"\0u\0p w");
        assert_eq!(plain, Some((&b"u"[..], Proof::Password(b"p w"))));
        let xoauth2 = sasl(b"XOAUTH2", b"user=u\x01auth=Bearer t\x01\x01");
        assert_eq!(xoauth2, Some((&b"u"[..], Proof::Token(b"t"))));
        let bearer = sasl(
            b"OAUTHBEARER",
            b"n,a=u,\x01host=h\x01port=1\x01auth=Bearer t\x01\x01",
        );
        assert_eq!(bearer, Some((&b"u"[..], Proof::Token(b"t"))));
        assert_eq!(sasl(b"CRAM-MD5", b"x"), None);
    }

    #[test]
    fn only_the_own_secret_is_right_and_all_is_counted() {
        let world = World::new(0);
        let user = USER.as_bytes();
        assert!(world.admits(user, Proof::Password(PASSWORD.as_bytes())));
        assert!(world.admits(user, Proof::Token(token().as_bytes())));
        assert!(!world.admits(user, Proof::Password(token().as_bytes())));
        assert!(!world.admits(b"other", Proof::Password(PASSWORD.as_bytes())));
        let counts = world.seen.counts();
        assert_eq!((counts.passwords, counts.tokens, counts.refused), (1, 1, 2));
    }
}
