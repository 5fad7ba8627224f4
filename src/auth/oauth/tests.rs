//! Tokens and sign-ins against a scripted issuer.

mod issuer;
mod kills;
mod logins;
mod sign_ins;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use self::issuer::{Asked, Said, TestIssuer, json};
use super::*;
use crate::auth::token::{ANY, Given};
use crate::config::oauth::{Client, ClientProof, Endpoints, Flow, Grant, Issuer, Scopes};
use crate::config::runtime::{KeySource, SecretSource, StoreSettings};
use crate::proto::refusal::Cause;
use crate::protocol::Protocol;
use crate::store::Store;

/// In every token; must show nowhere.
const CANARY: &str = "canary-9d41";

const IMAP: Protocol = Protocol::Imap;

/// An issuer, a store, and the tokens over it.
struct House {
    folder: tempfile::TempDir,
    issuer: TestIssuer,
    store: Store,
    tokens: Tokens,
}

impl House {
    async fn new(script: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        Self {
            issuer: TestIssuer::start(script).await,
            tokens: Tokens::new(store.clone()).unwrap(),
            store,
            folder,
        }
    }

    fn grant(&self, flow: Flow) -> Grant {
        grant(&self.issuer.url(""), flow)
    }

    /// A grant somebody has signed in to; its access token has ended, its refresh token is `r1`.
    async fn ended_grant(&self) -> Arc<Grant> {
        let grant = Arc::new(self.grant(Flow::AuthorizationCode));
        sign_in(&self.tokens, &grant).await;
        self.tokens.advance(7_200);
        grant
    }

    async fn token(&self, grant: &Arc<Grant>) -> String {
        let access = self.tokens.access_token(grant, IMAP).await.unwrap();
        grants::text(&access.token)
    }

    async fn cause(&self, grant: &Arc<Grant>) -> (Cause, String) {
        let refusal = self.tokens.access_token(grant, IMAP).await.unwrap_err();
        (refusal.cause, refusal.text)
    }
}

async fn open(folder: &std::path::Path) -> Store {
    let state = folder.join("state");
    let settings = StoreSettings {
        url: format!("sqlite:{}", state.join("store.db").display()),
        key: KeySource::File(state.join("store.key")),
    };
    Store::open(&settings).await.unwrap()
}

fn grant(base: &str, flow: Flow) -> Grant {
    Grant {
        name: "anna@x.org".into(),
        issuer: Issuer {
            name: "custom".into(),
            title: "Example".into(),
            identifier: Some("https://issuer.example".into()),
            endpoints: Endpoints::Given {
                authorize: format!("{base}/authorize"),
                token: format!("{base}/token"),
                device: Some(format!("{base}/device")),
                revoke: Some(format!("{base}/revoke")),
            },
            ca_file: None,
            sasl: Vec::new(),
        },
        client: Client {
            id: "client-1".into(),
            proof: ClientProof::None,
            redirect_uri: None,
        },
        flow,
        scopes: Scopes {
            common: vec!["offline_access".into()],
            by_protocol: [(IMAP, vec!["mail.imap".into()])].into(),
            separate: false,
        },
        authorize_parameters: [("login_hint".into(), "anna@x.org".into())].into(),
        token_parameters: [("resource".into(), "https://mail.x.org".into())].into(),
    }
}

/// As after a sign-in that brought `a0` and `r1`.
async fn sign_in(tokens: &Tokens, grant: &Arc<Grant>) {
    let given = Given {
        access: Secret::from("a0"),
        lifetime: None,
        refresh: Some(Secret::from("r1")),
        refresh_lifetime: None,
    };
    let outcome = crate::auth::token::Outcome::Refreshed(given);
    sign_in::commit(&tokens.sign_ins().core, grant, outcome)
        .await
        .unwrap();
}

