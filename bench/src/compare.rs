//! `compare A.json B.json`: what changed between two runs, and which of it is more than the spread of the rounds.
//!
//! Machines drift: the same program may be half as fast a minute later. So what is compared is the ratio to the ideal
//! splice of the same round wherever there is one, and the figure itself only where there is none. A change counts when
//! the two runs' rounds do not overlap. It is information: worse figures are no error.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::BenchError;
use crate::results::{Figure, Measured, Metric, Results, Scenario};
use crate::stats;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArguments {
    /// The results of before
    pub(crate) before: PathBuf,
    /// The results of now
    pub(crate) after: PathBuf,
    /// Print everything as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print what is within the spread, too
    #[arg(long)]
    pub(crate) all: bool,
}

/// Compares two files and prints what came out.
pub(crate) fn compare(arguments: &CompareArguments) -> Result<(), BenchError> {
    let before = Results::read(&arguments.before)?;
    let after = Results::read(&arguments.after)?;
    let changes = changes(&before, &after);
    if arguments.json {
        let text =
            serde_json::to_string_pretty(&changes).map_err(|source| BenchError::Results {
                path: arguments.after.clone(),
                source,
            })?;
        println!("{text}");
        return Ok(());
    }
    for (name, results) in [("before", &before), ("after", &after)] {
        let machine = &results.machine;
        let quick = if results.options.quick {
            " · quick, so the figures mean nothing"
        } else {
            ""
        };
        println!(
            "{name:<7} {} · {} · {} cores · {} rounds{quick}",
            machine.date, machine.cpu, machine.cores, results.options.rounds
        );
    }
    for (name, these, others) in [("before", &before, &after), ("after", &after, &before)] {
        let only: Vec<&str> = only_in(these, others).collect();
        if !only.is_empty() {
            println!("only {name}: {}", only.join(", "));
        }
    }
    print!("{}", table(&changes, arguments.all));
    Ok(())
}

/// One metric of a target in a scenario, then and now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    scenario: String,
    target: String,
    metric: Metric,
    of: Of,
    before: Option<Range>,
    after: Option<Range>,
    /// The median of now over that of before.
    ratio: Option<f64>,
    verdict: Verdict,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Of {
    /// The figure over the ideal splice's.
    RatioToSplice,
    /// The figure itself.
    Figure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Better,
    Within,
    Worse,
    /// One of the runs has a single round, so that nothing is known of its spread.
    Unclear,
    /// Only now.
    New,
    /// Only before.
    Gone,
}

/// A median, and the rounds around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Range {
    median: f64,
    min: f64,
    max: f64,
    rounds: usize,
}

impl Range {
    fn of(values: &[f64]) -> Option<Self> {
        let (min, max) = stats::spread(values)?;
        Some(Self {
            median: stats::median(values)?,
            min,
            max,
            rounds: values.len(),
        })
    }
}

/// Targets that were not measured on the other side at all: nothing of theirs is compared.
fn only_in<'a>(these: &'a Results, others: &'a Results) -> impl Iterator<Item = &'a str> {
    let names = these.targets.iter().map(|target| &*target.name);
    names.filter(|name| others.targets.iter().all(|other| other.name != *name))
}

fn changes(before: &Results, after: &Results) -> Vec<Change> {
    let alone: Vec<&str> = only_in(before, after)
        .chain(only_in(after, before))
        .collect();
    let mut changes = Vec::new();
    let gone = before
        .scenarios
        .iter()
        .filter(|old| scenario(after, &old.name).is_none());
    for name in after
        .scenarios
        .iter()
        .chain(gone)
        .map(|scenario| &scenario.name)
    {
        let sides = [scenario(before, name), scenario(after, name)];
        let mut targets = union(sides.map(|side| side.map(targets).unwrap_or_default()));
        targets.retain(|target| !alone.contains(&&**target));
        for target in targets {
            let measured = sides.map(|side| side.and_then(|side| measured(side, &target)));
            let metrics = measured.map(|it| {
                it.map(|it| it.figures.keys().copied().collect())
                    .unwrap_or_default()
            });
            for metric in union::<Metric>(metrics) {
                changes.push(change(sides, &target, metric));
            }
        }
    }
    changes
}

fn change(sides: [Option<&Scenario>; 2], target: &str, metric: Metric) -> Change {
    let figures = sides.map(|side| figure(side?, target, metric));
    let splices = sides.map(|side| figure(side?, SPLICE, metric));
    let quotients = [0, 1].map(|side| Range::of(&quotients(figures[side]?, splices[side]?)));
    let is_ratio =
        target != SPLICE && (0..2).all(|side| figures[side].is_none() || quotients[side].is_some());
    let [before, after] = if is_ratio {
        quotients
    } else {
        figures.map(|figure| Range::of(&values(figure?)))
    };
    let ratio = before
        .zip(after)
        .map(|(before, after)| after.median / before.median);
    Change {
        scenario: sides
            .iter()
            .flatten()
            .next()
            .map(|it| it.name.clone())
            .unwrap_or_default(),
        target: target.to_owned(),
        metric,
        of: if is_ratio {
            Of::RatioToSplice
        } else {
            Of::Figure
        },
        before,
        after,
        ratio: ratio.filter(|ratio| ratio.is_finite()),
        verdict: verdict(before, after, higher_is_better(metric)),
    }
}

