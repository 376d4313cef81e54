//! Choosing, retrying and falling back.

use serde_json::{Value, json};

use super::rig::{Rig, answered};
use super::*;

const RULES: &str = r#"{"providers": [{"name": "p1", "weight": 70}, {"name": "p2", "weight": 30}], "fallbacks": [
    {"when": {"status": "429"}, "retry": 1, "backoff": {"strategy": "fixed", "base_ms": 10, "jitter": false}},
    {"when": {"status": ["timeout", "5xx"], "lang": "en"}, "retry": 2,
     "backoff": {"strategy": "exponential", "base_ms": 100, "max_ms": 150, "jitter": false}, "to": "p3"},
    {"when": {"status": "error"}, "to": "p2"}]}"#;

/// What was called, what was waited, and the answer, when the calls end as `ends` says, in their
/// order.
fn route(
    rig: &Rig,
    policy: &str,
    ends: &[Result<(), CallFailure>],
) -> (Vec<String>, Vec<u128>, Value) {
    let mut ends = ends.iter();
    let script = |_: &CallOrder| match ends.next() {
        Some(Err(failure)) => Some(Err(failure.clone())),
        Some(Ok(())) | None => None,
    };
    let (answer, happened) = rig.finish(rig.run(RequestKind::Route, policy), script);
    (
        happened.called,
        happened.waits.iter().map(Duration::as_millis).collect(),
        answer,
    )
}

fn rig(context: Value) -> Rig {
    Rig {
        context,
        ..Rig::default()
    }
}

#[test]
fn retries_come_before_the_fallback_and_wait_as_the_rule_says() {
    let timeouts = vec![Err(CallFailure::Timeout); 3];
    let (called, waits, answer) = route(&rig(json!({"lang": "en"})), RULES, &timeouts);
    assert_eq!(
        (called, waits),
        (
            ["p1", "p1", "p1", "p3"].map(str::to_owned).to_vec(),
            vec![100, 150]
        )
    );
    let decision = &answer["decision"];
    assert_eq!(
        (
            &decision["provider_id"],
            &decision["reason"],
            &decision["priority"]
        ),
        (&json!("p3"), &json!("fallback"), &json!(25))
    );
    let trail: Vec<String> = answer["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| {
            format!(
                "{} {} {} {}",
                a["provider_id"].as_str().unwrap(),
                a["reason"].as_str().unwrap(),
                a["status"].as_str().unwrap(),
                a["rule"]
            )
        })
        .collect();
    assert_eq!(
        trail,
        [
            "p1 weighted timeout null",
            "p1 retry timeout 1",
            "p1 retry timeout 1",
            "p3 fallback success 1"
        ]
    );
    assert_eq!(answer["response"]["provider_id"], "p3");
    let reports = answer["extensions"].as_array().unwrap();
    assert_eq!(
        (
            &reports[0]["id"],
            &reports[0]["status"],
            &reports[0]["attempts"]
        ),
        (&json!("p1"), &json!("timeout"), &json!(3))
    );
    assert_eq!(
        (&reports[1]["status"], &reports[2]["status"]),
        (&json!("skipped"), &json!("success"))
    );
    let steps = answer["decision"]["explanation"]["steps"].to_string();
    assert!(
        steps.contains(
            "p3 v1 as a fallback (fallback rule 2: on timeout or 5xx and lang = \\\"en\\\")"
        ),
        "{steps}"
    );
}

#[test]
fn the_first_rule_that_fits_wins() {
    let german = rig(json!({"lang": "de"}));
    let (called, waits, answer) = route(&german, RULES, &[Err(CallFailure::Timeout)]);
    assert_eq!(
        (called, waits.len()),
        (vec!["p1".to_owned(), "p2".to_owned()], 0)
    );
    assert_eq!(answer["decision"]["reason"], "fallback");
    let (called, waits, answer) = route(&german, RULES, &[Err(answered("429"))]);
    assert_eq!((called, waits), (vec!["p1".to_owned(); 2], vec![10]));
    assert_eq!(
        (
            &answer["decision"]["reason"],
            &answer["decision"]["priority"]
        ),
        (&json!("retry"), &json!(50))
    );
}

