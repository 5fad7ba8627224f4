//! Framing and parsing of single commands and responses, as they come before login.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mailsluice::proto::imap::codec::command::command;
use mailsluice::proto::imap::codec::response::response;
use mailsluice::proto::imap::frame::{Frame, Frames};
use mailsluice::proto::{pop3, smtp};

fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for (name, bytes) in [
        (
            "imap-line",
            b"a1 LOGIN \"anna@example.org\" wonderland\r\n".as_slice(),
        ),
        (
            "imap-literals",
            b"a1 LOGIN {16+}\r\nanna@example.org {10+}\r\nwonderland\r\n",
        ),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut frames = Frames::default();
                frames.push(black_box(bytes));
                assert!(matches!(frames.next_frame(), Some(Frame::Command(_))));
            });
        });
    }
    group.bench_function("smtp-reply", |bencher| {
        bencher.iter(|| assert!(matches!(smtp::frame::reply(black_box(EHLO)), Ok(Some(_)))));
    });
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.bench_function("imap-login", |bencher| {
        let frame = b"a1 LOGIN \"anna@example.org\" wonderland";
        bencher.iter(|| assert!(command(black_box(frame)).is_ok()));
    });
    group.bench_function("imap-response", |bencher| {
        let line = b"m1 OK [CAPABILITY IMAP4rev1 LITERAL+ ID ENABLE IDLE UIDPLUS MOVE] Logged in";
        bencher.iter(|| assert!(response(black_box(line)).is_some()));
    });
    group.bench_function("pop3-command", |bencher| {
        bencher.iter(|| pop3::codec::Command::parse(black_box(b"PASS wonderland")));
    });
    group.bench_function("smtp-command", |bencher| {
        let line = b"MAIL FROM:<anna@example.org> SIZE=10240 BODY=8BITMIME";
        bencher.iter(|| assert!(smtp::codec::command(black_box(line)).is_ok()));
    });
    group.finish();
}

const EHLO: &[u8] =
    b"250-mx.example\r\n250-PIPELINING\r\n250-SIZE 36700160\r\n250-8BITMIME\r\n250-DSN\r\n\
    250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n";

criterion_group!(benches, frame, codec);
criterion_main!(benches);
