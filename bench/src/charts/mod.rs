//! `charts RESULTS.json --out DIR`: figures as pictures, for the README.
//!
//! A chart is one metric of one scenario: a bar for each target, the ratio to the ideal splice beside it, and the line of
//! our goal. What is drawn is decided here; how, in [`svg`].

mod svg;

use std::fs;
use std::path::PathBuf;

use crate::error::BenchError;
use crate::results::{Figure, Metric, Results, Scenario};
use crate::stats;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct ChartsArguments {
    /// A file that `run` wrote
    pub(crate) results: PathBuf,
    /// The folder for the pictures
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Draws every chart that the results have figures for.
pub(crate) fn charts(arguments: &ChartsArguments) -> Result<(), BenchError> {
    let results = Results::read(&arguments.results)?;
    let out = &arguments.out;
    fs::create_dir_all(out).map_err(BenchError::io(format!("making {}", out.display())))?;
    for plan in PLANS {
        let path = out.join(plan.file);
        let Some(chart) = chart(&results, plan) else {
            println!("no figures for {}", plan.file);
            continue;
        };
        fs::write(&path, svg::draw(&chart))
            .map_err(BenchError::io(format!("writing {}", path.display())))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// A chart, ready to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chart {
    title: String,
    /// What was measured, and what a short bar means.
    subtitle: String,
    /// Shortest first.
    bars: Vec<Bar>,
    goal: Option<Goal>,
    /// Where and when.
    footer: String,
}

/// One target.
#[derive(Clone, Debug, PartialEq)]
struct Bar {
    target: String,
    kind: Kind,
    median: f64,
    min: f64,
    max: f64,
    /// The value in words, with its ratio to the splice.
    words: String,
}

/// The line that mailsluice shall stay behind.
#[derive(Clone, Debug, PartialEq)]
struct Goal {
    value: f64,
    words: String,
}

/// What a target is, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Mailsluice,
    Understands,
    Blind,
    Baseline,
}

/// What is drawn, and from what.
struct Plan {
    file: &'static str,
    title: &'static str,
    metric: Metric,
    unit: &'static str,
    /// Beginnings of scenario names, the best one first; of several that begin so, the one named last.
    scenarios: &'static [&'static str],
    goal: Aim,
}

enum Aim {
    TimesSplice(f64),
    Value(f64),
}

const PLANS: &[Plan] = &[
    Plan {
        file: "cpu-per-gib.svg",
        title: "CPU time for 1 GiB of mail",
        metric: Metric::CpuSPerGib,
        unit: "s",
        scenarios: &["fetch-25m", "fetch-"],
        goal: Aim::TimesSplice(1.10),
    },
    Plan {
        file: "memory-per-session.svg",
        title: "Memory of an idle IMAP session",
        metric: Metric::RssKibPerSession,
        unit: "KiB",
        scenarios: &["idle-"],
        goal: Aim::Value(10.0),
    },
    Plan {
        file: "cpu-per-login.svg",
        title: "CPU time for 1 000 logins",
        metric: Metric::CpuSPer1000,
        unit: "s",
        scenarios: &["login-16", "login-1"],
        goal: Aim::TimesSplice(1.30),
    },
];

fn chart(results: &Results, plan: &Plan) -> Option<Chart> {
    let scenario = scenario(results, plan)?;
    let splice = figure(scenario, SPLICE, plan.metric);
    let mut bars: Vec<Bar> = scenario
        .targets
        .iter()
        .filter_map(|measured| {
            let figure = measured.figures.get(&plan.metric)?;
            let sessions = figure_of_sessions(scenario, &measured.target, plan.metric);
            Some(Bar {
                kind: kind(results, &measured.target),
                median: figure.median,
                min: figure.min,
                max: figure.max,
                words: words(figure, plan.unit, splice, sessions),
                target: measured.target.clone(),
            })
        })
        .collect();
    bars.sort_by(|a, b| a.median.total_cmp(&b.median));
    if bars.is_empty() {
        return None;
    }
    let machine = &results.machine;
    let quick = if results.options.quick {
        " · quick run: the figures mean nothing"
    } else {
        ""
    };
    Some(Chart {
        title: plan.title.to_owned(),
        subtitle: format!("{}; shorter is better", scenario.about),
        bars,
        goal: goal(&plan.goal, splice, plan.unit),
        footer: format!(
            "mailsluice {} · {} · {} cores · {} · median of {} rounds{quick}",
            results.version,
            machine.cpu,
            machine.cores,
            machine.date.split('T').next().unwrap_or_default(),
            results.options.rounds,
        ),
    })
}

