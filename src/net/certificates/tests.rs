//! What is made, kept, renewed and refused, with the clock as an input; what a kill can leave behind.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use tempfile::TempDir;
use time::Duration;

use super::folder::RENEW_BEFORE;
use super::*;
use crate::config::runtime::CertificateFiles;

/// A state folder of its own.
struct Scene {
    root: TempDir,
    folder: Folder,
}

impl Scene {
    /// When the authority's time is over; it is made if there is none.
    fn authority_ends(&self) -> OffsetDateTime {
        let authority = self.folder.authority(&usual(), now()).unwrap();
        authority.facts.not_after
    }

    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path());
        Self { root, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("certs").join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    /// Writes as `keep` does, for its owner alone.
    fn put(&self, name: &str, content: &[u8]) {
        let _ = fs::remove_file(self.file(name));
        crate::disk::write_new(&self.file(name), content).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path().join("certs")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap()
}

fn usual() -> Vec<Name> {
    ["localhost", "127.0.0.1", "::1"].map(Name::of).into()
}

#[test]
fn both_are_made_once_and_closed_to_others() {
    let state = Scene::new();
    let first = state.folder.keep(&usual(), now()).unwrap();
    let again = state
        .folder
        .keep(&usual(), now() + Duration::days(300))
        .unwrap();
    assert_eq!(first.leaf.certificate, again.leaf.certificate);
    let all = ["ca-with-key.pem", "ca.pem", "lock", "server-with-key.pem"];
    assert_eq!(state.names(), all);
    let authority = state.folder.look_at_authority().unwrap().unwrap();
    assert_eq!(state.read("ca.pem"), pem(&authority.der).as_bytes());
    assert_eq!(authority.facts.not_after, now() + Duration::days(3652));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.root.path().join("certs")), 0o700);
        assert!(all.iter().all(|name| mode(state.file(name)) == 0o600));
    }
}

#[test]
fn a_certificate_is_renewed_a_month_before_its_end_and_not_sooner() {
    let state = Scene::new();
    let first = state.folder.keep(&usual(), now()).unwrap().leaf;
    let threshold = first.facts.not_after - RENEW_BEFORE;
    let kept = state.folder.keep(&usual(), threshold).unwrap().leaf;
    assert_eq!(kept.certificate, first.certificate);
    let later = threshold + Duration::SECOND;
    let renewed = state.folder.keep(&usual(), later).unwrap().leaf;
    assert_ne!(renewed.certificate, first.certificate);
    assert_ne!(
        renewed.facts.spki, first.facts.spki,
        "the key is another, too"
    );
    assert!(renewed.facts.not_after > later + Duration::days(390));
    let authority = state.folder.look_at_authority().unwrap().unwrap();
    assert_eq!(renewed.facts.issuer, authority.facts.subject);
}

/// It ends with the authority, so another would be no better, five minutes later and then again.
#[test]
fn what_cannot_be_longer_is_not_renewed_over_and_over() {
    let state = Scene::new();
    let end = state.authority_ends();
    let last = state
        .folder
        .keep(&usual(), end - Duration::days(3))
        .unwrap()
        .leaf;
    let kept = state
        .folder
        .keep(&usual(), end - Duration::days(2))
        .unwrap()
        .leaf;
    assert_eq!(kept.certificate, last.certificate);
}

#[test]
fn other_names_are_another_certificate_of_the_same_authority() {
    let state = Scene::new();
    state.folder.keep(&usual(), now()).unwrap();
    let before = state.read("ca-with-key.pem");
    let mut names = usual();
    names.push(Name::of("mail.lan"));
    let kept = state.folder.keep(&names, now()).unwrap();
    assert!(kept.leaf.proves(&names) && kept.left_out.is_empty());
    assert_eq!(state.read("ca-with-key.pem"), before);
}

/// A name outside would make the whole certificate one that clients refuse, for `localhost` too.
#[test]
fn a_name_that_the_authority_may_not_vouch_for_is_left_out_and_told() {
    let state = Scene::new();
    state.folder.keep(&usual(), now()).unwrap();
    let mut names = usual();
    names.push(Name::of("mail.firma.example"));
    let finding = generated(&state.folder, &names, now()).unwrap();
    assert_eq!(finding.facts.names, usual());
    let complaint = finding.complaint.unwrap();
    assert!(
        complaint.contains("before mail.firma.example was configured"),
        "{complaint}"
    );
    assert!(complaint.ends_with("mailsluice certs new"), "{complaint}");
    state.folder.replace_authority(&names, now()).unwrap();
    let finding = generated(&state.folder, &names, now()).unwrap();
    assert_eq!((finding.facts.names, finding.complaint), (names, None));
}

#[test]
fn the_end_of_the_authority_is_told_half_a_year_before() {
    let state = Scene::new();
    let end = state.authority_ends();
    let before = |days| {
        let then = end - Duration::days(days);
        generated(&state.folder, &usual(), then).unwrap().complaint
    };
    assert_eq!(before(181), None);
    let told = before(179).unwrap();
    assert!(
        told.starts_with(&format!("the authority ends on {}", end.date())),
        "{told}"
    );
}