fn verdict(before: Option<Range>, after: Option<Range>, higher_is_better: bool) -> Verdict {
    let (Some(before), Some(after)) = (before, after) else {
        return if after.is_some() {
            Verdict::New
        } else {
            Verdict::Gone
        };
    };
    if before.rounds < 2 || after.rounds < 2 {
        return Verdict::Unclear;
    }
    if after.min > before.max * (1.0 + NOISE) {
        if higher_is_better {
            Verdict::Better
        } else {
            Verdict::Worse
        }
    } else if after.max < before.min * (1.0 - NOISE) {
        if higher_is_better {
            Verdict::Worse
        } else {
            Verdict::Better
        }
    } else {
        Verdict::Within
    }
}

fn higher_is_better(metric: Metric) -> bool {
    matches!(metric, Metric::MbPerS | Metric::PerS | Metric::Sessions)
}

fn scenario<'a>(results: &'a Results, name: &str) -> Option<&'a Scenario> {
    results
        .scenarios
        .iter()
        .find(|scenario| scenario.name == name)
}

fn measured<'a>(scenario: &'a Scenario, target: &str) -> Option<&'a Measured> {
    scenario
        .targets
        .iter()
        .find(|measured| measured.target == target)
}

fn figure<'a>(scenario: &'a Scenario, target: &str, metric: Metric) -> Option<&'a Figure> {
    measured(scenario, target)?.figures.get(&metric)
}

fn targets(scenario: &Scenario) -> Vec<String> {
    scenario
        .targets
        .iter()
        .map(|measured| measured.target.clone())
        .collect()
}

