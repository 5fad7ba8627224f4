//! SASL messages, the same in all three protocols: as server, [`Server`]; as client, [`Exchange`].
//!
//! | file | what it is |
//! |---|---|
//! | `server.rs` | a login by any mechanism, message by message |
//! | `cram.rs`, `scram.rs` | the mechanisms in which the password itself is not sent |
//! | `challenges.rs` | what is random in them |
//! | `client.rs` | XOAUTH2 and OAUTHBEARER upstream |

mod challenges;
mod client;
mod cram;
mod scram;
mod server;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};

pub use self::challenges::Challenges;
pub use self::client::{Exchange, oauthbearer, sayable, xoauth2};
pub use self::cram::{Digested, apop};
pub use self::scram::ScramProof;
pub use self::server::{Next, Server};
use super::dialogue::{LoginAttempt, Proof};
use crate::secret::Secret;

/// The longest base64 line of a SASL exchange, RFC 4954 section 4.
pub const SASL_LINE_MAX: usize = 12_288;

/// The first `AUTH LOGIN` challenge: base64 of `Username:`. Byte-exact: printers, Go and Outlook compare it.
pub const LOGIN_USERNAME: &str = "VXNlcm5hbWU6";

/// The second `AUTH LOGIN` challenge: base64 of `Password:`.
pub const LOGIN_PASSWORD: &str = "UGFzc3dvcmQ6";

/// Why a SASL message was not understood. All of them are the client's syntax error (BAD, -ERR, 501).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// Not base64.
    #[error("not valid base64")]
    Base64,
    /// Not `authzid NUL authcid NUL password`.
    #[error("a PLAIN message has exactly two NUL separators")]
    Plain,
    /// The authorization identity is another one than the authentication identity.
    #[error("authorizing as somebody else is not possible here")]
    Authzid,
    /// A control character in the user name.
    #[error("the user name holds a control character")]
    Control,
    /// Not `name SP digest`.
    #[error("not a name and a digest")]
    CramMd5,
    /// Not a message of RFC 5802, or not one that follows from what was said.
    #[error("not a SCRAM message that fits here")]
    Scram,
    /// A message where we are to speak first.
    #[error("this mechanism begins with our challenge")]
    ServerFirst,
    /// No SASL mechanism.
    #[error("no such mechanism")]
    Unknown,
    /// The client sent `*`.
    #[error("the exchange was cancelled")]
    Cancelled,
}

/// What the client answered to a challenge: base64, `*` to cancel, or an initial response where `=` is empty.
pub fn decode(line: &[u8]) -> Result<Secret, SaslError> {
    match line.trim_ascii() {
        b"*" => Err(SaslError::Cancelled),
        b"=" => Ok(Secret::new(Vec::new())),
        data => LENIENT
            .decode(data)
            .map(Secret::new)
            .map_err(|_| SaslError::Base64),
    }
}

/// `authzid NUL authcid NUL passwd`, RFC 4616 section 2.
pub fn plain(message: &Secret, mechanism: &'static str) -> Result<LoginAttempt, SaslError> {
    let mut parts = message.expose().split(|&b| b == 0);
    let (Some(authzid), Some(authcid), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Plain);
    };
    if !authzid.is_empty() && authzid != authcid {
        return Err(SaslError::Authzid);
    }
    attempt(authcid, Secret::new(password.to_vec()), mechanism)
}

/// An attempt from a name and a proof however they came; refuses control characters in the name.
pub fn attempt(
    name: &[u8],
    proof: impl Into<Proof>,
    mechanism: &'static str,
) -> Result<LoginAttempt, SaslError> {
    if name.iter().any(u8::is_ascii_control) {
        return Err(SaslError::Control);
    }
    Ok(LoginAttempt {
        name: String::from_utf8_lossy(name).into_owned(),
        proof: proof.into(),
        mechanism,
    })
}

/// The client's PLAIN message, in base64.
pub fn encode_plain(user: &str, password: &Secret) -> Secret {
    let mut message = Vec::with_capacity(user.len() + password.expose().len() + 2);
    message.push(0);
    message.extend_from_slice(user.as_bytes());
    message.push(0);
    message.extend_from_slice(password.expose());
    encode(Secret::new(message).expose())
}

/// Base64 of a secret.
pub fn encode(bytes: &[u8]) -> Secret {
    Secret::from(STANDARD.encode(bytes))
}

/// Standard alphabet; padding may be missing, as some devices leave it out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_takes_exactly_two_nuls_and_no_foreign_authzid() {
        let ok = plain(&Secret::from("\0anna\0pa ss"), "AUTH PLAIN").unwrap();
        assert_eq!(
            (ok.name.as_str(), ok.proof.password().unwrap().expose()),
            ("anna", &b"pa ss"[..])
        );
        assert!(plain(&Secret::from("anna\0anna\0x"), "").is_ok());
        let of = |text| plain(&Secret::from(text), "").unwrap_err();
        assert_eq!(of("bob\0anna\0x"), SaslError::Authzid);
        assert_eq!(of("anna\0x"), SaslError::Plain);
        assert_eq!(of("\0a\0b\0c"), SaslError::Plain);
        assert_eq!(of("\0a\rb\0c"), SaslError::Control);
    }

    #[test]
    fn decode_knows_cancel_empty_and_missing_padding() {
        assert_eq!(decode(b" * ").unwrap_err(), SaslError::Cancelled);
        assert_eq!(decode(b"?").unwrap_err(), SaslError::Base64);
        assert!(decode(b"=").unwrap().is_empty());
        assert_eq!(decode(b"YQ").unwrap().expose(), b"a");
    }

    #[test]
    fn challenges_are_the_base64_of_their_prompts() {
        assert_eq!(encode(b"Username:").expose(), LOGIN_USERNAME.as_bytes());
        assert_eq!(encode(b"Password:").expose(), LOGIN_PASSWORD.as_bytes());
    }
}
