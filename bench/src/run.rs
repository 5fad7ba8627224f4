//! `run`: what is asked for, and the way through it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench::{Bench, Target};
use crate::error::BenchError;
use crate::machine;
use crate::peers::{self, Mailsluice, Peer};
use crate::program;
use crate::results::{Machine, Options, Results, SCHEMA};
use crate::scenarios::{self, Scenario};
use crate::stage::Load;

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
    let load = arguments.load(descriptors);
    let mut bench = Bench::new(arguments.peers()?, load)?;
    bench.check_targets();
    if arguments.quick {
        bench.insist()?;
    }
    let mut results = Vec::new();
    for scenario in &scenarios {
        results.push(bench.measure(scenario.as_ref(), arguments.rounds())?);
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
            seconds: load.time.as_secs_f64(),
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
        all.insert(BASELINES, Box::new(Mailsluice::cold(own.clone())));
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
}
