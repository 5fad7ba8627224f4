//! What can be read from a certificate (RFC 5280), as far as a person asks for it or an authority has to know it. It
//! proves nothing: whoever has to trust a certificate asks webpki.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use time::OffsetDateTime;
use yasna::models::ObjectIdentifier;
use yasna::tags::{TAG_GENERALIZEDTIME, TAG_UTCTIME, TAG_UTF8STRING};
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, BERReaderSeq, DERWriter, Tag};

use super::super::tls::sha256;
use super::names::{Name, Permitted};

/// A certificate for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The common name of whom it is about; may be empty.
    pub subject: String,
    /// The common name of who signed it.
    pub issuer: String,
    /// What it proves.
    pub names: Vec<Name>,
    /// It counts from here ...
    pub not_before: OffsetDateTime,
    /// ... to here.
    pub not_after: OffsetDateTime,
    /// The SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// The SHA-256 of its SubjectPublicKeyInfo, which programs pin.
    pub spki_sha256: [u8; 32],
    /// The SubjectPublicKeyInfo in DER.
    pub(super) spki: Vec<u8>,
    /// What it may vouch for, where it is an authority that is bound to something.
    pub(super) permitted: Option<Permitted>,
}

/// Reads `der`; `None` where it is no certificate.
pub(super) fn read(der: &[u8]) -> Option<Facts> {
    let mut facts = yasna::parse_der(der, |reader| {
        reader.read_sequence(|certificate| {
            let facts = certificate.next().read_sequence(to_be_signed)?;
            certificate.next().read_der()?;
            certificate.next().read_der()?;
            Ok(facts)
        })
    })
    .ok()?;
    facts.sha256 = sha256(der);
    Some(facts)
}

fn to_be_signed(fields: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Facts> {
    fields.read_optional(|version| version.read_tagged(Tag::context(0), |v| v.read_der()))?;
    let _serial = fields.next().read_der()?;
    let _algorithm = fields.next().read_der()?;
    let issuer = fields.next().read_der()?;
    let (not_before, not_after) = fields
        .next()
        .read_sequence(|validity| Ok((time(validity.next())?, time(validity.next())?)))?;
    let subject = fields.next().read_der()?;
    let spki = fields.next().read_der()?;
    for unique_id in [1, 2] {
        fields.read_optional(|id| {
            id.read_tagged_implicit(Tag::context(unique_id), |r| r.read_bitvec_bytes())
        })?;
    }
    let extensions = fields.read_optional(|extensions| {
        extensions.read_tagged(Tag::context(3), |list| list.collect_sequence_of(extension))
    })?;
    let content = |wanted: &[u64]| {
        let all = extensions.iter().flatten();
        all.map(|(id, content)| (id.components(), content))
            .find_map(|(id, content)| (id == wanted).then_some(content.as_slice()))
    };
    Ok(Facts {
        subject: common_name(&subject)?,
        issuer: common_name(&issuer)?,
        names: content(SUBJECT_ALT_NAME).map_or(Ok(Vec::new()), names)?,
        not_before,
        not_after,
        sha256: [0; 32],
        spki_sha256: sha256(&spki),
        spki,
        permitted: content(NAME_CONSTRAINTS).map(permitted).transpose()?,
    })
}

fn time(reader: BERReader<'_, '_>) -> ASN1Result<OffsetDateTime> {
    match reader.lookahead_tag()? {
        TAG_UTCTIME => Ok(*reader.read_utctime()?.datetime()),
        TAG_GENERALIZEDTIME => Ok(*reader.read_generalized_time()?.datetime()),
        _ => Err(ASN1Error::new(ASN1ErrorKind::Invalid)),
    }
}

/// The last common name of a DistinguishedName; empty where there is none.
fn common_name(der: &[u8]) -> ASN1Result<String> {
    let mut found = String::new();
    yasna::parse_der(der, |name| {
        name.read_sequence_of(|relative| {
            relative.read_set_of(|attribute| {
                attribute.read_sequence(|pair| {
                    let id = pair.next().read_oid()?;
                    let value = pair.next().read_tagged_der()?;
                    if id.components() == COMMON_NAME {
                        found = string(value.tag(), value.value());
                    }
                    Ok(())
                })
            })
        })
    })?;
    Ok(found)
}

/// Old certificates hold Latin-1 in a TeletexString; everything else here is ASCII.
fn string(tag: Tag, value: &[u8]) -> String {
    if tag == TAG_UTF8STRING {
        String::from_utf8_lossy(value).into_owned()
    } else {
        value.iter().copied().map(char::from).collect()
    }
}

fn extension(reader: BERReader<'_, '_>) -> ASN1Result<(ObjectIdentifier, Vec<u8>)> {
    reader.read_sequence(|fields| {
        let id = fields.next().read_oid()?;
        fields.read_optional(|r| r.read_bool())?;
        Ok((id, fields.next().read_bytes()?))
    })
}

/// GeneralNames, those that are hosts and addresses.
fn names(der: &[u8]) -> ASN1Result<Vec<Name>> {
    let mut names = Vec::new();
    yasna::parse_der(der, |list| {
        list.read_sequence_of(|name| {
            names.extend(general_name(name)?.and_then(|name| match name {
                GeneralName::Host(host) => Some(Name::Host(host)),
                GeneralName::Octets(octets) => address(&octets).map(Name::Address),
            }));
            Ok(())
        })
    })?;
    Ok(names)
}

/// NameConstraints. Excluded subtrees are not ours, and take nothing away that we would ask for.
fn permitted(der: &[u8]) -> ASN1Result<Permitted> {
    let mut permitted = Permitted::default();
    yasna::parse_der(der, |constraints| {
        constraints.read_sequence(|trees| {
            trees.read_optional(|tree| {
                tree.read_tagged_implicit(Tag::context(0), |list| {
                    list.read_sequence_of(|subtree| {
                        let base = subtree.read_sequence(|fields| general_name(fields.next()))?;
                        match base {
                            Some(GeneralName::Host(domain)) => permitted.domains.push(domain),
                            Some(GeneralName::Octets(octets)) => {
                                permitted.networks.extend(network(&octets));
                            }
                            None => {}
                        }
                        Ok(())
                    })
                })
            })?;
            trees.read_optional(|r| r.read_der())?;
            Ok(())
        })
    })?;
    Ok(permitted)
}

enum GeneralName {
    Host(String),
    Octets(Vec<u8>),
}

fn general_name(reader: BERReader<'_, '_>) -> ASN1Result<Option<GeneralName>> {
    let tag = reader.lookahead_tag()?;
    if tag == DNS_NAME {
        let host = reader.read_tagged_implicit(DNS_NAME, |r| r.read_ia5_string())?;
        return Ok(Some(GeneralName::Host(host.to_ascii_lowercase())));
    }
    if tag == IP_ADDRESS {
        let octets = reader.read_tagged_implicit(IP_ADDRESS, |r| r.read_bytes())?;
        return Ok(Some(GeneralName::Octets(octets)));
    }
    reader.read_der()?;
    Ok(None)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).into());
    let v6 = || <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into());
    v4.or_else(|_| v6()).ok()
}

