//! `certs/` of the state folder: the authority and the certificate it gave, and when they are made anew.
//!
//! | file | holds |
//! |---|---|
//! | `ca-with-key.pem` | the authority and its key |
//! | `ca.pem` | its certificate alone: a copy for people, made anew where it is missing |
//! | `server-with-key.pem` | what listeners present, and its key |
//! | `lock` | nothing; held while any of them is written |
//!
//! A certificate and its key are one file that is replaced by a rename, so a kill at any moment leaves the old pair or
//! the new one. An authority is made where there is none, or where it has expired: one that is damaged, or whose key is
//! lost, may be trusted by mail programs and is replaced only by [`Folder::replace_authority`].

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::authority::{Authority, Leaf, pem};
use super::error::CertificateError;
use super::names::Name;
use super::x509::Facts;
use crate::config::runtime::Config;
use crate::disk;
use crate::secret::{Audience, Secret};

/// The folder, which need not be there.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// A certificate without its key.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What it says.
    pub facts: Facts,
    /// Itself.
    pub der: CertificateDer<'static>,
    /// Where it is.
    pub path: PathBuf,
}

/// What a listener presents, and what its operator should know.
pub(super) struct Kept {
    pub(super) leaf: Leaf,
    /// Names that were asked for and that the authority may not vouch for.
    pub(super) left_out: Vec<Name>,
    /// Why nothing new can be signed.
    pub(super) trouble: Option<CertificateError>,
    /// When the authority ends, where that is soon.
    pub(super) last_days: Option<OffsetDateTime>,
}

impl Folder {
    /// That of the service with this configuration.
    pub fn of(config: &Config) -> Self {
        Self::at(&config.state_dir)
    }

    /// That of the service with this state folder.
    pub fn at(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(FOLDER),
        }
    }

    /// The authority's certificate alone, for programs that want a file.
    pub fn authority_file(&self) -> PathBuf {
        self.path.join(AUTHORITY_ALONE)
    }

    /// The authority that is there. Changes nothing.
    pub fn look_at_authority(&self) -> Result<Option<Shown>, CertificateError> {
        let path = self.authority_file();
        let authority = self.read_authority()?;
        Ok(authority.map(|authority| shown(authority, path)))
    }

    /// The certificate that listeners present. Changes nothing.
    pub fn look_at_leaf(&self) -> Result<Option<Shown>, CertificateError> {
        let path = self.path.join(LEAF);
        let leaf = read_private(&path)?.and_then(|pem| Leaf::from_pem(&pem));
        Ok(leaf.map(|leaf| Shown {
            facts: leaf.facts,
            der: leaf.certificate,
            path,
        }))
    }

    /// The authority, made where there is none.
    pub fn authority(
        &self,
        wanted: &[Name],
        now: OffsetDateTime,
    ) -> Result<Shown, CertificateError> {
        let _lock = self.lock()?;
        let authority = self.fit_authority(wanted, now)?;
        Ok(shown(authority, self.authority_file()))
    }

    /// Another authority in place of the one that is there, whatever state that is in.
    pub fn replace_authority(
        &self,
        wanted: &[Name],
        now: OffsetDateTime,
    ) -> Result<Shown, CertificateError> {
        let _lock = self.lock()?;
        let authority = self.make_authority(wanted, now)?;
        Ok(shown(authority, self.authority_file()))
    }

    /// A certificate for `wanted` that is fit for now: the one that is there, or a new one.
    pub(super) fn keep(
        &self,
        wanted: &[Name],
        now: OffsetDateTime,
    ) -> Result<Kept, CertificateError> {
        let _lock = self.lock()?;
        let leaf = self.read_leaf();
        let (authority, leaf) = match (self.fit_authority(wanted, now), leaf) {
            (Ok(authority), leaf) => (authority, leaf),
            (Err(trouble), Some(leaf)) if leaf.facts.not_after > now => {
                return Ok(Kept {
                    leaf,
                    left_out: Vec::new(),
                    trouble: Some(trouble),
                    last_days: None,
                });
            }
            (Err(trouble), _) => return Err(trouble),
        };
        let (names, left_out) = authority.divide(wanted);
        let leaf = match (why_another(&authority, leaf.as_ref(), &names, now), leaf) {
            (None, Some(leaf)) => leaf,
            (why, _) => {
                let leaf = authority.sign(&names, now)?;
                self.write(LEAF, leaf.to_pem().expose())?;
                let until = leaf.facts.not_after.date();
                tracing::info!(why, %until, "made a certificate");
                leaf
            }
        };
        let end = authority.facts.not_after;
        Ok(Kept {
            leaf,
            left_out,
            trouble: None,
            last_days: (end - now < AUTHORITY_WARNING).then_some(end),
        })
    }

    fn fit_authority(
        &self,
        wanted: &[Name],
        now: OffsetDateTime,
    ) -> Result<Authority, CertificateError> {
        match self.read_authority()? {
            Some(authority) if authority.facts.not_after > now => {
                self.show(&authority)?;
                Ok(authority)
            }
            Some(expired) => {
                let since = expired.facts.not_after.date();
                tracing::warn!(%since, "the certificate authority has expired; there is a new one, which mail programs have to be told");
                self.make_authority(wanted, now)
            }
            None => self.make_authority(wanted, now),
        }
    }

    /// The authority's file; `None` where there never was one.
    fn read_authority(&self) -> Result<Option<Authority>, CertificateError> {
        let path = self.path.join(AUTHORITY);
        match read_private(&path)? {
            Some(pem) => match Authority::from_pem(&pem) {
                Some(authority) => Ok(Some(authority)),
                None => Err(CertificateError::BrokenAuthority { path }),
            },
            None if self.authority_file().exists() => Err(CertificateError::LostAuthority { path }),
            None => Ok(None),
        }
    }

    fn make_authority(
        &self,
        wanted: &[Name],
        now: OffsetDateTime,
    ) -> Result<Authority, CertificateError> {
        let authority = Authority::new(wanted, now)?;
        self.write(AUTHORITY, authority.to_pem().expose())?;
        self.show(&authority)?;
        tracing::info!(name = authority.facts.subject, folder = %self.path.display(), "made a certificate authority");
        Ok(authority)
    }

    /// Sees to the copy for people, which a kill may have prevented.
    fn show(&self, authority: &Authority) -> Result<(), CertificateError> {
        let pem = pem(&authority.certificate);
        let there = disk::read_bounded(&self.authority_file(), FILE_MAX);
        if there.is_ok_and(|there| there.expose() == pem.as_bytes()) {
            return Ok(());
        }
        self.write(AUTHORITY_ALONE, pem.as_bytes())
    }

    /// One that cannot be used, or that others may have read, is as good as none: another costs nobody anything.
    fn read_leaf(&self) -> Option<Leaf> {
        let path = self.path.join(LEAF);
        match read_private(&path) {
            Ok(None) => None,
            Ok(Some(pem)) => {
                let leaf = Leaf::from_pem(&pem);
                if leaf.is_none() {
                    tracing::warn!(file = %path.display(), "holds no certificate and its key, and is made anew");
                }
                leaf
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), cause = %error, "is made anew");
                None
            }
        }
    }

    /// Keeps other processes from writing here. Makes the folder where it is not there.
    fn lock(&self) -> Result<File, CertificateError> {
        disk::make_private_folder(&self.path).map_err(failed(&self.path))?;
        refuse_loose(&self.path)?;
        let path = self.path.join(LOCK);
        let file = disk::open_private(&path).map_err(failed(&path))?;
        file.lock().map_err(failed(&path))?;
        Ok(file)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), CertificateError> {
        let path = self.path.join(name);
        disk::write_new(&path, content).map_err(failed(&path))
    }
}

