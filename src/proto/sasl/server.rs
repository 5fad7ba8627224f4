//! A login by SASL, as server, in whatever protocol carries it. Messages go in and out in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::challenges::Challenges;
use super::{LOGIN_PASSWORD, LOGIN_USERNAME, SaslError, cram, decode, plain, scram};
use crate::profile::Mechanism;
use crate::proto::dialogue::LoginAttempt;
use crate::secret::Secret;

/// A login under way: which message comes next.
#[derive(Debug)]
pub struct Server(Expect);

#[derive(Debug)]
enum Expect {
    Plain,
    LoginName,
    LoginPassword {
        name: Secret,
    },
    CramMd5 {
        challenge: String,
    },
    ScramFirst,
    ScramFinal {
        server_first: String,
        expecting: scram::Expecting,
    },
}

/// What a message leads to.
#[derive(Debug)]
pub enum Next {
    /// This is said, and the next message awaited.
    Challenge(String, Server),
    /// All is said.
    Attempt(LoginAttempt),
}

impl Server {
    /// A login by `mechanism` with what the client sent along, if anything. `host` is our own name.
    pub fn begin(
        mechanism: Mechanism,
        initial: Option<&[u8]>,
        challenges: &mut Challenges,
        host: &str,
    ) -> Result<Next, SaslError> {
        let expect = match mechanism {
            Mechanism::Plain => Expect::Plain,
            Mechanism::Login => Expect::LoginName,
            Mechanism::CramMd5 => Expect::CramMd5 {
                challenge: challenges.message_id(host),
            },
            Mechanism::ScramSha256 => Expect::ScramFirst,
            Mechanism::Apop => return Err(SaslError::Unknown),
        };
        let server = Self(expect);
        match initial {
            // quirk: an empty initial response to LOGIN is none; Konica Minolta copiers and Veeam send the name there.
            None => Ok(server.ask()),
            Some(b"=" | b"") if matches!(server.0, Expect::LoginName) => Ok(server.ask()),
            // RFC 4959 section 3: where the server speaks first there is nothing to send along.
            Some(_) if matches!(server.0, Expect::CramMd5 { .. }) => Err(SaslError::ServerFirst),
            Some(message) => server.answer(message, challenges),
        }
    }

    /// Takes the client's next message.
    pub fn answer(self, line: &[u8], challenges: &mut Challenges) -> Result<Next, SaslError> {
        let message = decode(line)?;
        match self.0 {
            Expect::Plain => plain(&message, "AUTH PLAIN").map(Next::Attempt),
            Expect::LoginName => Ok(Self(Expect::LoginPassword { name: message }).ask()),
            Expect::LoginPassword { name } => {
                super::attempt(name.expose(), message, "AUTH LOGIN").map(Next::Attempt)
            }
            Expect::CramMd5 { challenge } => cram::cram_md5(challenge, &message).map(Next::Attempt),
            Expect::ScramFirst => {
                let (server_first, expecting) = scram::client_first(&message, challenges)?;
                Ok(Self(Expect::ScramFinal {
                    server_first,
                    expecting,
                })
                .ask())
            }
            Expect::ScramFinal { expecting, .. } => {
                expecting.client_final(&message).map(Next::Attempt)
            }
        }
    }

    fn ask(self) -> Next {
        let challenge = match &self.0 {
            Expect::Plain | Expect::ScramFirst => String::new(),
            Expect::LoginName => LOGIN_USERNAME.to_owned(),
            Expect::LoginPassword { .. } => LOGIN_PASSWORD.to_owned(),
            Expect::CramMd5 { challenge } => STANDARD.encode(challenge),
            Expect::ScramFinal { server_first, .. } => STANDARD.encode(server_first),
        };
        Next::Challenge(challenge, self)
    }
}