#[test]
fn every_status_word_is_understood() {
    let cases: Vec<(&str, CallFailure, bool)> = vec![
        ("timeout", CallFailure::Timeout, true),
        ("timeout", answered("deadline_exceeded"), true),
        ("timeout", answered("503"), false),
        ("5xx", answered("503"), true),
        ("5xx", answered("anything"), true),
        ("5xx", CallFailure::Malformed("x".into()), true),
        ("5xx", CallFailure::NoResponders, true),
        ("5xx", CallFailure::Timeout, false),
        ("5xx", answered("404"), false),
        ("4xx", answered("404"), true),
        ("4xx", answered("invalid_request"), true),
        ("429", answered("429"), true),
        ("rate_limited", answered("rate_limited"), true),
        ("rate_limited", answered("400"), false),
        ("503", CallFailure::NoResponders, true),
        ("418", answered("418"), true),
        ("no_responders", CallFailure::NoResponders, true),
        ("no_responders", CallFailure::Timeout, false),
        (
            "circuit_breaker_open",
            CallFailure::CircuitOpen {
                retry_after: Duration::ZERO,
                opened_by: None,
            },
            true,
        ),
        ("circuit_breaker_open", CallFailure::Timeout, false),
        ("error", CallFailure::Timeout, true),
        ("error", answered("400"), true),
        ("all_providers_failed", answered("500"), true),
    ];
    for (word, failure, fits) in cases {
        let policy = format!(
            r#"{{"providers": [{{"name": "p1"}}], "fallbacks": [{{"when": {{"status": "{word}"}}, "to": "p2"}}]}}"#
        );
        let (called, _, _) = route(&Rig::default(), &policy, &[Err(failure.clone())]);
        assert_eq!(
            called.len() == 2,
            fits,
            "{word} and {failure:?}: {called:?}"
        );
    }
}

#[test]
fn all_providers_failed_means_none_of_the_listed_is_left() {
    let policy = r#"{"providers": [{"name": "p1"}, {"name": "p2"}], "fallbacks": [
        {"when": {"status": "all_providers_failed"}, "to": "p3"}, {"when": {"status": "5xx"}, "to": "p2"}]}"#;
    let (called, _, _) = route(
        &Rig::default(),
        policy,
        &[Err(answered("500")), Err(answered("500"))],
    );
    assert_eq!(called, ["p1", "p2", "p3"]);
}

#[test]
fn a_chain_visits_no_provider_twice() {
    let policy = r#"{"providers": [{"name": "p1", "weight": 1}, {"name": "p2", "weight": 0}], "fallbacks": [
        {"when": {"status": "error"}, "to": "p2"}, {"when": {"status": "error"}, "to": "p1"}]}"#;
    let (called, _, answer) = route(&Rig::default(), policy, &vec![Err(answered("500")); 9]);
    assert_eq!(called, ["p1", "p2"]);
    assert_eq!(
        (
            &answer["error"]["code"],
            &answer["error"]["details"]["extension_id"]
        ),
        (&json!("extension_error"), &json!("p2"))
    );
    assert_eq!(
        answer["attempts"].as_array().map(Vec::len),
        Some(2),
        "the trail is in an error answer, too"
    );
}

#[test]
fn all_attempts_of_a_request_come_from_one_budget() {
    let few = Rig {
        budget: 1,
        ..rig(json!({"lang": "en"}))
    };
    let (called, _, answer) = route(&few, RULES, &vec![Err(CallFailure::Timeout); 9]);
    assert_eq!(called.len(), 2);
    assert_eq!(
        (
            &answer["error"]["code"],
            &answer["error"]["details"]["attempt_budget_exhausted"]
        ),
        (&json!("extension_timeout"), &json!(true))
    );
}

#[test]
fn a_wait_that_does_not_fit_into_the_deadline_is_not_begun() {
    let late = Rig {
        left: Duration::from_millis(90),
        ..rig(json!({"lang": "en"}))
    };
    let (called, waits, _) = route(&late, RULES, &[Err(CallFailure::Timeout)]);
    assert_eq!(
        (called, waits.len()),
        (vec!["p1".to_owned(), "p3".to_owned()], 0)
    );
    let asked = CallFailure::Answered(AnsweredFailure {
        retryable: Some(true),
        retry_after: Some(Duration::from_millis(70)),
        ..AnsweredFailure::of_code("429")
    });
    let (_, waits, _) = route(&Rig::default(), RULES, &[Err(asked)]);
    assert_eq!(
        waits,
        [70],
        "the provider's own wish is longer than the rule's wait"
    );
}

#[test]
fn a_retry_that_usually_takes_longer_than_what_is_left_is_not_made() {
    let policy = r#"{"providers": [{"name": "p1"}]}"#;
    for (usual, calls) in [(100, 2), (460, 1)] {
        let mut slow = Rig {
            left: Duration::from_millis(500),
            ..Rig::default()
        };
        slow.endpoint_state
            .entry("p1".to_owned())
            .or_default()
            .latency = Some(Duration::from_millis(usual));
        let (called, _, _) = route(&slow, policy, &vec![Err(CallFailure::NoResponders); 9]);
        assert_eq!(
            called.len(),
            calls,
            "usually {usual} ms, and a wait of 50 at least"
        );
    }
}

