//! Sign-ins at the embedded issuer, through the real callback listener.

use super::*;
use crate::web::testing::{House, OLE, browse};

fn done() -> Reply {
    Reply::Done { grant: OLE.into() }
}

#[tokio::test]
async fn a_sign_in_is_told_to_the_browser_and_to_whoever_waits() {
    let house = House::new(None).await;
    let (mut visit, url) = house.begin().await;
    assert_eq!(house.state().await, "pending");
    let (_, question) = browse(&url).await;
    assert!(question.contains("Allow"), "{question}");
    let allow = format!("{url}&consent=yes");
    let (waited, page) = tokio::join!(visit.answer(Request::Wait), browse(&allow));
    assert_eq!(waited, done());
    assert!(page.1.contains("ole@x.org is signed in"), "{}", page.1);
    assert_eq!(house.state().await, "active");
    assert_eq!(house.provider.issuer().token_requests(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_to_both() {
    let house = House::new(None).await;
    let (mut visit, url) = house.begin().await;
    let (_, page) = browse(&format!("{url}&consent=no")).await;
    assert!(page.contains("<h1>Refused</h1>"), "{page}");
    let waited = visit.answer(Request::Wait).await;
    assert!(
        matches!(
            waited,
            Reply::Failed {
                kind: Failure::Refused,
                ..
            }
        ),
        "{waited:?}"
    );
    assert_eq!(house.provider.issuer().token_requests(), 0);
}

#[tokio::test]
async fn a_replay_is_no_second_sign_in_and_breaks_nothing() {
    let house = House::new(None).await;
    let (_visit, url) = house.begin().await;
    let (ended_at, _) = browse(&format!("{url}&consent=yes")).await;
    let (_, again) = browse(&ended_at).await;
    assert!(again.contains("Not under way"), "{again}");
    let forged = ended_at.replace("state=", "state=x");
    assert_ne!(forged, ended_at);
    assert!(browse(&forged).await.1.contains("Not under way"));
    let nameless = ended_at.replace("state=", "estate=");
    assert!(browse(&nameless).await.1.contains("Not understood"));
    assert_eq!(house.state().await, "active");
    assert_eq!(house.provider.issuer().token_requests(), 1);
}

#[tokio::test]
async fn two_tabs_are_two_sign_ins() {
    let house = House::new(None).await;
    let (mut first, first_url) = house.begin().await;
    let (mut second, second_url) = house.begin().await;
    browse(&format!("{second_url}&consent=no")).await;
    assert!(matches!(
        second.answer(Request::Wait).await,
        Reply::Failed { .. }
    ));
    browse(&format!("{first_url}&consent=yes")).await;
    assert_eq!(first.answer(Request::Wait).await, done());
    assert_eq!(house.state().await, "active");
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_not_taken() {
    let house = House::new(None).await;
    let (mut visit, url) = house.begin().await;
    let redirect = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = redirect.get(format!("{url}&consent=yes")).send().await;
    let location = answer.unwrap().headers()["location"]
        .to_str()
        .unwrap()
        .to_owned();
    let (_, page) = browse(&location.replace("iss=https", "iss=http")).await;
    assert!(page.contains("Another issuer"), "{page}");
    assert!(matches!(
        visit.answer(Request::Wait).await,
        Reply::Failed { .. }
    ));
    assert_eq!(house.provider.issuer().token_requests(), 0);
}

#[tokio::test]
async fn an_address_can_be_pasted_where_the_browser_is_elsewhere() {
    let house = House::new(None).await;
    let (mut visit, url) = house.begin().await;
    let elsewhere = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = elsewhere
        .get(format!("{url}&consent=yes"))
        .send()
        .await
        .unwrap();
    let address = answer.headers()["location"].to_str().unwrap().to_owned();
    let paste = |address: String| Request::Paste { address };
    assert_eq!(visit.answer(paste(format!(" {address}\n"))).await, done());
    let again = visit.answer(paste(address)).await;
    assert!(
        matches!(
            again,
            Reply::Failed {
                kind: Failure::Refused,
                ..
            }
        ),
        "{again:?}"
    );
}

#[tokio::test]
async fn signing_out_gives_the_tokens_back_and_forgets_them() {
    let house = House::new(None).await;
    let (mut visit, url) = house.begin().await;
    browse(&format!("{url}&consent=yes")).await;
    let grant = house.desk.grant(OLE).unwrap();
    let token = house
        .tokens
        .access_token(&grant, Protocol::Imap)
        .await
        .unwrap();
    assert!(house.provider.issuer().takes(token.token.expose()));
    let account = OLE.to_owned();
    assert_eq!(visit.answer(Request::SignOut { account }).await, done());
    assert!(!house.provider.issuer().takes(token.token.expose()));
    assert_eq!(house.state().await, "empty");
    assert!(
        house
            .tokens
            .access_token(&grant, Protocol::Imap)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_issuer_without_device_codes_says_so() {
    let house = House::new(None).await;
    let mut visit = house.desk.visit();
    let request = Request::SignIn {
        account: OLE.into(),
        way: Way::Device,
    };
    let reply = visit.answer(request).await;
    let Reply::Failed { why, .. } = &reply else {
        panic!("{reply:?}");
    };
    assert!(why.contains("device"), "{why}");
}
