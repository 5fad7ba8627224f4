//! Conversations over a real socket.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::web::testing;
use crate::web::{ListenerView, Way};

fn status() -> Arc<StatusSource> {
    Arc::new(|grants| Status {
        version: "1".into(),
        pid: 7,
        up_s: 0,
        listeners: vec![ListenerView {
            protocol: "imap".into(),
            address: "[::1]:1143".into(),
        }],
        accounts: 1,
        grants,
        connections: 0,
        sessions: Vec::new(),
    })
}

struct Service {
    folder: tempfile::TempDir,
    desk: Arc<Desk>,
    socket: ControlSocket,
}

impl Service {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let desk = testing::desk(folder.path()).await;
        let opened = ControlSocket::open(folder.path(), Arc::clone(&desk), status()).await;
        Self {
            socket: opened.unwrap(),
            desk,
            folder,
        }
    }

    /// What comes back for raw octets, up to the end of the first line or of the stream.
    async fn say(&self, octets: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.socket.path).await.unwrap();
        // It may hang up before it has read everything.
        let _ = stream.write_all(octets).await;
        let mut line = String::new();
        let _ = BufReader::new(stream).read_line(&mut line).await;
        line
    }
}

#[tokio::test]
async fn one_instance_answers_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let error = ControlClient::connect(folder.path()).await.unwrap_err();
    assert!(matches!(error, ControlError::NotRunning { .. }), "{error}");

    // Left by a killed service: a socket file nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(socket_path(folder.path())).unwrap());
    let desk = testing::desk(folder.path()).await;
    let open = || ControlSocket::open(folder.path(), Arc::clone(&desk), status());
    let socket = open().await.unwrap();
    let mut client = ControlClient::connect(folder.path()).await.unwrap();
    let shown = client.status().await.unwrap();
    assert_eq!(shown.listeners, status()(Vec::new()).listeners);
    assert_eq!(shown.grants.len(), 1);
    assert_eq!(
        (
            shown.grants[0].name.as_str(),
            shown.grants[0].state.as_str()
        ),
        ("ole@x.org", "empty")
    );
    assert!(matches!(
        open().await.unwrap_err(),
        ControlError::Running { .. }
    ));

    drop(socket);
    assert!(!socket_path(folder.path()).exists());
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let service = Service::new().await;
    let mut client = ControlClient::connect(service.folder.path()).await.unwrap();
    let failed = |kind, reply: Reply| matches!(reply, Reply::Failed { kind: k, .. } if k == kind);
    let of = |account: &str| Request::SignIn {
        account: account.into(),
        way: Way::Configured,
    };
    assert!(failed(
        Failure::NotUnderstood,
        client.ask(Request::Wait).await.unwrap()
    ));
    assert!(failed(
        Failure::NoAccount,
        client.ask(of("nobody@x.org")).await.unwrap()
    ));
    assert!(failed(
        Failure::NoAccount,
        client.ask(of("anna@x.org")).await.unwrap()
    ));
    let address = "http://127.0.0.1/?code=x&state=forged".to_owned();
    let pasted = client.ask(Request::Paste { address }).await.unwrap();
    assert!(failed(Failure::Refused, pasted.clone()), "{pasted:?}");
    let listed = client.ask(Request::Grants).await.unwrap();
    assert_eq!(listed, Reply::Grants(service.desk.grants().await));
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_what_is_endless_is_cut() {
    let service = Service::new().await;
    for line in [
        "\n",
        "{}\n",
        "{\"v\":99,\"say\":\"status\"}\n",
        "\u{16}\u{3}\n",
        "[[[[\n",
    ] {
        let answer = service.say(line.as_bytes()).await;
        assert!(answer.contains("not-understood"), "{line:?} {answer:?}");
    }
    let endless = vec![b'x'; 2 * REQUEST_MAX as usize];
    assert_eq!(service.say(&endless).await, "");
    assert!(
        service
            .say(b"{\"v\":1,\"say\":\"status\"}\n")
            .await
            .contains("\"pid\":7")
    );
}

#[tokio::test]
async fn a_pasted_code_is_in_no_answer() {
    let service = Service::new().await;
    let answer = service
        .say(b"{\"v\":1,\"say\":{\"paste\":{\"address\":\"http://localhost/?code=canary&state=x\"}}}\n")
        .await;
    assert!(
        answer.contains("failed") && !answer.contains("canary"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_wait() {
    let (mut ours, theirs) = tokio::io::duplex(64);
    let ended = AtomicUsize::new(0);
    let watching = async {
        let mut from = BufReader::new(theirs);
        gone(&mut from).await;
        ended.fetch_add(1, Ordering::Relaxed);
    };
    tokio::join!(watching, async { ours.shutdown().await.unwrap() });
    assert_eq!(ended.load(Ordering::Relaxed), 1);

    let (mut ours, theirs) = tokio::io::duplex(64);
    ours.write_all(b"next").await.unwrap();
    let mut from = BufReader::new(theirs);
    let said_more = timeout(Duration::ZERO, gone(&mut from)).await;
    assert!(said_more.is_err(), "an unread request is no good-bye");
}

#[tokio::test]
async fn a_state_folder_that_is_not_there_is_made_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("a/b");
    let desk = testing::desk(folder.path()).await;
    let _socket = ControlSocket::open(&state_dir, desk, status())
        .await
        .unwrap();
    let mode = std::fs::metadata(&state_dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