#[test]
fn an_authority_that_has_expired_is_followed_by_another() {
    let state = Scene::new();
    let first = state.folder.authority(&usual(), now()).unwrap();
    let later = first.facts.not_after + Duration::SECOND;
    let kept = state.folder.keep(&usual(), later).unwrap();
    let second = state.folder.look_at_authority().unwrap().unwrap();
    assert_ne!(second.facts.subject, first.facts.subject);
    assert_eq!(kept.leaf.facts.issuer, second.facts.subject);
}

/// It may be trusted by mail programs already.
#[test]
fn a_damaged_or_lost_authority_is_never_replaced_by_itself() {
    for damage in [&b"-----BEGIN CERTIFICATE-----\nAAAA\n"[..], b"", b"lost"] {
        let state = Scene::new();
        state.folder.keep(&usual(), now()).unwrap();
        if damage == b"lost" {
            fs::remove_file(state.file("ca-with-key.pem")).unwrap();
        } else {
            state.put("ca-with-key.pem", damage);
        }
        let public = state.read("ca.pem");
        let kept = generated(&state.folder, &usual(), now()).unwrap();
        let complaint = kept.complaint.unwrap();
        assert!(complaint.contains("ca-with-key.pem"), "{complaint}");
        let late = kept.facts.not_after + Duration::SECOND;
        let error = state.folder.keep(&usual(), late).err().unwrap();
        assert!(
            error.to_string().contains("mailsluice certs new"),
            "{error}"
        );
        assert_eq!(state.read("ca.pem"), public);
        state.folder.replace_authority(&usual(), now()).unwrap();
        assert!(
            generated(&state.folder, &usual(), now())
                .unwrap()
                .complaint
                .is_none()
        );
    }
}

#[test]
fn a_certificate_that_is_damaged_or_of_another_authority_is_made_anew() {
    let state = Scene::new();
    let other = Scene::new();
    other.folder.keep(&usual(), now()).unwrap();
    state.folder.keep(&usual(), now()).unwrap();
    for content in [
        b"".to_vec(),
        b"garbage".to_vec(),
        other.read("server-with-key.pem"),
    ] {
        state.put("server-with-key.pem", &content);
        let kept = state.folder.keep(&usual(), now()).unwrap();
        let authority = state.folder.look_at_authority().unwrap().unwrap();
        assert_eq!(kept.leaf.facts.issuer, authority.facts.subject);
        assert!(kept.trouble.is_none());
    }
}

#[cfg(unix)]
#[test]
fn keys_that_others_may_read_are_refused_or_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let state = Scene::new();
    let first = state.folder.keep(&usual(), now()).unwrap().leaf;
    let open = |name: &str| {
        fs::set_permissions(state.file(name), PermissionsExt::from_mode(0o644)).unwrap();
    };
    open("server-with-key.pem");
    let second = state.folder.keep(&usual(), now()).unwrap().leaf;
    assert_ne!(second.certificate, first.certificate);
    open("ca-with-key.pem");
    let trouble = state.folder.keep(&usual(), now()).unwrap().trouble.unwrap();
    assert!(
        trouble.to_string().ends_with("(mode 0644): `chmod 600` it"),
        "{trouble}"
    );
}

