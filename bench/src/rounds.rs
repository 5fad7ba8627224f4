//! From what single rounds gave to the figures of the results.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{BenchError, chain};
use crate::results::{Figure, Measured, Metric};
use crate::stage::Sample;
use crate::stats;

/// What a target did in the rounds so far.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    samples: Vec<BTreeMap<Metric, f64>>,
    failed: Option<String>,
}

impl Rounds {
    /// One more round.
    pub(crate) fn add(&mut self, sample: Result<Sample, BenchError>) {
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
        let all: BTreeSet<Metric> = self
            .samples
            .iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect();
        all.into_iter()
    }
}

/// The figures of a scenario.
pub(crate) fn gather(targets: Vec<(&'static str, Rounds)>) -> Vec<Measured> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
