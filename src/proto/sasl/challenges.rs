//! What a session's challenges are made from. Randomness is an input: the relay draws one seed a session, and everything
//! that must be unpredictable follows from it.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::secret::Secret;

/// A session's source of challenges; no two are the same.
#[derive(Clone, Debug)]
pub struct Challenges {
    /// 32 random octets, of this session alone.
    seed: Secret,
    /// Of the store: a name has the same salt at every login.
    salt_key: Secret,
    made: u64,
}

impl Challenges {
    /// `seed` is random and never used twice; `salt_key` is a secret that stays.
    pub fn new(seed: Secret, salt_key: Secret) -> Self {
        Self {
            seed,
            salt_key,
            made: 0,
        }
    }

    /// `<random@host>`: a msg-id (RFC 2195 section 2, RFC 1939 section 7). mpop refuses an APOP timestamp that is none.
    pub(crate) fn message_id(&mut self, host: &str) -> String {
        let random = self.draw();
        let digits = |range: std::ops::Range<usize>| -> u64 {
            let bytes = random.get(range).unwrap_or_default();
            bytes
                .iter()
                .fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
        };
        format!("<{}.{}@{host}>", digits(0..8), digits(8..16))
    }

    /// Our part of a SCRAM nonce: printable, without a comma (RFC 5802 section 5.1).
    pub(super) fn nonce(&mut self) -> String {
        let random = self.draw();
        STANDARD_NO_PAD.encode(random.get(..18).unwrap_or_default())
    }

    /// The salt of a name, known to us or not: asking for it tells nothing.
    pub(super) fn salt(&self, name: &[u8]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&key(&self.salt_key));
        context.update(b"scram salt");
        context.update(&name.to_ascii_lowercase());
        let tag = context.sign();
        tag.as_ref().get(..16).unwrap_or_default().to_vec()
    }

    fn draw(&mut self) -> Vec<u8> {
        self.made += 1;
        hmac::sign(&key(&self.seed), &self.made.to_be_bytes())
            .as_ref()
            .to_vec()
    }
}

fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_challenge_comes_twice_and_a_salt_always_does() {
        let mut one = Challenges::new(Secret::from("a"), Secret::from("k"));
        let mut other = Challenges::new(Secret::from("b"), Secret::from("k"));
        let made = [
            one.message_id("h.example"),
            one.message_id("h.example"),
            other.message_id("h.example"),
        ];
        assert!(made[0] != made[1] && made[0] != made[2]);
        assert!(
            made.iter()
                .all(|id| id.starts_with('<') && id.ends_with("@h.example>"))
        );
        assert_ne!(one.nonce(), one.nonce());
        assert_eq!(one.salt(b"Anna"), other.salt(b"anna"));
        assert_ne!(one.salt(b"anna"), one.salt(b"bob"));
    }
}
