//! What processes use, read from `/proc`: CPU time and memory of whole trees.
//!
//! CPU time: `schedstat` counts nanoseconds, but only of threads that still live; `stat` counts also those that ended,
//! and children that were waited for, in ticks. The larger of both is right to a tick where threads end, and exact where
//! none do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Processes and everything they started that still runs.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    roots: Vec<u32>,
}

/// Resident memory of a tree, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What belongs to it, where pages that several of its processes share count once.
    pub(crate) kib: u64,
    /// How many processes there are.
    pub(crate) processes: u64,
    /// How many threads there are.
    pub(crate) threads: u64,
}

impl Tree {
    /// The trees below these processes.
    pub(crate) fn new(roots: Vec<u32>) -> Self {
        Self { roots }
    }

    /// Whether there is anything to account.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The processes that live now.
    pub(crate) fn pids(&self) -> Vec<u32> {
        below(&self.roots, &parents())
    }

    /// CPU time since they were started.
    pub(crate) fn cpu(&self) -> Duration {
        self.pids().into_iter().map(cpu_of).sum()
    }

    /// Memory now.
    pub(crate) fn memory(&self) -> Memory {
        let pids = self.pids();
        let shares = pids.len() > 1;
        Memory {
            kib: pids.iter().map(|pid| resident(*pid, shares)).sum(),
            processes: pids.len() as u64,
            threads: pids.iter().map(|pid| threads(*pid).count() as u64).sum(),
        }
    }
}

/// Asks `roots` to end, and after `grace` makes an end of everything of `all` that is still there.
pub(crate) fn end(roots: &[u32], all: &[u32], grace: Duration) {
    send(roots, Signal::TERM);
    let deadline = Instant::now() + grace;
    while all.iter().any(|pid| runs(*pid)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let left: Vec<u32> = all.iter().copied().filter(|pid| runs(*pid)).collect();
    send(&left, Signal::KILL);
}

fn send(pids: &[u32], signal: Signal) {
    for pid in pids {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Whether it is there and no zombie.
fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

fn below(roots: &[u32], parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found: BTreeSet<u32> = roots
        .iter()
        .copied()
        .filter(|root| parents.contains_key(root))
        .collect();
    loop {
        let more: Vec<u32> = parents
            .iter()
            .filter(|(pid, parent)| found.contains(parent) && !found.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found.into_iter().collect();
        }
        found.extend(more);
    }
}

/// Every process and its parent.
fn parents() -> BTreeMap<u32, u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect()
}

fn cpu_of(pid: u32) -> Duration {
    let Some(stat) = stat(pid) else {
        return Duration::ZERO;
    };
    let living = threads(pid)
        .filter_map(|path| fs::read_to_string(path.join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum::<Duration>();
    living.max(ticks(stat.own)) + ticks(stat.children)
}

fn threads(pid: u32) -> impl Iterator<Item = std::path::PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

/// What we need of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    /// Ticks of all threads, also those that ended.
    own: u64,
    /// Ticks of children that ended and were waited for.
    children: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc_pid_stat(5). The name, in parentheses, may hold anything, parentheses too.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        children: number(13)? + number(14)?,
    })
}

fn ticks(count: u64) -> Duration {
    Duration::from_nanos(count * 1_000_000_000 / rustix::param::clock_ticks_per_second())
}

/// KiB: `Pss` where pages are shared within the tree, else `Rss`.
fn resident(pid: u32, shares: bool) -> u64 {
    let key = if shares { "Pss:" } else { "Rss:" };
    field(
        &Path::new("/proc")
            .join(pid.to_string())
            .join("smaps_rollup"),
        key,
    )
    .or_else(|| {
        field(
            &Path::new("/proc").join(pid.to_string()).join("status"),
            "VmRSS:",
        )
    })
    .unwrap_or_default()
}

fn field(path: &Path, key: &str) -> Option<u64> {
    parse_field(&fs::read_to_string(path).ok()?, key)
}

fn parse_field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_mislead() {
        let text = "12 (a) b (c)) S 7 12 12 0 -1 4194560 90 80 0 0 11 22 33 44 20 0 1 0 500 1 2 3";
        let expected = Stat {
            state: 'S',
            parent: 7,
            own: 33,
            children: 77,
        };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("12 (cut"), None);
    }

    #[test]
    fn fields_are_found_by_their_name() {
        let text =
            "55c8-7ffe ---p 0 0 0 [rollup]\nRss:   1708 kB\nPss:   240 kB\nPss_Dirty: 9 kB\n";
        assert_eq!(parse_field(text, "Rss:"), Some(1708));
        assert_eq!(parse_field(text, "Pss:"), Some(240));
        assert_eq!(parse_field(text, "Swap:"), None);
    }

    #[test]
    fn a_tree_is_its_roots_and_all_below() {
        let parents = BTreeMap::from([(1, 0), (5, 1), (6, 5), (7, 6), (8, 1)]);
        assert_eq!(below(&[5], &parents), [5, 6, 7]);
        assert_eq!(below(&[6, 8], &parents), [6, 7, 8]);
        assert_eq!(below(&[99], &parents), [0u32; 0]);
    }

    #[test]
    fn work_shows_in_the_cpu_time_of_the_process_that_does_it() {
        let mine = Tree::new(vec![std::process::id()]);
        let before = mine.cpu();
        let started = Instant::now();
        // Threads end before the second look: their time must not be lost.
        let busy = std::thread::spawn(move || {
            let mut sum = 0u64;
            while started.elapsed() < Duration::from_millis(300) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
        });
        busy.join().unwrap();
        assert!(
            mine.cpu() > before + Duration::from_millis(20),
            "{before:?} {:?}",
            mine.cpu()
        );
        assert!(mine.memory().kib > 500);
        assert!(mine.memory().threads >= 1);
    }

    #[test]
    fn a_child_of_a_child_is_found_and_ended() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = Vec::new();
        let mut stdout = child.stdout.take().unwrap();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let grandchild: u32 = String::from_utf8(line).unwrap().parse().unwrap();
        let tree = Tree::new(vec![child.id()]);
        let all = tree.pids();
        assert!(all.contains(&grandchild), "{all:?}");
        end(&[child.id()], &all, Duration::ZERO);
        child.wait().unwrap();
        assert!(!tree.pids().contains(&child.id()));
    }
}