/// Numbered tokens, rotated each time.
fn rotating() -> impl Fn(&Asked) -> Said + Send + Sync {
    let count = AtomicUsize::new(0);
    move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = json!({
            "access_token": format!("{CANARY}-a{n}"), "token_type": "Bearer", "expires_in": 3600,
            "refresh_token": format!("{CANARY}-r{}", n + 1),
        });
        json(200, &answer)
    }
}

fn refuse(code: &'static str, description: &'static str) -> impl Fn(&Asked) -> Said + Send + Sync {
    move |_| {
        json(
            400,
            &json!({"error": code, "error_description": description}),
        )
    }
}

#[tokio::test]
async fn a_token_is_renewed_by_the_refresh_token_and_then_comes_from_memory() {
    let house = House::new(rotating()).await;
    let grant = house.ended_grant().await;
    for _ in 0..3 {
        assert_eq!(house.token(&grant).await, format!("{CANARY}-a1"));
    }
    let asked = house.issuer.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].of("grant_type"), "refresh_token");
    assert_eq!(asked[0].of("refresh_token"), "r1");
    assert_eq!(asked[0].of("client_id"), "client-1");
    assert_eq!(asked[0].of("resource"), "https://mail.x.org");
    house.tokens.advance(3_600);
    assert_eq!(house.token(&grant).await, format!("{CANARY}-a2"));
    assert_eq!(
        house.issuer.asked()[1].of("refresh_token"),
        format!("{CANARY}-r2")
    );
}

