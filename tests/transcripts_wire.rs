//! Every file of `tests/transcripts/` over real sockets and TLS, through the real service. `TRANSCRIPT=part-of-a-name`
//! narrows it to some files.
//!
//! What no socket can bring about is skipped under a name; how many that are is asserted.

#![expect(
    clippy::expect_used,
    reason = "test code: what is not as expected has to stop the case"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, stream};
use mailsluice::proto::dialogue::Farewell;
use mailsluice::protocol::{Leg, Protocol};

use self::clock::with_a_still_clock;
use self::script::Mode;
use self::stage::House;
use self::transcript::{Credential, Input, Transcript};
use self::wire::play;

#[path = "support/clock.rs"]
mod clock;
#[path = "support/edges.rs"]
mod edges;
#[path = "support/ends.rs"]
mod ends;
#[path = "support/offers.rs"]
mod offers;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/script.rs"]
mod script;
#[path = "support/stage.rs"]
mod stage;
#[path = "support/transcript.rs"]
mod transcript;
#[path = "support/warm.rs"]
mod warm;
#[path = "support/wire.rs"]
mod wire;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imap() {
    replay(Protocol::Imap, 135).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pop3() {
    replay(Protocol::Pop3, 63).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smtp() {
    replay(Protocol::Smtp, 113).await;
}

/// Those in which time passes: a clock that stands still is moved on.
#[test]
fn deadlines_and_idle_sessions() {
    let mut played = 0;
    let mut differences = Vec::new();
    for protocol in Protocol::ALL {
        for transcript in transcripts(protocol) {
            if verdict(&transcript) == Verdict::WithAClock {
                played += 1;
                let played = with_a_still_clock(async |house| {
                    let stage = house.stage(&transcript).await.expect("a stage");
                    play(&transcript, Mode::Whole, stage).await
                });
                match played {
                    Some(outcome) => differences.extend(outcome.err().map(|it| it.to_string())),
                    None => differences.push(format!("{}: hangs", transcript.file)),
                }
            }
        }
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
    assert!(narrowed() || played >= 8, "only {played} were replayed");
}

/// The harness itself must see a wrong answer, a connection too many, and an end for another reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_differs_is_found_at_its_line() {
    let house = House::build().await;
    let right = "A: +OK sluice.test ready\nC: NOOP\nA: +OK\nC: QUIT\nA: +OK Bye\n! close quit\n";
    for (text, at) in [
        (right.to_owned(), None),
        (right.replace("+OK Bye", "+OK So"), Some("test:5")),
        (
            right.replace("close quit", "close too-long"),
            Some("test:6"),
        ),
        (right.replace("close quit", "breach client"), Some("test:6")),
        (
            right.replace("C: QUIT\n", "C: QUIT\nC: NOOP\nA: +OK\n"),
            Some("test:6"),
        ),
    ] {
        let parsed = Transcript::parse(Path::new("test"), Protocol::Pop3, &text).ok();
        let transcript = parsed.expect("a transcript");
        let stage = house.stage(&transcript).await.expect("a stage");
        let played = play(&transcript, Mode::Whole, stage).await;
        let found = played.err().map(|difference| difference.to_string());
        let place = found.as_deref().and_then(|found| found.split(' ').next());
        assert_eq!(place, at, "{text}\n{found:?}");
    }
}

async fn replay(protocol: Protocol, at_least: usize) {
    let house = House::build().await;
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    let mut plays = Vec::new();
    let all = transcripts(protocol);
    for transcript in &all {
        match verdict(transcript) {
            Verdict::Plain => {
                plays.push((transcript, Mode::Whole));
                if !transcript.settings.whole_only {
                    plays.push((transcript, Mode::Pieces));
                }
            }
            Verdict::WithAClock => {}
            Verdict::Skipped(reason) => *skipped.entry(reason).or_default() += 1,
        }
    }
    let count = plays.iter().filter(|(_, it)| *it == Mode::Whole).count();
    let outcomes = stream::iter(plays).map(|(transcript, mode)| {
        let house = &house;
        async move {
            let stage = house.stage(transcript).await.expect("a stage");
            play(transcript, mode, stage).await
        }
    });
    let outcomes: Vec<_> = outcomes.buffer_unordered(AT_ONCE).collect().await;
    let differences: Vec<String> = outcomes
        .into_iter()
        .filter_map(|outcome| Some(outcome.err()?.to_string()))
        .collect();
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
    assert!(
        narrowed() || count >= at_least,
        "only {count} were replayed; skipped: {skipped:?}"
    );
}

/// Whether and how a file is replayed.
#[derive(PartialEq)]
enum Verdict {
    Plain,
    WithAClock,
    Skipped(&'static str),
}

fn verdict(transcript: &Transcript) -> Verdict {
    if transcript.settings.max_message_size > 0 {
        return Verdict::Skipped("the service has no setting for SIZE");
    }
    if transcript.settings.credential == Credential::Bearer {
        return Verdict::Skipped("an access token needs an issuer");
    }
    if transcript.settings.recoverable {
        return Verdict::Skipped("a challenge is random");
    }
    if !transcript.settings.promised.is_empty() || transcript.settings.assumed.is_some() {
        return Verdict::Skipped("no earlier login was there");
    }
    let inputs = transcript.turns.iter().flat_map(|turn| &turn.inputs);
    let mut upstream_spoke = false;
    let mut verdict = Verdict::Plain;
    for input in inputs {
        match &input.what {
            Input::Refuse(_) => return Verdict::Skipped("a refusal by a word"),
            Input::Deadline if upstream_spoke => {
                return Verdict::Skipped("the time of a decision is not the client's");
            }
            Input::Deadline | Input::Beat(_) | Input::Farewell(Farewell::Idle) => {
                verdict = Verdict::WithAClock
            }
            Input::Bytes(Leg::Upstream, _) => upstream_spoke = true,
            _ => {}
        }
    }
    verdict
}

fn transcripts(protocol: Protocol) -> Vec<Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(protocol.name());
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("a folder for each protocol")
        .map(|entry| entry.expect("an entry").path())
        .filter(|file| file.display().to_string().contains(&wanted()))
        .collect();
    files.sort();
    let parsed = files.iter().map(|file| {
        let text = fs::read_to_string(file).expect("a text");
        let shown = file
            .strip_prefix(env!("CARGO_MANIFEST_DIR"))
            .unwrap_or(file);
        Transcript::parse(shown, protocol, &text)
            .map_err(|malformed| format!("{}: {}", malformed.line, malformed.what))
            .expect("a transcript")
    });
    parsed.collect()
}

fn wanted() -> String {
    std::env::var("TRANSCRIPT").unwrap_or_default()
}

fn narrowed() -> bool {
    !wanted().is_empty()
}

/// Sessions at once. Most wait for the second that a wrong password takes.
const AT_ONCE: usize = 48;
