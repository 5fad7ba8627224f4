//! The two directions over real sockets, with a watch that is easily seen through.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::peer::Peer;
use crate::proto::dialogue::Ending;
use crate::relay::registry::Registry;

/// Passes whole lines, each of which is answered; holds the client after `hold` until then; answers `help` itself, at
/// length; says `bye` as a farewell.
#[derive(Default)]
struct Lines {
    held: bool,
    due: bool,
}

impl Watch for Lines {
    fn step(&mut self, leg: Leg, input: &[u8], flow: &mut Flow) -> Result<usize, Breach> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            return Ok(0);
        };
        if input.starts_with(b"help") {
            flow.say(leg, HELP);
            return Ok(end + 1);
        }
        flow.pass(leg.other(), 0..end + 1);
        match leg {
            Leg::Client => (self.held, self.due) = (input.starts_with(b"hold"), true),
            Leg::Upstream => (self.held, self.due) = (false, false),
        }
        Ok(end + 1)
    }

    fn reads(&self, leg: Leg) -> bool {
        leg == Leg::Upstream || !self.held
    }

    fn eof(&mut self, leg: Leg, rest: &[u8], flow: &mut Flow) -> Ending {
        flow.pass(leg.other(), 0..rest.len());
        match leg {
            Leg::Client if self.due => Ending::HalfClose,
            Leg::Client | Leg::Upstream => Ending::Close,
        }
    }

    fn farewell(&mut self, _why: Farewell, flow: &mut Flow) {
        flow.say(Leg::Client, "bye\n");
    }

    fn phase(&self) -> &'static str {
        "lines"
    }
}

const HELP: &[u8] = &[b'x'; 4096];

struct Session {
    client: TcpStream,
    upstream: TcpStream,
    drain: CancellationToken,
    end: JoinHandle<(End, u64, u64)>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

async fn session(leftovers: Leftovers) -> Session {
    let (client, client_leg) = pair().await;
    let (upstream, upstream_leg) = pair().await;
    let drain = CancellationToken::new();
    let token = drain.clone();
    let end = tokio::spawn(async move {
        let registry = Arc::new(Registry::default());
        let peer = Peer::User(1000);
        let place = registry.admit(Protocol::Imap, peer, 1, 1).unwrap();
        let legs = (
            Stream::Plain(client_leg.into()),
            Stream::Plain(upstream_leg.into()),
        );
        let watch = Box::new(Lines::default());
        let copy = Copy::new(&place.record, watch, legs.0, legs.1, leftovers);
        let (end, _) = copy.run(&token).await;
        let view = place.record.view();
        (end, view.bytes_up, view.bytes_down)
    });
    Session {
        client,
        upstream,
        drain,
        end,
    }
}

fn nothing() -> Leftovers {
    Leftovers {
        client: Bytes::new(),
        upstream: Bytes::new(),
    }
}

async fn expect(stream: &mut TcpStream, text: &str) {
    let mut got = vec![0; text.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&got), text);
}

#[tokio::test]
async fn leftovers_go_first_and_a_half_closed_client_still_gets_its_answer() {
    let mut session = session(Leftovers {
        client: "early ".into(),
        upstream: "greeting\n".into(),
    })
    .await;
    expect(&mut session.client, "greeting\n").await;
    session
        .client
        .write_all(b"line\nno line end")
        .await
        .unwrap();
    session.client.shutdown().await.unwrap();
    expect(&mut session.upstream, "early line\nno line end").await;
    session.upstream.write_all(b"answer\n").await.unwrap();
    let mut all = String::new();
    session.client.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "answer\n");
    let (end, up, down) = session.end.await.unwrap();
    assert_eq!((end.leg, up, down), (Leg::Client, 22, 16));
}

#[tokio::test]
async fn a_held_client_goes_on_where_it_was() {
    let mut session = session(nothing()).await;
    session.client.write_all(b"hold\nafter\n").await.unwrap();
    expect(&mut session.upstream, "hold\n").await;
    session.upstream.write_all(b"go\n").await.unwrap();
    expect(&mut session.upstream, "after\n").await;
    expect(&mut session.client, "go\n").await;
}

