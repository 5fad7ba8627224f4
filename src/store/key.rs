//! The store's key: where it comes from, when one is made, and the keys derived from it.
//!
//! One line of base64, 32 random bytes. It is made only together with the store: a store whose key is gone is
//! reported, never given a new one, since that would turn a mislaid file into lost passwords.

use std::path::{Path, PathBuf};

use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::StoreError;
use super::{files, keyring};
use crate::config::runtime::KeySource;
use crate::secret::Secret;

/// 32 random bytes from which every other key is derived.
pub(super) struct StoreKey(Zeroizing<[u8; KEY_LEN]>);

impl StoreKey {
    /// Reads the key of `store`, or makes one where there is no store yet. Called under the store's opening lock.
    pub(super) fn load(source: &KeySource, store: &Path) -> Result<Self, StoreError> {
        let place = place(source);
        if let Some(text) = read(source)? {
            return Self::parse(&text).ok_or(StoreError::KeyMalformed { key: place });
        }
        if store.exists() {
            return Err(StoreError::KeyLost {
                store: store.to_owned(),
                key: place,
            });
        }
        Self::make(source, place)
    }

    /// Bytes for one purpose; different labels give unrelated keys.
    pub(super) fn derive(&self, label: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, StoreError> {
        let mut derived = Zeroizing::new([0; KEY_LEN]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"mailsluice store key 1")
            .extract(self.0.as_slice())
            .expand(&[label], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(derived.as_mut_slice()))
            .map_err(|_| StoreError::Cryptography)?;
        Ok(derived)
    }

    /// A key for HMAC-SHA256 for one purpose.
    pub(super) fn derive_hmac(&self, label: &[u8]) -> Result<hmac::Key, StoreError> {
        let derived = self.derive(label)?;
        Ok(hmac::Key::new(hmac::HMAC_SHA256, derived.as_slice()))
    }

    fn make(source: &KeySource, place: String) -> Result<Self, StoreError> {
        let mut key = Self(Zeroizing::new([0; KEY_LEN]));
        rand::fill(key.0.as_mut_slice()).map_err(|_| StoreError::Cryptography)?;
        let text = Zeroizing::new(STANDARD.encode(key.0.as_slice()));
        match source {
            KeySource::File(path) => {
                let line = Zeroizing::new(format!("{}\n", text.as_str()));
                files::private_folder(&folder_of(path))?;
                files::write_new(path, line.as_bytes()).map_err(failed(path))?;
            }
            KeySource::Keyring => {
                keyring::write(KEYRING_USER, &Secret::from(text.as_str()))
                    .map_err(StoreError::Keyring)?;
            }
            KeySource::SystemdCredential(_) => return Err(StoreError::KeyAbsent { key: place }),
        }
        tracing::info!(key = %place, "made a new key for the store; keep a copy of it with your backups");
        Ok(key)
    }

    fn parse(text: &Secret) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.expose().trim_ascii()).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }
}

/// The folder a file is in; the current one for a bare name.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A file of `$CREDENTIALS_DIRECTORY`, where systemd puts what `LoadCredential=` names.
pub fn systemd_credential(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    // A name is one path component: anything else would read a file of the caller's choice.
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\']);
    plain.then(|| Path::new(&folder).join(name))
}

/// The key's text, or `None` where there is none.
fn read(source: &KeySource) -> Result<Option<Secret>, StoreError> {
    let path = match source {
        KeySource::Keyring => return keyring::read(KEYRING_USER).map_err(StoreError::Keyring),
        KeySource::File(path) => {
            files::refuse_loose(path)?;
            path.clone()
        }
        // systemd keeps the folder private itself; mode and owner differ between its versions.
        KeySource::SystemdCredential(name) => match systemd_credential(name) {
            None => return Ok(None),
            Some(path) => path,
        },
    };
    match files::read_bounded(&path, KEY_TEXT_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(&path)(source)),
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::File {
        path: path.to_owned(),
        source,
    }
}

/// How a person finds the key.
pub(super) fn place(source: &KeySource) -> String {
    match source {
        KeySource::File(path) => format!("the file {}", path.display()),
        KeySource::Keyring => {
            format!(
                "the keyring (service {}, user {KEYRING_USER})",
                keyring::SERVICE
            )
        }
        KeySource::SystemdCredential(name) => format!("the systemd credential {name}"),
    }
}

/// 256 bits: the key size of XChaCha20-Poly1305 and of HKDF-SHA256's output.
const KEY_LEN: usize = 32;

/// The user name of the key's keyring entry. Accounts' entries are named by the user; none is an address with a space.
const KEYRING_USER: &str = "store key";

/// Far more than the 45 bytes of a key, far less than a file named by mistake.
const KEY_TEXT_MAX: u64 = 1024;
