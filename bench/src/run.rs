//! `run`: starts the upstream and every target, checks them, measures them in turns, and gathers what came out.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use crate::error::{BenchError, chain};
use crate::helper;
use crate::machine;
use crate::mail::{MIB, Mail};
use crate::peers::{self, Mailsluice, Peer, Running, Setup, Upstream};
use crate::program;
use crate::results::{Figure, Machine, Measured, Metric, Options, Results, SCHEMA};
use crate::results::{Scenario as ScenarioResults, Target as TargetResults};
use crate::scenarios::{self, Needs, Scenario};
use crate::stage::{Load, Sample, Stage};
use crate::stats;
use crate::tls;
use crate::upstream::{Addresses, PASSWORD, USER};
use crate::{UPSTREAM, fidelity};

/// `run`
#[derive(Debug, clap::Args)]
pub(crate) struct RunArguments {
    /// Only these targets [default: all that are found].
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(crate) targets: Vec<String>,
    /// Only these scenarios; a name that ends in `*` stands for all that begin like it.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(crate) scenarios: Vec<String>,
    /// How often each target is measured in each scenario.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// How long a measurement takes, in seconds.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// Everything tiny, one round, and no peers: shows that it all works, not what it costs.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Also write the results there.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Measure another binary of mailsluice, too, as the target `mailsluice:NAME`. May be given several times.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) also: Vec<String>,
    /// Measure this binary of mailsluice, and build none.
    #[arg(long, value_name = "FILE")]
    pub(crate) mailsluice: Option<PathBuf>,
}

/// Measures. What is under way is told on standard error.
pub(crate) fn run(arguments: &RunArguments) -> Result<Results, BenchError> {
    let machine = machine::facts();
    warn(&machine);
    let descriptors = machine::raise_descriptors();
    let scenarios = chosen_scenarios(arguments)?;
    let mut bench = Bench::new(arguments, descriptors)?;
    bench.check_targets();
    if arguments.quick {
        bench.insist()?;
    }
    let mut results = Vec::new();
    for scenario in &scenarios {
        results.push(bench.measure(scenario.as_ref(), arguments)?);
    }
    let version = bench.targets.iter().find(|it| it.name() == "mailsluice");
    Ok(Results {
        schema: SCHEMA,
        version: version.map_or_else(String::new, |target| {
            target.version.trim_start_matches("mailsluice ").to_owned()
        }),
        machine,
        options: Options {
            rounds: arguments.rounds(),
            seconds: arguments.load(descriptors).time.as_secs_f64(),
            quick: arguments.quick,
        },
        targets: bench.targets.iter().map(Target::results).collect(),
        scenarios: results,
    })
}

fn warn(machine: &Machine) {
    if machine.busy_percent > BUSY {
        let busy = machine.busy_percent;
        eprintln!(
            "this machine is busy ({busy} %): figures will be worse than they are, and ratios blurred"
        );
    }
    if !program::OPTIMISED {
        eprintln!("this is no release build: figures will mean nothing");
    }
}

impl RunArguments {
    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    fn load(&self, descriptors: u64) -> Load {
        let seconds = if self.quick { QUICK } else { self.seconds };
        let sessions = usize::try_from(descriptors / 2).unwrap_or(usize::MAX);
        Load {
            time: Duration::from_secs_f64(seconds.clamp(0.01, 600.0)),
            quick: self.quick,
            sessions: sessions.saturating_sub(SPARE),
        }
    }

    fn peers(&self) -> Result<Vec<Box<dyn Peer>>, BenchError> {
        let mut all = peers::all();
        let own = match &self.mailsluice {
            Some(file) => absolute(file)?,
            None => program::mailsluice()?,
        };
        all.insert(BASELINES, Box::new(Mailsluice::new(own)));
        for other in &self.also {
            let (name, file) = other.split_once('=').ok_or_else(|| BenchError::Unknown {
                what: "binary",
                name: other.clone(),
                known: "NAME=FILE".to_owned(),
            })?;
            let peer = Mailsluice::named(name, absolute(Path::new(file))?);
            all.insert(BASELINES + 1, Box::new(peer));
        }
        let mut wanted = self.targets.clone();
        if wanted.is_empty() && self.quick {
            wanted = ["direct", "splice", "mailsluice"].map(str::to_owned).into();
        }
        let names: Vec<&str> = all.iter().map(|peer| peer.name()).collect();
        let keep = choose("target", &wanted, &names)?;
        let mut keep = keep.into_iter();
        all.retain(|_| keep.next().unwrap_or_default());
        Ok(all)
    }
}

