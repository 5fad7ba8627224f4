//! Sign-ins: the redirect's checks, the code's exchange, the device code.

use super::*;

/// The parameters of the URL that the browser opens.
fn parameters(url: &str) -> std::collections::BTreeMap<String, String> {
    let url = reqwest::Url::parse(url).unwrap();
    url.query_pairs().into_owned().collect()
}

const REDIRECT: &str = "http://127.0.0.1:7/callback";

#[tokio::test]
async fn a_code_is_exchanged_with_the_verifier_once() {
    let house = House::new(rotating()).await;
    let grant = Arc::new(house.grant(Flow::AuthorizationCode));
    let sign_ins = house.tokens.sign_ins();
    let begun = sign_ins.begin(Arc::clone(&grant), REDIRECT).await.unwrap();
    assert_eq!(house.tokens.state(&grant).await, GrantState::Pending);
    let url = parameters(&begun.url);
    assert_eq!(url["code_challenge_method"], "S256");
    assert_eq!(url["redirect_uri"], REDIRECT);
    assert_eq!(url["login_hint"], "anna@x.org");
    assert_eq!(url["scope"], "mail.imap offline_access");
    assert_eq!(url["state"], begun.state);
    assert!(begun.state.len() >= 22, "128 bits");
    let query = format!("{REDIRECT}?code=c%2B1&state={}#_=_", begun.state);
    let (waited, finished) = tokio::join!(sign_ins.wait(&begun.state), sign_ins.finish(&query));
    waited.unwrap();
    assert_eq!(finished.unwrap().name, "anna@x.org");
    let asked = house.issuer.asked().remove(0);
    assert_eq!(asked.of("code"), "c+1", "decoded once");
    assert_eq!(asked.of("redirect_uri"), REDIRECT);
    let verifier = oauth2::PkceCodeVerifier::new(asked.of("code_verifier").to_owned());
    let challenge = oauth2::PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    assert_eq!(url["code_challenge"], challenge.as_str());
    let replayed = sign_ins.finish(&query).await;
    assert!(matches!(replayed, Err(SignInError::Unknown)));
    assert_eq!(house.token(&grant).await, format!("{CANARY}-a1"));
    assert_eq!(house.issuer.count(), 1);
}

#[tokio::test]
async fn a_forged_or_foreign_redirect_asks_nothing_of_the_issuer() {
    let house = House::new(rotating()).await;
    let grant = Arc::new(house.grant(Flow::AuthorizationCode));
    let sign_ins = house.tokens.sign_ins();
    let begin = || sign_ins.begin(Arc::clone(&grant), REDIRECT);
    let state = begin().await.unwrap().state;
    for malformed in [
        String::new(),
        "favicon.ico".into(),
        format!("state={state}"),
        "code=c".into(),
        format!("code=c&code=d&state={state}"),
        format!("code=c&state={state}&state={state}"),
        format!("code=c&error=e&state={state}"),
    ] {
        let result = sign_ins.finish(&malformed).await;
        assert!(matches!(result, Err(SignInError::Malformed)), "{malformed}");
    }
    let forged = sign_ins.finish("code=c&state=AAAAAAAAAAAAAAAAAAAAAA").await;
    assert!(matches!(forged, Err(SignInError::Unknown)));
    let foreign = format!("code=c&state={state}&iss=https%3A%2F%2Fevil.example");
    let foreign = sign_ins.finish(&foreign).await;
    assert!(matches!(foreign, Err(SignInError::OtherIssuer)));
    let denied = format!(
        "error=access_denied&error_description=no%0Away&state={}",
        begin().await.unwrap().state
    );
    let error = sign_ins.finish(&denied).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sign-in was refused: access_denied: no way"
    );
    assert_eq!(house.tokens.state(&grant).await, GrantState::Empty);
    assert_eq!(house.issuer.count(), 0);
}

#[tokio::test]
async fn a_second_tab_does_not_disturb_the_first() {
    let house = House::new(rotating()).await;
    let grant = Arc::new(house.grant(Flow::AuthorizationCode));
    let sign_ins = house.tokens.sign_ins();
    let first = sign_ins.begin(Arc::clone(&grant), REDIRECT).await.unwrap();
    let second = sign_ins.begin(Arc::clone(&grant), REDIRECT).await.unwrap();
    assert_ne!(first.state, second.state);
    for begun in [second, first] {
        let query = format!("code=c&state={}&iss=https://issuer.example", begun.state);
        sign_ins.finish(&query).await.unwrap();
    }
    assert_eq!(house.issuer.count(), 2);
}

#[tokio::test]
async fn a_code_that_the_issuer_refuses_leaves_the_grant_as_it_was() {
    let house = House::new(refuse("invalid_grant", "code c-1 is used")).await;
    let grant = house.ended_grant().await;
    let sign_ins = house.tokens.sign_ins();
    let begun = sign_ins.begin(Arc::clone(&grant), REDIRECT).await.unwrap();
    let query = format!("code=c-1&state={}", begun.state);
    let error = sign_ins.finish(&query).await.unwrap_err();
    assert!(matches!(
        &error,
        SignInError::Exchange(OAuthError::Refused(_))
    ));
    assert!(!format!("{error:?}").contains("c-1"), "{error:?}");
    house.issuer.says(rotating());
    house.token(&grant).await;
    assert_eq!(house.issuer.asked()[1].of("refresh_token"), "r1");
}

