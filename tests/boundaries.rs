//! The import directions of the house, read from its sources.
//!
//! A folder may name only the folders below it; `proto/` touches no socket, no clock, no task and no log; only `cli/`
//! prints. What a folder may stand on is one row of [`HOUSE`], so a change of direction is a visible change here.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot read its sources has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A folder or file directly under `src/`, and the others it may name.
struct Room {
    name: &'static str,
    stands_on: &'static [&'static [&'static str]],
}

/// From the ground up. `lib` and `main` wire and may name everything.
const HOUSE: &[Room] = &[
    room("secret", &[]),
    room("address", &[]),
    room("causes", &[]),
    room("protocol", &[]),
    room("peer", &[&["address"]]),
    room("profile", &[&["protocol"]]),
    room("disk", &[&["secret"]]),
    room("proto", &[LEAVES]),
    room("config", &[LEAVES]),
    // Of these three, only `auth` knows another: it keeps local passwords in the store. Net and auth say in proto's
    // words (`Refusal`) why a login fails.
    room("net", &[LEAVES, DISK, MEANING]),
    room("store", &[LEAVES, DISK, &["config"]]),
    room("auth", &[LEAVES, MEANING, &["store"]]),
    room("relay", &[LEAVES, MEANING, GROUND]),
    room("bridge", &[LEAVES, MEANING, GROUND]),
    room("web", &[LEAVES, MEANING, GROUND, SESSIONS]),
    room("cli", &[LEAVES, DISK, MEANING, GROUND, SESSIONS, &["web"]]),
];

const LEAVES: &[&str] = &["secret", "address", "causes", "protocol", "peer", "profile"];
/// How secrets lie on the disk.
const DISK: &[&str] = &["disk"];
const MEANING: &[&str] = &["proto", "config"];
const GROUND: &[&str] = &["net", "auth", "store"];
const SESSIONS: &[&str] = &["relay", "bridge"];

/// Folders that know each other, if at all, only by what `mod.rs` gives out.
const CLOSED: &[&str] = GROUND;

/// What sans-IO code cannot name. `std::time` is a clock; `Duration` alone would be harmless, and is not needed there.
const NOT_IN_PROTO: &[&str] = &[
    "tokio",
    "tokio_rustls",
    "tokio_util",
    "futures_util",
    "std::io",
    "std::fs",
    "std::net",
    "std::thread",
    "std::time",
    "std::process",
    "std::env",
    "time::",
    "tracing",
    "rustls",
    "socket2",
    "sqlx",
    "rand",
];

const PRINTS: &[&str] = &[
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "dbg!",
    "stdout()",
    "stderr()",
];

const fn room(name: &'static str, stands_on: &'static [&'static [&'static str]]) -> Room {
    Room { name, stands_on }
}

