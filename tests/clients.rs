//! `docs/clients.md` and the tests say the same: no client is promised there that nothing holds, and none is tested
//! and left out.

#![expect(
    clippy::expect_used,
    reason = "test code: what is missing has to stop it"
)]

#[path = "real/programs/table.rs"]
#[macro_use]
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One case that runs a program.
struct Case {
    name: &'static str,
    client: &'static str,
    profile: &'static str,
}

macro_rules! cases {
    ($($section:ident { $($family:ident::$case:ident, $client:literal, $profile:literal;)+ })+) => {
        &[$($(Case { name: stringify!($case), client: $client, profile: $profile },)+)+]
    };
}

const CASES: &[Case] = clients!(cases);

/// A row of the document: the client, its profile, and what shows that it works.
struct Row {
    client: String,
    profile: String,
    shown_by: Vec<String>,
}

#[test]
fn every_case_is_in_the_row_of_its_client_and_profile() {
    let rows = rows();
    let missing: Vec<_> = CASES
        .iter()
        .filter(|case| {
            !rows.iter().any(|row| {
                row.client == case.client
                    && row.profile == case.profile
                    && row.shown_by.iter().any(|name| name == case.name)
            })
        })
        .map(|case| case.name)
        .collect();
    assert!(CASES.len() > 30, "only {} cases", CASES.len());
    assert!(missing.is_empty(), "not in docs/clients.md: {missing:?}");
}

#[test]
fn every_row_names_what_is_there() {
    let rows = rows();
    assert!(rows.len() > 35, "only {} rows", rows.len());
    for row in rows {
        assert!(!row.shown_by.is_empty(), "nothing shows {}", row.client);
        for name in &row.shown_by {
            let there = if name.contains('/') {
                transcripts()
                    .join(name)
                    .with_added_extension("txt")
                    .is_file()
            } else {
                let mine = |case: &&Case| case.client == row.client && case.name == name;
                CASES.iter().any(|case| mine(&case))
            };
            assert!(there, "{}: no {name}", row.client);
        }
    }
}

/// A dialogue of a client is one with the profile its row recommends.
#[test]
fn transcripts_of_clients_are_in_the_profile_of_their_row() {
    let mut compared = 0;
    for row in rows() {
        for name in row.shown_by.iter().filter(|name| name.contains('/')) {
            let file = transcripts().join(name).with_added_extension("txt");
            let text = fs::read_to_string(file).expect("readable");
            if text.starts_with("# Client: ") {
                compared += 1;
                let chosen = text
                    .lines()
                    .find_map(|line| line.strip_prefix("@ profile "));
                assert_eq!(chosen.unwrap_or("modern"), row.profile, "{name}");
            }
        }
    }
    assert!(compared > 20, "only {compared} transcripts");
}

#[test]
fn every_clients_transcript_is_in_a_row() {
    let named: BTreeSet<_> = rows().into_iter().flat_map(|row| row.shown_by).collect();
    let mut found = 0;
    for protocol in ["imap", "pop3", "smtp"] {
        let folder = fs::read_dir(transcripts().join(protocol)).expect("transcripts");
        for file in folder.map(|entry| entry.expect("readable").path()) {
            let text = fs::read_to_string(&file).expect("readable");
            if text.starts_with("# Client: ") {
                found += 1;
                let stem = file.file_stem().expect("a name").to_string_lossy();
                let name = format!("{protocol}/{stem}");
                assert!(named.contains(&name), "{name} is not in docs/clients.md");
            }
        }
    }
    assert!(found > 20, "only {found} transcripts");
}

/// The rows of the tables that have a profile: client, … profile, … names in backquotes.
fn rows() -> Vec<Row> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients.md");
    let text = fs::read_to_string(file).expect("docs/clients.md");
    let mut columns = Columns::default();
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let cell = |index: usize| cells.get(index).copied().unwrap_or_default();
        if cell(0) == "client" || cell(0) == "setting" {
            columns = Columns::of(&cells);
        } else if columns.profile > 0 {
            rows.push(Row {
                client: cell(0).to_owned(),
                profile: cell(columns.profile).trim_matches('`').to_owned(),
                shown_by: quoted(cell(columns.shown_by)),
            });
        }
    }
    rows
}

/// Where things stand in a table; at 0 is the client.
#[derive(Default)]
struct Columns {
    profile: usize,
    shown_by: usize,
}

impl Columns {
    fn of(titles: &[&str]) -> Self {
        let at = |names: &[&str]| titles.iter().position(|title| names.contains(title));
        Self {
            profile: at(&["profile"]).unwrap_or_default(),
            shown_by: at(&["tests", "transcripts"]).unwrap_or_default(),
        }
    }
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn transcripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}
