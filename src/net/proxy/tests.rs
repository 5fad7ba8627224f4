//! What a proxy is told and what becomes of its answers, however they are cut.

use std::net::SocketAddr;

use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;
use crate::config::runtime::{ProxyLogin, ProxyPassword};

/// What becomes of an opening whose proxy says `answers`, one after each thing that is said, in pieces of `piece` octets:
/// what was said, how it ended, and which octets are left for the upstream.
fn play(mut opening: impl Opening, answers: &[&[u8]], piece: usize) -> (Vec<u8>, String, Vec<u8>) {
    let mut said = opening.begin().expose().to_vec();
    for answer in answers {
        let mut rest = *answer;
        loop {
            let (piece, _) = rest.split_at(piece.min(rest.len()));
            if piece.is_empty() {
                return (said, "waits".to_owned(), Vec::new());
            }
            let (own, turn) = opening.take(piece);
            assert!((1..=piece.len()).contains(&own));
            rest = &rest[own..];
            match turn {
                Ok(Turn::More) => {}
                Ok(Turn::Say(words)) => {
                    assert!(rest.is_empty(), "it speaks out of turn");
                    said.extend(words.expose());
                    break;
                }
                Ok(Turn::Open) => return (said, "open".to_owned(), rest.to_vec()),
                Err(error) => return (said, error.to_string(), rest.to_vec()),
            }
        }
    }
    (said, "waits".to_owned(), Vec::new())
}

/// The same however the answers are cut.
fn whole(opening: impl Fn() -> BoxedOpening, answers: &[&[u8]]) -> (Vec<u8>, String, Vec<u8>) {
    let played = play(opening(), answers, usize::MAX);
    for piece in 1..40 {
        assert_eq!(
            play(opening(), answers, piece),
            played,
            "in pieces of {piece}"
        );
    }
    played
}

type BoxedOpening = Box<dyn Opening>;

impl Opening for BoxedOpening {
    fn begin(&mut self) -> Secret {
        self.as_mut().begin()
    }
    fn take(&mut self, bytes: &[u8]) -> (usize, Result<Turn, ProxyError>) {
        self.as_mut().take(bytes)
    }
}

fn socks(host: &'static str, login: Option<&'static str>) -> impl Fn() -> BoxedOpening {
    move || {
        let password = login.map(Secret::from);
        let login = password.as_ref().map(|password| ("anna", password));
        Box::new(Socks5::new(host, 993, login).unwrap())
    }
}

fn http(host: &'static str, login: Option<&'static str>) -> impl Fn() -> BoxedOpening {
    move || {
        let password = login.map(Secret::from);
        let login = password.as_ref().map(|password| ("anna", password));
        Box::new(Connect::new(host, 993, login))
    }
}

#[test]
fn socks_connects_and_leaves_what_is_behind_its_reply() {
    for reply in [
        b"\x05\0\0\x01\x7f\0\0\x01\x04\x38* OK hello\r\n".as_slice(),
        b"\x05\0\0\x03\x03abc\x04\x38* OK hello\r\n",
        b"\x05\0\0\x03\0\x04\x38* OK hello\r\n",
        b"\x05\0\x07\x04aaaabbbbccccdddd\x04\x38* OK hello\r\n",
    ] {
        let (said, end, rest) = whole(socks("mail.test", None), &[b"\x05\0", reply]);
        assert_eq!(said, b"\x05\x01\0\x05\x01\0\x03\x09mail.test\x03\xe1");
        assert_eq!(
            (end.as_str(), rest.as_slice()),
            ("open", b"* OK hello\r\n".as_slice())
        );
    }
}

#[test]
fn socks_says_addresses_as_addresses() {
    let open = b"\x05\0\0\x01\0\0\0\0\0\0".as_slice();
    for (host, said) in [
        (
            "192.0.2.1",
            b"\x05\x01\0\x05\x01\0\x01\xc0\0\x02\x01\x03\xe1".as_slice(),
        ),
        (
            "2001:db8::1",
            b"\x05\x01\0\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x03\xe1",
        ),
    ] {
        assert_eq!(whole(socks(host, None), &[b"\x05\0", open]).0, said);
    }
}

#[test]
fn socks_logs_in_where_it_must_and_only_there() {
    let open = b"\x05\0\0\x01\0\0\0\0\0\0".as_slice();
    let request = b"\x05\x01\0\x03\x09mail.test\x03\xe1".as_slice();
    let login = b"\x01\x04anna\x02pw".as_slice();
    let asked = b"\x05\x02\0\x02".as_slice();
    let opening = || socks("mail.test", Some("pw"));
    for answer in [b"\x01\0".as_slice(), b"\x05\0"] {
        let (said, end, _) = whole(opening(), &[b"\x05\x02", answer, open]);
        assert_eq!(
            (said, end.as_str()),
            ([asked, login, request].concat(), "open")
        );
    }
    let (said, end, _) = whole(opening(), &[b"\x05\0", open]);
    assert_eq!((said, end.as_str()), ([asked, request].concat(), "open"));
    for refusal in [
        [b"\x05\x02".as_slice(), b"\x01\x01"].as_slice(),
        &[b"\x05\xff"],
    ] {
        let (_, end, _) = whole(opening(), refusal);
        assert_eq!(end, "it refuses the user name or the password");
    }
    let (said, end, _) = whole(socks("mail.test", None), &[b"\x05\xff"]);
    assert_eq!(said, b"\x05\x01\0");
    assert!(end.starts_with("it wants a user name"), "{end}");
}

