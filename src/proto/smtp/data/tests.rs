//! The message codec against a plain reference, and the smuggling matrix of PROTOCOL C.2.

use proptest::prelude::*;

use super::*;
use crate::proto::flow::Piece;

/// What the upstream is told when `pieces` arrive one after the other, and how many of their bytes were used up.
fn emit(pieces: &[&[u8]]) -> (Vec<u8>, usize, bool) {
    let mut data = Data::new();
    let (mut unread, mut told, mut taken) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        unread.extend_from_slice(piece);
        let mut flow = Flow::default();
        let progress = data.read(&unread, 0, &mut flow);
        for piece in flow.pieces(Leg::Upstream) {
            match piece {
                Piece::Input(range) => told.extend_from_slice(&unread[range.clone()]),
                Piece::Own(bytes) => told.extend_from_slice(bytes),
            }
        }
        unread.drain(..progress.taken);
        taken += progress.taken;
        assert!(unread.len() <= 3 || progress.ended);
        if progress.ended {
            return (told, taken, true);
        }
    }
    (told, taken, false)
}

fn emit_whole(text: &[u8]) -> Vec<u8> {
    let (told, _, ended) = emit(&[text]);
    assert!(ended, "{}", text.escape_ascii());
    told
}

/// The reference: the message in canonical lines, cut at the first `CRLF . CRLF`.
fn normalise(text: &[u8]) -> Vec<u8> {
    let framed = [b"\r\n", text].concat();
    let end = memchr::memmem::find(&framed, b"\r\n.\r\n").unwrap();
    let body = &framed[..end + 2];
    // Transparency first: a dot behind each CRLF goes, and one of two behind a bare CR or LF.
    let mut plain = Vec::new();
    for (at, &b) in body.iter().enumerate().skip(2) {
        let stuffed = match &body[..at] {
            [.., b'\r', b'\n'] => true,
            [.., b'\r' | b'\n'] => body.get(at + 1) == Some(&b'.'),
            _ => false,
        };
        if !(b == b'.' && stuffed) {
            plain.push(b);
        }
    }
    // Then line ends. A CR that stands right before CRLF goes; a dot that was taken away does not bring two together.
    let mut canonical = Vec::new();
    let mut at = 0;
    while let Some(&b) = plain.get(at) {
        match &plain[at..] {
            [b'\r', b'\r', b'\n', ..] => at += 1,
            [b'\r', b'\n', ..] => {
                canonical.extend_from_slice(b"\r\n");
                at += 2;
            }
            [b'\r' | b'\n', ..] => {
                canonical.extend_from_slice(b"\r\n");
                at += 1;
            }
            _ => {
                canonical.push(b);
                at += 1;
            }
        }
    }
    canonical
}

/// What a client sends that ends its lines with a bare LF and stuffs them: `text` has bare LF only.
fn stuffed_behind_lf(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    let stuffed = lines.map(|line| line.replacen('.', "..", usize::from(line.starts_with('.'))));
    format!("{}\r\n.\r\n", stuffed.collect::<String>())
}