#[test]
fn imports_run_one_way() {
    let house = sources();
    let breaches: Vec<String> = house.iter().flat_map(direction_breaches).collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_folder_has_its_row() {
    for source in sources() {
        let known = source.is_wiring() || HOUSE.iter().any(|room| room.name == source.room);
        assert!(
            known,
            "{}: give `{}` a row in HOUSE",
            source.path.display(),
            source.room
        );
    }
}

#[test]
fn closed_folders_are_entered_by_the_door() {
    let breaches: Vec<String> = sources().iter().flat_map(door_breaches).collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn proto_has_no_io_clock_task_or_log() {
    let proto: Vec<Source> = sources()
        .into_iter()
        .filter(|source| source.room == "proto")
        .collect();
    assert!(proto.len() > 10, "proto/ was not found");
    let breaches: Vec<String> = proto
        .iter()
        .flat_map(|source| mentions(source, NOT_IN_PROTO))
        .collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn only_cli_prints() {
    let breaches: Vec<String> = sources()
        .iter()
        .filter(|source| source.room != "cli" && source.room != "main")
        .flat_map(|source| mentions(source, PRINTS))
        .collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn each_file_says_what_it_is() {
    for source in sources() {
        assert!(
            source.text.starts_with("//! "),
            "{} has no header",
            source.path.display()
        );
    }
}

#[test]
fn each_rule_can_fail() {
    let upward = Source::sample("proto", "use crate::relay::Session;");
    assert_eq!(direction_breaches(&upward).len(), 1);
    let in_a_list = Source::sample(
        "proto",
        "use crate::{\n    net::dial,\n    secret::Secret,\n};",
    );
    assert_eq!(direction_breaches(&in_a_list).len(), 1);
    let nested_list = Source::sample("net", "use crate::{config::{runtime::{A, B}, file}, auth};");
    assert_eq!(direction_breaches(&nested_list).len(), 1);
    let in_an_expression = Source::sample("store", "fn f() { crate::auth::check() }");
    assert_eq!(direction_breaches(&in_an_expression).len(), 1);
    let by_super = Source::sample("store", "use super::super::cli::run;");
    assert_eq!(direction_breaches(&by_super).len(), 1);
    let inside = Source::sample("auth", "use crate::store::schema::Row;");
    assert_eq!(door_breaches(&inside).len(), 1);
    let inside_list = Source::sample("auth", "use crate::store::{Store, schema::Row};");
    assert_eq!(door_breaches(&inside_list).len(), 1);
    assert_eq!(
        mentions(&Source::sample("proto", "use tokio::time;"), NOT_IN_PROTO).len(),
        1
    );
    assert_eq!(
        mentions(&Source::sample("relay", "println!(\"x\");"), PRINTS).len(),
        1
    );
}

#[test]
fn no_rule_cries_wolf() {
    let fine = Source::sample(
        "relay",
        "//! crate::cli and tokio in a comment\nuse crate::net::Dialer; // crate::web\nuse crate::proto::imap::codec::Tag;\n\
         /* crate::cli */ const S: &str = \"crate::cli println!\";\n#[cfg(test)]\nmod tests { use crate::cli; }",
    );
    assert!(direction_breaches(&fine).is_empty());
    assert!(door_breaches(&fine).is_empty());
    assert!(mentions(&fine, PRINTS).is_empty());
    let raw = Source::sample("proto", "const S: &str = r#\"a \" crate::cli\"#;");
    assert!(direction_breaches(&raw).is_empty());
    assert!(
        mentions(
            &Source::sample("proto", "let tokio_like = lifetime::x; runtime::y"),
            NOT_IN_PROTO
        )
        .is_empty()
    );
}

/// One file under `src/`.
struct Source {
    path: PathBuf,
    /// The folder directly under `src/`, or the stem of a file there.
    room: String,
    text: String,
    /// The production code: without comments, string contents and the tests at the end.
    code: String,
}

impl Source {
    fn new(path: PathBuf, room: String, text: String) -> Self {
        let code = production_code(&text);
        Self {
            path,
            room,
            text,
            code,
        }
    }

    fn sample(room: &str, text: &str) -> Self {
        Self::new(PathBuf::from("sample.rs"), room.to_owned(), text.to_owned())
    }

    fn is_wiring(&self) -> bool {
        self.room == "lib" || self.room == "main"
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(
        found.len() > 20,
        "only {} files under {}",
        found.len(),
        root.display()
    );
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let first = path
                .strip_prefix(root)
                .expect("under src")
                .components()
                .next()
                .expect("a name");
            let room = Path::new(first.as_os_str())
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            found.push(Source::new(path, room, text));
        }
    }
}

/// Rooms named that this room does not stand on.
fn direction_breaches(source: &Source) -> Vec<String> {
    let Some(room) = HOUSE.iter().find(|room| room.name == source.room) else {
        return Vec::new();
    };
    crate_paths(&source.code)
        .into_iter()
        .filter_map(|path| path.first().cloned())
        .filter(|named| HOUSE.iter().any(|other| other.name == named))
        .filter(|named| named != room.name && !room.stands_on.concat().contains(&named.as_str()))
        .map(|named| {
            format!(
                "{}: `{}` may not know `{named}`",
                source.path.display(),
                room.name
            )
        })
        .collect()
}

/// Paths that go past the `mod.rs` of a closed folder. A third segment in lower case is a module; `config` and `proto`
/// are made of modules and stay open.
fn door_breaches(source: &Source) -> Vec<String> {
    crate_paths(&source.code)
        .into_iter()
        .filter(|path| path.len() > 2)
        .filter(|path| {
            let (from, into) = (source.room.as_str(), path[0].as_str());
            from != into && CLOSED.contains(&from) && CLOSED.contains(&into)
        })
        .filter(|path| path[1].starts_with(|first: char| first.is_ascii_lowercase()))
        .map(|path| {
            format!(
                "{}: `{}` reaches inside `{}`",
                source.path.display(),
                path.join("::"),
                path[0]
            )
        })
        .collect()
}

/// Words of `list` in the code, at a word's start.
fn mentions(source: &Source, list: &[&str]) -> Vec<String> {
    list.iter()
        .filter(|word| {
            source.code.match_indices(**word).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                let after = source.code[at + word.len()..].chars().next();
                let goes_on = word.ends_with(is_word) && after.is_some_and(is_word);
                !before.is_some_and(is_word) && !goes_on
            })
        })
        .map(|word| format!("{}: names `{word}`", source.path.display()))
        .collect()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Every path below the crate's root, lists spelled out: `crate::a::{b, c::D}` gives `a::b` and `a::c::D`.
/// `super::super::x` from a folder's file is such a path as well.
fn crate_paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for prefix in ["crate::", "super::super::", "mailsluice::"] {
        for (at, _) in code.match_indices(prefix) {
            if !code[..at]
                .chars()
                .next_back()
                .is_some_and(|letter| is_word(letter) || letter == ':')
            {
                let mut rest = &code[at + prefix.len()..];
                spell_out(&mut rest, &[], &mut paths);
            }
        }
    }
    paths
}

/// Reads one path of a use tree from `rest`; what follows it stays.
fn spell_out(rest: &mut &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    loop {
        *rest = rest.trim_start();
        if let Some(list) = rest.strip_prefix('{') {
            *rest = list;
            while !rest.trim_start().starts_with('}') && !rest.trim_start().is_empty() {
                spell_out(rest, &path, paths);
                *rest = rest.trim_start().trim_start_matches(',');
            }
            *rest = rest.trim_start().trim_start_matches('}');
            return;
        }
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            // `*`, or something that is no path: skip one character so that a list always comes to its end.
            let skip = rest.chars().next().map_or(0, char::len_utf8);
            *rest = &rest[skip..];
            path.push("*".to_owned());
            break;
        }
        path.push(word.to_owned());
        *rest = after;
        match rest.strip_prefix("::") {
            Some(deeper) => *rest = deeper,
            None => break,
        }
    }
    // `as` names are no paths.
    if let Some(renamed) = rest.trim_start().strip_prefix("as ") {
        let renamed = renamed.trim_start();
        *rest = &renamed[renamed
            .find(|letter| !is_word(letter))
            .unwrap_or(renamed.len())..];
    }
    paths.push(path);
}

/// The text without comments and string contents, up to the unit tests that end a file.
fn production_code(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            code.push_str("\"\"");
            rest = raw.find("\"#").map_or("", |end| &raw[end + 2..]);
        } else if first == '"' {
            code.push_str("\"\"");
            rest = after_string(&rest[1..]);
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest = &rest[rest.find('"').map_or(1, |at| at + 2)..];
        } else if rest.starts_with("'\\\"'") {
            rest = &rest[4..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// What follows the closing quote of an ordinary string.
fn after_string(inside: &str) -> &str {
    let mut escaped = false;
    for (at, letter) in inside.char_indices() {
        match letter {
            '"' if !escaped => return &inside[at + 1..],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    ""
}
