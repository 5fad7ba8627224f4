//! SCRAM-SHA-256 as server, without channel binding (RFC 5802, RFC 7677): TLS ends here, so a binding could not hold.
//!
//! The salt follows from the name, so nothing is looked up before the client has proved itself, and a name that nobody
//! has is asked like any other.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::challenges::Challenges;
use super::{SaslError, attempt};
use crate::proto::dialogue::{LoginAttempt, Proof};
use crate::secret::Secret;

/// What is known between the client's two messages.
#[derive(Debug)]
pub(super) struct Expecting {
    name: Vec<u8>,
    /// What the client must repeat: its gs2-header in base64, and both nonces.
    binding: String,
    nonce: String,
    /// client-first-message-bare "," server-first-message
    said: String,
    salt: Vec<u8>,
}

/// A client's proof, to be held against a password.
#[derive(Clone, Debug)]
pub struct ScramProof {
    auth_message: String,
    salt: Vec<u8>,
    proof: Secret,
}

/// client-first-message = gs2-header client-first-message-bare
pub(super) fn client_first(
    message: &Secret,
    challenges: &mut Challenges,
) -> Result<(String, Expecting), SaslError> {
    let text = std::str::from_utf8(message.expose()).map_err(|_| SaslError::Scram)?;
    // gs2-header = gs2-cbind-flag "," [ authzid ] ","
    let mut parts = text.splitn(3, ',');
    let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(SaslError::Scram);
    };
    if !matches!(flag, "n" | "y") {
        return Err(SaslError::Scram);
    }
    // client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]
    let mut attributes = bare.split(',');
    let name = attributes.next().and_then(|it| it.strip_prefix("n="));
    let nonce = attributes.next().and_then(|it| it.strip_prefix("r="));
    let (Some(name), Some(nonce)) = (name, nonce) else {
        return Err(SaslError::Scram);
    };
    let name = saslname(name)?;
    if !authzid.is_empty() && saslname(authzid.strip_prefix("a=").unwrap_or_default())? != name {
        return Err(SaslError::Authzid);
    }
    let printable = nonce.bytes().all(|b| b.is_ascii_graphic());
    if nonce.is_empty() || !printable {
        return Err(SaslError::Scram);
    }
    let nonce = format!("{nonce}{}", challenges.nonce());
    let salt = challenges.salt(name.as_bytes());
    let server_first = format!("r={nonce},s={},i={ITERATIONS}", STANDARD.encode(&salt));
    let expecting = Expecting {
        name: name.into_bytes(),
        binding: STANDARD.encode(format!("{flag},{authzid},")),
        nonce,
        said: format!("{bare},{server_first}"),
        salt,
    };
    Ok((server_first, expecting))
}

impl Expecting {
    /// client-final-message = channel-binding "," nonce ["," extensions] "," proof
    pub(super) fn client_final(self, message: &Secret) -> Result<LoginAttempt, SaslError> {
        let text = std::str::from_utf8(message.expose()).map_err(|_| SaslError::Scram)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(SaslError::Scram)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|it| it.strip_prefix("c="));
        let nonce = attributes.next().and_then(|it| it.strip_prefix("r="));
        if binding != Some(&self.binding) || nonce != Some(&self.nonce) {
            return Err(SaslError::Scram);
        }
        let proof = STANDARD.decode(proof).map_err(|_| SaslError::Base64)?;
        let proof = ScramProof {
            auth_message: format!("{},{without_proof}", self.said),
            salt: self.salt,
            proof: Secret::new(proof),
        };
        attempt(&self.name, Proof::Scram(proof), "AUTH SCRAM-SHA-256")
    }
}

impl ScramProof {
    /// Our own proof (server-final-message), if the client's was made with `password`. Takes a millisecond.
    pub fn verify(&self, password: &Secret) -> Option<String> {
        let mut salted = zeroize::Zeroizing::new([0; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            ITERATIONS,
            &self.salt,
            password.expose(),
            salted.as_mut_slice(),
        );
        let of =
            |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        let client_key = of(salted.as_slice(), b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let signature = of(stored_key.as_ref(), self.auth_message.as_bytes());
        let expected: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, sign)| key ^ sign)
            .collect();
        constant_time::verify_slices_are_equal(&expected, self.proof.expose()).ok()?;
        let server_key = of(salted.as_slice(), b"Server Key");
        let server_signature = of(server_key.as_ref(), self.auth_message.as_bytes());
        Some(format!("v={}", STANDARD.encode(server_signature.as_ref())))
    }
}

/// saslname: `,` and `=` are written `=2C` and `=3D`, and `=` stands for nothing else.
fn saslname(text: &str) -> Result<String, SaslError> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        name.push_str(before);
        let (escaped, after) = after.split_at_checked(2).ok_or(SaslError::Scram)?;
        name.push(match escaped {
            "2C" => ',',
            "3D" => '=',
            _ => return Err(SaslError::Scram),
        });
        rest = after;
    }
    name.push_str(rest);
    Ok(name)
}

/// RFC 7677 section 4: at least 4096. A local password made by us has 130 bits, and nothing that is stored is derived so.
const ITERATIONS: NonZeroU32 = match NonZeroU32::new(4096) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3.
    #[test]
    fn the_example_of_rfc_7677() {
        let proof = ScramProof {
            auth_message: "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                           r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                           c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
                .into(),
            salt: STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            proof: Secret::new(
                STANDARD
                    .decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
                    .unwrap(),
            ),
        };
        assert_eq!(
            proof.verify(&Secret::from("pencil")).as_deref(),
            Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        );
        assert_eq!(proof.verify(&Secret::from("pencils")), None);
    }

    fn first(message: &str) -> Result<(String, Expecting), SaslError> {
        let mut challenges = Challenges::new(Secret::from("seed"), Secret::from("salt"));
        client_first(&Secret::from(message), &mut challenges)
    }

    #[test]
    fn names_are_unescaped_and_nobody_logs_in_as_another() {
        let (_, expecting) = first("n,a=x=2Cy,n=x=2Cy,r=abc").unwrap();
        assert_eq!(expecting.name, b"x,y");
        assert_eq!(
            first("n,a=bob,n=anna,r=abc").unwrap_err(),
            SaslError::Authzid
        );
        for wrong in [
            "",
            "n,,",
            "p=tls-unique,,n=a,r=b",
            "n,,r=b,n=a",
            "n,,n=a=4,r=b",
            "n,,n=a,r=",
            "n,,m=x,n=a,r=b",
            "n,,n=a",
        ] {
            assert_eq!(first(wrong).unwrap_err(), SaslError::Scram, "{wrong}");
        }
    }

    #[test]
    fn the_final_message_must_repeat_what_was_said() {
        for (replace, by) in [("c=biws", "c=eSws"), (",r=abc", ",r=xbc"), (",p=", ",q=")] {
            let (server, expecting) = first("n,,n=anna,r=abc").unwrap();
            let nonce = server.split(',').next().unwrap();
            let text = format!("c=biws,{nonce},p=AAAA").replace(replace, by);
            assert_eq!(
                expecting.client_final(&Secret::from(text)).unwrap_err(),
                SaslError::Scram
            );
        }
        let (server, expecting) = first("n,,n=anna,r=abc").unwrap();
        let nonce = server.split(',').next().unwrap();
        let attempt = expecting.client_final(&Secret::from(format!("c=biws,{nonce},p=AAAA")));
        assert_eq!(attempt.unwrap().name, "anna");
    }
}
