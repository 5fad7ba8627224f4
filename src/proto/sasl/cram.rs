//! CRAM-MD5 (RFC 2195) and APOP (RFC 1939 section 7), as server. MD5 is what old programs know; the password that it
//! protects is a local one, which opens nothing but this program.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

use super::SaslError;
use crate::proto::dialogue::{LoginAttempt, Proof};
use crate::secret::Secret;

/// What shows that a client knows a password: a digest over something of ours and the password.
#[derive(Clone, Debug)]
pub struct Digested {
    /// What we gave it to digest.
    challenge: String,
    /// The 16 octets, in lower-case hexadecimal.
    digest: Secret,
    keyed: bool,
}

impl Digested {
    /// Whether the digest was made with `password`. Compares in constant time.
    pub fn is_of(&self, password: &Secret) -> bool {
        let Some(digest) = from_hex(self.digest.expose()) else {
            return false;
        };
        let expected = if self.keyed {
            hmac_md5(password.expose(), self.challenge.as_bytes())
        } else {
            let mut md5 = Md5::new();
            md5.update(self.challenge.as_bytes());
            md5.update(password.expose());
            md5.finalize().into()
        };
        aws_lc_rs::constant_time::verify_slices_are_equal(&digest, &expected).is_ok()
    }
}

/// The answer to a CRAM-MD5 challenge: `name SP digest`. The digest is behind the last space: names may hold some.
pub(super) fn cram_md5(challenge: String, message: &Secret) -> Result<LoginAttempt, SaslError> {
    let message = message.expose();
    let at = memchr::memrchr(b' ', message).ok_or(SaslError::CramMd5)?;
    let (name, digest) = message.split_at(at);
    let digest = digest.trim_ascii();
    attempt(name, challenge, digest, true, "AUTH CRAM-MD5")
}

/// `APOP name digest`; `timestamp` is that of the greeting.
pub fn apop(timestamp: &str, name: &[u8], digest: &[u8]) -> Result<LoginAttempt, SaslError> {
    attempt(name, timestamp.to_owned(), digest, false, "APOP")
}

fn attempt(
    name: &[u8],
    challenge: String,
    digest: &[u8],
    keyed: bool,
    mechanism: &'static str,
) -> Result<LoginAttempt, SaslError> {
    if from_hex(digest).is_none() {
        return Err(SaslError::CramMd5);
    }
    let proof = Digested {
        challenge,
        digest: Secret::new(digest.to_vec()),
        keyed,
    };
    super::attempt(name, Proof::Digest(proof), mechanism)
}

fn hmac_md5(key: &[u8], message: &[u8]) -> [u8; 16] {
    // HMAC takes a key of any length, so this cannot fail; if it did, nothing would match the empty digest.
    match Hmac::<Md5>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(message);
            mac.finalize().into_bytes().into()
        }
        Err(_) => [0; 16],
    }
}

/// quirk: RFC 2195 wants lower case; some old clients send capitals.
fn from_hex(text: &[u8]) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (to, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let nibble = |b: u8| char::from(b).to_digit(16);
        let [high, low] = *pair else { return None };
        *to = u8::try_from(nibble(high)? * 16 + nibble(low)?).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2195() {
        let challenge = "<1896.697170952@postoffice.reston.mci.net>".to_owned();
        let message = Secret::from("tim b913a602c7eda7a495b4e6e7334d3890");
        let attempt = cram_md5(challenge, &message).unwrap();
        assert_eq!(attempt.name, "tim");
        let Proof::Digest(digest) = attempt.proof else {
            panic!("a digest");
        };
        assert!(digest.is_of(&Secret::from("tanstaaftanstaaf")));
        assert!(!digest.is_of(&Secret::from("tanstaaftanstaag")));
        assert!(!format!("{digest:?}").contains("b913a602"));
    }

    #[test]
    fn the_example_of_rfc_1939() {
        let timestamp = "<1896.697170952@dbc.mtview.ca.us>";
        let digest = b"C4C9334BAC560ECC979E58001B3E22FB";
        let attempt = apop(timestamp, b"mrose", digest).unwrap();
        let Proof::Digest(digest) = attempt.proof else {
            panic!("a digest");
        };
        assert!(digest.is_of(&Secret::from("tanstaaf")));
    }

    #[test]
    fn what_is_no_digest_is_a_syntax_error() {
        for message in [
            "tim",
            "",
            "tim b913",
            "b913a602c7eda7a495b4e6e7334d3890",
            "tim g913a602c7eda7a495b4e6e7334d3890",
        ] {
            let result = cram_md5("<1@h>".into(), &Secret::from(message));
            assert_eq!(result.unwrap_err(), SaslError::CramMd5, "{message}");
        }
    }
}
