//! The machine alone: each transition, and any sequence of events.

use proptest::prelude::*;

use super::held::KEEP_ALIVE;
use super::trouble::RETRY_AFTER_MAX;
use super::*;

const NOW: Unix = 1_000_000;

fn given(access: &str, refresh: Option<&str>) -> Given {
    Given {
        access: Secret::from(access),
        lifetime: Some(Duration::from_secs(3_600)),
        refresh: refresh.map(Secret::from),
        refresh_lifetime: None,
    }
}

fn signed_in() -> Life {
    Life::empty(true).signed_in(Some(ANY), given("a0", Some("r1")), NOW, 0)
}

fn after(life: &Life, outcome: Outcome, now: Unix) -> Life {
    match life.began(ANY) {
        Some((life, attempt)) => life.ended(&attempt, outcome, now, 0).unwrap(),
        None => life.clone(),
    }
}

fn transient(retry_after: Option<u64>) -> Outcome {
    Outcome::Transient {
        why: "down".into(),
        retry_after: retry_after.map(Duration::from_secs),
    }
}

fn permanent(what: Fault) -> Outcome {
    Outcome::Permanent {
        why: "no".into(),
        what,
    }
}

fn used(ask: &Ask) -> Option<&[u8]> {
    match ask {
        Ask::Use { token, .. } => Some(token.expose()),
        _ => None,
    }
}

