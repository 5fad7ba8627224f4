//! Every kind of answer, and any bytes.

use proptest::prelude::*;

use super::*;

fn answer(status: u16, body: &str) -> Result<Answer, OAuthError> {
    Ok(Answer {
        status,
        retry_after: None,
        body: Secret::from(body),
    })
}

fn outcome(status: u16, body: &str) -> Outcome {
    of(
        answer(status, body),
        "Example",
        &[&Secret::from("sent-secret")],
    )
}

fn fault_of(code: &str, suberror: &str, description: &str) -> Option<Fault> {
    let body = serde_json::json!({
        "error": code, "suberror": suberror, "error_description": description,
    });
    match outcome(400, &body.to_string()) {
        Outcome::Permanent { what, .. } => Some(what),
        Outcome::Transient { .. } => None,
        Outcome::Refreshed(_) => panic!("{code} is no token"),
    }
}

#[test]
fn each_error_code_has_its_meaning() {
    for (code, suberror, description, expected) in [
        ("invalid_grant", "", "", Some(Fault::Grant)),
        (
            "invalid_grant",
            "bad_token",
            "AADSTS50173: fresh auth",
            Some(Fault::Grant),
        ),
        (
            "invalid_grant",
            "",
            "AADSTS700082: inactive",
            Some(Fault::Grant),
        ),
        (
            "invalid_grant",
            "basic_action",
            "AADSTS50076: MFA",
            Some(Fault::Person),
        ),
        ("invalid_grant", "", "AADSTS50076: MFA", Some(Fault::Person)),
        (
            "invalid_grant",
            "",
            "AADSTS65001: no consent",
            Some(Fault::Person),
        ),
        (
            "interaction_required",
            "",
            "AADSTS53003: blocked",
            Some(Fault::Person),
        ),
        ("consent_required", "", "", Some(Fault::Person)),
        (
            "invalid_client",
            "",
            "AADSTS7000222: expired",
            Some(Fault::Client),
        ),
        ("unauthorized_client", "", "", Some(Fault::Client)),
        ("invalid_scope", "", "", Some(Fault::Client)),
        ("temporarily_unavailable", "", "", None),
        ("server_error", "", "", None),
    ] {
        assert_eq!(
            fault_of(code, suberror, description),
            expected,
            "{code} {description}"
        );
    }
}

#[test]
fn no_status_of_trouble_and_no_garbage_ends_anything() {
    let dead = r#"{"error": "invalid_grant"}"#;
    for (status, body) in [
        (408, dead),
        (429, dead),
        (500, dead),
        (503, ""),
        (200, "<html>"),
        (200, "{}"),
        (200, r#"{"access_token": ""}"#),
        (200, r#"{"access_token": "a\u0001b"}"#),
        (200, r#"{"access_token": 7}"#),
        (400, ""),
        (400, "<html>invalid_grant</html>"),
        (401, r#"{"error": {"code": 401}}"#),
        (302, ""),
    ] {
        let outcome = outcome(status, body);
        assert!(
            matches!(outcome, Outcome::Transient { .. }),
            "{status} {body}"
        );
    }
}

#[test]
fn an_error_with_status_200_is_an_error() {
    let outcome = outcome(200, r#"{"error": "invalid_grant"}"#);
    assert!(matches!(
        outcome,
        Outcome::Permanent {
            what: Fault::Grant,
            ..
        }
    ));
}

#[test]
fn lifetimes_are_read_however_they_are_written() {
    for (written, expected) in [
        ("3600", Some(3_600)),
        ("\"3600\"", Some(3_600)),
        ("3599.6", Some(3_599)),
        ("0", None),
        ("-5", None),
        ("1e300", None),
        ("null", None),
        ("\"soon\"", None),
        ("[]", None),
    ] {
        let body = format!(r#"{{"access_token": "a", "expires_in": {written}}}"#);
        let Outcome::Refreshed(given) = outcome(200, &body) else {
            panic!("{written}");
        };
        assert_eq!(given.lifetime.map(|l| l.as_secs()), expected, "{written}");
    }
}

#[test]
fn the_issuers_words_are_quoted_without_what_was_sent() {
    let body = r#"{"error": "invalid_grant", "error_description": "bad token sent-secret\r\nX"}"#;
    let Outcome::Permanent { why, .. } = outcome(400, body) else {
        panic!("permanent");
    };
    assert_eq!(why, "invalid_grant: bad token [secret]  X");
    let google = words("invalid_grant", "Token has been expired or revoked.");
    assert!(
        google.contains("7 days") && google.contains("expired or revoked"),
        "{google}"
    );
    assert!(
        !words("x", "AADSTS7000").contains("client"),
        "a number within a number"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_some_outcome_and_only_a_200_brings_a_token(
        status in 100u16..1_000, body in any::<Vec<u8>>()
    ) {
        let said = Answer { status, retry_after: None, body: Secret::new(body) };
        let outcome = of(Ok(said), "Example", &[]);
        prop_assert!(status == 200 || !matches!(outcome, Outcome::Refreshed(_)));
    }
}

#[test]
fn what_people_meet_is_explained() {
    let words = |description| words("invalid_grant", description);
    for (description, expected) in [
        ("AADSTS700082: inactive", "not used for 90 days"),
        (
            "AADSTS7000218: The request body must contain the following parameter",
            "public client flows",
        ),
        ("AADSTS700027: not registered", "the certificate is not"),
        (
            "reauth related error (invalid_rapt)",
            "end after some hours",
        ),
        ("Token has been expired or revoked.", "in testing"),
        (
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
            "clock of this machine",
        ),
    ] {
        let said = words(description);
        assert!(said.contains(expected), "{said}");
        assert!(said.contains(description), "{said}");
    }
    assert_eq!(words("new to us"), "invalid_grant: new to us");
}