#[test]
fn a_provider_that_wants_no_retry_gets_none() {
    let no = CallFailure::Answered(AnsweredFailure {
        retryable: Some(false),
        ..AnsweredFailure::of_code("500")
    });
    let (called, _, _) = route(&rig(json!({"lang": "en"})), RULES, &[Err(no)]);
    assert_eq!(called, ["p1", "p3"]);
}

#[test]
fn without_a_rule_the_record_grants_the_retries() {
    let records = vec![json!({"id": "p1", "type": "provider", "retry": 2})];
    let rig = Rig {
        records,
        ..Rig::default()
    };
    let one = r#"{"providers": [{"name": "p1"}]}"#;
    let (called, _, _) = route(&rig, one, &vec![Err(CallFailure::NoResponders); 9]);
    assert_eq!(called.len(), 3);
    let (called, _, _) = route(&rig, one, &vec![Err(CallFailure::Timeout); 9]);
    assert_eq!(
        called.len(),
        1,
        "it may have done the work, and somebody pays for it twice"
    );
}

#[test]
fn a_retry_goes_to_the_place_after_the_one_that_failed() {
    let instances: Vec<_> = ["i1", "i2", "i3"]
        .map(|id| json!({"instance_id": id, "subject": format!("beamline.provider.p1.{id}")}))
        .into();
    let records = vec![json!({"id": "p1", "type": "provider", "retry": 2, "instances": instances})];
    let rig = Rig {
        records,
        ..Rig::default()
    };
    let mut run = rig.run(RequestKind::Route, r#"{"providers": [{"name": "p1"}]}"#);
    let mut turns = Vec::new();
    loop {
        match run.next_step() {
            Next::Choose => run.choose(&mut rig.choice(&mut || 0.0), &Unlimited),
            Next::Call(orders) => {
                turns.push(orders[0].turn);
                // The first place was passed over because its breaker had just opened.
                let outcome = Err(CallFailure::NoResponders);
                let latency = Duration::ZERO;
                let place = if turns.len() == 1 { 1 } else { 2 };
                run.apply(vec![CallResult {
                    outcome,
                    latency,
                    attempts: 1,
                    endpoint: place,
                    retry_refused: false,
                }]);
            }
            Next::Answer => break,
            Next::Recall { .. } | Next::Pin { .. } | Next::Wait(_) => {}
        }
    }
    assert_eq!(turns, [0, 2, 3]);
}

#[test]
fn a_list_of_names_is_tried_from_its_head() {
    let policy = r#"{"providers": ["off", "p1", "p2"]}"#;
    let (called, _, answer) = route(
        &Rig {
            roll: 0.99,
            ..Rig::default()
        },
        policy,
        &[Err(CallFailure::Timeout)],
    );
    assert_eq!(called, ["p1", "p2"]);
    assert_eq!(answer["decision"]["reason"], "fallback");
    let (called, _, answer) = route(&Rig::default(), policy, &[Err(answered("400"))]);
    assert_eq!(
        (called.len(), &answer["error"]["code"]),
        (1, &json!("extension_error")),
        "wrong here is wrong everywhere"
    );
    let mut none = Rig::default();
    none.held_back("p1", 1);
    none.held_back("p2", 1);
    assert_eq!(
        route(&none, policy, &[]).2["error"]["code"],
        "extension_unavailable"
    );
}

#[test]
fn a_rule_applies_when_nothing_can_be_chosen() {
    let policy = r#"{"providers": [{"name": "p1"}, {"name": "off"}], "fallbacks": [
        {"when": {"status": "timeout"}, "to": "p2"}, {"when": {"status": "circuit_breaker_open"}, "to": "p3"}]}"#;
    let mut rig = Rig::default();
    rig.held_back("p1", 1);
    let (called, _, answer) = route(&rig, policy, &[]);
    assert_eq!(
        (called, &answer["decision"]["reason"]),
        (vec!["p3".to_owned()], &json!("fallback"))
    );
}

