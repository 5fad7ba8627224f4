//! What a relay does with bytes after login, without sockets: octets a second through the watch of each protocol, in
//! windows of 64 KiB.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

#[path = "../src/in_memory.rs"]
mod in_memory;
#[path = "../src/inputs.rs"]
mod inputs;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mailsluice::protocol::{Leg, Protocol};

fn watch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("watch");
    for (name, protocol, leg, script) in [
        (
            "imap-fetch-1m",
            Protocol::Imap,
            Leg::Upstream,
            inputs::fetch(MIB),
        ),
        (
            "imap-fetch-1k",
            Protocol::Imap,
            Leg::Upstream,
            inputs::small_fetches(1_000, 1024),
        ),
        (
            "imap-flags",
            Protocol::Imap,
            Leg::Upstream,
            inputs::flags(1_000),
        ),
        (
            "imap-append-1m",
            Protocol::Imap,
            Leg::Client,
            inputs::append(MIB),
        ),
        (
            "pop3-retr-1m",
            Protocol::Pop3,
            Leg::Upstream,
            inputs::retr(MIB),
        ),
        (
            "smtp-data-1m",
            Protocol::Smtp,
            Leg::Client,
            inputs::stuffed(MIB),
        ),
    ] {
        group.throughput(Throughput::Bytes(script.len() as u64));
        let mut watch = in_memory::log_in(protocol).expect("a login");
        group.bench_function(name, |bencher| {
            bencher.iter(|| in_memory::exchange(&mut *watch, (protocol, leg), &script));
        });
    }
    group.finish();
}

fn login(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("login");
    for protocol in Protocol::ALL {
        group.bench_function(protocol.name(), |bencher| {
            bencher.iter(|| in_memory::log_in(protocol));
        });
    }
    group.finish();
}

const MIB: usize = 1024 * 1024;

criterion_group!(benches, watch, login);
criterion_main!(benches);