#[test]
fn socks_refusals_have_words_and_garbage_is_no_answer() {
    for code in 1..=255 {
        let (_, end, _) = whole(socks("mail.test", None), &[b"\x05\0", &[5, code]]);
        assert!(end.ends_with(&format!("(SOCKS reply {code})")), "{end}");
    }
    let (_, end, _) = whole(socks("mail.test", None), &[b"\x05\0", b"\x05\x02"]);
    assert_eq!(
        end,
        "it refuses: its rules do not allow this connection (SOCKS reply 2)"
    );
    for garbage in [
        [b"HTTP/1.1 400 no\r\n".as_slice()].as_slice(),
        &[b"\x04\x5a"],
        // A method that was not named.
        &[b"\x05\x02"],
        &[b"\x05\x01"],
        &[b"\x05\0", b"\x04\0"],
        &[b"\x05\0", b"\x05\0\0\x02"],
    ] {
        let (_, end, _) = whole(socks("mail.test", None), garbage);
        assert_eq!(end, "what it says is not SOCKS5", "{garbage:?}");
    }
}

#[test]
fn socks_says_no_name_that_it_cannot_say() {
    let long = "a".repeat(256);
    let secret = Secret::from(long.as_str());
    for made in [
        Socks5::new(&long, 1, None),
        Socks5::new("a", 1, Some((&long, &secret))),
        Socks5::new("a", 1, Some(("anna", &secret))),
    ] {
        assert!(matches!(made, Err(ProxyError::Unsayable)));
    }
    assert!(Socks5::new(&long[1..], 1, Some((&long[1..], &Secret::default()))).is_ok());
}

#[test]
fn http_connects_and_leaves_what_is_behind_its_head() {
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200\r\nVia: 1.0 p\r\n\r\n",
        "HTTP/1.1 204 \nContent-Length: 5\n\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nOdd: a\r\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let answer = [head, "\r\n* OK hello\r\n"].concat();
        let (said, end, rest) = whole(http("mail.test", None), &[answer.as_bytes()]);
        let request = "CONNECT mail.test:993 HTTP/1.1\r\nHost: mail.test:993\r\n\r\n";
        assert_eq!(said, request.as_bytes());
        assert_eq!(end, "open", "{head:?}");
        assert_eq!(rest, b"\r\n* OK hello\r\n", "{head:?}");
    }
    let (said, ..) = whole(http("2001:db8::1", Some("pw")), &[]);
    let request = "CONNECT [2001:db8::1]:993 HTTP/1.1\r\nHost: [2001:db8::1]:993\r\n\
                   Proxy-Authorization: Basic YW5uYTpwdw==\r\n\r\n";
    assert_eq!(said, request.as_bytes());
}

#[test]
fn http_refusals_have_words_and_garbage_is_no_answer() {
    let of = |login, answer: &str| whole(http("mail.test", login), &[answer.as_bytes()]).1;
    assert_eq!(
        of(
            None,
            "HTTP/1.1 403 pw pw pw\r\nContent-Length: 3\r\n\r\nno!"
        ),
        "it refuses: its rules do not allow this connection (HTTP status 403)"
    );
    assert!(of(None, "HTTP/1.1 302 Go\r\n\r\n").ends_with("elsewhere (HTTP status 302)"));
    assert!(of(None, "HTTP/1.1 999 ?\r\n\r\n").ends_with("(HTTP status 999)"));
    assert!(of(None, "HTTP/1.1 407 ?\r\n\r\n").starts_with("it wants"));
    for refusal in [
        "HTTP/1.1 407 ?\r\n\r\n",
        "HTTP/1.0 401 Unauthorized\r\n\r\n",
    ] {
        let refused = of(Some("pw"), refusal);
        assert_eq!(refused, "it refuses the user name or the password");
    }
    for garbage in [
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "* OK hello\r\n",
        "\u{5}\u{0}",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.x 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
    ] {
        assert_eq!(of(None, garbage), "what it says is not HTTP", "{garbage:?}");
    }
    assert_eq!(of(None, "HTTP/1.1 200 OK\r\nA: b\r\n"), "waits");
}

