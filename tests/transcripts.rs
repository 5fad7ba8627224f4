//! Every file of `tests/transcripts/` replayed against the dialogues in memory: whole, byte by byte, in uneven pieces, and
//! with a client that is one turn ahead; and on the same dialogues clients that say anything at all. `TRANSCRIPT=part-of-a-name` narrows it to some files.

use std::fs;
use std::path::{Path, PathBuf};

use mailsluice::protocol::Protocol;

use self::replay::{Mode, replay};
use self::transcript::{Malformed, Transcript};

#[path = "support/injection.rs"]
mod injection;
#[path = "support/replay.rs"]
mod replay;
#[path = "support/session.rs"]
mod session;
#[path = "support/transcript.rs"]
mod transcript;

#[test]
fn imap() {
    replay_folder(Protocol::Imap);
}

#[test]
fn pop3() {
    replay_folder(Protocol::Pop3);
}

#[test]
fn smtp() {
    replay_folder(Protocol::Smtp);
}

#[test]
fn every_folder_is_a_protocol_and_none_is_empty() {
    let folders: Vec<PathBuf> = entries(&root())
        .into_iter()
        .filter(|path| path.is_dir())
        .collect();
    assert!(!folders.is_empty(), "no folder below {}", root().display());
    for folder in folders {
        let name = folder.file_name().unwrap_or_default();
        assert!(
            Protocol::ALL.iter().any(|protocol| name == protocol.name()),
            "{} is no protocol",
            folder.display()
        );
        let files = entries(&folder);
        assert!(!files.is_empty(), "{} is empty", folder.display());
        for file in files {
            let text = file.extension().is_some_and(|extension| extension == "txt");
            assert!(text, "{} is no transcript", file.display());
        }
    }
}

/// The harness itself must see a wrong answer, a missing one, one that comes too early and one too many.
#[test]
fn a_session_that_differs_is_found_at_its_line() {
    let right = "A: +OK sluice.test ready\nC: NOOP\nC: NOOP\nA: +OK\nA: +OK\nC: QUIT\nA: +OK Bye\n! close quit\n";
    assert_eq!(difference(right), None);
    for (wrong, line) in [
        (right.replace("+OK Bye", "+OK so long"), 7),
        (right.replace("C: QUIT\n", "C: QUIT\nC: NOOP\nA: +OK\n"), 8),
        (right.replace("C: NOOP\nC: NOOP\n", "C: NOOP\n"), 4),
        (
            right.replace("C: NOOP\nC: NOOP\n", "C: NOOP\nC: NOOP\nC: NOOP\n"),
            2,
        ),
        (right.replace("close quit", "close eof"), 8),
        (right.replace("! close quit\n", ""), 6),
        (right.replace("C: QUIT", "! client tls"), 6),
    ] {
        let found = difference(&wrong).unwrap_or_default();
        assert!(
            found.starts_with(&format!("test:{line} ")),
            "{wrong}\n{found}"
        );
    }
}

fn difference(text: &str) -> Option<String> {
    let replayed = parse(Path::new("test"), Protocol::Pop3, text)
        .and_then(|transcript| replay(&transcript, Mode::Whole).map_err(|it| it.to_string()));
    replayed.err()
}

/// Every protocol has a folder, and every folder has files.
fn replay_folder(protocol: Protocol) {
    let folder = root().join(protocol.name());
    let wanted = std::env::var("TRANSCRIPT").unwrap_or_default();
    let files = entries(&folder);
    assert!(!files.is_empty(), "nothing in {}", folder.display());
    let mut differences = Vec::new();
    for file in files {
        if !file.display().to_string().contains(&wanted) {
            continue;
        }
        let shown = file
            .strip_prefix(env!("CARGO_MANIFEST_DIR"))
            .unwrap_or(&file);
        let text = fs::read_to_string(&file).unwrap_or_default();
        match parse(shown, protocol, &text) {
            Ok(transcript) => differences.extend(replay_in_all_modes(&transcript)),
            Err(malformed) => differences.push(malformed),
        }
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

fn replay_in_all_modes(transcript: &Transcript) -> Vec<String> {
    let modes = Mode::ALL.into_iter();
    modes
        .filter(|mode| *mode == Mode::Whole || !transcript.settings.whole_only)
        .filter_map(|mode| replay(transcript, mode).err())
        .map(|difference| difference.to_string())
        .collect()
}

fn parse(file: &Path, protocol: Protocol, text: &str) -> Result<Transcript, String> {
    Transcript::parse(file, protocol, text)
        .map_err(|Malformed { line, what }| format!("{}:{line}: {what}", file.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// What is in a folder, sorted, without the README.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name != "README.md"))
        .collect();
    entries.sort();
    entries
}
