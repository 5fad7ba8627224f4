//! The local certificate authority, and the certificates it gives.
//!
//! - **P-256** for both keys: every client with TLS 1.2 knows it, and nothing older can speak to rustls at all. Clients
//!   of TLS 1.0 and 1.1 (Windows XP, old printers) use a plain listener, so RSA would serve nobody.
//! - The authority may vouch only for local names and those that were configured when it was made, only for servers, and
//!   for no authority below it ([`Permitted`], `serverAuth`, path length 0): who trusts it does not trust it with the
//!   Internet. The names are bound by an extension that is not critical, against RFC 5280: macOS before 10.13 refuses a
//!   critical one that it does not know; whoever knows it keeps to it in either form.

use std::str;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use time::{Duration, OffsetDateTime};

use super::super::tls::{provider, sha256};
use super::error::CertificateError;
use super::names::{Name, Permitted};
use super::x509::{self, Facts};
use crate::secret::Secret;

/// Who signs.
pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) facts: Facts,
    issuer: Issuer<'static, KeyPair>,
}

/// What a listener presents: a certificate and its key.
pub(super) struct Leaf {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) facts: Facts,
    key: KeyPair,
}

impl Authority {
    /// A new one. Its name tells it from those before it: programs find the issuer of a certificate by that.
    pub(super) fn new(wanted: &[Name], now: OffsetDateTime) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mark: String = sha256(&key.subject_public_key_info())
            .iter()
            .take(MARK_OCTETS)
            .map(|octet| format!("{octet:02x}"))
            .collect();
        let mut params = params(&format!("{AUTHORITY_NAME} {mark}"));
        params.not_before = now - SKEW;
        params.not_after = now + AUTHORITY_LIFE;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let content = x509::name_constraints(&Permitted::new(wanted));
        let constraints = CustomExtension::from_oid_content(x509::NAME_CONSTRAINTS, content);
        params.custom_extensions = vec![constraints];
        let certificate = params.self_signed(&key)?.der().clone();
        Self::of(certificate, key).ok_or(CertificateError::Make(
            rcgen::Error::CouldNotParseCertificate,
        ))
    }

    /// From its certificate and key in PEM; `None` where they are not there or do not belong together.
    pub(super) fn from_pem(pem: &Secret) -> Option<Self> {
        let (certificate, key) = pair(pem)?;
        Self::of(certificate, key)
    }

    fn of(certificate: CertificateDer<'static>, key: KeyPair) -> Option<Self> {
        let facts = x509::read(&certificate)?;
        if facts.spki != key.subject_public_key_info() {
            return None;
        }
        let issuer = Issuer::new(params(&facts.subject), key);
        Some(Self {
            certificate,
            facts,
            issuer,
        })
    }

    /// Certificate and key in PEM.
    pub(super) fn to_pem(&self) -> Secret {
        joined(&self.certificate, self.issuer.key())
    }

    /// Those of `wanted` that it may vouch for, and the others.
    pub(super) fn divide(&self, wanted: &[Name]) -> (Vec<Name>, Vec<Name>) {
        let covers = |name: &Name| self.facts.permitted.as_ref().is_none_or(|p| p.covers(name));
        wanted.iter().cloned().partition(covers)
    }

    /// A certificate for `names` with a key of its own.
    pub(super) fn sign(
        &self,
        names: &[Name],
        now: OffsetDateTime,
    ) -> Result<Leaf, CertificateError> {
        let key = KeyPair::generate()?;
        // The first name can be a host name alone: every list begins with localhost.
        let subject = names.first().map(Name::to_string).unwrap_or_default();
        let mut params = params(&subject);
        params.not_before = now - SKEW;
        params.not_after = self.end_of_leaf(now);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        Leaf::of(certificate, key).ok_or(CertificateError::Make(
            rcgen::Error::CouldNotParseCertificate,
        ))
    }

    /// When a certificate that it signs now would end: never after itself.
    pub(super) fn end_of_leaf(&self, now: OffsetDateTime) -> OffsetDateTime {
        (now - SKEW + LEAF_LIFE).min(self.facts.not_after)
    }

    /// Whether `leaf` is its own, whatever the time.
    pub(super) fn signed(&self, leaf: &Leaf) -> bool {
        let when = leaf.facts.not_before.max(self.facts.not_before);
        let Ok(seconds) = u64::try_from(when.unix_timestamp()) else {
            return false;
        };
        let when = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let anchor = webpki::anchor_from_trusted_cert(&self.certificate);
        let end = webpki::EndEntityCert::try_from(&leaf.certificate);
        let (Ok(anchor), Ok(end)) = (anchor, end) else {
            return false;
        };
        let algorithms = provider().signature_verification_algorithms;
        let usage = webpki::KeyUsage::server_auth();
        end.verify_for_usage(algorithms.all, &[anchor], &[], when, usage, None, None)
            .is_ok()
    }
}

