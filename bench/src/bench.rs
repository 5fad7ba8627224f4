//! What runs during a run: the upstream and every target, measured in turns.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use crate::error::{BenchError, chain};
use crate::helper;
use crate::mail::{MIB, Mail};
use crate::peers::{Peer, Running, Setup, Upstream};
use crate::results::{Scenario as ScenarioResults, Target as TargetResults};
use crate::rounds::{Rounds, gather};
use crate::scenarios::{Needs, Scenario};
use crate::stage::{Load, Sample, Stage};
use crate::tls;
use crate::upstream::{Addresses, PASSWORD, USER};
use crate::{UPSTREAM, fidelity};

/// Everything that runs.
pub(crate) struct Bench {
    addresses: Addresses,
    upstreams: Upstreams,
    mail: Mail,
    connector: TlsConnector,
    load: Load,
    pub(crate) targets: Vec<Target>,
    upstream: Child,
    /// The certificates, for as long as somebody may read them.
    _folder: TempDir,
}

struct Upstreams {
    near: Upstream,
    far: Upstream,
}

/// A target and what is known of it.
pub(crate) struct Target {
    peer: Box<dyn Peer>,
    pub(crate) version: String,
    excluded: Option<String>,
    near: Option<Started>,
    far: Option<Started>,
}

/// A running target and its folder.
struct Started {
    running: Running,
    _folder: TempDir,
}

impl Target {
    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        self.peer.name()
    }

    /// What the results say of it.
    pub(crate) fn results(&self) -> TargetResults {
        TargetResults {
            name: self.name().to_owned(),
            version: self.version.clone(),
            blind: !self.peer.understands_protocol(),
            excluded: self.excluded.clone(),
        }
    }

    fn start(&self, upstream: &Upstream) -> Result<Started, BenchError> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{}-", self.name().replace(':', "-")))
            .tempdir()
            .map_err(BenchError::io("a folder"))?;
        let setup = Setup {
            dir: folder.path(),
            upstream,
        };
        Ok(Started {
            running: self.peer.start(&setup)?,
            _folder: folder,
        })
    }
}

