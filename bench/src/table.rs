//! The results as text, aligned.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::results::{Figure, Metric, Results, Scenario};

/// One table a scenario. A cell is the median, the spread in parentheses, and the ratio to the ideal splice.
pub(crate) fn text(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "mailsluice {}, {} cores of {}, Linux {}, {}; rounds: {}, {} s each\n",
        results.version,
        machine.cores,
        machine.cpu,
        machine.kernel,
        machine.date,
        results.options.rounds,
        results.options.seconds,
    );
    text.push_str("median (min–max) ×ratio to the ideal splice of the same round\n");
    if machine.busy_percent > 0 {
        let _ = writeln!(
            text,
            "before it began, {} % of the processors were in use",
            machine.busy_percent
        );
    }
    if results.options.quick {
        text.push_str("This was the quick mode: the figures mean nothing.\n");
    }
    for target in &results.targets {
        if let Some(why) = &target.excluded {
            let _ = writeln!(text, "{}: no figures: {why}", target.name);
        }
    }
    for scenario in &results.scenarios {
        text.push('\n');
        text.push_str(&table(scenario, results));
    }
    text
}

fn table(scenario: &Scenario, results: &Results) -> String {
    let metrics: BTreeSet<Metric> = scenario
        .targets
        .iter()
        .flat_map(|measured| measured.figures.keys().copied())
        .collect();
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(metrics.iter().map(|metric| metric.title().to_owned()));
    for measured in &scenario.targets {
        let target = results.targets.iter().find(|it| it.name == measured.target);
        let blind = if target.is_some_and(|it| it.blind) {
            " (blind)"
        } else {
            ""
        };
        let mut row = vec![format!("{}{blind}", measured.target)];
        row.extend(metrics.iter().map(|metric| {
            measured
                .figures
                .get(metric)
                .map_or_else(|| "–".to_owned(), cell)
        }));
        if let Some(why) = &measured.failed {
            row.push(format!("failed: {why}"));
        }
        rows.push(row);
    }
    format!("{}: {}\n{}", scenario.name, scenario.about, align(&rows))
}

fn cell(figure: &Figure) -> String {
    let mut text = number(figure.median);
    if figure.rounds.len() > 1 {
        let _ = write!(text, " ({}–{})", number(figure.min), number(figure.max));
    }
    if let Some(ratio) = figure.to_splice {
        let _ = write!(text, " ×{ratio:.2}");
    }
    text
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        whole if whole.fract() == 0.0 => 0,
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// The first column to the left, the others to the right.
fn align(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let columns = rows.first().map_or(0, Vec::len);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let space = if column < columns { width(column) } else { 0 };
            let _ = if column == 0 {
                write!(line, "{cell:<space$}")
            } else {
                write!(line, "  {cell:>space$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 50.0, 0.1234, 1.234, 12.34, 1234.5].map(number);
        assert_eq!(shown, ["0", "50", "0.123", "1.23", "12.3", "1234"]);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [
            vec!["", "MB/s"],
            vec!["splice", "1"],
            vec!["x", "22222", "failed"],
        ];
        let rows = rows.map(|row| row.into_iter().map(str::to_owned).collect());
        assert_eq!(
            align(&rows),
            "         MB/s\nsplice      1\nx       22222  failed\n"
        );
    }

    #[test]
    fn a_cell_says_median_spread_and_ratio() {
        let mut figure = Figure {
            median: 0.2,
            min: 0.1,
            max: 0.3,
            to_splice: Some(1.5),
            rounds: vec![Some(0.1), Some(0.2), Some(0.3)],
        };
        assert_eq!(cell(&figure), "0.200 (0.100–0.300) ×1.50");
        figure.rounds = vec![Some(0.2)];
        figure.to_splice = None;
        assert_eq!(cell(&figure), "0.200");
    }
}
