//! Secret bytes: a password, a token, or a wire line that carries one.
//!
//! Wrapped from the first byte that can be secret, redacted in every build, wiped on drop. The one way in is
//! [`Secret::expose`]; grep for it to see every place that touches the bytes.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Bytes that must not reach a log, an error, a `Debug` or a process list.
///
/// Not necessarily UTF-8: old clients send passwords in Latin-1 and they are compared byte by byte.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Wraps `bytes`; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Appends `bytes`. What a vector would leave behind when it grows is wiped.
    pub fn append(&mut self, bytes: &[u8]) {
        let needed = self.0.len().saturating_add(bytes.len());
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(2 * self.0.capacity()));
            larger.extend_from_slice(&self.0);
            // The old one is wiped as it is dropped.
            self.0 = Zeroizing::new(larger);
        }
        self.0.extend_from_slice(bytes);
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Who besides its owner may be let into a file that holds a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Nobody: the files that are ours alone, the store and its key.
    Owner,
    /// The group, to read: a user's password file, since a service often shares a group with who writes its secrets.
    Group,
}

impl Audience {
    /// Whether Unix permission bits let in more than that.
    pub fn is_exceeded_by(self, mode: u32) -> bool {
        let forbidden = match self {
            Self::Owner => 0o077,
            Self::Group => 0o037,
        };
        mode & forbidden != 0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl Zeroize for Secret {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_neither_bytes_nor_length() {
        let text = format!("{:?} {:#?}", Secret::from("hunter2"), Secret::from(""));
        assert_eq!(text, "[secret] [secret]");
    }
}