/// When a transient trouble is over.
fn retry_at(life: &Life, now: Unix) -> Unix {
    match life.ask(ANY, now) {
        Ask::Later(trouble) => trouble.retry_at,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_yet_needs_a_person_or_a_first_request() {
    assert!(matches!(Life::empty(true).ask(ANY, NOW), Ask::SignIn(None)));
    assert!(matches!(Life::empty(false).ask(ANY, NOW), Ask::Request));
}

#[test]
fn a_token_is_used_until_shortly_before_its_end() {
    let life = signed_in();
    assert_eq!(used(&life.ask(ANY, NOW)), Some(&b"a0"[..]));
    assert_eq!(used(&life.ask(ANY, NOW + 3_539)), Some(&b"a0"[..]));
    assert!(matches!(life.ask(ANY, NOW + 3_540), Ask::Request));
    assert!(
        matches!(life.ask(ANY, NOW - 61), Ask::Request),
        "a clock set back"
    );
    assert!(!life.due(ANY, true, NOW + 2_999));
    assert!(life.due(ANY, true, NOW + 3_000));
    let spread = Life::empty(true).signed_in(Some(ANY), given("a0", None), NOW, 999);
    assert!(spread.due(ANY, true, NOW + 2_701));
}

#[test]
fn an_idle_grant_is_kept_alive_once_a_day_or_at_half_of_what_the_issuer_says() {
    let life = signed_in();
    assert!(!life.due(ANY, false, NOW + KEEP_ALIVE - 1));
    assert!(life.due(ANY, false, NOW + KEEP_ALIVE));
    let mut short = given("a0", Some("r1"));
    short.refresh_lifetime = Some(Duration::from_secs(1_800));
    let life = Life::empty(true).signed_in(Some(ANY), short, NOW, 0);
    assert!(!life.due(ANY, false, NOW + 899));
    assert!(life.due(ANY, false, NOW + 900));
}

#[test]
fn the_old_token_is_used_while_a_new_one_is_asked_for() {
    let (life, _) = signed_in().began(ANY).unwrap();
    assert_eq!(used(&life.ask(ANY, NOW + 3_000)), Some(&b"a0"[..]));
    assert!(
        matches!(life.ask(ANY, NOW + 3_600), Ask::Request),
        "it waits"
    );
    assert!(
        !life.due(ANY, true, NOW + 3_600),
        "the background does not ask twice"
    );
}

#[test]
fn a_rotated_refresh_token_has_the_one_before_until_it_has_worked() {
    let life = after(
        &signed_in(),
        Outcome::Refreshed(given("a1", Some("r2"))),
        NOW,
    );
    let (_, attempt) = life.began(ANY).unwrap();
    let texts = |attempt: &Attempt| {
        [&attempt.refresh, &attempt.previous].map(|secret| {
            secret
                .as_ref()
                .map(|s| String::from_utf8(s.expose().to_vec()).unwrap())
        })
    };
    assert_eq!(texts(&attempt), [Some("r2".into()), Some("r1".into())]);
    let life = after(&life, Outcome::Refreshed(given("a2", None)), NOW);
    let (_, attempt) = life.began(ANY).unwrap();
    assert_eq!(texts(&attempt), [Some("r2".into()), None]);
}

#[test]
fn transient_trouble_changes_nothing_but_the_time_of_the_next_try() {
    let mut life = signed_in();
    let generation = life.generation();
    let mut now = NOW + 3_600;
    for wait in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        life = after(&life, transient(None), now);
        assert_eq!(retry_at(&life, now), now + wait);
        assert!(!life.due(ANY, true, now + wait - 1));
        assert!(matches!(life.ask(ANY, now + wait), Ask::Request));
        now += wait;
    }
    assert_eq!(life.generation(), generation);
    assert!(matches!(life.standing(now), Standing::Failing(_)));
    let life = after(&life, Outcome::Refreshed(given("a1", None)), now);
    assert_eq!(used(&life.ask(ANY, now)), Some(&b"a1"[..]));
    assert!(matches!(life.standing(now), Standing::Active { .. }));
}

#[test]
fn the_issuer_says_when_to_come_back_but_not_for_ever() {
    let now = NOW + 3_600;
    let life = after(&signed_in(), transient(Some(40)), now);
    assert_eq!(retry_at(&life, now), now + 40);
    let life = after(&signed_in(), transient(Some(u64::MAX)), now);
    assert_eq!(retry_at(&life, now), now + RETRY_AFTER_MAX);
    assert!(
        matches!(life.ask(ANY, now - 10_000), Ask::Request),
        "a clock set back"
    );
}

#[test]
fn only_a_dead_grant_drops_the_refresh_token() {
    let now = NOW + 3_600;
    let dead = after(&signed_in(), permanent(Fault::Grant), now);
    assert!(dead.refresh_token().is_none());
    assert!(matches!(
        dead.ask(ANY, now + 9_999_999),
        Ask::SignIn(Some(_))
    ));
    let person = after(&signed_in(), permanent(Fault::Person), now);
    assert!(person.refresh_token().is_some());
    assert!(matches!(person.ask(ANY, now), Ask::SignIn(Some(_))));
    assert!(matches!(person.ask(ANY, now + ASK_AGAIN), Ask::Request));
    let again = after(&person, permanent(Fault::Person), now + ASK_AGAIN);
    assert_eq!(again.ended_since(ANY), Some(now), "told once");
    let client = after(&signed_in(), permanent(Fault::Client), now);
    assert!(client.refresh_token().is_some());
    assert!(matches!(client.ask(ANY, now), Ask::Later(trouble) if trouble.of_client));
}

#[test]
fn what_the_person_must_see_to_for_one_audience_does_not_stop_another() {
    let life = after(&signed_in(), permanent(Fault::Person), NOW);
    let (life, attempt) = life.began("smtp").unwrap();
    let life = life
        .ended(&attempt, Outcome::Refreshed(given("s", None)), NOW, 0)
        .unwrap();
    assert_eq!(used(&life.ask("smtp", NOW)), Some(&b"s"[..]));
    assert!(matches!(life.standing(NOW), Standing::NeedsSignIn(_)));
}

#[test]
fn where_nobody_can_sign_in_a_dead_grant_is_our_clients_trouble() {
    let life = after(&Life::empty(false), permanent(Fault::Grant), NOW);
    assert!(matches!(life.ask(ANY, NOW), Ask::Later(trouble) if trouble.of_client));
    assert!(matches!(life.ask(ANY, NOW + 60), Ask::Request));
}

#[test]
fn a_late_answer_changes_nothing() {
    let (first, late) = signed_in().began(ANY).unwrap();
    let mut first = first;
    first.given_up();
    let (second, attempt) = first.began(ANY).unwrap();
    assert!(
        second
            .ended(&late, permanent(Fault::Grant), NOW, 0)
            .is_none()
    );
    assert!(second.ended(&attempt, transient(None), NOW, 0).is_some());
    let replaced = second.signed_in(Some(ANY), given("n", Some("r9")), NOW, 0);
    assert!(
        replaced
            .ended(&attempt, permanent(Fault::Grant), NOW, 0)
            .is_none()
    );
}

#[test]
fn a_rejected_token_is_renewed_once_in_five_minutes() {
    let mut life = signed_in();
    let generation = life.generation();
    life.rejected(ANY, generation - 1, NOW);
    assert!(used(&life.ask(ANY, NOW)).is_some(), "an old one is no news");
    life.rejected(ANY, generation, NOW);
    assert!(matches!(life.ask(ANY, NOW), Ask::Request));
    let mut life = after(&life, Outcome::Refreshed(given("a1", None)), NOW);
    let generation = life.generation();
    life.rejected(ANY, generation, NOW + 1);
    assert_eq!(used(&life.ask(ANY, NOW + 1)), Some(&b"a1"[..]));
    life.rejected(ANY, generation, NOW + FORCE_AGAIN);
    assert!(matches!(life.ask(ANY, NOW + FORCE_AGAIN), Ask::Request));
}

#[test]
fn a_sign_in_under_way_shows_and_ends_as_it_began() {
    let mut life = Life::empty(true);
    life.pending(NOW + 600);
    assert_eq!(life.standing(NOW), Standing::Pending);
    assert_eq!(life.standing(NOW + 600), Standing::Empty, "given up");
    assert_eq!(
        life.adopt(0, Kept::default()).standing(NOW),
        Standing::Pending
    );
    life.pending_over();
    assert!(life.is_empty());
    let mut dead = after(&signed_in(), permanent(Fault::Grant), NOW);
    dead.pending(NOW + 600);
    assert!(matches!(dead.ask(ANY, NOW), Ask::SignIn(Some(_))));
    dead.pending_over();
    assert_eq!(dead.ended_since(ANY), Some(NOW));
    let mut active = signed_in();
    active.pending(NOW + 600);
    assert!(used(&active.ask(ANY, NOW)).is_some());
}

#[test]
fn what_is_stored_is_all_that_counts_and_rejections_are_remembered() {
    let mut life = signed_in();
    let text = serde_json::to_string(&life.kept()).unwrap();
    let kept: Kept = serde_json::from_str(&text).unwrap();
    let other = Life::empty(true).adopt(life.generation(), kept.clone());
    assert_eq!(used(&other.ask(ANY, NOW)), Some(&b"a0"[..]));
    life.rejected(ANY, life.generation(), NOW);
    let adopted = life.adopt(life.generation(), kept);
    assert!(matches!(adopted.ask(ANY, NOW), Ask::Request));
}

#[derive(Clone, Debug)]
enum Event {
    Refresh(Option<u8>),
    Transient(u16),
    Permanent(Fault),
    GiveUp,
    Reject,
    Pending,
    PendingOver,
    SignIn,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        any::<Option<u8>>().prop_map(Event::Refresh),
        any::<u16>().prop_map(Event::Transient),
        prop_oneof![Just(Fault::Grant), Just(Fault::Person), Just(Fault::Client)]
            .prop_map(Event::Permanent),
        Just(Event::GiveUp),
        Just(Event::Reject),
        Just(Event::Pending),
        Just(Event::PendingOver),
        Just(Event::SignIn),
        Just(Event::Restart),
    ]
}

