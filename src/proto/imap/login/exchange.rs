//! The messages of AUTHENTICATE, as server: PLAIN has one, LOGIN two.

use crate::proto::dialogue::LoginAttempt;
use crate::proto::imap::codec::command::Mechanism;
use crate::proto::sasl::{self, SaslError};
use crate::secret::Secret;

/// How far an exchange is: which message comes next.
#[derive(Debug)]
pub(super) enum Exchange {
    /// PLAIN: the one message.
    Plain,
    /// LOGIN: the user name.
    LoginUser,
    /// LOGIN: the password.
    LoginPassword {
        /// What came before it.
        user: Secret,
    },
}

/// What a message leads to.
#[derive(Debug)]
pub(super) enum Next {
    /// The next message is asked for.
    Challenge(Exchange),
    /// All is said.
    Attempt(LoginAttempt),
}

impl Exchange {
    /// The beginning of one; `None` for a mechanism we do not complete.
    pub(super) fn begin(mechanism: Mechanism) -> Option<Self> {
        match mechanism {
            Mechanism::Plain => Some(Self::Plain),
            Mechanism::Login => Some(Self::LoginUser),
            Mechanism::Other => None,
        }
    }

    /// What asks for the next message, in base64.
    pub(super) fn challenge(&self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::LoginUser => sasl::LOGIN_USERNAME,
            Self::LoginPassword { .. } => sasl::LOGIN_PASSWORD,
        }
    }

    /// Takes a message, in base64.
    pub(super) fn answer(self, line: &[u8]) -> Result<Next, SaslError> {
        let message = sasl::decode(line)?;
        match self {
            Self::Plain => sasl::plain(&message, "AUTHENTICATE PLAIN").map(Next::Attempt),
            Self::LoginUser => Ok(Next::Challenge(Self::LoginPassword { user: message })),
            Self::LoginPassword { user } => {
                sasl::attempt(user.expose(), message, "AUTHENTICATE LOGIN").map(Next::Attempt)
            }
        }
    }
}
