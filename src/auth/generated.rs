//! Generated local passwords: 130 random bits in 26 characters, made to be typed into old devices.
//!
//! The alphabet is Crockford's base32 in lower case: digits and letters without i, l, o and u. A login may leave out or
//! add dashes and spaces, use upper case, and write o for 0, i or l for 1; none of this costs a bit, since each such
//! spelling still stands for one password. With its dashes it has 32 characters, the most that many scanners take.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::error::PasswordError;
use crate::secret::Secret;

/// A new one in the form that is shown once: `xxxx-xxxx-xxxx-xxxx-xxxx-xxxx-xx`.
pub(super) fn generate() -> Result<Secret, PasswordError> {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| PasswordError::Hashing)?;
    let mut shown = Vec::with_capacity(LENGTH + LENGTH / GROUP);
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 && at % GROUP == 0 {
            shown.push(b'-');
        }
        // 256 is a multiple of 32: the low five bits of a random byte are even.
        shown.extend(ALPHABET.get(usize::from(byte % 32)));
    }
    Ok(Secret::new(shown))
}

/// What `typed` stands for: 26 characters of the alphabet. `None` where it cannot be a generated password.
pub(super) fn canonical(typed: &Secret) -> Option<Secret> {
    if typed.expose().len() > TYPED_MAX {
        return None;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(TYPED_MAX));
    for byte in typed.expose() {
        match byte.to_ascii_lowercase() {
            b'-' | b' ' => {}
            b'o' => plain.push(b'0'),
            b'i' | b'l' => plain.push(b'1'),
            letter if ALPHABET.contains(&letter) => plain.push(letter),
            _ => return None,
        }
    }
    (plain.len() == LENGTH).then(|| Secret::new(std::mem::take(&mut *plain)))
}

/// The ways in which a client may have been given `password`, where it sends only a digest of what it was given: with
/// dashes or without, in small letters or in capitals. One that we did not make has only one way.
pub(super) fn spellings(password: &Secret) -> Vec<Secret> {
    let Some(plain) = canonical(password) else {
        return vec![password.clone()];
    };
    let groups: Vec<&[u8]> = plain.expose().chunks(GROUP).collect();
    let dashed = Secret::new(groups.join(&b'-'));
    let capitals = |it: &Secret| Secret::new(it.expose().to_ascii_uppercase());
    let loud = [capitals(&plain), capitals(&dashed)];
    // As it was shown comes first: that is what most people copy.
    [dashed, plain].into_iter().chain(loud).collect()
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 26 characters of 5 bits: the fewest with at least 128 bits.
const LENGTH: usize = 26;

/// A group that the eye takes in at once.
const GROUP: usize = 4;

/// 26 characters with a dash or space around each.
const TYPED_MAX: usize = 2 * LENGTH;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_form_fits_32_characters_and_is_its_own_spelling() {
        let shown = generate().unwrap();
        let text = std::str::from_utf8(shown.expose()).unwrap();
        assert_eq!(text.len(), 32);
        assert!(
            text.split('-')
                .all(|group| group.len() == 4 || group.len() == 2)
        );
        let plain = text.replace('-', "");
        assert_eq!(canonical(&shown).unwrap().expose(), plain.as_bytes());
        assert_ne!(generate().unwrap().expose(), shown.expose());
    }

    #[test]
    fn dashes_case_and_look_alikes_do_not_matter() {
        let of = |text: &str| canonical(&Secret::from(text)).map(|s| s.expose().to_vec());
        let plain = of("0123-4567-89ab-cdef-ghjk-mnpq-rs");
        assert!(plain.is_some());
        assert_eq!(of("0123456789abcdefghjkmnpqrs"), plain);
        assert_eq!(of("OL23 4567 89AB CDEF GHJK MNPQ RS"), plain);
        assert_ne!(of("0123-4567-89ab-cdef-ghjk-mnpq-rt"), plain);
    }

    #[test]
    fn anything_else_is_not_a_generated_password() {
        for text in [
            "",
            "hunter2",
            "0123-4567-89ab-cdef-ghjk-mnpq-r",
            "u0123456789abcdefghjkmnpqrs",
        ] {
            assert!(canonical(&Secret::from(text)).is_none(), "{text}");
        }
        assert!(canonical(&Secret::new(vec![b'-'; 9_999])).is_none());
    }
}