/// It is run from another folder.
fn absolute(file: &Path) -> Result<PathBuf, BenchError> {
    std::fs::canonicalize(file).map_err(BenchError::io(format!("looking for {}", file.display())))
}

fn chosen_scenarios(arguments: &RunArguments) -> Result<Vec<Box<dyn Scenario>>, BenchError> {
    let mut all = scenarios::all(arguments.quick);
    let names: Vec<String> = all.iter().map(|scenario| scenario.name()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let keep = choose("scenario", &arguments.scenarios, &names)?;
    let mut keep = keep.into_iter();
    all.retain(|_| keep.next().unwrap_or_default());
    Ok(all)
}

/// Which of the names are wanted: all, where nothing is said.
fn choose(what: &'static str, wanted: &[String], names: &[&str]) -> Result<Vec<bool>, BenchError> {
    let fits = |wanted: &str, name: &str| match wanted.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == wanted,
    };
    for name in wanted {
        if !names.iter().any(|it| fits(name, it)) {
            return Err(BenchError::Unknown {
                what,
                name: name.clone(),
                known: names.join(", "),
            });
        }
    }
    let is_wanted = |name: &&str| wanted.is_empty() || wanted.iter().any(|it| fits(it, name));
    Ok(names.iter().map(is_wanted).collect())
}

/// Everything that runs.
struct Bench {
    addresses: Addresses,
    upstreams: Upstreams,
    mail: Mail,
    connector: TlsConnector,
    load: Load,
    targets: Vec<Target>,
    upstream: Child,
    /// The certificates, for as long as somebody may read them.
    _folder: TempDir,
}

struct Upstreams {
    near: Upstream,
    far: Upstream,
}

