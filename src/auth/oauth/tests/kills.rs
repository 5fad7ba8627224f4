//! kill -9 at every step between the issuer's answer and the commit loses no grant.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::*;

/// The parent starts this very test again as a child that asks for one token after the other, each ended when it is
/// used; it kills the child at some point, and the grant still works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_loses_no_grant() {
    if let (Some(state), Ok(base)) = (std::env::var_os(FOLDER), std::env::var(BASE)) {
        return renew_until_killed(PathBuf::from(state), &base).await;
    }
    let lanes: Vec<_> = (0..LANES).map(|_| tokio::spawn(lane())).collect();
    for lane in lanes {
        lane.await.unwrap();
    }
}

/// Kills one child after the other that use the same grant.
async fn lane() {
    let (arrived, arrivals) = std::sync::mpsc::channel();
    let house = House::new(forgiving(arrived)).await;
    let grant = Arc::new(house.grant(Flow::AuthorizationCode));
    sign_in(&house.tokens, &grant).await;
    let (folder, base) = (house.folder.path().to_owned(), house.issuer.url(""));
    let killing = tokio::task::spawn_blocking(move || {
        (0..ROUNDS).for_each(|round| kill_one(round, &folder, &base, &arrivals));
    });
    killing.await.unwrap();
    let again = Tokens::new(house.store.clone()).unwrap();
    again.advance(7_200);
    again.access_token(&grant, IMAP).await.unwrap();
}

/// While the answer is on its way, is read, or is being committed; or when the token is in hand. That the next child gets
/// a token at all shows that the grant has survived, and that nobody waits for the lease of a dead one.
fn kill_one(round: u32, folder: &Path, base: &str, arrivals: &Receiver<String>) {
    let mut child = child(folder, base);
    let await_one = |awaited: &str| while arrivals.recv_timeout(PATIENCE).unwrap() != awaited {};
    await_one("/token");
    await_one(SAID);
    if !round.is_multiple_of(4) {
        await_one("/token");
        std::thread::sleep(STEP * (round / 4 * 3 + round % 4));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while arrivals.try_recv().is_ok() {}
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

fn child(folder: &Path, base: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(FOLDER, folder)
        .env(BASE, base)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn renew_until_killed(folder: PathBuf, base: &str) {
    let tokens = Tokens::new(open(&folder).await).unwrap();
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

/// Side by side, on the two processors that a small machine has.
const LANES: u32 = 4;

/// Each starts a process.
const ROUNDS: u32 = 50;

/// From the request to the use of its token it takes some milliseconds; each round dies a little later than the one before.
const STEP: Duration = Duration::from_micros(150);

/// For a child to start.
const PATIENCE: Duration = Duration::from_secs(60);
