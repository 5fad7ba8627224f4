//! The command for real: `sh` writes what it was told into a fifo, whose reader waits for it.

#![cfg(unix)]

use std::path::{Path, PathBuf};

use super::*;
use crate::protocol::Protocol;
use crate::web::Visit;
use crate::web::testing::{House, OLE, browse};

fn fifo(folder: &Path) -> PathBuf {
    let path = folder.join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    path
}

async fn told(fifo: &Path) -> String {
    let fifo = fifo.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(fifo).unwrap());
    read.await.unwrap()
}

async fn sign_in(house: &House) -> Visit {
    let (mut visit, url) = house.begin().await;
    browse(&format!("{url}&consent=yes")).await;
    assert!(matches!(
        visit.answer(crate::web::Request::Wait).await,
        Reply::Done { .. }
    ));
    visit
}

/// The issuer ends the grant, and a login finds out.
async fn lose(house: &House) {
    let grant = grants(&house.config).remove(0);
    let token = house
        .tokens
        .access_token(&grant, Protocol::Imap)
        .await
        .unwrap();
    house.provider.issuer().revoke_all();
    house
        .tokens
        .rejected(&grant, Protocol::Imap, token.generation);
    for _ in 0..5 {
        assert!(
            house
                .tokens
                .access_token(&grant, Protocol::Imap)
                .await
                .is_err()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_is_told_once_for_each_need_and_leads_to_a_sign_in() {
    let place = tempfile::tempdir().unwrap();
    let (fifo, log) = (fifo(place.path()), place.path().join("log"));
    let line = format!(
        "echo run >> '{}'; printf '%s\\n' \"$MAILSLUICE_ACCOUNT\" \"$MAILSLUICE_URL\" \"$MAILSLUICE_REASON\" \
         \"code:$MAILSLUICE_CODE\" \"args:$#\" > '{}'",
        log.display(),
        fifo.display()
    );
    let house = House::new(Some(line)).await;
    let config = Arc::clone(&house.config);
    let stop = CancellationToken::new();
    let desk = Arc::clone(&house.desk);
    tell_when_needed(&house.tokens, desk, move || Arc::clone(&config), stop);
    for need in 1..=2 {
        sign_in(&house).await;
        lose(&house).await;
        let told = told(&fifo).await;
        let lines: Vec<&str> = told.lines().collect();
        let [account, url, reason, code, args] = lines[..] else {
            panic!("{told}");
        };
        assert_eq!((account, code, args), (OLE, "code:", "args:0"));
        assert!(!reason.is_empty());
        let (_, page) = browse(&format!("{url}&consent=yes")).await;
        assert!(page.contains("is signed in"), "{page}");
        let runs = std::fs::read_to_string(&log).unwrap();
        assert_eq!(runs.lines().count(), need, "{runs}");
    }
}

fn need() -> Need {
    Need {
        grant: "g".into(),
        accounts: vec!["anna@x.org".into()],
        why: "canary-reason".into(),
        // There in every test, and no secret.
        not_for_it: vec!["CARGO_MANIFEST_DIR".into()],
    }
}

#[tokio::test]
async fn a_command_that_fails_is_quoted_and_cut() {
    let line = "head -c 100000 /dev/zero | tr '\\0' e >&2; echo canary-output; exit 3";
    let error = run(line, &need(), None).await.unwrap_err().to_string();
    assert!(error.contains("eee") && error.len() < 1_000, "{error}");
    assert!(!error.contains("canary"), "{error}");
}

#[tokio::test]
async fn url_and_code_are_in_the_environment_and_not_in_the_process_list() {
    let place = tempfile::tempdir().unwrap();
    let kept = place.path().join("kept");
    let code = Reply::Code {
        user_code: "CANARY-CODE".into(),
        url: "https://x/device".into(),
        url_with_code: Some("https://x/device?c=CANARY-CODE".into()),
        expires_s: 1,
    };
    let line = format!(
        "tr '\\0' ' ' < /proc/$$/cmdline > '{0}'; echo \"$MAILSLUICE_URL $MAILSLUICE_CODE\" >> '{0}'",
        kept.display()
    );
    run(&line, &need(), Some(&code)).await.unwrap();
    let kept = std::fs::read_to_string(kept).unwrap();
    assert_eq!(kept.matches("CANARY-CODE").count(), 2, "{kept}");
    assert!(
        kept.ends_with("https://x/device?c=CANARY-CODE CANARY-CODE\n"),
        "{kept}"
    );
}

#[tokio::test]
async fn secrets_of_our_environment_are_not_passed_on() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let line = "[ -n \"$PATH\" ] && [ -z \"$CARGO_MANIFEST_DIR\" ]";
    run(line, &need(), None).await.unwrap();
}