fn scenario<'a>(results: &'a Results, plan: &Plan) -> Option<&'a Scenario> {
    plan.scenarios.iter().find_map(|beginning| {
        results.scenarios.iter().rfind(|scenario| {
            let has_figures = scenario
                .targets
                .iter()
                .any(|it| it.figures.contains_key(&plan.metric));
            scenario.name.starts_with(beginning) && has_figures
        })
    })
}

fn figure<'a>(scenario: &'a Scenario, target: &str, metric: Metric) -> Option<&'a Figure> {
    let measured = scenario
        .targets
        .iter()
        .find(|measured| measured.target == target)?;
    measured.figures.get(&metric)
}

/// How many sessions `target` had open, where it is fewer than the most that any had.
fn figure_of_sessions(scenario: &Scenario, target: &str, metric: Metric) -> Option<f64> {
    if metric != Metric::RssKibPerSession {
        return None;
    }
    let open = |target: &str| Some(figure(scenario, target, Metric::Sessions)?.median);
    let most = scenario
        .targets
        .iter()
        .filter_map(|it| open(&it.target))
        .max_by(f64::total_cmp)?;
    open(target).filter(|open| *open < most)
}

fn words(figure: &Figure, unit: &str, splice: Option<&Figure>, sessions: Option<f64>) -> String {
    let mut words = format!("{} {unit}", short(figure.median));
    let of_medians = || Some(figure.median / splice.filter(|splice| splice.median > 0.0)?.median);
    let ratio = figure.to_splice.or_else(of_medians);
    if let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) {
        words.push_str(&format!(" · {}×", short(ratio)));
    }
    if let Some(sessions) = sessions {
        words.push_str(&format!(" · {sessions:.0} open"));
    }
    words
}

fn goal(aim: &Aim, splice: Option<&Figure>, unit: &str) -> Option<Goal> {
    match aim {
        Aim::Value(value) => Some(Goal {
            value: *value,
            words: format!("goal {value} {unit}"),
        }),
        Aim::TimesSplice(times) => Some(Goal {
            value: times * splice?.median,
            words: format!("goal {times:.2} × splice"),
        }),
    }
}

fn kind(results: &Results, target: &str) -> Kind {
    let described = results.targets.iter().find(|it| it.name == target);
    match target {
        _ if target.starts_with("mailsluice") => Kind::Mailsluice,
        _ if target.starts_with(SPLICE) || target == "direct" => Kind::Baseline,
        _ if described.is_some_and(|it| it.blind) => Kind::Blind,
        _ => Kind::Understands,
    }
}

/// Three digits that count, at most.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The value at which the axis ends: the longest bar, but for those so long that the others would not be seen.
fn axis(chart: &Chart) -> f64 {
    let medians: Vec<f64> = chart.bars.iter().map(|bar| bar.median).collect();
    let usual = stats::median(&medians).unwrap_or(1.0) * OUTLIER;
    let goal = chart.goal.as_ref().map_or(0.0, |goal| goal.value * 1.25);
    let longest = chart
        .bars
        .iter()
        .map(|bar| bar.median.max(bar.max))
        .filter(|end| *end <= usual);
    let end = longest.max_by(f64::total_cmp).unwrap_or(usual).max(goal);
    if end > 0.0 { end } else { 1.0 }
}

const SPLICE: &str = "splice";

/// A bar of more than so many times the middle one is broken off.
const OUTLIER: f64 = 4.0;

#[cfg(test)]
mod tests;
