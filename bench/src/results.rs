//! What a run found out, as it is kept in `bench/results/*.json`.
//!
//! # The schema
//!
//! One [`Results`] a file. `schema` is [`SCHEMA`]; a change that a reader of the old one would misread raises it, a new
//! field or metric does not.
//!
//! ```json
//! {
//!   "schema": 1,
//!   "version": "0.1.0",
//!   "machine": { "cpu": "…", "cores": 2, "memory_mib": 24000, "kernel": "6.18.44", "date": "2026-11-22T12:00:00Z", "busy_percent": 1 },
//!   "options": { "rounds": 3, "seconds": 1.0, "quick": false },
//!   "targets": [
//!     { "name": "splice", "version": "…", "blind": true, "excluded": null },
//!     { "name": "stunnel", "version": "5.68", "blind": true, "excluded": "not faithful: …" }
//!   ],
//!   "scenarios": [
//!     {
//!       "name": "fetch-25m",
//!       "about": "25 MiB FETCH, one connection",
//!       "targets": [
//!         {
//!           "target": "splice",
//!           "failed": null,
//!           "figures": {
//!             "cpu_s_per_gib": { "median": 0.2, "min": 0.19, "max": 0.21, "to_splice": 1.0, "rounds": [0.19, 0.2, 0.21] }
//!           }
//!         }
//!       ]
//!     }
//!   ]
//! }
//! ```
//!
//! Scenarios and targets stand in the order they were measured in. A target without an entry in a scenario has not the
//! protocol, or was excluded. `rounds` has a `null` where a round gave no value, so the same index is the same round in
//! every target. `to_splice` is the median of the quotients of the same rounds, absent where the splice has no value.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;

/// The version of the schema.
pub(crate) const SCHEMA: u32 = 1;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// The version of mailsluice.
    pub(crate) version: String,
    /// Where it was measured.
    pub(crate) machine: Machine,
    /// How it was measured.
    pub(crate) options: Options,
    /// What was measured.
    pub(crate) targets: Vec<Target>,
    /// What came out.
    pub(crate) scenarios: Vec<Scenario>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Model of the processor.
    pub(crate) cpu: String,
    /// How many of them there are.
    pub(crate) cores: usize,
    /// Memory, in MiB.
    pub(crate) memory_mib: u64,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// When, RFC 3339, in UTC.
    pub(crate) date: String,
    /// How much of its processors was in use before anything was started here: figures of a busy machine are doubtful.
    pub(crate) busy_percent: u64,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Options {
    /// How often each target was measured.
    pub(crate) rounds: usize,
    /// How long one measurement takes, where it is as long as one likes.
    pub(crate) seconds: f64,
    /// Whether everything was tiny: such figures mean nothing.
    pub(crate) quick: bool,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Whether it passes on what the client says without understanding it.
    pub(crate) blind: bool,
    /// Why it has no figures.
    pub(crate) excluded: Option<String>,
}

/// A scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: String,
    /// What it does, for people.
    pub(crate) about: String,
    /// What each target did.
    pub(crate) targets: Vec<Measured>,
}

/// What a target did in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The target's name.
    pub(crate) target: String,
    /// Why a round failed, if one did.
    pub(crate) failed: Option<String>,
    /// By the name of the metric.
    pub(crate) figures: BTreeMap<Metric, Figure>,
}

/// One metric over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The median.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// The median of the quotients by the ideal splice of the same round.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) to_splice: Option<f64>,
    /// Every round.
    pub(crate) rounds: Vec<Option<f64>>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// 10⁶ octets of mail a second.
    MbPerS,
    /// CPU seconds of the target's processes for 2³⁰ octets of mail.
    CpuSPerGib,
    /// Commands, messages or logins a second.
    PerS,
    /// Microseconds half of them take at most.
    P50Us,
    /// Microseconds 99 of 100 take at most.
    P99Us,
    /// CPU seconds of the target's processes for a thousand of them.
    CpuSPer1000,
    /// Sessions that were open.
    Sessions,
    /// Resident memory a session, in KiB.
    RssKibPerSession,
    /// Resident memory that came on top, in KiB.
    ExtraRssKib,
    /// CPU time over time, in percent of one processor.
    CpuPercent,
    /// Connections that got no greeting.
    Lost,
}

