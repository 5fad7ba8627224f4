//! The callback listener over real sockets, with sign-ins that are made up here.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Knows one sign-in, which `state=right` ends once.
#[derive(Default)]
struct OneSignIn(Mutex<Vec<String>>);

impl Finish for Arc<OneSignIn> {
    fn finish<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Result<String, SignInError>> {
        Box::pin(async move {
            let mut seen = self.0.lock().unwrap();
            let again = seen.iter().any(|before| before == query);
            seen.push(query.to_owned());
            match query {
                "code=canary-code&state=right" if !again => {
                    Ok("Anna <anna@example.org>".to_owned())
                }
                "error=access_denied&state=right" => {
                    Err(SignInError::Denied("<you> said no".into()))
                }
                _ => Err(SignInError::Unknown),
            }
        })
    }
}

struct Listening {
    callback: Callback,
    sign_in: Arc<OneSignIn>,
}

impl Listening {
    async fn new(redirect_uri: Option<&str>) -> Self {
        let sign_in = Arc::new(OneSignIn::default());
        let callback = Callback::open(0, Arc::clone(&sign_in)).await.unwrap();
        callback.redirect_uri(&client(redirect_uri));
        Self { callback, sign_in }
    }

    async fn get(&self, target: &str) -> String {
        let host = format!("127.0.0.1:{}", self.callback.port());
        self.say(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await
    }

    async fn say(&self, request: &str) -> String {
        let address = (Ipv4Addr::LOCALHOST, self.callback.port());
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may answer before all of a huge head is sent, and close.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    fn finished(&self) -> usize {
        self.sign_in.0.lock().unwrap().len()
    }
}

fn client(redirect_uri: Option<&str>) -> Client {
    Client {
        id: "id".into(),
        proof: crate::config::oauth::ClientProof::None,
        redirect_uri: redirect_uri.map(str::to_owned),
    }
}

#[tokio::test]
async fn the_page_tells_what_happened_and_nothing_secret() {
    let listening = Listening::new(None).await;
    let page = listening.get("/?code=canary-code&state=right").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(
        page.contains("Anna &lt;anna@example.org&gt; is signed in"),
        "{page}"
    );
    assert!(!page.contains("canary"), "{page}");
    for field in [
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "Content-Security-Policy: default-src 'none'",
    ] {
        assert!(page.contains(field), "{page}");
    }
}

#[tokio::test]
async fn a_replay_a_wrong_state_and_a_refusal_are_told_apart_from_success() {
    let listening = Listening::new(None).await;
    listening.get("/?code=canary-code&state=right").await;
    for (target, status, words) in [
        (
            "/?code=canary-code&state=right",
            "410 Gone",
            "not under way",
        ),
        (
            "/?code=canary-code&state=wrong",
            "410 Gone",
            "not under way",
        ),
        (
            "/?error=access_denied&state=right",
            "403 Forbidden",
            "&lt;you&gt; said no",
        ),
    ] {
        let page = listening.get(target).await;
        assert!(
            page.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{page}"
        );
        assert!(page.contains(words) && !page.contains("canary"), "{page}");
    }
}

#[tokio::test]
async fn what_is_no_redirect_ends_no_sign_in() {
    let listening = Listening::new(None).await;
    let long = format!("GET /?{} HTTP/1.1\r\n\r\n", "x".repeat(2 * HEAD_MAX));
    let many = format!(
        "GET /?a HTTP/1.1\r\n{}\r\n",
        "X: y\r\n".repeat(HEAD_MAX / 4)
    );
    for (request, status) in [
        (
            "GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "404",
        ),
        (
            "GET /favicon.ico?state=right HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "404",
        ),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        (
            "GET /?state=right HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "421",
        ),
        ("GET /?state=right HTTP/1.1\r\n\r\n", "400"),
        (
            "POST /?state=right HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "405",
        ),
        (
            "HEAD /?state=right HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "405",
        ),
        ("\u{16}\u{3}\r\n\r\n", "400"),
        (&long, "431"),
        (&many, "431"),
    ] {
        let answer = listening.say(request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    assert_eq!(listening.finished(), 0);
}

#[tokio::test]
async fn a_registered_redirect_keeps_its_spelling_and_gets_our_port() {
    let listening = Listening::new(Some("http://localhost/seznam")).await;
    let port = listening.callback.port();
    for (own, uri) in [
        (None, format!("http://localhost:{port}/")),
        (
            Some("http://127.0.0.1:{port}/a"),
            format!("http://127.0.0.1:{port}/a"),
        ),
        (Some("http://localhost"), format!("http://localhost:{port}")),
        (Some("http://[::1]/a?b"), format!("http://[::1]:{port}/a?b")),
        (
            Some("http://localhost:99/"),
            "http://localhost:99/".to_owned(),
        ),
        (Some("https://127.0.0.1"), "https://127.0.0.1".to_owned()),
    ] {
        assert_eq!(listening.callback.redirect_uri(&client(own)), uri);
    }
    let page = listening.get("/seznam?code=canary-code&state=right").await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = Listening::new(None).await;
    let port = first.callback.port();
    let second = Callback::open(port, Arc::new(OneSignIn::default())).await;
    let error = second.unwrap_err();
    assert_eq!(error.address.port(), port);
    assert!(error.to_string().contains("sign_in.port"), "{error}");
}
