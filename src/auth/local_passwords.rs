//! Making local passwords, for the command line. The other half, comparing them, is `verifier`.

use super::error::PasswordError;
use super::{generated, verifier};
use crate::secret::Secret;
use crate::store::{NewPassword, PasswordKind, Store};

/// How a local password is made.
#[derive(Clone, Debug, Default)]
pub struct Making {
    /// What its owner calls it.
    pub name: String,
    /// Whether it can be recovered: CRAM-MD5, SCRAM-SHA-256 and APOP do not send it, so that what they send can only be
    /// compared with the password itself. Whoever has database and key then has the password.
    pub recoverable: bool,
    /// The profile of the client that will use it.
    pub profile: Option<String>,
}

impl From<&str> for Making {
    fn from(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

/// Makes a local password for `account` and returns it in the form that is shown, once.
///
/// It is on the disk when this returns, and a running service takes it from the next login on.
pub async fn add_generated(
    store: &Store,
    account: &str,
    making: impl Into<Making>,
) -> Result<Secret, PasswordError> {
    let (account, making) = (account.to_lowercase(), making.into());
    let shown = generated::generate()?;
    let (kind, verifier) = if making.recoverable {
        (PasswordKind::Recoverable, shown.clone())
    } else {
        let verifier = verifier::of_generated(store.verifier_key(), &account, &shown)?;
        (PasswordKind::Generated, verifier)
    };
    add(store, &account, making, kind, verifier).await?;
    Ok(shown)
}

/// Takes `password` as a local password of `account`.
pub async fn add_chosen(
    store: &Store,
    account: &str,
    making: impl Into<Making>,
    password: Secret,
) -> Result<(), PasswordError> {
    let making = making.into();
    check_chosen(&password)?;
    let (kind, verifier) = if making.recoverable {
        (PasswordKind::Recoverable, password)
    } else {
        (PasswordKind::Chosen, verifier::of_chosen(password).await?)
    };
    add(store, account, making, kind, verifier).await
}

async fn add(
    store: &Store,
    account: &str,
    making: Making,
    kind: PasswordKind,
    verifier: Secret,
) -> Result<(), PasswordError> {
    let new = NewPassword {
        name: making.name,
        kind,
        verifier,
        profile: making.profile,
    };
    store.add_local_password(account, &new).await?;
    Ok(())
}

fn check_chosen(password: &Secret) -> Result<(), PasswordError> {
    let bytes = password.expose();
    if bytes.trim_ascii().is_empty() {
        return Err(PasswordError::Blank);
    }
    if !bytes.iter().all(|b| (b' '..=b'~').contains(b)) {
        return Err(PasswordError::NotAscii);
    }
    match bytes.len() {
        0..CHOSEN_MIN => Err(PasswordError::Short),
        CHOSEN_MIN..=CHOSEN_MAX => Ok(()),
        _ => Err(PasswordError::Long),
    }
}

/// NIST SP 800-63B section 5.1.1.1: at least 8 characters.
pub(super) const CHOSEN_MIN: usize = 8;

/// With `PASS ` and CRLF it fits the 255 octets of a POP3 command, RFC 2449 section 4.
pub(super) const CHOSEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_password_is_neither_blank_nor_short_nor_unsayable() {
        let of = |text: &str| check_chosen(&Secret::from(text));
        assert!(of("correct horse").is_ok());
        assert!(matches!(of(""), Err(PasswordError::Blank)));
        assert!(matches!(of("          "), Err(PasswordError::Blank)));
        assert!(matches!(of("hunter2"), Err(PasswordError::Short)));
        assert!(matches!(of("pass\r\nDELE 1"), Err(PasswordError::NotAscii)));
        assert!(matches!(
            of("Gr\u{fc}\u{df}e-Gr\u{fc}\u{df}e"),
            Err(PasswordError::NotAscii)
        ));
        assert!(matches!(of(&"x".repeat(129)), Err(PasswordError::Long)));
    }
}
