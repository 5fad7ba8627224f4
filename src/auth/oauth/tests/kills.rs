//! kill -9 at every step between the issuer's answer and the commit loses no grant.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;

/// The parent starts this very test again as a child that asks for one token after the other, each ended when it is
/// used; it kills the child at some point, and in the end the grant still works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_loses_no_grant() {
    if let (Some(state), Ok(base)) = (std::env::var_os(FOLDER), std::env::var(BASE)) {
        return renew_until_killed(PathBuf::from(state), &base).await;
    }
    let (arrived, arrivals) = std::sync::mpsc::channel();
    let house = House::new(forgiving(arrived)).await;
    let grant = Arc::new(house.grant(Flow::AuthorizationCode));
    sign_in(&house.tokens, &grant).await;
    let mut said = 0;
    for round in 0..ROUNDS {
        let mut child = child(&house);
        // While the answer is on its way, is read, or is being committed; or when the token is in hand.
        let awaited = if round % 2 == 0 { "/token" } else { SAID };
        let mut seen = 0;
        while seen <= round % 3 {
            let path = arrivals.recv().unwrap();
            seen += usize::from(path == awaited);
            said += usize::from(path == SAID);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while arrivals.try_recv().is_ok() {}
    }
    assert!(said >= ROUNDS / 2, "the children said too little: {said}");
    let again = Tokens::with_lease(house.store.clone(), SHORT).unwrap();
    again.advance(7_200);
    again.access_token(&grant, IMAP).await.unwrap();
}

/// Takes the newest refresh token and, until that has been used, the one before; never any other.
fn forgiving(arrived: std::sync::mpsc::Sender<String>) -> impl Fn(&Asked) -> Said + Send + Sync {
    let good = Mutex::new(("r0".to_owned(), "r1".to_owned(), 1));
    move |asked| {
        let _ = arrived.send(asked.path.clone());
        if asked.path == SAID {
            return json(200, &json!({}));
        }
        let mut good = good.lock().unwrap();
        let (before, newest, count) = &mut *good;
        let sent = asked.of("refresh_token");
        if sent != before.as_str() && sent != newest.as_str() {
            return json(400, &json!({"error": "invalid_grant"}));
        }
        *count += 1;
        *before = sent.to_owned();
        *newest = format!("r{count}");
        let answer = json!({"access_token": "a", "refresh_token": newest, "expires_in": 3600});
        json(200, &answer)
    }
}

fn child(house: &House) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(FOLDER, house.folder.path())
        .env(BASE, house.issuer.url(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn renew_until_killed(folder: PathBuf, base: &str) {
    let tokens = Tokens::with_lease(open(&folder).await, SHORT).unwrap();
    let grant = Arc::new(grant(base, Flow::AuthorizationCode));
    let http = http::Http::new().unwrap();
    loop {
        tokens.advance(7_200);
        tokens.access_token(&grant, IMAP).await.unwrap();
        http.get(None, &format!("{base}{SAID}")).await.unwrap();
    }
}

const NAME: &str = "auth::oauth::tests::kills::kill_nine_loses_no_grant";

/// In the environment of the child: the folder of the store, and the issuer's address.
const FOLDER: &str = "MAILSLUICE_TEST_GRANT_FOLDER";
const BASE: &str = "MAILSLUICE_TEST_GRANT_ISSUER";

/// Fetched by the child for each token that was handed out.
const SAID: &str = "/in-hand";

/// A killed holder's lease ends soon; there is never a second one beside it.
const SHORT: Duration = Duration::from_millis(100);

/// Each starts a process.
const ROUNDS: usize = 24;
