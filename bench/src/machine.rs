//! Facts about the machine, for the results; and its limits.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::results::Machine;

/// What this machine is.
pub(crate) fn facts() -> Machine {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    Machine {
        cpu: value("/proc/cpuinfo", "model name"),
        cores: thread::available_parallelism().map_or(1, usize::from),
        memory_mib: value("/proc/meminfo", "MemTotal")
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap_or_default()
            / 1024,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        date: now.format(&Rfc3339).unwrap_or_default(),
        busy_percent: busy_percent(Duration::from_millis(500)),
    }
}

/// How much of all processors is used, by anybody, while this thread waits.
fn busy_percent(pause: Duration) -> u64 {
    let before = processor_ticks();
    thread::sleep(pause);
    let after = processor_ticks();
    let all = after.0.saturating_sub(before.0).max(1);
    100 * (after.1.saturating_sub(before.1)) / all
}

/// All ticks since the start of the machine, and those with work (proc_stat(5)).
fn processor_ticks() -> (u64, u64) {
    parse_ticks(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

fn parse_ticks(text: &str) -> (u64, u64) {
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let all: u64 = ticks.iter().sum();
    // The fourth and the fifth are idle, and waiting for a disk.
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    (all, all - idle)
}

/// Allows this process, and what it starts, as many descriptors as it may have. Returns how many these are.
pub(crate) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Behind `key` and a colon, the first time.
fn value(path: &str, key: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_there() {
        let facts = facts();
        assert!(!facts.kernel.is_empty() && facts.memory_mib > 0 && facts.cores > 0);
        assert!(facts.date.ends_with('Z'), "{}", facts.date);
    }

    #[test]
    fn idle_ticks_are_told_from_work() {
        let text = "cpu  10 1 20 300 4 5 6 7 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse_ticks(text), (353, 49));
        assert_eq!(parse_ticks(""), (0, 0));
    }

    #[test]
    fn descriptors_are_as_many_as_allowed() {
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(raise_descriptors(), most);
    }
}
