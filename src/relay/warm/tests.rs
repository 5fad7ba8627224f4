//! Who gets which session, and how many wait. What the next client sees is in `tests/support/warm.rs`.

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::runtime::{Proxy, ProxyKind, Trust};
use crate::protocol::TlsMode;

const SETTINGS: WarmSettings = WarmSettings {
    sessions: 2,
    idle: Duration::from_secs(60),
};

fn endpoint() -> Endpoint {
    Endpoint {
        proxy: None,
        host: "mail.test".into(),
        port: 993,
        tls: TlsMode::Implicit,
        trust: Trust::Platform,
        user: "anna".into(),
    }
}

fn proxy() -> Arc<Proxy> {
    Arc::new(Proxy {
        kind: ProxyKind::Socks5,
        host: "proxy.test".into(),
        port: 1080,
        login: None,
    })
}

fn place(warm: &Warm) -> Place {
    let credential = Identity::Password([1; 32]);
    warm.place(Protocol::Imap, "anna@x.org", &endpoint(), credential)
}

/// A session that its client has left, and the provider's end, which has answered the reset.
async fn keep(warm: &Warm, place: Place) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    let mut far = far.unwrap().0;
    far.write_all(b"m0 OK done\r\n").await.unwrap();
    let connected = Connected {
        stream: Stream::Plain(near.unwrap().into()),
        established: Default::default(),
        since: tokio::time::Instant::now(),
        place: None,
    };
    let remains = Remains::Nothing;
    warm.keep(place, Left { connected, remains }, &SETTINGS);
    far
}

/// What the provider was told until the connection ended.
async fn told(mut far: TcpStream) -> String {
    far.shutdown().await.unwrap();
    let mut told = String::new();
    far.read_to_string(&mut told).await.unwrap();
    told
}

#[tokio::test]
async fn a_session_serves_its_own_place_once() {
    let warm = Warm::default();
    let _far = keep(&warm, place(&warm)).await;
    assert!(warm.take(&place(&warm)).await.is_some());
    assert!(warm.take(&place(&warm)).await.is_none());
}

#[tokio::test]
async fn whatever_is_different_is_another_place() {
    let warm = Warm::default();
    let other = |change: &dyn Fn(&mut Place)| {
        let mut place = place(&warm);
        change(&mut place);
        place
    };
    for wanted in [
        other(&|it| it.account = "eve@x.org".into()),
        other(&|it| it.protocol = Protocol::Smtp),
        other(&|it| it.credential = Identity::Password([2; 32])),
        other(&|it| {
            it.credential = Identity::Token {
                grant: "anna@x.org".into(),
                generation: 1,
            };
        }),
        other(&|it| it.endpoint.host = "evil.test".into()),
        other(&|it| it.endpoint.port = 143),
        other(&|it| it.endpoint.user = "eve".into()),
        other(&|it| it.endpoint.tls = TlsMode::StartTls),
        other(&|it| it.endpoint.trust = Trust::PublicKey([0; 32])),
        other(&|it| it.endpoint.proxy = Some(proxy())),
    ] {
        let far = keep(&warm, place(&warm)).await;
        assert!(warm.take(&wanted).await.is_none(), "{wanted:?}");
        if (wanted.protocol, wanted.account.as_str()) == (Protocol::Imap, "anna@x.org") {
            // The account's password, token or server has changed: the old one is not waited for any more.
            assert!(warm.take(&place(&warm)).await.is_none(), "{wanted:?}");
            assert_eq!(told(far).await, "m0 NOOP\r\nm0 LOGOUT\r\n");
        } else {
            assert!(warm.take(&place(&warm)).await.is_some(), "{wanted:?}");
        }
    }
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let warm = Warm::default();
    let _waiting = [
        keep(&warm, place(&warm)).await,
        keep(&warm, place(&warm)).await,
    ];
    let far = keep(&warm, place(&warm)).await;
    assert_eq!(told(far).await, "m0 LOGOUT\r\n");
    let first = warm.take(&place(&warm)).await;
    let second = warm.take(&place(&warm)).await;
    assert!(first.is_some() && second.is_some());
    assert!(warm.take(&place(&warm)).await.is_none());
    let waiting = warm.inner.lock();
    assert!(waiting.slots.is_empty() && waiting.in_all == 0);
}

#[tokio::test]
async fn after_a_reload_neither_waits_one_that_waited_nor_one_that_was_in_use() {
    let warm = Warm::default();
    let before = place(&warm);
    let waiting = keep(&warm, before.clone()).await;
    warm.forget();
    assert_eq!(told(waiting).await, "m0 NOOP\r\nm0 LOGOUT\r\n");
    let far = keep(&warm, before).await;
    assert_eq!(told(far).await, "m0 LOGOUT\r\n");
    assert!(warm.take(&place(&warm)).await.is_none());
}

#[tokio::test]
async fn a_stop_says_goodbye_to_all() {
    let warm = Warm::default();
    let far = keep(&warm, place(&warm)).await;
    warm.stop();
    let (heard, ()) = tokio::join!(told(far), warm.stopped());
    assert_eq!(heard, "m0 NOOP\r\nm0 LOGOUT\r\n");
    let far = keep(&warm, place(&warm)).await;
    assert_eq!(told(far).await, "m0 LOGOUT\r\n");
}