/// Why the certificate that is there will not do.
fn why_another(
    authority: &Authority,
    leaf: Option<&Leaf>,
    names: &[Name],
    now: OffsetDateTime,
) -> Option<&'static str> {
    let Some(leaf) = leaf else {
        return Some("there was none");
    };
    if !authority.signed(leaf) {
        return Some("the authority is another");
    }
    if !leaf.proves(names) {
        return Some("the names are others");
    }
    // A machine that has just started may not know the time yet: then all that is here seems to be of the future.
    let clock_is_wrong = now < authority.facts.not_before;
    if leaf.facts.not_before > now && !clock_is_wrong {
        return Some("the old one was made in the future");
    }
    let ends_soon = leaf.facts.not_after - now < RENEW_BEFORE;
    let gains = authority.end_of_leaf(now) > leaf.facts.not_after;
    (ends_soon && gains && !clock_is_wrong).then_some("the old one ends soon")
}

fn shown(authority: Authority, path: PathBuf) -> Shown {
    Shown {
        facts: authority.facts,
        der: authority.certificate,
        path,
    }
}

/// The content of a file that nobody else may read; `None` where there is no such file.
fn read_private(path: &Path) -> Result<Option<Secret>, CertificateError> {
    match refuse_loose(path).and_then(|()| disk::read_bounded(path, FILE_MAX).map_err(failed(path)))
    {
        Ok(content) => Ok(Some(content)),
        Err(CertificateError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn refuse_loose(path: &Path) -> Result<(), CertificateError> {
    match disk::open_beyond(Audience::Owner, path).map_err(failed(path))? {
        None => Ok(()),
        Some(mode) => Err(CertificateError::Loose {
            path: path.to_owned(),
            mode,
        }),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CertificateError {
    move |source| CertificateError::File {
        path: path.to_owned(),
        source,
    }
}

const FOLDER: &str = "certs";
const AUTHORITY: &str = "ca-with-key.pem";
const AUTHORITY_ALONE: &str = "ca.pem";
const LEAF: &str = "server-with-key.pem";
const LOCK: &str = "lock";

/// A month: a machine that is switched on now and then comes by in that time.
pub(super) const RENEW_BEFORE: Duration = Duration::days(30);

/// Every machine that trusts the authority has to be visited.
const AUTHORITY_WARNING: Duration = Duration::days(180);

/// Ours are below 2 KiB; a certificate with a few hundred names is below this.
const FILE_MAX: u64 = 256 * 1024;
