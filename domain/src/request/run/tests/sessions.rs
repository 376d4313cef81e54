//! Sticky sessions.

use serde_json::{Value, json};

use super::rig::{Happened, Rig};
use super::*;

const POLICY: &str = r#"{"providers": [{"name": "p1", "weight": 1}, {"name": "p2", "weight": 1}],
    "fallbacks": [{"when": {"status": "circuit_breaker_open"}, "to": "p3"}],
    "sticky": {"enabled": true, "session_key": "user_id", "ttl": "10m"}}"#;

fn decide(rig: &Rig) -> (Value, Happened) {
    rig.finish(rig.run(RequestKind::Decide, POLICY), |_| None)
}

fn rig(roll: f64) -> Rig {
    Rig {
        context: json!({"user_id": "u-7"}),
        roll,
        ..Rig::default()
    }
}

#[test]
fn a_session_keeps_its_provider() {
    let mut rig = rig(0.0);
    let (answer, happened) = decide(&rig);
    assert_eq!(
        (&answer["decision"]["reason"], happened.pins),
        (&json!("weighted"), vec![("p1".to_owned(), None)])
    );
    rig.roll = 0.9;
    let (answer, happened) = decide(&rig);
    let decision = &answer["decision"];
    assert_eq!(
        (
            &decision["provider_id"],
            &decision["reason"],
            &decision["priority"]
        ),
        (&json!("p1"), &json!("sticky"), &json!(100))
    );
    assert!(happened.pins.is_empty(), "it is written once");
    let steps = decision["explanation"]["steps"].to_string();
    assert!(
        steps.contains("sticky sessions by user_id: the session has p1"),
        "{steps}"
    );
}

#[test]
fn a_session_moves_when_its_provider_cannot_be_called() {
    const NO_RULES: &str = r#"{"providers": [{"name": "p1", "weight": 1}, {"name": "p2", "weight": 1}],
        "sticky": {"enabled": true, "session_key": "user_id", "ttl": "10m"}}"#;
    let mut rig = rig(0.0);
    decide(&rig);
    rig.held_back("p1", 1);
    let run = rig.run(RequestKind::Decide, NO_RULES);
    let (answer, happened) = rig.finish(run, |_| None);
    assert_eq!(answer["decision"]["provider_id"], "p2");
    assert_eq!(happened.pins, [("p2".to_owned(), Some("p1".to_owned()))]);
}

#[test]
fn a_session_comes_back_from_who_only_stands_in() {
    let mut rig = rig(0.0);
    decide(&rig);
    rig.held_back("p1", 1);
    let (answer, happened) = decide(&rig);
    assert_eq!(
        (&answer["decision"]["provider_id"], happened.pins.len()),
        (&json!("p3"), 0),
        "who only stands in is not kept"
    );
    rig.endpoint_state.clear();
    let (answer, _) = decide(&rig);
    assert_eq!(answer["decision"]["reason"], "sticky", "{answer}");
}

#[test]
fn a_session_moves_away_from_weight_zero() {
    let rig = rig(0.0);
    *rig.session.borrow_mut() = Some("p1".into());
    let drained = POLICY.replacen("\"weight\": 1", "\"weight\": 0", 1);
    let (answer, _) = rig.finish(rig.run(RequestKind::Decide, &drained), |_| None);
    assert_eq!(
        (
            &answer["decision"]["provider_id"],
            &answer["decision"]["reason"]
        ),
        (&json!("p2"), &json!("weighted"))
    );
}

#[test]
fn one_request_in_a_hurry_does_not_move_its_session() {
    let mut rig = rig(0.9);
    *rig.session.borrow_mut() = Some("p1".into());
    let slow = EndpointState {
        latency: Some(Duration::from_secs(5)),
        fresh: true,
        ..EndpointState::default()
    };
    rig.endpoint_state.insert("p1".into(), slow);
    rig.left = Duration::from_secs(1);
    let (answer, happened) = rig.finish(rig.run(RequestKind::Route, POLICY), |_| None);
    assert_eq!(
        (&answer["decision"]["provider_id"], happened.pins.len()),
        (&json!("p2"), 0)
    );
    assert_eq!(rig.session.borrow().as_deref(), Some("p1"));
}

#[test]
fn a_drained_provider_that_stands_in_gets_no_session() {
    let mut rig = rig(0.0);
    rig.held_back("p1", 1);
    let policy = POLICY
        .replacen("\"weight\": 1}]", "\"weight\": 0}]", 1)
        .replace("\"to\": \"p3\"", "\"to\": \"p2\"");
    let (answer, happened) = rig.finish(rig.run(RequestKind::Decide, &policy), |_| None);
    assert_eq!(
        (&answer["decision"]["reason"], happened.pins.len()),
        (&json!("fallback"), 0)
    );
}

#[test]
fn the_first_replica_to_pin_a_session_wins() {
    let rig = rig(0.0);
    let mut run = rig.run(RequestKind::Decide, POLICY);
    assert!(matches!(run.next_step(), Next::Recall { .. }));
    *rig.session.borrow_mut() = Some("p2".into());
    let (answer, _) = rig.finish(run, |_| None);
    assert_eq!(
        (
            &answer["decision"]["provider_id"],
            &answer["decision"]["reason"]
        ),
        (&json!("p2"), &json!("sticky"))
    );
    let steps = answer["decision"]["explanation"]["steps"].to_string();
    assert!(
        steps.contains("the session has p2") && !steps.contains("the session is new"),
        "{steps}"
    );
}

#[test]
fn a_store_that_does_not_answer_is_said() {
    let rig = Rig {
        shared: false,
        ..rig(0.0)
    };
    let (answer, _) = decide(&rig);
    assert_eq!(
        answer["degraded"],
        json!([{"id": "sticky", "reason": "known_to_this_replica_only"}])
    );
    let steps = answer["decision"]["explanation"]["steps"].to_string();
    assert!(
        steps.contains("as far as this replica alone knows"),
        "{steps}"
    );
}

#[test]
fn a_request_without_a_session_is_chosen_by_weight() {
    let rig = Rig {
        context: json!({"user_id": ""}),
        roll: 0.9,
        ..Rig::default()
    };
    let (answer, happened) = decide(&rig);
    assert_eq!(
        (&answer["decision"]["provider_id"], happened.pins.len()),
        (&json!("p2"), 0)
    );
    assert!(
        answer["decision"]["explanation"]["steps"]
            .to_string()
            .contains("the request names no session")
    );
}
