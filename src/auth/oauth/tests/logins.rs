//! Logins of an OAuth account, as the relay sees them.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::auth::{Authenticator, Granted, add_generated};
use crate::config::runtime::{AccountAuth, Config};
use crate::proto::dialogue::{Credential, LoginAttempt};
use crate::proto::refusal::Refusal;

/// A house with a signed-in account, the authenticator over it, and a local password.
struct Doorstep {
    house: House,
    config: Config,
    authenticator: Authenticator,
    local: Secret,
}

impl Doorstep {
    async fn new() -> Self {
        let house = House::new(rotating()).await;
        let grant = house.ended_grant().await;
        let state = house.folder.path().join("state");
        Self {
            config: crate::auth::tests::config(state, AccountAuth::OAuth(grant)),
            authenticator: Authenticator::new(house.store.clone(), house.tokens.clone()),
            local: add_generated(&house.store, "anna@x.org", "laptop")
                .await
                .unwrap(),
            house,
        }
    }

    async fn login(&self, password: &Secret) -> Result<Granted, Refusal> {
        let attempt = LoginAttempt {
            name: "anna@x.org".into(),
            proof: password.clone().into(),
            mechanism: "LOGIN",
        };
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.authenticator
            .check(&self.config, None, IMAP, peer, attempt)
            .await
    }
}

#[tokio::test]
async fn the_local_password_is_exchanged_for_a_token_of_the_accounts_server() {
    let doorstep = Doorstep::new().await;
    let granted = doorstep.login(&doorstep.local).await.unwrap();
    let Credential::Bearer {
        user,
        token,
        host,
        port,
        ..
    } = &granted.credential
    else {
        panic!("{:?}", granted.credential);
    };
    assert_eq!(
        (user.as_str(), host.as_str(), *port),
        ("anna@x.org", "mail.x.org", 993)
    );
    assert_eq!(grants::text(token), format!("{CANARY}-a1"));
    assert_eq!(granted.local.as_ref().map(|it| &*it.name), Some("laptop"));
    assert!(!format!("{granted:?}").contains(CANARY));
}

#[tokio::test]
async fn a_wrong_local_password_touches_no_token() {
    let doorstep = Doorstep::new().await;
    let refusal = doorstep.login(&Secret::from("wrong")).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::WrongPassword);
    assert_eq!(doorstep.house.issuer.count(), 0);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_then_the_refusal_stands() {
    let doorstep = Doorstep::new().await;
    let granted = doorstep.login(&doorstep.local).await.unwrap();
    doorstep.authenticator.rejected(&granted.receipt);
    let renewed = doorstep.authenticator.renew(granted).await.unwrap();
    assert_eq!(doorstep.house.issuer.count(), 2);
    doorstep.authenticator.rejected(&renewed.receipt);
    let refusal = doorstep.authenticator.renew(renewed).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::TokenRejected);
    assert_eq!(doorstep.house.issuer.count(), 2);
}

#[tokio::test]
async fn a_needed_sign_in_is_said_at_once_and_is_no_wrong_password() {
    let doorstep = Doorstep::new().await;
    doorstep.house.issuer.says(refuse("invalid_grant", ""));
    let refusal = doorstep.login(&doorstep.local).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::SignInNeeded);
    assert!(
        refusal.text.contains("mailsluice sign-in anna@x.org"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_listener_without_logins_gets_a_token_too() {
    let doorstep = Doorstep::new().await;
    let terms = crate::auth::tests::without_login("anna@x.org");
    let authenticator = &doorstep.authenticator;
    let granted = authenticator.without_login(&doorstep.config, &terms).await;
    let granted = granted.unwrap();
    assert!(matches!(
        &granted.credential,
        Credential::Bearer { port: 465, .. }
    ));
    authenticator.rejected(&granted.receipt);
    let renewed = authenticator.renew(granted).await.unwrap();
    assert!(renewed.local.is_none());
}