/// A target and what is known of it.
struct Target {
    peer: Box<dyn Peer>,
    version: String,
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
    fn name(&self) -> &'static str {
        self.peer.name()
    }

    fn results(&self) -> TargetResults {
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
    fn new(arguments: &RunArguments, descriptors: u64) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::io("a folder"))?;
        tls::make_certificates(folder.path())?;
        let largest = if arguments.quick { MIB } else { 25 * MIB };
        let (upstream, addresses) = start_upstream(&folder, largest)?;
        let ca = folder.path().join(tls::CA_FILE);
        let targets = arguments.peers()?.into_iter().filter_map(found).collect();
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
            load: arguments.load(descriptors),
            targets,
            addresses,
            upstream,
            _folder: folder,
        })
    }

    /// Starts every target near and looks whether it is faithful.
    fn check_targets(&mut self) {
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
    fn insist(&self) -> Result<(), BenchError> {
        match self.targets.iter().find(|it| it.excluded.is_some()) {
            Some(target) => {
                let why = target.excluded.clone().unwrap_or_default();
                Err(BenchError::Fidelity(format!("{}: {why}", target.name())))
            }
            None => Ok(()),
        }
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
    fn measure(
        &mut self,
        scenario: &dyn Scenario,
        arguments: &RunArguments,
    ) -> Result<ScenarioResults, BenchError> {
        let needs = scenario.needs();
        if needs.far {
            self.start_far();
        }
        let takes_part: Vec<usize> = (0..self.targets.len())
            .filter(|index| self.takes_part(*index, needs))
            .collect();
        let mut rounds: Vec<Rounds> = takes_part.iter().map(|_| Rounds::default()).collect();
        for round in 0..arguments.rounds() {
            for (index, rounds) in takes_part.iter().zip(&mut rounds) {
                let target = &self.targets[*index];
                eprintln!("{} round {} {}", scenario.name(), round + 1, target.name());
                let sample = self.sample(target, scenario);
                if let (Err(error), true) = (&sample, arguments.quick) {
                    let why = format!("{} {}: {}", scenario.name(), target.name(), chain(error));
                    return Err(BenchError::Fidelity(why));
                }
                rounds.add(sample);
            }
        }
        let names = takes_part.iter().map(|index| self.targets[*index].name());
        Ok(ScenarioResults {
            name: scenario.name(),
            about: scenario.about(),
            targets: gather(names.zip(rounds).collect()),
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

/// What a target did in the rounds so far.
#[derive(Debug, Default)]
struct Rounds {
    samples: Vec<BTreeMap<Metric, f64>>,
    failed: Option<String>,
}

impl Rounds {
    fn add(&mut self, sample: Result<Sample, BenchError>) {
        let sample = sample.unwrap_or_else(|error| {
            let why = chain(&error);
            eprintln!("  failed: {why}");
            self.failed = Some(why);
            Sample::new()
        });
        self.samples.push(sample.into_iter().collect());
    }

    fn of(&self, metric: Metric) -> Vec<Option<f64>> {
        self.samples
            .iter()
            .map(|sample| sample.get(&metric).copied())
            .collect()
    }

    fn metrics(&self) -> impl Iterator<Item = Metric> {
        let all: std::collections::BTreeSet<Metric> = self
            .samples
            .iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect();
        all.into_iter()
    }
}

fn gather(targets: Vec<(&'static str, Rounds)>) -> Vec<Measured> {
    let splice = targets.iter().find(|(name, _)| *name == "splice");
    let figure = |rounds: &Rounds, metric: Metric| {
        let values = rounds.of(metric);
        let there: Vec<f64> = values.iter().flatten().copied().collect();
        let (min, max) = stats::spread(&there)?;
        let figure = Figure {
            median: stats::median(&there)?,
            min,
            max,
            to_splice: splice
                .filter(|_| metric.has_ratio())
                .and_then(|(_, splice)| stats::ratio(&values, &splice.of(metric))),
            rounds: values,
        };
        Some((metric, figure))
    };
    targets
        .iter()
        .map(|(name, rounds)| Measured {
            target: (*name).to_owned(),
            failed: rounds.failed.clone(),
            figures: rounds
                .metrics()
                .filter_map(|metric| figure(rounds, metric))
                .collect(),
        })
        .collect()
}

/// How far the far upstream is: a round trip.
const FAR: Duration = Duration::from_millis(30);
/// Percent of the processors that others may use.
const BUSY: u64 = 10;
/// Seconds of a measurement in the quick mode.
const QUICK: f64 = 0.1;
/// Descriptors that a target needs besides those of its sessions, and its sessions by twos.
const SPARE: usize = 100;
/// The targets that stand before mailsluice.
const BASELINES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_whole_or_by_their_beginning() {
        let names = ["fetch-1m", "fetch-1m-x8", "noop-1"];
        let chosen = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|it| (*it).to_owned()).collect();
            choose("scenario", &wanted, &names)
        };
        assert_eq!(chosen(&[]).unwrap(), [true, true, true]);
        assert_eq!(chosen(&["fetch-1m"]).unwrap(), [true, false, false]);
        assert_eq!(chosen(&["fetch-*", "noop-1"]).unwrap(), [true, true, true]);
        let error = chosen(&["fetch"]).unwrap_err().to_string();
        assert!(
            error.contains("\"fetch\"") && error.contains("noop-1"),
            "{error}"
        );
    }

    #[test]
    fn rounds_become_figures_beside_the_splice() {
        let rounds = |values: [Option<f64>; 3]| {
            let mut rounds = Rounds::default();
            for value in values {
                rounds.add(match value {
                    Some(value) => Ok(vec![(Metric::MbPerS, value)]),
                    None => Err(BenchError::Fidelity("x".to_owned())),
                });
            }
            rounds
        };
        let measured = gather(vec![
            ("splice", rounds([Some(10.0), Some(20.0), Some(30.0)])),
            ("other", rounds([Some(5.0), None, Some(30.0)])),
        ]);
        let other = &measured[1];
        assert_eq!(other.failed.as_deref(), Some("not faithful: x"));
        let figure = &other.figures[&Metric::MbPerS];
        assert_eq!(figure.rounds, [Some(5.0), None, Some(30.0)]);
        assert_eq!((figure.median, figure.min, figure.max), (17.5, 5.0, 30.0));
        assert_eq!(figure.to_splice, Some(0.75));
    }
}