proptest! {
    /// Whatever happens: generations only grow, what must survive a restart has a new one, a token that is used lasts,
    /// and only a dead grant takes the refresh token away.
    #[test]
    fn any_sequence_of_events(events in proptest::collection::vec((event(), -100i64..4_000), 1..60)) {
        let (mut life, mut now) = (signed_in(), NOW);
        for (event, passed) in events {
            now += passed;
            let before = life.clone();
            let mut dead = false;
            life = match event {
                Event::Refresh(rotated) => {
                    let refresh = rotated.map(|n| format!("r{n}"));
                    after(&life, Outcome::Refreshed(given("a", refresh.as_deref())), now)
                }
                Event::Transient(seconds) => after(&life, transient(Some(seconds.into())), now),
                Event::Permanent(what) => {
                    dead = what == Fault::Grant;
                    after(&life, permanent(what), now)
                }
                Event::GiveUp => {
                    let begun = life.began(ANY).map(|(begun, _)| begun);
                    let mut begun = begun.unwrap_or(life);
                    begun.given_up();
                    begun
                }
                Event::Reject => { life.rejected(ANY, life.generation(), now); life }
                Event::Pending => { life.pending(now + 600); life }
                Event::PendingOver => { life.pending_over(); life }
                Event::SignIn => life.signed_in(Some(ANY), given("n", Some("r")), now, 0),
                Event::Restart => Life::empty(true).adopt(life.generation(), life.kept()),
            };
            prop_assert!(life.generation() >= before.generation());
            if life.generation() == before.generation() {
                let texts = [&life, &before].map(|life| serde_json::to_string(&life.kept()).unwrap());
                prop_assert_eq!(&texts[0], &texts[1]);
            }
            if before.refresh_token().is_some() && !dead {
                prop_assert!(life.refresh_token().is_some());
            }
            if let State::Active(held) = &life.state && used(&life.ask(ANY, now)).is_some() {
                prop_assert!(held.access[ANY].expires > now && !held.access[ANY].rejected);
            }
        }
    }
}
