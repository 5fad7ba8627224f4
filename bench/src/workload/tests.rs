//! The workload, the bytes it is made of and the session it drives. They are here and not beside the latter two, since the
//! micro-benchmarks include those files.

use super::*;

#[test]
fn every_part_runs_and_has_a_name_of_its_own() {
    for part in Part::ALL {
        part.run(1).unwrap();
        let same = Part::ALL.iter().filter(|other| other.name == part.name);
        assert_eq!(same.count(), 1, "{}", part.name);
        assert!(Part::named(part.name).is_some_and(|it| it.unit == part.unit));
    }
    assert!(Part::named("nothing").is_none());
}

#[test]
fn every_protocol_logs_in_and_every_script_passes_whole() {
    for (protocol, leg, script) in [
        (Protocol::Imap, Leg::Upstream, inputs::fetch(300_000)),
        (
            Protocol::Imap,
            Leg::Upstream,
            inputs::small_fetches(200, 1_000),
        ),
        (Protocol::Imap, Leg::Upstream, inputs::flags(2_000)),
        (Protocol::Imap, Leg::Client, inputs::append(300_000)),
        (Protocol::Pop3, Leg::Upstream, inputs::retr(300_000)),
        (Protocol::Smtp, Leg::Client, inputs::stuffed(300_000)),
    ] {
        let mut watch = in_memory::log_in(protocol).unwrap();
        for _ in 0..3 {
            let passed = in_memory::exchange(&mut *watch, (protocol, leg), &script).unwrap();
            assert_eq!(passed, script.len(), "{protocol} {leg}");
        }
    }
}

#[test]
fn what_breaks_the_protocol_is_an_error() {
    let mut watch = in_memory::log_in(Protocol::Imap).unwrap();
    let endless = [b'x'; 2 * inputs::WINDOW];
    assert!(in_memory::relay(&mut *watch, Leg::Client, &endless).is_err());
}

#[test]
fn text_has_the_octets_asked_for_in_whole_lines() {
    for octets in [0, 1, inputs::LINE, 1024, 100_000] {
        assert_eq!(inputs::text(octets).len(), octets);
    }
    let text = inputs::text(10 * inputs::LINE);
    assert!(text.ends_with(b"\r\n"));
    assert!(
        text.chunks(inputs::LINE)
            .all(|line| line.ends_with(b"\r\n"))
    );
}

#[test]
fn literals_have_the_size_they_announce() {
    let response = inputs::fetch(5_000);
    let start = b"* 1 FETCH (UID 1 BODY[] {5000}\r\n".len();
    assert_eq!(
        &response[start + 5_000..],
        b")\r\na1 OK FETCH completed\r\n"
    );
}

#[test]
fn a_stuffed_message_ends_once() {
    let data = inputs::stuffed(50_000);
    let ends = data.windows(5).filter(|five| five == b"\r\n.\r\n").count();
    assert_eq!(ends, 1);
    assert!(data.windows(4).filter(|four| four == b"\r\n..").count() > 30);
}
