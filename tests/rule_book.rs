//! The map in `tests/README.md` from rules to tests names only what is there.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_test_the_map_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("tests/README.md")).unwrap_or_default();
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        sources.extend(rust_files(&root.join(folder)).iter().map(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            format!("{text}\n")
        }));
    }
    let rules = map.split_once("## The rule book").unwrap_or_default().1;
    let rows = rules.lines().filter(|line| line.starts_with("| "));
    let (mut named, mut missing) = (0, Vec::new());
    for name in rows.flat_map(|row| row.split('`').skip(1).step_by(2)) {
        named += 1;
        let there = if name.contains('/') {
            let file = root.join("tests/transcripts").join(name);
            file.with_added_extension("txt").is_file()
        } else {
            sources.contains(&format!("fn {name}("))
        };
        if !there {
            missing.push(name);
        }
    }
    assert!(named > 150, "the map names only {named} tests");
    assert!(missing.is_empty(), "not there: {missing:?}");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
