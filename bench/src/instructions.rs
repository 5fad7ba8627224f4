//! `instructions`: how many instructions the fixed workload takes under callgrind, compared with the committed count.
//!
//! Seconds differ between machines and minutes; instructions hardly do, so a CI can hold them. Each part of
//! [`crate::workload`] runs twice, with few and with many rounds, and the difference is what counts: the start of the
//! process is in neither figure.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::in_memory::ScriptError;
use crate::workload::Part;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct InstructionsArguments {
    /// Compare with the baseline; the exit code says whether every part is within the margin
    #[arg(long, conflicts_with = "update")]
    pub(crate) check: bool,
    /// Write what is counted now as the new baseline
    #[arg(long)]
    pub(crate) update: bool,
    /// The file with the counts to compare with
    #[arg(long, value_name = "FILE", default_value = BASELINE)]
    pub(crate) baseline: PathBuf,
}

/// What the hidden `workload` command is told: it is the program that callgrind runs.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkloadArguments {
    /// The part to run
    pub(crate) part: String,
    /// How often
    pub(crate) rounds: u64,
}

/// Why there is no count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstructionsError {
    /// No part has this name.
    #[error("no part of the workload is named `{0}`")]
    NoPart(String),
    /// Without optimisation the counts say nothing.
    #[error("instructions are counted in release builds only; add --release")]
    NotOptimised,
    /// The counting program cannot be started.
    #[error("valgrind cannot be started; is it installed? (bench/install-peers does)")]
    NoValgrind(#[source] io::Error),
    /// It ran and did not say what it was asked.
    #[error("valgrind did not count `{part}`: {said}")]
    NotCounted {
        /// The part of the workload.
        part: &'static str,
        /// The last line it said.
        said: String,
    },
    /// A check failed.
    #[error(
        "beyond {MARGIN_PERCENT} % of the baseline; if that was meant, `instructions --update` writes a new one"
    )]
    Moved,
    /// The workload itself is broken.
    #[error("the workload does not run")]
    Workload(#[from] ScriptError),
    /// The baseline cannot be read or written.
    #[error("{path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The baseline is no such file.
    #[error("{path} is no list of counts")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Instructions for one unit of each part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    /// By the part's name.
    pub(crate) instructions: BTreeMap<String, u64>,
}

/// How a part stands against the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Within the margin.
    Same,
    /// Fewer instructions than the margin allows for; the baseline is due for an update.
    Better,
    /// More than the margin allows.
    Worse,
    /// The baseline does not have this part.
    New,
    /// The baseline has it and the workload does not.
    Gone,
}

impl Standing {
    /// Of `now` against `before`.
    pub(crate) fn of(before: u64, now: u64) -> Self {
        let before = u128::from(before) * 100;
        let now = u128::from(now) * 100;
        let margin = before / 100 * u128::from(MARGIN_PERCENT);
        if now > before + margin {
            Self::Worse
        } else if now + margin < before {
            Self::Better
        } else {
            Self::Same
        }
    }

    /// Whether a check passes with it.
    pub(crate) fn passes(self) -> bool {
        matches!(self, Self::Same | Self::Better)
    }

    fn words(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Better => "better; --update keeps it so",
            Self::Worse => "WORSE beyond the margin",
            Self::New => "not in the baseline; --update adds it",
            Self::Gone => "only in the baseline; --update drops it",
        }
    }
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The part's name.
    pub(crate) part: String,
    /// Instructions in the baseline.
    pub(crate) before: Option<u64>,
    /// Instructions now.
    pub(crate) now: Option<u64>,
    /// What that means.
    pub(crate) standing: Standing,
}

/// Every part of either side, in the order of their names.
pub(crate) fn compare(before: &Counts, now: &Counts) -> Vec<Line> {
    let mut parts: Vec<&String> = before
        .instructions
        .keys()
        .chain(now.instructions.keys())
        .collect();
    parts.sort();
    parts.dedup();
    let line = |part: &String| {
        let before = before.instructions.get(part).copied();
        let now = now.instructions.get(part).copied();
        let standing = match (before, now) {
            (Some(before), Some(now)) => Standing::of(before, now),
            (Some(_), None) => Standing::Gone,
            (None, _) => Standing::New,
        };
        Line {
            part: part.clone(),
            before,
            now,
            standing,
        }
    };
    parts.into_iter().map(line).collect()
}

/// Counts, prints, and compares or writes as asked.
pub(crate) fn instructions(arguments: &InstructionsArguments) -> Result<(), InstructionsError> {
    if cfg!(debug_assertions) {
        return Err(InstructionsError::NotOptimised);
    }
    let before = match read(&arguments.baseline) {
        Err(InstructionsError::File { .. }) if !arguments.check => Counts::default(),
        counts => counts?,
    };
    let now = count()?;
    let lines = compare(&before, &now);
    println!(
        "{:<18} {:>12} {:>12} {:>8}  per",
        "part", "baseline", "now", "change"
    );
    for line in &lines {
        println!("{}", row(line));
    }
    if arguments.update {
        write(&arguments.baseline, &now)?;
        println!("wrote {}", arguments.baseline.display());
    }
    if arguments.check {
        if !lines.iter().all(|line| line.standing.passes()) {
            return Err(InstructionsError::Moved);
        }
        println!("within {MARGIN_PERCENT} % of the baseline");
    }
    Ok(())
}