/// What a receiver that keeps to RFC 5321 reads.
fn decode(wire: &[u8]) -> Vec<u8> {
    let text = wire.strip_suffix(b".\r\n").unwrap();
    let mut plain = Vec::new();
    for line in text.split_inclusive(|&b| b == b'\n') {
        plain.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    plain
}

#[test]
fn an_ordinary_message_passes_as_one_range() {
    let mut flow = Flow::default();
    let text = b"Subject: x\r\n\r\n..dot\r\nNUL \0 and 8-bit \xe4\r\n.\r\nQUIT\r\n";
    let progress = Data::new().read(text, 0, &mut flow);
    assert_eq!(
        progress,
        Progress {
            taken: text.len() - 6,
            ended: true,
            around: 4
        }
    );
    assert_eq!(
        flow.pieces(Leg::Upstream),
        [Piece::Input(0..text.len() - 6)]
    );
}

#[test]
fn line_ends_become_crlf_and_dots_are_stuffed_again() {
    for (sent, told) in [
        ("a\nb\rc\r\n.\r\n", "a\r\nb\r\nc\r\n.\r\n"),
        ("a\n.b\r.c\r\n.\r\n", "a\r\n..b\r\n..c\r\n.\r\n"),
        ("a\n..b\r..c\n.\r\n.\r\n", "a\r\n..b\r\n..c\r\n..\r\n.\r\n"),
        ("a\n...b\n..\r\n.\r\n", "a\r\n...b\r\n..\r\n.\r\n"),
        (".a\r\n..b\r\n.\r\n", "a\r\n..b\r\n.\r\n"),
        ("a\r\r\nb\r\r\r\n.\r\n", "a\r\nb\r\n\r\n.\r\n"),
        ("a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n.\r\n"),
        (".\r\n", ".\r\n"),
    ] {
        assert_eq!(
            emit_whole(sent.as_bytes()).escape_ascii().to_string(),
            told.as_bytes().escape_ascii().to_string(),
            "{sent:?}"
        );
    }
}

/// How many messages a receiver finds that takes these for line ends, all over the wire.
fn messages(wire: &[u8], line_ends: &[&[u8]]) -> usize {
    let (mut count, mut at, mut line) = (0, 0, 0);
    while at < wire.len() {
        let Some(end) = line_ends.iter().find(|end| wire[at..].starts_with(end)) else {
            at += 1;
            continue;
        };
        count += usize::from(&wire[line..at] == b".");
        at += end.len();
        line = at;
    }
    count
}

#[test]
fn nothing_but_the_canonical_end_ends_a_message_for_anybody() {
    let ends: [&[u8]; 4] = [b"\n", b"\r", b"\r\n", b"\r\r\n"];
    let sinks: [&[&[u8]]; 4] = [
        &[b"\r\n"],
        &[b"\r\n", b"\n"],
        &[b"\r\n", b"\r", b"\n"],
        &[b"\r\r\n", b"\r\n", b"\r", b"\n"],
    ];
    let mut tried = 0;
    for before in ends {
        for dot in [&b"."[..], b"..", b".\0", b"\0."] {
            for after in ends {
                let smuggled = [before, dot, after].concat();
                // CR CR LF ends in CRLF, so the first dot of these is the honest end.
                if memchr::memmem::find(&smuggled, b"\r\n.\r\n").is_some() {
                    continue;
                }
                for (lead, tail) in [
                    ("Subject: x\r\n\r\ntext", "MAIL FROM:<b>\r\n"),
                    ("", ""),
                    ("x\r\n", "\r\n"),
                ] {
                    let text = [lead.as_bytes(), &smuggled, tail.as_bytes(), b"\r\n.\r\n"].concat();
                    for cut in 0..text.len() {
                        let (told, taken, ended) = emit(&[&text[..cut], &text[cut..]]);
                        // Some tails make the honest end come earlier; never later than the last one.
                        assert!(ended && taken <= text.len());
                        for sink in sinks {
                            let shown = text.escape_ascii();
                            assert_eq!(
                                messages(&told, sink),
                                1,
                                "{shown} cut at {cut}: {}",
                                told.escape_ascii()
                            );
                        }
                        assert!(told.ends_with(b"\r\n.\r\n") || told == b".\r\n");
                        tried += 1;
                    }
                }
            }
        }
    }
    assert!(tried > 3000, "{tried}");
}

#[test]
fn the_smuggling_sinks_can_count() {
    assert_eq!(messages(b"a\n.\nb\r\n.\r\n", &[b"\r\n"]), 1);
    assert_eq!(messages(b"a\n.\nb\r\n.\r\n", &[b"\r\n", b"\n"]), 2);
    assert_eq!(messages(b"a\r.\rb\r\n.\r\n", &[b"\r\n", b"\r", b"\n"]), 2);
}

/// Bytes that are mostly trouble.
fn troubled() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a'), Just(0)];
    prop::collection::vec(byte, 0..40)
}

proptest! {
    #[test]
    fn who_stuffs_behind_a_bare_lf_loses_and_gains_no_dot(text in "[a.\n]{0,30}") {
        let read = decode(&emit_whole(stuffed_behind_lf(&text).as_bytes()));
        let meant = format!("{text}\r\n").replace("\r\n", "\n").replace('\n', "\r\n");
        prop_assert_eq!(String::from_utf8_lossy(&read), meant);
    }

    #[test]
    fn a_receiver_reads_the_normalised_message(text in troubled()) {
        let text = [&text[..], b"\r\n.\r\n"].concat();
        prop_assert_eq!(decode(&emit_whole(&text)), normalise(&text));
    }

    /// Long enough for several blocks, with few odd places, anywhere.
    #[test]
    fn a_long_message_reads_the_same(
        lines in prop::collection::vec(0usize..120, 0..30),
        odd in prop::collection::vec((0usize..2000, troubled()), 0..3),
    ) {
        let mut text: Vec<u8> = lines
            .iter()
            .flat_map(|&len| [&vec![b'x'; len][..], b"\r\n"].concat())
            .collect();
        for (at, what) in odd {
            let at = at.min(text.len());
            text.splice(at..at, what);
        }
        text.extend_from_slice(b"\r\n.\r\n");
        prop_assert_eq!(decode(&emit_whole(&text)), normalise(&text));
    }

    #[test]
    fn the_split_does_not_matter(text in troubled(), cuts in prop::collection::vec(0usize..45, 0..6)) {
        let text = [&text[..], b"\r\n.\r\n"].concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
        prop_assert_eq!(emit(&pieces), emit(&[&text]));
    }

    #[test]
    fn the_wire_is_canonical(text in troubled()) {
        let text = [&text[..], b"\r\n.\r\n"].concat();
        let told = emit_whole(&text);
        for (at, &b) in told.iter().enumerate() {
            match b {
                b'\r' => prop_assert_eq!(told.get(at + 1), Some(&b'\n')),
                b'\n' => prop_assert!(at > 0 && told[at - 1] == b'\r'),
                _ => {}
            }
        }
    }
}