/// An address and its mask.
fn network(octets: &[u8]) -> Option<IpNet> {
    let (base, mask) = octets.split_at_checked(octets.len() / 2)?;
    IpNet::with_netmask(address(base)?, address(mask)?).ok()
}

/// The content of a NameConstraints extension.
pub(super) fn name_constraints(permitted: &Permitted) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|trees| {
            trees.next().write_tagged_implicit(Tag::context(0), |list| {
                list.write_sequence(|list| {
                    for domain in &permitted.domains {
                        subtree(list.next(), |base| {
                            base.write_tagged_implicit(DNS_NAME, |w| w.write_ia5_string(domain));
                        });
                    }
                    for network in &permitted.networks {
                        let octets =
                            [octets(network.network()), octets(network.netmask())].concat();
                        subtree(list.next(), |base| {
                            base.write_tagged_implicit(IP_ADDRESS, |w| w.write_bytes(&octets));
                        });
                    }
                });
            });
        });
    })
}

fn subtree(writer: DERWriter<'_>, base: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|fields| base(fields.next()));
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().into(),
        IpAddr::V6(v6) => v6.octets().into(),
    }
}

/// id-ce-nameConstraints
pub(super) const NAME_CONSTRAINTS: &[u64] = &[2, 5, 29, 30];
/// id-ce-subjectAltName
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
/// id-at-commonName
const COMMON_NAME: &[u64] = &[2, 5, 4, 3];

/// GeneralName
const DNS_NAME: Tag = Tag {
    tag_class: yasna::TagClass::ContextSpecific,
    tag_number: 2,
};
/// GeneralName
const IP_ADDRESS: Tag = Tag {
    tag_class: yasna::TagClass::ContextSpecific,
    tag_number: 7,
};

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256};

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let key = KeyPair::generate().unwrap();
        let names = ["mail.lan", "192.168.1.2", "fd00::2"];
        let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        params.distinguished_name.push(DnType::CommonName, "grüße");
        params.not_after = rcgen::date_time_ymd(2060, 2, 3);
        let certificate = params.self_signed(&key).unwrap();
        let facts = read(certificate.der()).unwrap();
        assert_eq!(facts.names, names.map(Name::of));
        assert_eq!(
            (facts.subject.as_str(), facts.issuer.as_str()),
            ("grüße", "grüße")
        );
        assert_eq!(facts.not_after, params.not_after);
        assert_eq!(
            facts.spki,
            rcgen::PublicKeyData::subject_public_key_info(&key)
        );
        assert_eq!(facts.permitted, None);
    }

    #[test]
    fn constraints_are_read_as_they_were_written() {
        let wanted = Permitted::new(&["firma.example", "203.0.113.5", "2001:db8::1"].map(Name::of));
        assert_eq!(permitted(&name_constraints(&wanted)).unwrap(), wanted);
    }

    /// Files are the user's: any cut or flip is an error or another certificate, never a panic.
    #[test]
    fn broken_certificates_are_refused_quietly() {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let params = CertificateParams::new(["mail.lan".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        assert!(read(&der).is_some());
        for end in 0..der.len() {
            assert_eq!(read(&der[..end]), None);
        }
        for at in 0..der.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut other = der.clone();
                other[at] ^= flip;
                let _ = read(&other);
            }
        }
    }
}
