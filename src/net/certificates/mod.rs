//! The certificates that listeners present: where they come from, and how a new one takes the place of an old one while
//! the listener stays open.
//!
//! | file | role |
//! |---|---|
//! | `names.rs` | what has to be proved; what an authority may vouch for |
//! | `authority.rs` | the local authority, and what it signs |
//! | `folder.rs` | where both are kept, and when they are made anew |
//! | `own.rs` | the user's files |
//! | `x509.rs` | what a certificate says |
//!
//! A session keeps the certificate it began with: rustls asks for one at each handshake ([`ResolvesServerCert`]), and
//! only the answer changes.

mod authority;
mod error;
mod folder;
mod names;
mod own;
#[cfg(test)]
mod tests;
mod x509;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

pub use self::authority::pem;
pub use self::error::CertificateError;
pub use self::folder::{Folder, Shown};
pub use self::names::{Name, wanted};
use self::own::Stamp;
pub use self::own::describe;
pub(super) use self::own::read_key as read;
pub use self::x509::Facts;
use super::NetError;
use super::tls::{Acceptor, provider};
use crate::causes::with_causes;
use crate::config::runtime::{CertificateFiles, CertificateSource, Config};
use crate::protocol::Protocol;

/// All that the listeners of a service present.
#[derive(Debug)]
pub struct Certificates {
    folder: Folder,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What our own certificate has to prove.
    wanted: Vec<Name>,
    sources: HashMap<CertificateSource, Source>,
}

/// Where one certificate comes from, and how that stands.
#[derive(Debug)]
struct Source {
    presented: Arc<Presented>,
    /// The user's files as they were last.
    stamp: Stamp,
    /// What was said about it last, so that it is not said again every few minutes.
    said: Option<String>,
}

/// What is presented now.
#[derive(Debug)]
struct Presented(ArcSwap<CertifiedKey>);

/// What a look at a source found: a certificate, and what its operator has to be told.
struct Finding {
    key: CertifiedKey,
    facts: Facts,
    complaint: Option<String>,
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// None yet; ours will be kept in the state folder of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            folder: Folder::of(config),
            state: Mutex::default(),
        }
    }

    /// Reads or makes what the listeners of `config` present. What cannot be had is returned, unless an earlier one can
    /// be presented in its place: then that is logged, and it stays.
    pub fn take_up(
        &self,
        config: &Config,
        now: SystemTime,
    ) -> HashMap<CertificateSource, CertificateError> {
        let mut state = self.state();
        state.wanted = wanted(config);
        let mut failed = HashMap::new();
        for source in sources(config) {
            let stamp = stamp(source);
            let found = self.find(source, &state.wanted, now);
            match (state.sources.get_mut(source), found) {
                (Some(known), found) => known.look(source, stamp, found),
                (None, Ok(finding)) => {
                    state
                        .sources
                        .insert(source.clone(), Source::new(source, stamp, finding));
                }
                (None, Err(error)) => {
                    failed.insert(source.clone(), error);
                }
            }
        }
        failed
    }

    /// Forgets what the listeners of `config` do not present.
    pub fn forget_others(&self, config: &Config) {
        let used: Vec<_> = sources(config);
        self.state()
            .sources
            .retain(|source, _| used.contains(&source));
    }

    /// Renews what ends soon, and reads the user's files again where they have changed. Blocks.
    pub fn renew(&self, now: SystemTime) {
        let mut state = self.state();
        let State { wanted, sources } = &mut *state;
        for (source, known) in sources {
            let stamp = stamp(source);
            if matches!(source, CertificateSource::Own(_)) && stamp == known.stamp {
                continue;
            }
            known.look(source, stamp, self.find(source, wanted, now));
        }
    }

    /// TLS for a listener that presents `source`, which was taken up.
    pub fn acceptor(
        &self,
        source: &CertificateSource,
        protocol: Protocol,
    ) -> Result<Acceptor, NetError> {
        match self.state().sources.get(source) {
            Some(source) => Acceptor::presenting(Arc::clone(&source.presented) as _, protocol),
            None => Err(NetError::TlsSetup(rustls::Error::NoCertificatesPresented)),
        }
    }

    fn find(
        &self,
        source: &CertificateSource,
        wanted: &[Name],
        now: SystemTime,
    ) -> Result<Finding, CertificateError> {
        let now = OffsetDateTime::from(now);
        match source {
            CertificateSource::Generated => generated(&self.folder, wanted, now),
            CertificateSource::Own(files) => own(files, now),
        }
    }

    /// A panic elsewhere has left the map as good as it was.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn new(source: &CertificateSource, stamp: Stamp, finding: Finding) -> Self {
        let mut new = Self {
            presented: Arc::new(Presented(ArcSwap::from_pointee(finding.key))),
            stamp,
            said: None,
        };
        new.say(source, finding.complaint);
        new
    }

    /// Takes what was found, if it is another; says what is wrong, if it is something else than before.
    fn look(
        &mut self,
        source: &CertificateSource,
        stamp: Stamp,
        found: Result<Finding, CertificateError>,
    ) {
        self.stamp = stamp;
        match found {
            Ok(finding) => {
                if finding.key.cert != self.presented.0.load().cert {
                    let until = finding.facts.not_after.date();
                    tracing::info!(certificate = place(source), %until, "another certificate is presented from now on");
                    self.presented.0.store(Arc::new(finding.key));
                }
                self.say(source, finding.complaint);
            }
            Err(error) => self.say(source, Some(with_causes(&error))),
        }
    }

    fn say(&mut self, source: &CertificateSource, complaint: Option<String>) {
        if let Some(cause) = complaint.as_ref().filter(|_| complaint != self.said) {
            tracing::error!(
                certificate = place(source),
                cause,
                "look after this certificate"
            );
        }
        self.said = complaint;
    }
}

