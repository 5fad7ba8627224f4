//! Small clients that take nothing on trust: every line ends with CRLF, every count is right, nothing is left over.

pub(crate) mod browser;
pub(crate) mod imap;
pub(crate) mod pop3;
pub(crate) mod smtp;
mod wire;

use aws_lc_rs::digest::{SHA256, digest};

pub(crate) use self::wire::Wire;

/// A message's identity.
pub(crate) type Sha256 = [u8; 32];

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

/// Fails with the first difference rather than with megabytes of mail.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], expected: &[u8], what: &str) {
    if sha256(got) == sha256(expected) {
        return;
    }
    let at = got
        .iter()
        .zip(expected)
        .take_while(|(got, expected)| got == expected)
        .count();
    let show = |bytes: &[u8]| {
        let end = bytes.len().min(at + SHOWN);
        String::from_utf8_lossy(&bytes[at.saturating_sub(SHOWN)..end]).into_owned()
    };
    panic!(
        "{what}: {} bytes instead of {}; they part at {at}:\n got {:?}\nnot {:?}",
        got.len(),
        expected.len(),
        show(got),
        show(expected)
    );
}

const SHOWN: usize = 60;
