//! Charts of made-up results, and that what is written is XML whatever a target is called.

use std::collections::BTreeMap;

use super::*;
use crate::results::{Machine, Measured, Options, SCHEMA, Target};

fn figure(median: f64, to_splice: Option<f64>) -> Figure {
    Figure {
        median,
        min: median * 0.95,
        max: median * 1.1,
        to_splice,
        rounds: vec![Some(median); 3],
    }
}

/// `(name, blind, CPU s/GiB)`.
fn results(targets: &[(&str, bool, f64)]) -> Results {
    let splice = targets.iter().find(|(name, ..)| *name == "splice");
    let measured = |(name, _, cpu): &(&str, bool, f64)| Measured {
        target: (*name).to_owned(),
        failed: None,
        figures: BTreeMap::from([(
            Metric::CpuSPerGib,
            figure(*cpu, splice.map(|(.., splice)| cpu / splice)),
        )]),
    };
    Results {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        machine: Machine {
            cpu: "A & B <fast>".to_owned(),
            cores: 2,
            date: "2026-11-28T12:00:00Z".to_owned(),
            ..Machine::default()
        },
        options: Options {
            rounds: 3,
            seconds: 1.0,
            quick: false,
        },
        targets: targets
            .iter()
            .map(|(name, blind, _)| Target {
                name: (*name).to_owned(),
                version: "1".to_owned(),
                blind: *blind,
                excluded: None,
            })
            .collect(),
        scenarios: vec![Scenario {
            name: "fetch-25m".to_owned(),
            about: "25 MiB FETCH, one connection".to_owned(),
            targets: targets.iter().map(measured).collect(),
        }],
    }
}

fn usual() -> Results {
    results(&[
        ("splice", true, 0.22),
        ("stunnel", true, 0.56),
        ("dovecot", false, 0.73),
        ("email-oauth2-proxy", false, 12.0),
        ("mailsluice", false, 0.24),
    ])
}

fn drawn(results: &Results) -> String {
    svg::draw(&chart(results, &PLANS[0]).unwrap())
}

#[test]
fn the_shortest_bar_is_first_and_each_has_its_ratio() {
    let chart = chart(&usual(), &PLANS[0]).unwrap();
    let rows: Vec<_> = chart
        .bars
        .iter()
        .map(|bar| (&*bar.target, bar.kind))
        .collect();
    assert_eq!(
        rows,
        [
            ("splice", Kind::Baseline),
            ("mailsluice", Kind::Mailsluice),
            ("stunnel", Kind::Blind),
            ("dovecot", Kind::Understands),
            ("email-oauth2-proxy", Kind::Understands),
        ]
    );
    assert_eq!(chart.bars[1].words, "0.24 s · 1.09×");
    let goal = chart.goal.unwrap();
    assert!((goal.value - 0.242).abs() < 1e-9);
    assert_eq!(goal.words, "goal 1.10 × splice");
}

#[test]
fn one_bar_of_fifty_times_the_others_is_broken_off_and_keeps_its_words() {
    let svg = drawn(&usual());
    assert_eq!(svg.matches("class=\"cut\"").count(), 2);
    assert!(svg.contains("12.0 s · 54.5×"), "{svg}");
    let even = drawn(&results(&[("splice", true, 0.2), ("stunnel", true, 0.3)]));
    assert_eq!(even.matches("class=\"cut\"").count(), 0);
}

#[test]
fn without_a_splice_there_is_no_goal_by_it_and_no_ratio() {
    let chart = chart(&results(&[("stunnel", true, 0.5)]), &PLANS[0]).unwrap();
    assert_eq!(chart.goal, None);
    assert_eq!(chart.bars[0].words, "0.50 s");
}

#[test]
fn what_was_not_measured_is_not_drawn() {
    assert_eq!(chart(&usual(), &PLANS[1]), None);
    assert_eq!(chart(&results(&[]), &PLANS[0]), None);
}

#[test]
fn fewer_open_sessions_than_the_others_are_said() {
    let mut results = usual();
    results.scenarios[0].name = "idle-10000".to_owned();
    for (target, open) in results.scenarios[0]
        .targets
        .iter_mut()
        .zip([9_900.0, 508.0])
    {
        target.figures.insert(Metric::Sessions, figure(open, None));
        target
            .figures
            .insert(Metric::RssKibPerSession, figure(7.0, None));
    }
    let chart = chart(&results, &PLANS[1]).unwrap();
    assert_eq!(chart.bars[0].words, "7.00 KiB · 1.00×");
    assert_eq!(chart.bars[1].words, "7.00 KiB · 1.00× · 508 open");
    assert_eq!(chart.goal.unwrap().words, "goal 10 KiB");
}

#[test]
fn words_of_a_bar_before_the_goal_stand_behind_its_line() {
    let svg = drawn(&results(&[
        ("splice", true, 0.2),
        ("mailsluice", false, 0.05),
    ]));
    let number = |line: &str, key: &str| -> f64 {
        let rest = line.split_once(key).expect("the attribute").1;
        let end = rest.find(['"', ' ']).expect("its end");
        rest[..end].parse().expect("a number")
    };
    let line = svg.lines().find(|line| line.contains("class=\"goal\""));
    let goal = number(line.expect("a goal"), "d=\"M");
    let words = svg.lines().filter(|line| line.contains("class=\"value\""));
    assert!(words.map(|line| number(line, "x=\"")).all(|x| x > goal));
}

#[test]
fn a_zero_draws_no_infinity() {
    let svg = drawn(&results(&[("splice", true, 0.0), ("stunnel", true, 0.0)]));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn whatever_a_target_is_called_the_file_is_well_formed() {
    for name in [
        "<script>",
        "a&b",
        "\"quoted\"",
        "]]>",
        "\u{1}\u{ffff}\n",
        "ünïcode",
    ] {
        let svg = drawn(&results(&[("splice", true, 0.2), (name, false, 0.4)]));
        assert_well_formed(&svg);
    }
    assert_well_formed(&drawn(&usual()));
}

/// Tags nest and end, attributes are quoted, and no bare `<` or `&` is left: all that this writer could get wrong.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        assert_text(&rest[..start]);
        let (tag, behind) = rest[start + 1..].split_once('>').expect("a tag ends");
        assert!(!tag.contains('<'), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{svg}");
        } else {
            let name = tag.split([' ', '/']).next().unwrap();
            assert!(
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic()),
                "{tag}"
            );
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        rest = behind;
    }
    assert_eq!(rest, "\n");
    assert!(open.is_empty(), "{open:?}");
}

fn assert_text(text: &str) {
    for (at, _) in text.match_indices('&') {
        let entity = text[at..].split_once(';').expect("an entity ends").0;
        assert!(["&amp", "&lt", "&gt", "&quot"].contains(&entity), "{text}");
    }
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
}