#[tokio::test]
async fn a_reader_that_stalls_stops_its_source_and_gets_every_byte_later() {
    let mut session = session(nothing()).await;
    let block = [b"x".repeat(1023), b"\n".to_vec()].concat();
    let mut sent = 0;
    // As long as the sockets and one window take it; a relay without back-pressure would never end this.
    while let Ok(Ok(())) = tokio::time::timeout(
        Duration::from_millis(200),
        session.upstream.write_all(&block),
    )
    .await
    {
        sent += block.len();
        assert!(sent < 256 << 20, "no back-pressure");
    }
    let client = &mut session.client;
    let mut buffer = vec![0; 1 << 16];
    let mut got = 0;
    while got < sent {
        got += client.read(&mut buffer).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_our_answers_gets_no_more_of_them() {
    let (_client, client_leg) = pair().await;
    let (_upstream, upstream_leg) = pair().await;
    let registry = Arc::new(Registry::default());
    let peer = Peer::User(1000);
    let place = registry.admit(Protocol::Smtp, peer, 1, 1).unwrap();
    let legs = (
        Stream::Plain(client_leg.into()),
        Stream::Plain(upstream_leg.into()),
    );
    let watch = Box::new(Lines::default());
    let mut copy = Copy::new(&place.record, watch, legs.0, legs.1, nothing());
    // The answers to these are 52 MB, more than any socket buffers.
    let window = b"help\n".repeat(WINDOW / 5);
    copy.show(
        &mut Context::from_waker(std::task::Waker::noop()),
        Leg::Client,
        &window,
    );
    assert!(copy.client.unsent.len() > OWED_MAX);
    assert!(copy.client.unsent.len() <= OWED_MAX + HELP.len());
    assert!(!copy.client.unread.is_empty() && !copy.client.seen);
}

#[tokio::test]
async fn a_shutdown_is_said_and_ends_the_session() {
    let mut session = session(nothing()).await;
    session.drain.cancel();
    let mut all = String::new();
    session.client.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "bye\n");
    assert_eq!(session.end.await.unwrap().0.cause, "shutdown");
}

#[tokio::test]
async fn an_upstream_that_breaks_is_told_to_the_client() {
    let mut session = session(nothing()).await;
    session.upstream.set_zero_linger().unwrap();
    drop(session.upstream);
    let mut all = String::new();
    session.client.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "bye\n");
    drop(session.client);
    let (end, ..) = session.end.await.unwrap();
    assert_eq!(end.leg, Leg::Upstream);
    assert!(end.cause.starts_with("connection lost"), "{}", end.cause);
}

/// The upstream refuses in the middle of what the client sends, and hangs up on the rest: its words still arrive, and the
/// client is not reset for what it goes on sending, since a reset can destroy what it has not read yet.
#[tokio::test]
async fn what_an_upstream_said_before_it_hung_up_is_heard() {
    let session = session(nothing()).await;
    let (mut client_read, mut client_write) = session.client.into_split();
    let (heard_all, mut is_heard) = tokio::sync::oneshot::channel::<()>();
    let sending = tokio::spawn(async move {
        let block = [b"x".repeat(1023), b"\n".to_vec()].concat();
        while is_heard.try_recv().is_err() {
            client_write.write_all(&block).await?;
        }
        for _ in 0..1024 {
            client_write.write_all(&block).await?;
        }
        io::Result::Ok(client_write)
    });
    let mut upstream = session.upstream;
    upstream.read_u8().await.unwrap();
    upstream.write_all(b"too big\n").await.unwrap();
    drop(upstream);
    let mut heard = Vec::new();
    client_read.read_to_end(&mut heard).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), "too big\n");
    heard_all.send(()).unwrap();
    drop(sending.await.unwrap().unwrap());
    drop(client_read);
    let (end, ..) = session.end.await.unwrap();
    assert_eq!(end.leg, Leg::Upstream);
}
