//! A PKCS#12 trust store (RFC 7292) with one certificate, for Java: nothing else on earth wants a CA in this shape.
//!
//! The certificate lies in it in the clear, since nothing about it is secret, and so that a Java of any age reads it with
//! its password or without. The checksum is the one that all of them know: with a password that stands in every manual it
//! protects from accidents only, and for that SHA-1 is good enough. Java takes an entry for trusted where it has an
//! attribute of Oracle's.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{digest, hmac, rand};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, DERWriterSeq, Tag};

/// The trust store's bytes.
pub(super) fn trust_store(certificate: &[u8], name: &str) -> Result<Vec<u8>, Unspecified> {
    let mut salt = [0; SALT_OCTETS];
    rand::fill(&mut salt)?;
    Ok(trust_store_salted(certificate, name, &salt))
}

fn trust_store_salted(certificate: &[u8], name: &str, salt: &[u8]) -> Vec<u8> {
    let bags = yasna::construct_der(|w| w.write_sequence(|w| bag(w.next(), certificate, name)));
    let safe = yasna::construct_der(|w| w.write_sequence(|w| data(w.next(), &bags)));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &mac_key(salt));
    let mac = hmac::sign(&key, &safe);
    yasna::construct_der(|w| {
        w.write_sequence(|pfx| {
            pfx.next().write_u8(VERSION);
            data(pfx.next(), &safe);
            pfx.next().write_sequence(|mac_data| {
                mac_data.next().write_sequence(|info| {
                    info.next().write_sequence(|algorithm| {
                        oid(algorithm, SHA1);
                        algorithm.next().write_null();
                    });
                    info.next().write_bytes(mac.as_ref());
                });
                mac_data.next().write_bytes(salt);
                mac_data.next().write_u32(ITERATIONS);
            });
        });
    })
}

/// ContentInfo of type `data`.
fn data(writer: DERWriter<'_>, content: &[u8]) {
    writer.write_sequence(|info| {
        oid(info, DATA);
        explicit(info, |w| w.write_bytes(content));
    });
}

/// SafeBag with a CertBag.
fn bag(writer: DERWriter<'_>, certificate: &[u8], name: &str) {
    writer.write_sequence(|bag| {
        oid(bag, CERT_BAG);
        explicit(bag, |w| {
            w.write_sequence(|cert| {
                oid(cert, X509_CERTIFICATE);
                explicit(cert, |w| w.write_bytes(certificate));
            });
        });
        bag.next().write_set_of(|attributes| {
            attribute(attributes.next(), FRIENDLY_NAME, |w| {
                w.write_bmp_string(name)
            });
            let any = ObjectIdentifier::from_slice(ANY_EXTENDED_KEY_USAGE);
            attribute(attributes.next(), TRUSTED_KEY_USAGE, |w| w.write_oid(&any));
        });
    });
}

fn attribute(writer: DERWriter<'_>, id: &[u64], value: impl Fn(DERWriter<'_>)) {
    writer.write_sequence(|attribute| {
        oid(attribute, id);
        attribute.next().write_set_of(|values| value(values.next()));
    });
}

fn oid(sequence: &mut DERWriterSeq<'_>, id: &[u64]) {
    sequence.next().write_oid(&ObjectIdentifier::from_slice(id));
}

fn explicit(sequence: &mut DERWriterSeq<'_>, content: impl FnOnce(DERWriter<'_>)) {
    sequence.next().write_tagged(Tag::context(0), content);
}

/// RFC 7292 appendix B.2 with SHA-1. The key is as long as one digest, so the first round is all there is.
fn mac_key(salt: &[u8]) -> Vec<u8> {
    let password: Vec<u8> = PASSWORD
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_be_bytes)
        .collect();
    let mut input = vec![MAC_KEY; BLOCK];
    input.extend(filled(salt));
    input.extend(filled(&password));
    let sha1 = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let mut key = sha1(&input);
    for _ in 1..ITERATIONS {
        key = sha1(key.as_ref());
    }
    key.as_ref().to_vec()
}

/// Repeated up to whole blocks.
fn filled(text: &[u8]) -> impl Iterator<Item = u8> {
    let length = text.len().div_ceil(BLOCK) * BLOCK;
    text.iter().copied().cycle().take(length)
}

/// What Java takes for granted.
pub(super) const PASSWORD: &str = "changeit";

const VERSION: u8 = 3;

const SALT_OCTETS: usize = 20;

/// RFC 7292 recommends 1024 at least; openssl takes this.
const ITERATIONS: u32 = 2048;

/// SHA-1's block.
const BLOCK: usize = 64;

/// Diversifier for integrity keys, RFC 7292 appendix B.3.
const MAC_KEY: u8 = 3;

const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const CERT_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
const X509_CERTIFICATE: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113_549, 1, 9, 20];
/// Oracle's mark of a trusted certificate.
const TRUSTED_KEY_USAGE: &[u64] = &[2, 16, 840, 1, 113_894, 746_875, 1, 1];
const ANY_EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37, 0];
const SHA1: &[u64] = &[1, 3, 14, 3, 2, 26];