impl Bench {
    /// Starts the upstream, and looks which of the peers are there.
    pub(crate) fn new(peers: Vec<Box<dyn Peer>>, load: Load) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::io("a folder"))?;
        tls::make_certificates(folder.path())?;
        let largest = if load.quick { MIB } else { 25 * MIB };
        let (upstream, addresses) = start_upstream(&folder, largest)?;
        let ca = folder.path().join(tls::CA_FILE);
        let targets = peers.into_iter().filter_map(found).collect();
        let at = |[imap, pop3, smtp]: [SocketAddr; 3]| Upstream {
            imap,
            pop3,
            smtp,
            host: tls::HOST,
            ca: ca.clone(),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            token_endpoint: format!("http://{}/token", addresses.token),
        };
        Ok(Self {
            upstreams: Upstreams {
                near: at(addresses.near),
                far: at(addresses.far),
            },
            mail: Mail::new(largest),
            connector: TlsConnector::from(tls::client(&ca)?),
            load,
            targets,
            addresses,
            upstream,
            _folder: folder,
        })
    }

    /// Starts every target near and looks whether it is faithful.
    pub(crate) fn check_targets(&mut self) {
        for index in 0..self.targets.len() {
            let target = &self.targets[index];
            eprintln!("{}: {}", target.name(), target.version);
            let checked = target.start(&self.upstreams.near).and_then(|started| {
                let blind = !target.peer.understands_protocol();
                fidelity::check(&self.stage(&started.running), blind, self.addresses.control)?;
                Ok(started)
            });
            let target = &mut self.targets[index];
            match checked {
                Ok(started) => target.near = Some(started),
                Err(error) => {
                    let why = chain(&error);
                    eprintln!("{}: no figures: {why}", target.name());
                    target.excluded = Some(why);
                }
            }
        }
    }

    /// In the quick mode a target without figures is a failure.
    pub(crate) fn insist(&self) -> Result<(), BenchError> {
        match self.targets.iter().find(|it| it.excluded.is_some()) {
            Some(target) => {
                let why = target.excluded.clone().unwrap_or_default();
                Err(BenchError::Fidelity(format!("{}: {why}", target.name())))
            }
            None => Ok(()),
        }
    }

    /// Starts `peer` for the time of `work`, which is told its folder.
    pub(crate) fn beside<T>(
        &self,
        peer: &dyn Peer,
        work: impl FnOnce(&Stage<'_>, &Path) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::io("a folder"))?;
        let setup = Setup {
            dir: folder.path(),
            upstream: &self.upstreams.near,
        };
        let running = peer.start(&setup)?;
        work(&self.stage(&running), folder.path())
    }

    fn stage<'a>(&'a self, running: &'a Running) -> Stage<'a> {
        Stage {
            running,
            load: self.load,
            mail: &self.mail,
            connector: &self.connector,
        }
    }

    /// All rounds of a scenario: every target once, then every target again.
    pub(crate) fn measure(
        &mut self,
        scenario: &dyn Scenario,
        rounds: usize,
    ) -> Result<ScenarioResults, BenchError> {
        let needs = scenario.needs();
        if needs.far {
            self.start_far();
        }
        let takes_part: Vec<usize> = (0..self.targets.len())
            .filter(|index| self.takes_part(*index, needs))
            .collect();
        let mut done: Vec<Rounds> = takes_part.iter().map(|_| Rounds::default()).collect();
        for round in 0..rounds {
            for (index, done) in takes_part.iter().zip(&mut done) {
                let target = &self.targets[*index];
                eprintln!("{} round {} {}", scenario.name(), round + 1, target.name());
                let sample = self.sample(target, scenario);
                if let (Err(error), true) = (&sample, self.load.quick) {
                    let why = format!("{} {}: {}", scenario.name(), target.name(), chain(error));
                    return Err(BenchError::Fidelity(why));
                }
                done.add(sample);
            }
        }
        let names = takes_part.iter().map(|index| self.targets[*index].name());
        Ok(ScenarioResults {
            name: scenario.name(),
            about: scenario.about(),
            targets: gather(names.zip(done).collect()),
        })
    }

    fn takes_part(&self, index: usize, needs: Needs) -> bool {
        let target = &self.targets[index];
        let Some(started) = &target.near else {
            return false;
        };
        let ports = &started.running.ports;
        let stage = self.stage(&started.running);
        stage.port(needs.protocol).is_some()
            && (!needs.processes || !started.running.roots.is_empty())
            // What cannot use a token is the yardstick of what can.
            && (!needs.oauth || ports.oauth.is_some() || !target.peer.understands_protocol())
    }

    fn start_far(&mut self) {
        for target in &mut self.targets {
            if target.near.is_some() && target.far.is_none() {
                match target.start(&self.upstreams.far) {
                    Ok(started) => target.far = Some(started),
                    Err(error) => eprintln!("{}: {}", target.name(), chain(&error)),
                }
            }
        }
    }

    fn sample(&self, target: &Target, scenario: &dyn Scenario) -> Result<Sample, BenchError> {
        let needs = scenario.needs();
        let fresh;
        let started = if needs.fresh {
            fresh = target.start(&self.upstreams.near)?;
            Some(&fresh)
        } else if needs.far {
            target.far.as_ref()
        } else {
            target.near.as_ref()
        };
        let started =
            started.ok_or_else(|| BenchError::start(target.name(), "with the far upstream"))?;
        scenario.measure(&self.stage(&started.running))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.upstream.kill();
        let _ = self.upstream.wait();
    }
}

fn start_upstream(folder: &TempDir, largest: usize) -> Result<(Child, Addresses), BenchError> {
    let (largest, far) = (largest.to_string(), FAR.as_millis().to_string());
    let arguments = [
        OsStr::new("--dir"),
        folder.path().as_os_str(),
        OsStr::new("--largest"),
        OsStr::new(&largest),
        OsStr::new("--far"),
        OsStr::new(&far),
    ];
    helper::start(UPSTREAM, &arguments)
}

fn found(peer: Box<dyn Peer>) -> Option<Target> {
    let Some(version) = peer.find() else {
        eprintln!("{}: not on this machine", peer.name());
        return None;
    };
    Some(Target {
        peer,
        version,
        excluded: None,
        near: None,
        far: None,
    })
}

/// How far the far upstream is: a round trip.
const FAR: Duration = Duration::from_millis(30);
