//! Facts about the machine, for the results; and its limits.

use std::fs;
use std::thread;

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
    }
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
    fn descriptors_are_as_many_as_allowed() {
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(raise_descriptors(), most);
    }
}
