//! The fixed workload whose instructions are counted: logins and relayed bytes in memory, the same each time.
//!
//! What is counted is mailsluice's own code before login and in the watch, and nothing else: no sockets, no TLS, no clock.
//! The whole relay can join as one more [`Part`] once it is deterministic enough: a `relay::Service` on a current-thread
//! runtime, client and upstream as tasks of the same process over loopback, and TLS with fixed session keys (a ticket
//! resumed from one handshake made before the first round). The number of reads then still depends on how the kernel cuts
//! the stream, so its margin must be wider than the one of these.

use mailsluice::protocol::{Leg, Protocol};

use crate::in_memory::{self, ScriptError};
use crate::inputs;

/// One thing that is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Its key in the baseline.
    pub(crate) name: &'static str,
    /// What one unit is.
    pub(crate) unit: &'static str,
    /// Units in one round.
    pub(crate) units: u64,
    /// Rounds of the short run; the long one has [`Part::LONGER`] times as many.
    pub(crate) rounds: u64,
    work: Work,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Login(Protocol),
    Relay(Protocol, Leg, fn() -> Vec<u8>),
}

impl Part {
    /// The long run's rounds over the short one's. Their difference has no start-up in it.
    pub(crate) const LONGER: u64 = 3;

    /// All parts, in the order in which they are printed.
    pub(crate) const ALL: [Self; 9] = [
        Self::login("imap-login", Protocol::Imap),
        Self::login("pop3-login", Protocol::Pop3),
        Self::login("smtp-login", Protocol::Smtp),
        Self::relay("imap-fetch", Protocol::Imap, Leg::Upstream, || {
            inputs::fetch(MIB)
        }),
        Self::relay("imap-append", Protocol::Imap, Leg::Client, || {
            inputs::append(MIB)
        }),
        Self::relay("pop3-retr", Protocol::Pop3, Leg::Upstream, || {
            inputs::retr(MIB)
        }),
        Self::relay("smtp-data", Protocol::Smtp, Leg::Client, || {
            inputs::stuffed(MIB)
        }),
        Self::responses("imap-small-fetch", || {
            inputs::small_fetches(RESPONSES, 1024)
        }),
        Self::responses("imap-flags", || inputs::flags(RESPONSES)),
    ];

    /// The part of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name == name)
    }

    /// Does the work `rounds` times.
    pub(crate) fn run(&self, rounds: u64) -> Result<(), ScriptError> {
        match self.work {
            Work::Login(protocol) => {
                for _ in 0..rounds {
                    std::hint::black_box(in_memory::log_in(protocol)?);
                }
            }
            Work::Relay(protocol, leg, script) => {
                let script = script();
                let mut watch = in_memory::log_in(protocol)?;
                for _ in 0..rounds {
                    let passed = in_memory::exchange(&mut *watch, (protocol, leg), &script)?;
                    std::hint::black_box(passed);
                }
            }
        }
        Ok(())
    }

    const fn login(name: &'static str, protocol: Protocol) -> Self {
        Self {
            name,
            unit: "login",
            units: 1,
            rounds: 100,
            work: Work::Login(protocol),
        }
    }

    /// One message, with the command or the envelope before it.
    const fn relay(
        name: &'static str,
        protocol: Protocol,
        leg: Leg,
        script: fn() -> Vec<u8>,
    ) -> Self {
        Self {
            name,
            unit: "MiB",
            units: 1,
            rounds: 4,
            work: Work::Relay(protocol, leg, script),
        }
    }

    const fn responses(name: &'static str, script: fn() -> Vec<u8>) -> Self {
        Self {
            name,
            unit: "response",
            units: RESPONSES as u64,
            rounds: 2,
            work: Work::Relay(Protocol::Imap, Leg::Upstream, script),
        }
    }
}

const MIB: usize = 1024 * 1024;

/// So many that the command before them does not count.
const RESPONSES: usize = 2_000;

#[cfg(test)]
mod tests;