/// Those of before, then those that are new.
fn union<T: PartialEq>([before, after]: [Vec<T>; 2]) -> Vec<T> {
    let mut all = before;
    for item in after {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    all
}

fn values(figure: &Figure) -> Vec<f64> {
    figure.rounds.iter().copied().flatten().collect()
}

/// Round by round, where both have a value.
fn quotients(figure: &Figure, splice: &Figure) -> Vec<f64> {
    let pairs = figure.rounds.iter().zip(&splice.rounds);
    pairs
        .filter_map(|(value, divisor)| Some((*value)? / (*divisor)?))
        .filter(|quotient| quotient.is_finite())
        .collect()
}

fn table(changes: &[Change], all: bool) -> String {
    let mut text = format!(
        "{:<18} {:<20} {:<11} {:>22} {:>22} {:>7}\n",
        "scenario", "target", "metric", "before (min–max)", "after (min–max)", "ratio"
    );
    for change in changes
        .iter()
        .filter(|change| all || change.verdict != Verdict::Within)
    {
        text.push_str(&row(change));
    }
    let count = |verdict| {
        changes
            .iter()
            .filter(|change| change.verdict == verdict)
            .count()
    };
    text.push_str(&format!(
        "{} figures: {} worse, {} better, {} within the spread, {} unclear, {} new, {} gone\n",
        changes.len(),
        count(Verdict::Worse),
        count(Verdict::Better),
        count(Verdict::Within),
        count(Verdict::Unclear),
        count(Verdict::New),
        count(Verdict::Gone),
    ));
    text
}

fn row(change: &Change) -> String {
    let times = if change.of == Of::RatioToSplice {
        "×"
    } else {
        ""
    };
    let range = |range: Option<Range>| match range {
        None => "–".to_owned(),
        Some(Range {
            median, min, max, ..
        }) => {
            format!("{}{times} ({}–{})", short(median), short(min), short(max))
        }
    };
    let ratio = change
        .ratio
        .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
    let words = match change.verdict {
        Verdict::Better => "better",
        Verdict::Within => "",
        Verdict::Worse => "WORSE",
        Verdict::Unclear => "one round only",
        Verdict::New => "new",
        Verdict::Gone => "GONE",
    };
    let row = format!(
        "{:<18} {:<20} {:<11} {:>22} {:>22} {ratio:>7}  {words}",
        change.scenario,
        change.target,
        change.metric.title(),
        range(change.before),
        range(change.after),
    );
    format!("{}\n", row.trim_end())
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

const SPLICE: &str = "splice";

/// A gap between two runs below this is none, however close together the rounds of each were.
const NOISE: f64 = 0.02;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::results::{Machine, Options, SCHEMA, Target};

    fn figure(rounds: &[f64]) -> Figure {
        let range = Range::of(rounds).unwrap();
        Figure {
            median: range.median,
            min: range.min,
            max: range.max,
            to_splice: None,
            rounds: rounds.iter().copied().map(Some).collect(),
        }
    }

    fn results(targets: &[(&str, Metric, &[f64])]) -> Results {
        let measured = |(target, metric, rounds): &(&str, Metric, &[f64])| Measured {
            target: (*target).to_owned(),
            failed: None,
            figures: BTreeMap::from([(*metric, figure(rounds))]),
        };
        Results {
            schema: SCHEMA,
            version: "0.1.0".to_owned(),
            machine: Machine::default(),
            options: Options {
                rounds: 3,
                seconds: 1.0,
                quick: false,
            },
            targets: targets.iter().map(|(name, ..)| described(name)).collect(),
            scenarios: vec![Scenario {
                name: "fetch-25m".to_owned(),
                about: String::new(),
                targets: targets.iter().map(measured).collect(),
            }],
        }
    }

    fn described(name: &str) -> Target {
        Target {
            name: name.to_owned(),
            version: String::new(),
            blind: false,
            excluded: None,
        }
    }

    fn verdicts(before: &Results, after: &Results) -> Vec<(String, Verdict)> {
        let changes = changes(before, after).into_iter();
        changes
            .map(|change| (change.target, change.verdict))
            .collect()
    }

    #[test]
    fn a_machine_that_got_slower_makes_nothing_worse_but_the_splice() {
        let cpu = Metric::CpuSPerGib;
        let before = results(&[
            ("splice", cpu, &[0.2, 0.21, 0.22]),
            ("mailsluice", cpu, &[0.22, 0.23, 0.24]),
        ]);
        let after = results(&[
            ("splice", cpu, &[0.4, 0.42, 0.44]),
            ("mailsluice", cpu, &[0.44, 0.46, 0.48]),
        ]);
        assert_eq!(
            verdicts(&before, &after),
            [
                ("splice".to_owned(), Verdict::Worse),
                ("mailsluice".to_owned(), Verdict::Within)
            ]
        );
    }

    #[test]
    fn only_rounds_that_do_not_overlap_are_a_change() {
        let p50 = Metric::P50Us;
        let before = results(&[("mailsluice", p50, &[10.0, 11.0, 12.0])]);
        for (rounds, expected) in [
            ([11.9, 15.0, 16.0], Verdict::Within),
            ([12.1, 12.1, 12.2], Verdict::Within),
            ([13.0, 15.0, 16.0], Verdict::Worse),
            ([8.0, 9.0, 9.5], Verdict::Better),
        ] {
            let after = results(&[("mailsluice", p50, &rounds)]);
            assert_eq!(verdicts(&before, &after)[0].1, expected, "{rounds:?}");
        }
    }

    #[test]
    fn more_is_better_where_it_is() {
        let before = results(&[("mailsluice", Metric::MbPerS, &[100.0, 110.0])]);
        let after = results(&[("mailsluice", Metric::MbPerS, &[200.0, 210.0])]);
        assert_eq!(verdicts(&before, &after)[0].1, Verdict::Better);
        assert_eq!(verdicts(&after, &before)[0].1, Verdict::Worse);
    }

    #[test]
    fn a_figure_on_one_side_only_is_named() {
        let mut before = results(&[("stunnel", Metric::PerS, &[1.0, 2.0])]);
        let mut after = results(&[("haproxy", Metric::PerS, &[1.0, 2.0])]);
        // Both were measured on both sides, and one of them has failed on each.
        before.targets.push(described("haproxy"));
        after.targets.push(described("stunnel"));
        assert_eq!(
            verdicts(&before, &after),
            [
                ("stunnel".to_owned(), Verdict::Gone),
                ("haproxy".to_owned(), Verdict::New)
            ]
        );
        let table = table(&changes(&before, &after), false);
        assert!(
            table.contains("GONE") && table.contains("2 figures: 0 worse"),
            "{table}"
        );
    }

    #[test]
    fn a_target_that_one_side_did_not_measure_is_not_compared() {
        let before = results(&[("stunnel", Metric::PerS, &[1.0, 2.0])]);
        let after = results(&[("haproxy", Metric::PerS, &[1.0, 2.0])]);
        assert_eq!(changes(&before, &after), []);
        assert!(only_in(&before, &after).eq(["stunnel"]));
    }

    #[test]
    fn one_round_says_nothing_about_its_spread() {
        let one = results(&[("mailsluice", Metric::PerS, &[1.0])]);
        let other = results(&[("mailsluice", Metric::PerS, &[9.0])]);
        assert_eq!(verdicts(&one, &other)[0].1, Verdict::Unclear);
    }

    #[test]
    fn json_has_every_figure_and_the_names_of_the_results_file() {
        let one = results(&[("mailsluice", Metric::CpuSPerGib, &[1.0, 1.1])]);
        let json = serde_json::to_value(changes(&one, &one)).unwrap();
        assert_eq!(json[0]["metric"], "cpu_s_per_gib");
        assert_eq!(json[0]["verdict"], "within");
        assert_eq!(json[0]["ratio"], 1.0);
        assert_eq!(json[0]["before"]["rounds"], 2);
    }
}