#[test]
fn http_heads_are_bounded_with_those_before_them() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(HEAD_MAX_AND_MORE));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD_MAX_AND_MORE / 25);
    for endless in [long, interim] {
        let (_, end, rest) = play(http("a", None)(), &[endless.as_bytes()], usize::MAX);
        assert_eq!(end, "its answer is longer than 8192 octets");
        assert_eq!(rest.len(), endless.len() - connect::HEAD_MAX - 1);
    }
}

const HEAD_MAX_AND_MORE: usize = 9_000;

proptest! {
    #[test]
    fn whatever_a_proxy_says_nothing_panics_and_cuts_change_nothing(
        answers in proptest::collection::vec(proptest::collection::vec(0_u8..8, 1..24), 0..4),
        piece in 1_usize..9,
    ) {
        // Turns that come early are not what this is about.
        let first: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
        for answer in &first {
            let mut one = Socks5::new("mail.test", 993, None).unwrap();
            let mut cut = Socks5::new("mail.test", 993, None).unwrap();
            let (own, turn) = one.take(answer);
            let mut taken = 0;
            for bytes in answer.chunks(piece) {
                let (n, turn) = cut.take(bytes);
                taken += n;
                if !matches!(turn, Ok(Turn::More)) {
                    break;
                }
            }
            prop_assert_eq!(taken, own);
            prop_assert!(own <= answer.len() && (own == answer.len() || !matches!(turn, Ok(Turn::More))));
        }
    }

    #[test]
    fn whatever_an_http_proxy_says_the_head_ends_at_its_first_empty_line(
        fields in proptest::collection::vec("[ -~]{1,20}", 0..6),
        behind in proptest::collection::vec(any::<u8>(), 0..40),
        piece in 1_usize..50,
        bare in any::<bool>(),
    ) {
        let end = if bare { "\n" } else { "\r\n" };
        let mut answer = format!("HTTP/1.1 200 OK{end}");
        for field in fields {
            answer.push_str(&field);
            answer.push_str(end);
        }
        answer.push_str(end);
        let answer = [answer.as_bytes(), behind.as_slice()].concat();
        // What follows in the same piece is left; what would follow later was never taken.
        let (_, ended, rest) = play(http("a", None)(), &[&answer], piece);
        prop_assert_eq!(ended, "open");
        prop_assert_eq!(rest, behind);
    }
}

/// A proxy that says `answers`, each after something was said to it, and then closes or not.
async fn proxy_saying(answers: &'static [&'static [u8]], then_close: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 1024];
        for answer in answers {
            if tcp.read(&mut heard).await.unwrap() == 0 {
                return;
            }
            tcp.write_all(answer).await.unwrap();
        }
        while !then_close && tcp.read(&mut heard).await.is_ok_and(|n| n > 0) {}
    });
    address
}

fn at(address: SocketAddr, kind: ProxyKind) -> Proxy {
    Proxy {
        kind,
        host: address.ip().to_string(),
        port: address.port(),
        login: None,
    }
}

#[tokio::test]
async fn what_the_upstream_says_at_once_is_there_for_whoever_comes_next() {
    for (kind, answers) in [
        (
            ProxyKind::Socks5,
            [
                b"\x05\0".as_slice(),
                b"\x05\0\0\x01\0\0\0\0\0\0* OK hello\r\n",
            ]
            .as_slice(),
        ),
        (ProxyKind::Http, &[b"HTTP/1.1 200 OK\r\n\r\n* OK hello\r\n"]),
    ] {
        // The answers live as long as the test.
        let answers: &'static [&'static [u8]] = Box::leak(answers.to_vec().into_boxed_slice());
        let proxy = at(proxy_saying(answers, true).await, kind);
        let dialled = dial_through(&Dialler::default(), &proxy, None, "mail.test", 993).await;
        let mut greeting = Vec::new();
        dialled.unwrap().read_to_end(&mut greeting).await.unwrap();
        assert_eq!(greeting, b"* OK hello\r\n");
    }
}

#[tokio::test]
async fn failures_name_the_proxy_and_no_password() {
    let closing = proxy_saying(&[b"\x05\x02", b"\x01"], true).await;
    let mut proxy = at(closing, ProxyKind::Socks5);
    proxy.login = Some(ProxyLogin {
        user: "anna".to_owned(),
        password: ProxyPassword::InUrlOf("ALL_PROXY".to_owned()),
    });
    let password = Secret::from("s3cret");
    let dialler = Dialler::default();
    let dialled = dial_through(&dialler, &proxy, Some(&password), "mail.test", 993).await;
    let error = dialled.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no way through socks5://{closing}")
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "it closed the connection without an answer");
    assert!(!format!("{error:?} {proxy:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_proxy_that_is_ourselves_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dialler = Dialler::default();
    dialler.own.store(std::sync::Arc::new(vec![address]));
    let proxy = at(address, ProxyKind::Http);
    let error = dial_through(&dialler, &proxy, None, "a", 1)
        .await
        .unwrap_err();
    let NetError::Proxy {
        source: ProxyError::Unreachable(inner),
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(matches!(*inner, NetError::Loop { .. }), "{inner}");
}