/// `workload`: what callgrind watches.
pub(crate) fn workload(arguments: &WorkloadArguments) -> Result<(), InstructionsError> {
    let part = Part::named(&arguments.part)
        .ok_or_else(|| InstructionsError::NoPart(arguments.part.clone()))?;
    Ok(part.run(arguments.rounds)?)
}

fn row(line: &Line) -> String {
    let figure = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), |n| n.to_string());
    let change = match (line.before, line.now) {
        (Some(before), Some(now)) if before > 0 => {
            format!("{:+.1} %", (now as f64 / before as f64 - 1.0) * 100.0)
        }
        _ => "–".to_owned(),
    };
    let unit = Part::named(&line.part).map_or("", |part| part.unit);
    let row = format!(
        "{:<18} {:>12} {:>12} {change:>8}  {unit:<20} {}",
        line.part,
        figure(line.before),
        figure(line.now),
        line.standing.words()
    );
    row.trim_end().to_owned()
}

fn count() -> Result<Counts, InstructionsError> {
    let mut counts = Counts::default();
    for part in Part::ALL {
        let few = callgrind(&part, part.rounds)?;
        let many = callgrind(&part, part.rounds * Part::LONGER)?;
        let units = part.rounds * (Part::LONGER - 1) * part.units;
        let each = many.saturating_sub(few) / units.max(1);
        counts.instructions.insert(part.name.to_owned(), each);
    }
    Ok(counts)
}

/// All instructions of a process that does `rounds` of `part`.
fn callgrind(part: &Part, rounds: u64) -> Result<u64, InstructionsError> {
    let not_counted = |said: String| InstructionsError::NotCounted {
        part: part.name,
        said,
    };
    let this = std::env::current_exe().map_err(|error| not_counted(error.to_string()))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["workload", part.name, &rounds.to_string()])
        .output()
        .map_err(InstructionsError::NoValgrind)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let counted = collected(&said).filter(|_| output.status.success());
    counted.ok_or_else(|| not_counted(said.lines().last().unwrap_or_default().to_owned()))
}

/// `==1234== Collected : 5678` → 5678.
fn collected(said: &str) -> Option<u64> {
    said.lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.trim().parse().ok())
}

fn read(path: &Path) -> Result<Counts, InstructionsError> {
    let text = std::fs::read(path).map_err(|source| InstructionsError::File {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| InstructionsError::Format {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, counts: &Counts) -> Result<(), InstructionsError> {
    let mut text =
        serde_json::to_string_pretty(counts).map_err(|source| InstructionsError::Format {
            path: path.to_owned(),
            source,
        })?;
    text.push('\n');
    std::fs::write(path, text).map_err(|source| InstructionsError::File {
        path: path.to_owned(),
        source,
    })
}

/// Where the counts are kept, in the folder of this package.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json");

/// What another compiler, C library or processor may move without anybody's doing.
const MARGIN_PERCENT: u64 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64)]) -> Counts {
        let entries = list.iter().map(|(part, n)| ((*part).to_owned(), *n));
        Counts {
            instructions: entries.collect(),
        }
    }

    #[test]
    fn the_margin_is_wide_both_ways_and_ends() {
        assert_eq!(Standing::of(1_000, 1_000), Standing::Same);
        assert_eq!(Standing::of(1_000, 1_150), Standing::Same);
        assert_eq!(Standing::of(1_000, 1_151), Standing::Worse);
        assert_eq!(Standing::of(1_000, 850), Standing::Same);
        assert_eq!(Standing::of(1_000, 849), Standing::Better);
        assert_eq!(Standing::of(0, 1), Standing::Worse);
        assert_eq!(Standing::of(u64::MAX, u64::MAX), Standing::Same);
    }

    #[test]
    fn a_part_on_one_side_only_fails_a_check() {
        let before = counts(&[("a", 100), ("gone", 5)]);
        let now = counts(&[("a", 101), ("new", 7)]);
        let standings: Vec<_> = compare(&before, &now)
            .into_iter()
            .map(|line| (line.part, line.standing))
            .collect();
        assert_eq!(
            standings,
            [
                ("a".to_owned(), Standing::Same),
                ("gone".to_owned(), Standing::Gone),
                ("new".to_owned(), Standing::New),
            ]
        );
        assert!(!Standing::Gone.passes() && !Standing::New.passes() && !Standing::Worse.passes());
        assert!(Standing::Better.passes());
    }

    #[test]
    fn a_row_says_what_moved() {
        let lines = compare(
            &counts(&[("imap-login", 1_000)]),
            &counts(&[("imap-login", 1_200)]),
        );
        let row = row(&lines[0]);
        assert!(row.contains("+20.0 %") && row.contains("WORSE"), "{row}");
    }

    #[test]
    fn the_count_is_found_among_what_callgrind_says() {
        let said = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 140519\n==7== \n";
        assert_eq!(collected(said), Some(140_519));
        assert_eq!(collected("==7== Command not found"), None);
    }

    #[test]
    fn the_committed_baseline_has_every_part_and_no_other() {
        let baseline = read(Path::new(BASELINE)).unwrap();
        let mut parts: Vec<_> = Part::ALL.iter().map(|part| part.name).collect();
        parts.sort_unstable();
        assert!(baseline.instructions.keys().eq(parts.iter()));
        assert!(baseline.instructions.values().all(|count| *count > 0));
    }
}