/// A machine without a battery for its clock starts in 1970.
#[test]
fn a_clock_that_is_far_behind_changes_nothing() {
    let state = Scene::new();
    let first = state.folder.keep(&usual(), now()).unwrap().leaf;
    let kept = state
        .folder
        .keep(&usual(), OffsetDateTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(kept.leaf.certificate, first.certificate);
}

#[test]
fn a_certificate_from_a_wrong_future_is_made_anew() {
    let state = Scene::new();
    state.folder.authority(&usual(), now()).unwrap();
    let ahead = now() + Duration::days(500);
    state.folder.keep(&usual(), ahead).unwrap();
    let kept = state.folder.keep(&usual(), now()).unwrap().leaf;
    assert!(kept.facts.not_before < now());
}

/// A write is: a draft beside the file, then a rename. So what a kill leaves is any beginning of a draft, and any number
/// of finished renames, in this order: authority, its copy, certificate.
#[test]
fn a_kill_at_any_point_of_making_them_stops_no_start() {
    let whole = Scene::new();
    whole.folder.keep(&usual(), now()).unwrap();
    let order = ["ca-with-key.pem", "ca.pem", "server-with-key.pem"];
    for finished in 0..order.len() {
        let draft = whole.read(order[finished]);
        for written in [0, 1, draft.len() / 2, draft.len()] {
            let state = Scene::new();
            crate::disk::make_private_folder(&state.root.path().join("certs")).unwrap();
            for name in &order[..finished] {
                state.put(name, &whole.read(name));
            }
            fs::write(
                state.file(&format!("{}.new", order[finished])),
                &draft[..written],
            )
            .unwrap();
            let kept = state.folder.keep(&usual(), now()).unwrap();
            assert!(kept.trouble.is_none() && kept.leaf.proves(&usual()));
            let authority = state.folder.look_at_authority().unwrap().unwrap();
            assert_eq!(state.read("ca.pem"), pem(&authority.der).as_bytes());
            if finished > 0 {
                assert_eq!(
                    state.read(order[0]),
                    whole.read(order[0]),
                    "it stays the authority"
                );
            }
            assert!(state.names().iter().all(|name| !name.ends_with(".new")));
        }
    }
}

/// The same while one authority takes the place of another.
#[test]
fn a_kill_amid_a_replacement_leaves_one_authority_that_is_whole() {
    let state = Scene::new();
    state.folder.keep(&usual(), now()).unwrap();
    let other = Scene::new();
    other.folder.authority(&usual(), now()).unwrap();
    state.put("ca-with-key.pem", &other.read("ca-with-key.pem"));
    let kept = state.folder.keep(&usual(), now()).unwrap();
    assert_eq!(state.read("ca.pem"), other.read("ca.pem"));
    let authority = state.folder.look_at_authority().unwrap().unwrap();
    assert_eq!(kept.leaf.facts.issuer, authority.facts.subject);
}

#[test]
fn many_starts_at_once_make_one_authority_and_one_certificate() {
    let state = Scene::new();
    let made: Vec<_> = std::thread::scope(|scope| {
        let start = || state.folder.keep(&usual(), now()).unwrap().leaf.certificate;
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    assert!(made.iter().all(|certificate| *certificate == made[0]));
}

/// The user's files.
struct Own {
    root: TempDir,
    files: CertificateFiles,
}

impl Own {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: root.path().join("chain.pem"),
            key: root.path().join("chain.key"),
        };
        let own = Self { root, files };
        own.write(&Self::pair());
        own
    }

    /// A certificate and its key in PEM.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["mail.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn write(&self, (certificate, key): &(String, String)) {
        crate::disk::write_new(&self.files.certificate, certificate.as_bytes()).unwrap();
        crate::disk::write_new(&self.files.key, key.as_bytes()).unwrap();
    }

    fn certificates(&self) -> (Certificates, CertificateSource) {
        let certificates = Certificates {
            folder: Folder::at(self.root.path()),
            state: Mutex::default(),
        };
        let source = CertificateSource::Own(self.files.clone());
        let finding = certificates.find(&source, &[], SystemTime::now()).unwrap();
        let new = Source::new(&source, stamp(&source), finding);
        certificates.state().sources.insert(source.clone(), new);
        (certificates, source)
    }
}

/// What is presented, and what was said about it.
fn standing(certificates: &Certificates, source: &CertificateSource) -> (Vec<u8>, Option<String>) {
    let state = certificates.state();
    let known = &state.sources[source];
    (
        known.presented.0.load().cert[0].to_vec(),
        known.said.clone(),
    )
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes());
    der.unwrap().to_vec()
}

#[test]
fn own_files_are_read_again_when_they_change_and_only_then() {
    let own = Own::new();
    let (certificates, source) = own.certificates();
    let (first, _) = standing(&certificates, &source);
    certificates.renew(SystemTime::now());
    assert_eq!(standing(&certificates, &source), (first.clone(), None));
    let renewed = Own::pair();
    own.write(&renewed);
    certificates.renew(SystemTime::now());
    assert_eq!(standing(&certificates, &source), (der(&renewed.0), None));
    assert_ne!(der(&renewed.0), first);
}

#[test]
fn a_renewed_file_that_does_not_fit_keeps_the_old_one_and_is_named() {
    let own = Own::new();
    let (certificates, source) = own.certificates();
    let (first, _) = standing(&certificates, &source);
    let (certificate, key) = Own::pair();
    let steps: [(&str, &str, &str); 3] = [
        (&certificate, "", "chain.key cannot be used"),
        (&certificate, &Own::pair().1, "chain.key is not the key of "),
        ("no PEM", &key, "chain.pem cannot be used"),
    ];
    for (certificate, key, complaint) in steps {
        own.write(&(certificate.to_owned(), key.to_owned()));
        certificates.renew(SystemTime::now());
        let (presented, said) = standing(&certificates, &source);
        assert_eq!(presented, first);
        assert!(
            said.as_ref().is_some_and(|said| said.contains(complaint)),
            "{said:?}"
        );
    }
    fs::remove_file(&own.files.key).unwrap();
    certificates.renew(SystemTime::now());
    assert_eq!(standing(&certificates, &source).0, first);
    own.write(&(certificate.clone(), key));
    certificates.renew(SystemTime::now());
    assert_eq!(standing(&certificates, &source), (der(&certificate), None));
}

#[test]
fn an_own_certificate_that_has_expired_is_told() {
    let own = Own::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["mail.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    own.write(&(certificate.pem(), key.serialize_pem()));
    let (certificates, source) = own.certificates();
    let (_, said) = standing(&certificates, &source);
    assert_eq!(said.as_deref(), Some("it has expired on 2001-01-01"));
}
