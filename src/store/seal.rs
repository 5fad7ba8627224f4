//! Row encryption: XChaCha20-Poly1305 with a random nonce, bound to the row it belongs to.
//!
//! The extended nonce has 192 bits, so random ones never meet. The associated data names table and row: a value moved
//! to another row does not open. What this cannot see: a deleted row, or the whole file set back to an older copy.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use super::error::StoreError;
use super::key::StoreKey;
use crate::secret::Secret;

/// Seals and opens the encrypted columns.
pub(super) struct Sealer(XChaCha20Poly1305);

/// Does not open: another key, another row, or changed bytes. Which of them cannot be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DoesNotOpen;

impl Sealer {
    /// A sealer for the rows of one store.
    pub(super) fn new(key: &StoreKey) -> Result<Self, StoreError> {
        let derived = key.derive(b"seal rows")?;
        Ok(Self(XChaCha20Poly1305::new(&Key::from(*derived))))
    }

    /// Base64 of version, nonce and ciphertext. `row` is the table's name and what identifies the row in it.
    pub(super) fn seal(&self, row: &[&str], plain: &Secret) -> Result<String, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| StoreError::Cryptography)?;
        let payload = Payload {
            msg: plain.expose(),
            aad: &associated(row),
        };
        let sealed = self
            .0
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| StoreError::Cryptography)?;
        let mut bytes = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Ok(STANDARD.encode(bytes))
    }

    /// What [`Sealer::seal`] was given for the same row.
    pub(super) fn open(&self, row: &[&str], text: &str) -> Result<Secret, DoesNotOpen> {
        let bytes = STANDARD.decode(text).map_err(|_| DoesNotOpen)?;
        let (&version, rest) = bytes.split_first().ok_or(DoesNotOpen)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(DoesNotOpen)?;
        if version != VERSION {
            return Err(DoesNotOpen);
        }
        let payload = Payload {
            msg: sealed,
            aad: &associated(row),
        };
        let plain = self.0.decrypt(&XNonce::from(*nonce), payload);
        plain.map(Secret::new).map_err(|_| DoesNotOpen)
    }
}

/// Each part with its length before it, so that no two rows share their associated data.
fn associated(row: &[&str]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for part in row {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// The format above; another one gets another number.
const VERSION: u8 = 1;

/// The nonce of XChaCha20.
const NONCE_LEN: usize = 24;