impl Metric {
    /// Whether a quotient says something: of counts it does not.
    pub(crate) fn has_ratio(self) -> bool {
        !matches!(self, Self::Sessions | Self::Lost)
    }

    /// The head of its column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::MbPerS => "MB/s",
            Self::CpuSPerGib => "CPU s/GiB",
            Self::PerS => "per s",
            Self::P50Us => "p50 µs",
            Self::P99Us => "p99 µs",
            Self::CpuSPer1000 => "CPU s/1000",
            Self::Sessions => "sessions",
            Self::RssKibPerSession => "KiB/session",
            Self::ExtraRssKib => "extra KiB",
            Self::CpuPercent => "CPU %",
            Self::Lost => "lost",
        }
    }
}

impl Results {
    /// Reads a file of [`Results::write`].
    pub(crate) fn read(path: &Path) -> Result<Self, BenchError> {
        let text = fs::read(path).map_err(BenchError::io(format!("reading {}", path.display())))?;
        let results: Self =
            serde_json::from_slice(&text).map_err(|source| BenchError::Results {
                path: path.to_owned(),
                source,
            })?;
        if results.schema != SCHEMA {
            return Err(BenchError::Schema {
                path: path.to_owned(),
                schema: results.schema,
            });
        }
        Ok(results)
    }

    /// Writes it, for people to read, too.
    pub(crate) fn write(&self, path: &Path) -> Result<(), BenchError> {
        let mut text =
            serde_json::to_string_pretty(self).map_err(|source| BenchError::Results {
                path: path.to_owned(),
                source,
            })?;
        text.push('\n');
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(BenchError::io("making the folder of results"))?;
        }
        fs::write(path, text).map_err(BenchError::io(format!("writing {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let figure = Figure {
            median: 0.2,
            min: 0.1,
            max: 0.3,
            to_splice: Some(1.5),
            rounds: vec![Some(0.1), None, Some(0.3)],
        };
        Results {
            schema: SCHEMA,
            version: "0.1.0".to_owned(),
            machine: Machine {
                cpu: "x".to_owned(),
                cores: 2,
                ..Machine::default()
            },
            options: Options {
                rounds: 3,
                seconds: 1.0,
                quick: false,
            },
            targets: vec![Target {
                name: "splice".to_owned(),
                version: "1".to_owned(),
                blind: true,
                excluded: None,
            }],
            scenarios: vec![Scenario {
                name: "fetch-25m".to_owned(),
                about: "about".to_owned(),
                targets: vec![Measured {
                    target: "splice".to_owned(),
                    failed: None,
                    figures: BTreeMap::from([(Metric::CpuSPerGib, figure)]),
                }],
            }],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/results.json");
        results().write(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results());
    }

    #[test]
    fn the_names_in_the_file_are_those_of_the_schema() {
        let value = serde_json::to_value(results()).unwrap();
        let figure = &value["scenarios"][0]["targets"][0]["figures"]["cpu_s_per_gib"];
        assert_eq!(figure["to_splice"], 1.5);
        assert_eq!(figure["rounds"], serde_json::json!([0.1, null, 0.3]));
        assert_eq!(value["targets"][0]["excluded"], serde_json::Value::Null);
    }

    #[test]
    fn a_file_of_another_schema_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        let mut other = results();
        other.schema += 1;
        other.write(&path).unwrap();
        let error = Results::read(&path).unwrap_err();
        assert!(matches!(error, BenchError::Schema { schema: 2, .. }));
    }

    #[test]
    fn another_file_is_no_results() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        fs::write(&path, "{}").unwrap();
        let error = Results::read(&path).unwrap_err();
        assert!(error.to_string().ends_with("no results of this bench"));
    }
}
