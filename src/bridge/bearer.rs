//! XOAUTH2 and OAUTHBEARER (RFC 7628) as a server: a token instead of a password.
//!
//! The token becomes the password of a [`LoginAttempt`] whose mechanism says what it is; [`is_bearer`] tells.

use crate::proto::dialogue::LoginAttempt;
use crate::proto::sasl::{self, SaslError};
use crate::secret::Secret;

/// A mechanism that brings a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// Google's and Microsoft's own.
    Xoauth2,
    /// RFC 7628.
    OauthBearer,
}

impl Bearer {
    /// The mechanism of this name in capitals.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "XOAUTH2" => Some(Self::Xoauth2),
            "OAUTHBEARER" => Some(Self::OauthBearer),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xoauth2 => "XOAUTH2",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// The client's message: `user=U ^A auth=Bearer T ^A ^A`, or `n,a=U, ^A … auth=Bearer T ^A ^A`.
    pub fn attempt(self, message: &Secret) -> Result<LoginAttempt, SaslError> {
        let mut fields = message.expose().split(|&b| b == 1);
        let first = fields.next().unwrap_or_default();
        let user = match self {
            Self::Xoauth2 => first.strip_prefix(b"user="),
            Self::OauthBearer => first
                .strip_prefix(b"n,a=")
                .and_then(|gs2| gs2.strip_suffix(b",")),
        };
        let token = fields.find_map(bearer_field);
        match (user, token) {
            (Some(user), Some(token)) => {
                sasl::attempt(user, Secret::new(token.to_vec()), self.name())
            }
            _ => Err(SaslError::Plain),
        }
    }
}

/// `auth=Bearer TOKEN`; the scheme's case does not matter (RFC 6750 section 2.1).
fn bearer_field(field: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = field.strip_prefix(b"auth=")?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Whether `attempt` brings a token.
pub fn is_bearer(attempt: &LoginAttempt) -> bool {
    Bearer::named(attempt.mechanism).is_some()
}

/// The error challenge, base64: the client answers with an empty line or ^A before it is refused (RFC 7628 section 3.2.2).
pub fn challenge() -> Secret {
    sasl::encode(br#"{"status":"400","schemes":"Bearer","scope":"mail"}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_messages_give_name_and_token() {
        let xoauth2 = Secret::from("user=ole@x.org\u{1}auth=Bearer t0k\u{1}\u{1}");
        let attempt = Bearer::Xoauth2.attempt(&xoauth2).unwrap();
        assert_eq!(
            (
                attempt.name.as_str(),
                attempt.proof.password().unwrap().expose()
            ),
            ("ole@x.org", &b"t0k"[..])
        );
        assert!(is_bearer(&attempt));
        let rfc =
            Secret::from("n,a=ole@x.org,\u{1}host=h\u{1}port=1\u{1}auth=bearer t0k\u{1}\u{1}");
        assert_eq!(
            Bearer::OauthBearer
                .attempt(&rfc)
                .unwrap()
                .proof
                .password()
                .unwrap()
                .expose(),
            b"t0k"
        );
        assert!(Bearer::Xoauth2.attempt(&rfc).is_err());
        assert!(Bearer::OauthBearer.attempt(&xoauth2).is_err());
        assert!(Bearer::Xoauth2.attempt(&Secret::from("user=ole")).is_err());
    }
}