#[tokio::test]
async fn a_connection_to_the_issuer_serves_many_requests() {
    let house = House::new(rotating()).await;
    let grant = house.ended_grant().await;
    for _ in 0..5 {
        house.token(&grant).await;
        house.tokens.advance(3_600);
    }
    assert_eq!((house.issuer.count(), house.issuer.connections()), (5, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_logins_with_an_ended_token_make_one_request() {
    let house = House::new(rotating()).await;
    let grant = house.ended_grant().await;
    let logins: Vec<_> = (0..100)
        .map(|_| {
            let (tokens, grant) = (house.tokens.clone(), Arc::clone(&grant));
            tokio::spawn(async move { tokens.access_token(&grant, IMAP).await.unwrap() })
        })
        .collect();
    for login in logins {
        let access = login.await.unwrap();
        assert_eq!(grants::text(&access.token), format!("{CANARY}-a1"));
    }
    assert_eq!(house.issuer.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_on_one_store_make_one_request() {
    let house = House::new(rotating()).await;
    let grant = house.ended_grant().await;
    let other = Tokens::new(open(house.folder.path()).await).unwrap();
    other.advance(7_200);
    let (one, two) = tokio::join!(
        house.tokens.access_token(&grant, IMAP),
        other.access_token(&grant, IMAP)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.token.expose(), two.token.expose());
    assert_eq!(one.generation, two.generation);
    assert_eq!(house.issuer.count(), 1);
}

#[tokio::test]
async fn a_renewed_grant_survives_a_restart() {
    let house = House::new(rotating()).await;
    let grant = house.ended_grant().await;
    house.token(&grant).await;
    let again = Tokens::new(open(house.folder.path()).await).unwrap();
    again.advance(7_200);
    let access = again.access_token(&grant, IMAP).await.unwrap();
    assert_eq!(grants::text(&access.token), format!("{CANARY}-a1"));
    assert_eq!(house.issuer.count(), 1, "the token was stored as well");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_a_fresh_one_is_kept() {
    let house = House::new(rotating()).await;
    let grant = house.ended_grant().await;
    let first = house.tokens.access_token(&grant, IMAP).await.unwrap();
    house.tokens.rejected(&grant, IMAP, first.generation);
    let second = house.tokens.access_token(&grant, IMAP).await.unwrap();
    assert!(second.generation > first.generation);
    house.tokens.rejected(&grant, IMAP, first.generation);
    house.tokens.rejected(&grant, IMAP, second.generation);
    let third = house.tokens.access_token(&grant, IMAP).await.unwrap();
    assert_eq!(third.generation, second.generation);
    assert_eq!(house.issuer.count(), 2);
}

#[tokio::test]
async fn trouble_at_the_issuer_is_temporary_answered_from_memory_and_loses_nothing() {
    let troubles: [Said; 6] = [
        (500, String::new(), "<html>oops</html>".into()),
        (200, String::new(), "<html>captive portal</html>".into()),
        (429, "retry-after: 30\r\n".into(), String::new()),
        (
            302,
            "location: https://elsewhere.example/\r\n".into(),
            String::new(),
        ),
        json(503, &json!({"error": "temporarily_unavailable"})),
        json(500, &json!({"error": "invalid_grant"})),
    ];
    for trouble in troubles {
        let house = House::new(move |_| trouble.clone()).await;
        let grant = house.ended_grant().await;
        for _ in 0..5 {
            assert_eq!(house.cause(&grant).await.0, Cause::Unavailable);
        }
        assert_eq!(
            house.issuer.count(),
            1,
            "the others are answered from memory"
        );
        assert!(matches!(
            house.tokens.state(&grant).await,
            GrantState::Failing { .. }
        ));
        house.issuer.says(rotating());
        house.tokens.advance(60);
        house.token(&grant).await;
        assert_eq!(house.issuer.asked()[1].of("refresh_token"), "r1");
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_temporary() {
    let house = House::new(rotating()).await;
    let mut grant = house.grant(Flow::ClientCredentials);
    grant.issuer.endpoints = Endpoints::Given {
        authorize: String::new(),
        token: "http://127.0.0.1:1/token".into(),
        device: None,
        revoke: None,
    };
    let (cause, text) = house.cause(&Arc::new(grant)).await;
    assert_eq!(cause, Cause::Unavailable);
    assert!(text.contains("cannot reach 127.0.0.1"), "{text}");
}

#[tokio::test]
async fn a_dead_grant_needs_a_sign_in_at_once_and_one_person_is_told_once() {
    let description = "AADSTS700082: The refresh token has expired due to inactivity. r1";
    let house = House::new(refuse("invalid_grant", description)).await;
    let grant = house.ended_grant().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&told);
    house.tokens.on_needed(move |grant, why| {
        list.lock().unwrap().push(format!("{}: {why}", grant.name));
    });
    for _ in 0..3 {
        let (cause, text) = house.cause(&grant).await;
        assert_eq!(cause, Cause::SignInNeeded);
        assert!(text.contains("mailsluice sign-in anna@x.org"), "{text}");
        assert!(text.contains("not used for 90 days"), "{text}");
        assert!(
            text.contains("AADSTS700082") && !text.contains(" r1"),
            "{text}"
        );
    }
    assert_eq!(house.issuer.count(), 1);
    assert_eq!(told.lock().unwrap().len(), 1, "{told:?}");
    let again = Tokens::new(house.store.clone()).unwrap();
    assert!(matches!(
        again.state(&grant).await,
        GrantState::NeedsSignIn { .. }
    ));
    // Signed in again in one process, the other one sees it at its next login.
    sign_in(&again, &grant).await;
    house.issuer.says(rotating());
    assert_eq!(
        again
            .access_token(&grant, IMAP)
            .await
            .unwrap()
            .token
            .expose(),
        b"a0"
    );
    house.token(&grant).await;
}

#[tokio::test]
async fn a_refused_client_keeps_the_grant_and_is_no_matter_for_a_sign_in() {
    let description = "AADSTS7000222: The provided client secret keys are expired.";
    let house = House::new(refuse("invalid_client", description)).await;
    let grant = house.ended_grant().await;
    let (cause, text) = house.cause(&grant).await;
    assert_eq!(cause, Cause::ServerBug);
    assert!(text.contains("client secret has expired"), "{text}");
    house.issuer.says(rotating());
    house.tokens.advance(3_600);
    house.token(&grant).await;
    assert_eq!(house.issuer.asked()[1].of("refresh_token"), "r1");
}

#[tokio::test]
async fn the_refresh_token_before_is_tried_once_when_the_new_one_is_dead() {
    let house = House::new(rotating()).await;
    let grant = house.ended_grant().await;
    house.token(&grant).await;
    house.tokens.advance(3_600);
    // The issuer never finished its side of the rotation.
    house.issuer.says(|asked| match asked.of("refresh_token") {
        "r1" => json(200, &json!({"access_token": "a9", "refresh_token": "r9"})),
        _ => json(400, &json!({"error": "invalid_grant"})),
    });
    assert_eq!(house.token(&grant).await, "a9");
    house.issuer.says(refuse("invalid_grant", ""));
    house.tokens.advance(3_600);
    assert_eq!(house.cause(&grant).await.0, Cause::SignInNeeded);
    let sent: Vec<_> = house.issuer.asked();
    let sent: Vec<_> = sent.iter().map(|asked| asked.of("refresh_token")).collect();
    let rotated = format!("{CANARY}-r2");
    assert_eq!(sent, ["r1", &rotated, "r1", "r9", "r1"]);
}

#[tokio::test]
async fn an_answer_without_a_refresh_token_keeps_the_old_and_odd_numbers_are_read() {
    let house = House::new(|_| {
        let text = r#"{"access_token": "a", "expires_in": "120"}"#;
        (200, "content-type: text/html\r\n".into(), text.into())
    })
    .await;
    let grant = house.ended_grant().await;
    for _ in 0..3 {
        house.token(&grant).await;
        house.tokens.advance(120);
    }
    let asked = house.issuer.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|asked| asked.of("refresh_token") == "r1"));
}

#[tokio::test]
async fn grants_without_a_person_are_obtained_anew() {
    let house = House::new(|_| json(200, &json!({"access_token": "a", "expires_in": 60}))).await;
    let mut grant = house.grant(Flow::ClientCredentials);
    grant.client.proof = ClientProof::Secret(SecretSource::Command("echo 'se cret'".into()));
    let grant = Arc::new(grant);
    for _ in 0..2 {
        house.token(&grant).await;
        house.tokens.advance(60);
    }
    let asked = house.issuer.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].of("grant_type"), "client_credentials");
    assert_eq!(asked[0].of("scope"), "mail.imap offline_access");
    assert_eq!(asked[0].of("client_secret"), "se cret");

    let source = SecretSource::Command("echo pass-word".into());
    let grant = Arc::new(house.grant(Flow::Password(source)));
    house.token(&grant).await;
    let asked = house.issuer.asked().remove(2);
    assert_eq!(asked.of("grant_type"), "password");
    assert_eq!(asked.of("username"), "anna@x.org");
    assert_eq!(asked.of("password"), "pass-word");
}

#[tokio::test]
async fn each_protocol_has_a_token_of_its_own_where_the_issuer_wants_it() {
    let house = House::new(rotating()).await;
    let mut grant = house.grant(Flow::AuthorizationCode);
    grant.scopes.separate = true;
    let smtp = vec!["mail.smtp".into()];
    grant.scopes.by_protocol.insert(Protocol::Smtp, smtp);
    let grant = Arc::new(grant);
    sign_in(&house.tokens, &grant).await;
    let (imap, smtp) = tokio::join!(
        house.tokens.access_token(&grant, IMAP),
        house.tokens.access_token(&grant, Protocol::Smtp)
    );
    assert_ne!(imap.unwrap().token.expose(), smtp.unwrap().token.expose());
    let mut asked = house.issuer.asked();
    asked.sort_by_key(|asked| asked.of("scope").to_owned());
    let scopes: Vec<_> = asked.iter().map(|asked| asked.of("scope")).collect();
    assert_eq!(
        scopes,
        ["mail.imap offline_access", "mail.smtp offline_access"]
    );
    let mut sent: Vec<_> = asked.iter().map(|a| a.of("refresh_token")).collect();
    sent.sort_unstable();
    assert_eq!(sent, [&format!("{CANARY}-r2"), "r1"], "one after the other");
}

#[tokio::test]
async fn the_background_renews_before_the_end_and_logins_do_not_wait() {
    let house = House::new(rotating()).await;
    let grant = Arc::new(house.grant(Flow::AuthorizationCode));
    sign_in(&house.tokens, &grant).await;
    let stop = tokio_util::sync::CancellationToken::new();
    house.tokens.advance(3_300);
    let (tokens, all) = (house.tokens.clone(), vec![Arc::clone(&grant)]);
    let until = stop.clone();
    let task = tokio::spawn(async move { tokens.keep_fresh(move || all.clone(), until).await });
    while house.issuer.count() == 0 {
        tokio::task::yield_now().await;
    }
    while house.token(&grant).await == "a0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.issuer.count(), 1);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_stop_waits_until_an_answer_under_way_is_stored() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (released, rotate) = (Mutex::new(released), rotating());
    let house = House::new(move |asked| {
        let _ = released.lock().unwrap().recv();
        rotate(asked)
    })
    .await;
    let grant = house.ended_grant().await;
    let before = house.store.grant(&grant.name).await.unwrap().unwrap();
    let (tokens, of) = (house.tokens.clone(), Arc::clone(&grant));
    let login = tokio::spawn(async move { tokens.access_token(&of, IMAP).await });
    while house.issuer.count() == 0 {
        tokio::task::yield_now().await;
    }
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    let (tokens, until) = (house.tokens.clone(), stop);
    let task = tokio::spawn(async move { tokens.keep_fresh(Vec::new, until).await });
    release.send(()).unwrap();
    task.await.unwrap();
    let after = house.store.grant(&grant.name).await.unwrap().unwrap();
    assert!(after.generation > before.generation);
    login.await.unwrap().unwrap();
}

#[tokio::test]
async fn another_client_id_ends_what_was_granted_to_the_old_one() {
    let house = House::new(rotating()).await;
    let grant = house.ended_grant().await;
    let mut other = (*grant).clone();
    other.client.id = "client-2".into();
    let (cause, _) = house.cause(&Arc::new(other)).await;
    assert_eq!(cause, Cause::SignInNeeded);
    assert_eq!(house.issuer.count(), 0);
    house.token(&grant).await;
}

#[tokio::test]
async fn a_sign_out_revokes_and_forgets_also_when_the_issuer_is_down() {
    let house = House::new(|_| (200, String::new(), String::new())).await;
    let grant = house.ended_grant().await;
    house.tokens.sign_out(&grant).await.unwrap();
    let asked = house.issuer.asked().remove(0);
    assert_eq!((asked.path.as_str(), asked.of("token")), ("/revoke", "r1"));
    assert_eq!(house.cause(&grant).await.0, Cause::SignInNeeded);
    sign_in(&house.tokens, &grant).await;
    house.issuer.says(|_| (503, String::new(), String::new()));
    assert!(house.tokens.sign_out(&grant).await.is_err());
    assert_eq!(house.tokens.state(&grant).await, GrantState::Empty);
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let house = House::new(rotating()).await;
    let grant = house.ended_grant().await;
    let access = house.tokens.access_token(&grant, IMAP).await.unwrap();
    let slot = house.tokens.sign_ins().core.slot(&grant);
    let life = slot.life().clone();
    let (_, attempt) = life.began(ANY).unwrap();
    let shown = format!("{:?} {access:?} {life:?} {attempt:?}", house.tokens);
    assert!(!shown.contains(CANARY) && !shown.contains("r1"), "{shown}");
    let database = std::fs::read(house.folder.path().join("state/store.db")).unwrap();
    let wal = std::fs::read(house.folder.path().join("state/store.db-wal")).unwrap_or_default();
    let text = String::from_utf8_lossy(&database) + String::from_utf8_lossy(&wal);
    assert!(!text.contains(CANARY), "a token lies open in the store");
}