#[test]
fn a_provider_that_would_be_too_late_is_left_out() {
    let policy = r#"{"providers": [{"name": "p1", "weight": 99}, {"name": "p2", "weight": 1}]}"#;
    let mut rig = Rig {
        left: Duration::from_millis(500),
        ..Rig::default()
    };
    let slow = EndpointState {
        latency: Some(Duration::from_millis(800)),
        fresh: true,
        ..EndpointState::default()
    };
    rig.endpoint_state.insert("p1".into(), slow);
    let (called, _, answer) = route(&rig, policy, &[]);
    assert_eq!(called, ["p2"]);
    let steps = answer["decision"]["explanation"]["steps"].to_string();
    assert!(
        steps.contains("provider p1: excluded, deadline too short for its usual latency"),
        "{steps}"
    );
    let (decided, _) = rig.finish(rig.run(RequestKind::Decide, policy), |_| None);
    assert_eq!(
        decided["decision"]["provider_id"], "p1",
        "who calls it has time of its own"
    );
    assert_eq!(decided["decision"]["expected_latency_ms"], 800.0);
    rig.endpoint_state.insert(
        "p1".into(),
        EndpointState {
            fresh: false,
            ..slow
        },
    );
    assert_eq!(
        route(&rig, policy, &[]).0,
        ["p1"],
        "what was long ago is no reason to leave it out"
    );
    rig.endpoint_state.insert("p1".into(), slow);
    rig.endpoint_state.insert("p2".into(), slow);
    assert_eq!(
        route(&rig, policy, &[]).2["error"]["code"],
        "deadline_exceeded"
    );
}

#[test]
fn the_ends_of_the_request_are_not_fallen_back_from() {
    for (failure, code) in [
        (CallFailure::Deadline, "deadline_exceeded"),
        (CallFailure::BusUnavailable, "bus_unavailable"),
        (
            CallFailure::TooLarge { size: 2, limit: 1 },
            "invalid_request",
        ),
    ] {
        let (called, _, answer) = route(&Rig::default(), RULES, &[Err(failure)]);
        assert_eq!((called.len(), &answer["error"]["code"]), (1, &json!(code)));
    }
}

#[test]
fn an_external_provider_is_decided_but_not_called() {
    let records = vec![json!({"id": "p1", "type": "provider", "metadata": {"external": true}})];
    let rig = Rig {
        records,
        ..Rig::default()
    };
    let policy = r#"{"providers": ["p1", "p2"]}"#;
    let (decided, _) = rig.finish(rig.run(RequestKind::Decide, policy), |_| None);
    assert_eq!(decided["decision"]["provider_id"], "p1");
    let (called, _, answer) = route(&rig, policy, &[]);
    assert_eq!(
        (called.len(), &answer["error"]["code"]),
        (0, &json!("extension_not_found"))
    );
    let (called, _, _) = route(
        &rig,
        r#"{"providers": ["p2", "p1"]}"#,
        &[Err(CallFailure::Timeout)],
    );
    assert_eq!(called, ["p2"], "nor is it a fallback");
}

#[test]
fn a_provider_that_is_not_called_after_the_choice_is_left_out_like_any_other() {
    let policy = r#"{"providers": [{"name": "p1", "weight": 70}, {"name": "p2", "weight": 30}]}"#;
    let rig = Rig {
        budget: 0,
        ..Rig::default()
    };
    let refused = CallFailure::CircuitOpen {
        retry_after: Duration::from_secs(5),
        opened_by: None,
    };
    let (called, _, answer) = route(&rig, policy, &[Err(refused.clone())]);
    assert_eq!(called, ["p1", "p2"]);
    assert_eq!(
        (
            &answer["decision"]["reason"],
            &answer["response"]["provider_id"]
        ),
        (&json!("weighted"), &json!("p2"))
    );
    let steps = answer["decision"]["explanation"]["steps"].to_string();
    assert!(steps.contains("p2 v1 chosen by weight"), "{steps}");
    let (called, _, answer) = route(&rig, policy, &[Err(refused.clone()), Err(refused)]);
    assert_eq!(
        (called.len(), &answer["error"]["code"]),
        (2, &json!("extension_unavailable"))
    );
    let full = CallFailure::Overloaded {
        retry_after: Duration::from_millis(100),
    };
    let (called, _, answer) = route(&rig, policy, &[Err(full.clone())]);
    assert_eq!(
        (called.len(), &answer["response"]["provider_id"]),
        (2, &json!("p2")),
        "it had no place for the call"
    );
    let (called, _, answer) = route(&rig, policy, &[Err(full.clone()), Err(full)]);
    assert_eq!(
        (called.len(), &answer["error"]["code"]),
        (2, &json!("overloaded"))
    );
    for failure in [CallFailure::Timeout, answered("overloaded")] {
        let (called, _, _) = route(&rig, policy, &[Err(failure)]);
        assert_eq!(
            called,
            ["p1"],
            "a call that was made and failed is another matter"
        );
    }
}