#[tokio::test]
async fn a_sign_in_expires_after_ten_minutes() {
    let house = House::new(rotating()).await;
    let grant = Arc::new(house.grant(Flow::AuthorizationCode));
    let sign_ins = house.tokens.sign_ins();
    let begun = sign_ins.begin(Arc::clone(&grant), REDIRECT).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(601)).await;
    tokio::time::resume();
    let late = sign_ins
        .finish(&format!("code=c&state={}", begun.state))
        .await;
    assert!(matches!(late, Err(SignInError::Expired)), "{late:?}");
    assert_eq!(house.issuer.count(), 0);
}

#[tokio::test]
async fn endpoints_are_discovered_and_the_issuer_must_name_itself() {
    let base = Arc::new(Mutex::new(String::new()));
    let known = Arc::clone(&base);
    let rotate = rotating();
    let house = House::new(move |asked| {
        let base = known.lock().unwrap().clone();
        match asked.path.as_str() {
            "/.well-known/oauth-authorization-server" => json(
                200,
                &json!({
                    "issuer": base, "token_endpoint": format!("{base}/t"),
                    "authorization_endpoint": format!("{base}/a"),
                    "authorization_response_iss_parameter_supported": true,
                }),
            ),
            "/t" => rotate(asked),
            _ => (404, String::new(), String::new()),
        }
    })
    .await;
    let mut grant = house.grant(Flow::AuthorizationCode);
    *base.lock().unwrap() = house.issuer.url("");
    grant.issuer.endpoints = Endpoints::Discovered;
    grant.issuer.identifier = Some(house.issuer.url(""));
    grant.client.proof = ClientProof::Secret(SecretSource::Command("echo s:1".into()));
    let grant = Arc::new(grant);
    let sign_ins = house.tokens.sign_ins();
    let begun = sign_ins.begin(Arc::clone(&grant), REDIRECT).await.unwrap();
    assert!(begun.url.starts_with(&house.issuer.url("/a?")));
    let nameless = sign_ins
        .finish(&format!("code=c&state={}", begun.state))
        .await;
    assert!(matches!(nameless, Err(SignInError::OtherIssuer)));
    let begun = sign_ins.begin(Arc::clone(&grant), REDIRECT).await.unwrap();
    let named = format!("code=c&state={}&iss={}", begun.state, house.issuer.url(""));
    sign_ins.finish(&named).await.unwrap();
    let asked = house.issuer.asked();
    let token = asked.iter().find(|asked| asked.path == "/t").unwrap();
    // `client-1` and `s%3A1`: RFC 8414 has client_secret_basic where nothing is said.
    assert_eq!(
        token.authorization.as_deref(),
        Some("Basic Y2xpZW50LTE6cyUzQTE=")
    );
}

#[tokio::test]
async fn a_device_code_is_waited_for_at_the_issuers_pace() {
    let looks = AtomicUsize::new(0);
    let house = House::new(move |asked| match asked.path.as_str() {
        "/device" => json(
            200,
            &json!({
                "device_code": CANARY, "user_code": "AB-CD", "verification_url": "https://x.org/d",
                "expires_in": 900, "interval": 5,
            }),
        ),
        _ => match looks.fetch_add(1, Ordering::SeqCst) {
            0 => json(400, &json!({"error": "authorization_pending"})),
            1 => json(400, &json!({"error": "slow_down"})),
            2 => (502, String::new(), "<html>".into()),
            _ => json(200, &json!({"access_token": "a", "refresh_token": "r"})),
        },
    })
    .await;
    let grant = Arc::new(house.grant(Flow::Device));
    let sign_ins = house.tokens.sign_ins();
    let code = sign_ins.device(Arc::clone(&grant)).await.unwrap();
    assert_eq!(code.user_code, "AB-CD");
    assert_eq!(code.verification_uri, "https://x.org/d");
    assert!(!format!("{code:?}").contains(CANARY));
    // Paused, the clock jumps to the next look as soon as nothing else can happen.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    sign_ins
        .wait_device(Arc::clone(&grant), code)
        .await
        .unwrap();
    let waited = began.elapsed().as_secs();
    assert!(waited >= 5 + 5 + 10 + 15, "waited {waited} s");
    let last = house.issuer.asked().pop().unwrap();
    assert_eq!(last.of("device_code"), CANARY);
    tokio::time::resume();
    assert_eq!(house.token(&grant).await, "a");
}

#[tokio::test]
async fn a_device_code_that_is_denied_or_too_late_ends_the_sign_in() {
    for (code, expires) in [
        ("access_denied", 900),
        ("expired_token", 900),
        ("authorization_pending", 12),
    ] {
        let house = House::new(move |asked| match asked.path.as_str() {
            "/device" => json(
                200,
                &json!({
                    "device_code": CANARY, "user_code": "AB", "verification_uri": "https://x.org/d",
                    "expires_in": expires,
                }),
            ),
            _ => json(400, &json!({"error": code})),
        })
        .await;
        let grant = Arc::new(house.grant(Flow::Device));
        let sign_ins = house.tokens.sign_ins();
        let device = sign_ins.device(Arc::clone(&grant)).await.unwrap();
        tokio::time::pause();
        let error = sign_ins
            .wait_device(Arc::clone(&grant), device)
            .await
            .unwrap_err();
        match code {
            "access_denied" => assert!(matches!(error, SignInError::Denied(_)), "{error:?}"),
            _ => assert!(matches!(error, SignInError::Expired), "{error:?}"),
        }
        tokio::time::resume();
        assert_eq!(house.tokens.state(&grant).await, GrantState::Empty);
    }
}