impl Leaf {
    /// From its certificate and key in PEM; `None` where they are not there or do not belong together.
    pub(super) fn from_pem(pem: &Secret) -> Option<Self> {
        let (certificate, key) = pair(pem)?;
        Self::of(certificate, key)
    }

    fn of(certificate: CertificateDer<'static>, key: KeyPair) -> Option<Self> {
        let facts = x509::read(&certificate)?;
        (facts.spki == key.subject_public_key_info()).then_some(Self {
            certificate,
            facts,
            key,
        })
    }

    /// Certificate and key in PEM.
    pub(super) fn to_pem(&self) -> Secret {
        joined(&self.certificate, &self.key)
    }

    /// The key as TLS wants it.
    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }

    /// Whether it proves exactly `names`.
    pub(super) fn proves(&self, names: &[Name]) -> bool {
        let sorted = |names: &[Name]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        sorted(&self.facts.names) == sorted(names)
    }
}

/// A certificate in PEM, lines of 64 characters (RFC 7468).
pub fn pem(certificate: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (at, letter) in text.chars().enumerate() {
        if at > 0 && at % PEM_LINE == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn alternative(name: &Name) -> Result<SanType, rcgen::Error> {
    Ok(match name {
        Name::Host(host) => SanType::DnsName(host.as_str().try_into()?),
        Name::Address(address) => SanType::IpAddress(*address),
    })
}

fn pair(pem: &Secret) -> Option<(CertificateDer<'static>, KeyPair)> {
    let certificate = CertificateDer::from_pem_slice(pem.expose()).ok()?;
    let key = PrivateKeyDer::from_pem_slice(pem.expose()).ok()?;
    Some((certificate, KeyPair::try_from(&key).ok()?))
}

fn joined(certificate: &[u8], key: &KeyPair) -> Secret {
    let key = zeroize::Zeroizing::new(key.serialize_pem());
    let mut joined = key.as_bytes().to_vec();
    joined.extend_from_slice(pem(certificate).as_bytes());
    Secret::new(joined)
}

/// What the authority is called, before a mark of its own.
const AUTHORITY_NAME: &str = "mailsluice local CA";

/// Enough that no two on one machine are called the same.
const MARK_OCTETS: usize = 4;

/// Trusting it anew is work on every machine, and what it can vouch for is of no use elsewhere.
const AUTHORITY_LIFE: Duration = Duration::days(3652);

/// Apple takes at most 825 days from a CA that a person has added, and browsers 398 from a public one: a certificate that
/// keeps to the stricter rule is refused nowhere, and renews itself anyhow.
const LEAF_LIFE: Duration = Duration::days(397);

/// A device whose clock is slow, or off by its time zone, takes a certificate of today.
const SKEW: Duration = Duration::days(1);

/// RFC 7468 section 2.
const PEM_LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap()
    }

    #[test]
    fn an_authority_read_again_signs_what_the_first_one_vouches_for() {
        let names = ["localhost", "127.0.0.1", "mail.firma.example"].map(Name::of);
        let made = Authority::new(&names, now()).unwrap();
        let read = Authority::from_pem(&made.to_pem()).unwrap();
        assert_eq!(read.facts, made.facts);
        let leaf = read.sign(&names, now()).unwrap();
        assert!(made.signed(&leaf) && leaf.proves(&names));
        assert!(leaf.facts.not_after - leaf.facts.not_before <= Duration::days(397));
        let other = Authority::new(&names, now()).unwrap();
        assert!(!other.signed(&leaf));
        assert_ne!(other.facts.subject, made.facts.subject);
        let read = Leaf::from_pem(&leaf.to_pem()).unwrap();
        assert_eq!(read.private_key(), leaf.private_key());
    }

    #[test]
    fn it_cannot_vouch_for_the_internet() {
        let authority = Authority::new(&[Name::of("mail.firma.example")], now()).unwrap();
        let foreign = [Name::of("localhost"), Name::of("imap.gmail.com")];
        let leaf = authority.sign(&foreign, now()).unwrap();
        assert!(!authority.signed(&leaf), "webpki keeps to the constraints");
        let (kept, left_out) = authority.divide(&foreign);
        assert_eq!(
            (kept.as_slice(), left_out.as_slice()),
            (&foreign[..1], &foreign[1..])
        );
    }

    #[test]
    fn a_leaf_does_not_outlive_its_authority() {
        let names = [Name::of("localhost")];
        let authority = Authority::new(&names, now()).unwrap();
        let late = authority.facts.not_after - Duration::days(3);
        let leaf = authority.sign(&names, late).unwrap();
        assert_eq!(leaf.facts.not_after, authority.facts.not_after);
    }

    #[test]
    fn a_pair_that_does_not_belong_together_is_none() {
        let names = [Name::of("localhost")];
        let [one, two] = [(); 2].map(|()| Authority::new(&names, now()).unwrap());
        let mixed = joined(&one.certificate, two.issuer.key());
        assert!(Authority::from_pem(&mixed).is_none());
        assert!(Authority::from_pem(&Secret::from(pem(&one.certificate).as_str())).is_none());
    }
}
