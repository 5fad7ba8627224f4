//! The issuer by itself: what it grants, once, and to whom.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::bridge::memory::MemoryMailbox;
use crate::bridge::provider::{Door, serve as serve_mail};
use crate::proto::sasl;
use crate::protocol::Protocol;
use crate::secret::Secret;

const REDIRECT: &str = "http://127.0.0.1:9/";

fn issuer() -> Issuer {
    Issuer::new("https://localhost:1".to_owned(), "ole@example.org")
}

fn fields(list: &[(&str, &str)]) -> Fields {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    list.iter().map(owned).collect()
}

fn asked(consent: &str, method: &str) -> Answer {
    authorized(&issuer(), consent, method)
}

fn authorized(issuer: &Issuer, consent: &str, method: &str) -> Answer {
    let request = fields(&[
        ("response_type", "code"),
        ("client_id", Issuer::CLIENT_ID),
        ("redirect_uri", REDIRECT),
        ("state", "s&1"),
        ("code_challenge", &s256("verifier")),
        ("code_challenge_method", method),
        ("consent", consent),
    ]);
    issuer.authorize(&request, "q=<1>")
}

/// The parameters of the redirect that `answer` is.
fn redirected(answer: &Answer) -> Fields {
    let location = answer.fields.iter().find(|(name, _)| *name == "Location");
    let location = Url::parse(&location.unwrap().1).unwrap();
    location.query_pairs().into_owned().collect()
}

fn exchange(issuer: &Issuer, code: &str, verifier: &str) -> serde_json::Value {
    let answer = issuer.token(&fields(&[
        ("grant_type", "authorization_code"),
        ("client_id", Issuer::CLIENT_ID),
        ("code", code),
        ("code_verifier", verifier),
        ("redirect_uri", REDIRECT),
    ]));
    serde_json::from_str(&answer.content).unwrap()
}

fn refreshed(issuer: &Issuer, token: &str) -> serde_json::Value {
    let answer = issuer.token(&fields(&[
        ("grant_type", "refresh_token"),
        ("client_id", Issuer::CLIENT_ID),
        ("refresh_token", token),
    ]));
    serde_json::from_str(&answer.content).unwrap()
}

#[test]
fn the_person_is_asked_and_may_refuse() {
    let question = asked("", "S256");
    assert!(question.content.contains("q=&lt;1&gt;&amp;consent=yes"));
    let refused = redirected(&asked("no", "S256"));
    assert_eq!(
        (refused["error"].as_str(), refused["state"].as_str()),
        ("access_denied", "s&1")
    );
    assert_eq!(
        redirected(&asked("yes", "plain"))["error"],
        "invalid_request"
    );
    assert_eq!(
        redirected(&asked("yes", "S256"))["iss"],
        "https://localhost:1"
    );
}

#[test]
fn a_code_works_once_and_with_its_verifier_only() {
    let issuer = issuer();
    let code = redirected(&authorized(&issuer, "yes", "S256"))["code"].clone();
    assert_eq!(
        exchange(&issuer, &code, "another")["error"],
        "invalid_grant"
    );
    let code = redirected(&authorized(&issuer, "yes", "S256"))["code"].clone();
    let tokens = exchange(&issuer, &code, "verifier");
    assert!(issuer.takes(tokens["access_token"].as_str().unwrap().as_bytes()));
    assert_eq!(
        exchange(&issuer, &code, "verifier")["error"],
        "invalid_grant"
    );
    assert_eq!(issuer.token_requests(), 3);
}

#[test]
fn refresh_tokens_rotate_and_a_used_one_ends_the_grant() {
    let issuer = issuer();
    let code = redirected(&authorized(&issuer, "yes", "S256"))["code"].clone();
    let first = exchange(&issuer, &code, "verifier");
    issuer.expire_tokens();
    assert!(!issuer.takes(first["access_token"].as_str().unwrap().as_bytes()));
    let second = refreshed(&issuer, first["refresh_token"].as_str().unwrap());
    let access = second["access_token"].as_str().unwrap().as_bytes();
    assert!(issuer.takes(access));
    let replayed = refreshed(&issuer, first["refresh_token"].as_str().unwrap());
    assert_eq!(replayed["error"], "invalid_grant");
    assert!(!issuer.takes(access));
    let ended = refreshed(&issuer, second["refresh_token"].as_str().unwrap());
    assert_eq!(ended["error"], "invalid_grant");
}

#[test]
fn only_loopback_is_a_way_back() {
    for redirect in [
        "https://evil.example/",
        "http://localhost.evil.example/",
        "x",
    ] {
        let request = fields(&[("client_id", Issuer::CLIENT_ID), ("redirect_uri", redirect)]);
        assert_eq!(issuer().authorize(&request, "").status, "400 Bad Request");
    }
}

/// What a server says to a client that logs in as Ole with `token`, and answers what comes with ^A.
async fn login(issuer: &Arc<Issuer>, protocol: Protocol, message: &str) -> String {
    let mailbox = Arc::new(MemoryMailbox::new());
    let door = Door::new(Secret::from("x"), mailbox.clone()).with_tokens(issuer.clone(), mailbox);
    let encoded = sasl::encode(message.as_bytes());
    let mechanism = if message.starts_with("user=") {
        "XOAUTH2"
    } else {
        "OAUTHBEARER"
    };
    let before = match protocol {
        Protocol::Imap => "a AUTHENTICATE",
        Protocol::Pop3 | Protocol::Smtp => "AUTH",
    };
    let encoded = String::from_utf8_lossy(encoded.expose()).into_owned();
    let input = format!("{before} {mechanism} {encoded}\r\nAQ==\r\n");
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    client.write_all(input.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    // How it ended shows in what was said.
    let _ = serve_mail(protocol, server, &door, Default::default()).await;
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    heard
}

#[tokio::test]
async fn all_three_servers_take_a_token_and_challenge_a_wrong_one() {
    let issuer = Arc::new(issuer());
    let code = redirected(&authorized(&issuer, "yes", "S256"))["code"].clone();
    let tokens = exchange(&issuer, &code, "verifier");
    let token = tokens["access_token"].as_str().unwrap();
    for (protocol, taken, refused) in [
        (Protocol::Imap, "a OK", "a NO [AUTHENTICATIONFAILED]"),
        (Protocol::Pop3, "+OK Logged in", "-ERR [AUTH]"),
        (Protocol::Smtp, "235 ", "535 5.7.8"),
    ] {
        for token in [token, "wrong"] {
            for message in [
                format!("user=ole@example.org\u{1}auth=Bearer {token}\u{1}\u{1}"),
                format!("n,a=ole@example.org,\u{1}auth=Bearer {token}\u{1}\u{1}"),
            ] {
                let heard = login(&issuer, protocol, &message).await;
                let challenged = heard.contains("eyJzdGF0dXMiOiI0MDAi");
                if token == "wrong" {
                    assert!(heard.contains(refused) && challenged, "{heard}");
                } else {
                    assert!(heard.contains(taken) && !challenged, "{heard}");
                }
            }
        }
    }
}