fn generated(
    folder: &Folder,
    wanted: &[Name],
    now: OffsetDateTime,
) -> Result<Finding, CertificateError> {
    let kept = folder.keep(wanted, now)?;
    let chain = vec![kept.leaf.certificate.clone()];
    let key = CertifiedKey::from_der(chain, kept.leaf.private_key(), &provider())
        .map_err(CertificateError::Use)?;
    let complaint = match (kept.trouble, kept.left_out.as_slice(), kept.last_days) {
        (Some(trouble), _, _) => Some(with_causes(&trouble)),
        (None, [_, ..], _) => Some(not_vouched_for(&kept.left_out)),
        (None, [], Some(end)) => Some(last_days(end)),
        (None, [], None) => None,
    };
    Ok(Finding {
        key,
        facts: kept.leaf.facts,
        complaint,
    })
}

fn own(files: &CertificateFiles, now: OffsetDateTime) -> Result<Finding, CertificateError> {
    let (key, facts) = own::read(files)?;
    let expired = facts.not_after < now;
    let complaint = expired.then(|| format!("it has expired on {}", facts.not_after.date()));
    Ok(Finding {
        key,
        facts,
        complaint,
    })
}

/// An authority is bound to the names of its first day, so that whoever trusts it knows for what.
fn not_vouched_for(names: &[Name]) -> String {
    let names: Vec<_> = names.iter().map(Name::to_string).collect();
    format!(
        "the authority was made before {} was configured and may not vouch for it; make another one, which every mail program \
         has to be told again: mailsluice certs new",
        names.join(", ")
    )
}

/// Then there is another one by itself, and whoever was not told of it refuses what listeners present.
fn last_days(end: OffsetDateTime) -> String {
    format!(
        "the authority ends on {}; make another one in time and tell every mail program: mailsluice certs new",
        end.date()
    )
}

fn sources(config: &Config) -> Vec<&CertificateSource> {
    let mut sources = Vec::new();
    for source in config.listeners.iter().filter_map(|l| l.tls.certificate()) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources
}

fn stamp(source: &CertificateSource) -> Stamp {
    match source {
        CertificateSource::Generated => Stamp::default(),
        CertificateSource::Own(files) => own::stamp(files),
    }
}

fn place(source: &CertificateSource) -> String {
    match source {
        CertificateSource::Generated => "our own".to_owned(),
        CertificateSource::Own(files) => files.certificate.display().to_string(),
    }
}
