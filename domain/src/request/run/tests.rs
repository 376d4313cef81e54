use serde_json::{Value, json};

use std::sync::Arc;
use std::time::Duration;

use beamline_contract::fields::Fields;
use beamline_contract::record::Kind;
use serde_json::value::RawValue;

use super::*;
use crate::conditions::Facts;
use crate::request::failure::{AnsweredFailure, CallFailure};
use crate::request::plan::{Plan, PlanLimits};
use crate::request::reply::{Edit, Reply};
use crate::request::{Request, RequestKind};
use crate::target::retry_budget::{RetryTokens, Unlimited};
use crate::target::selection::{ChoiceContext, EndpointState};
use beamline_contract::error::ErrorCode;
use beamline_contract::notes::Notes;
use rig::{Rig, edit, reject, snapshot};

mod answers;
mod chains;
mod contract;
mod guardrails;
mod providers;
mod retries;
mod rig;
mod sessions;

const POLICY: &str = r#"{"pre": [{"id": "pre_a", "mode": "required"}, {"id": "pre_b"}],
    "validators": [{"id": "val_block"}, {"id": "val_warn", "on_fail": "warn"}, {"id": "val_ignore", "on_fail": "ignore"}],
    "providers": [{"name": "p1", "weight": 70}, {"name": "p2", "weight": 30}, {"name": "off", "weight": 1000}],
    "post": [{"id": "post_a", "mode": "required"}]}"#;

/// Goes through the pipeline; `reply` says how each extension ends, `Ok` of an empty edit or
/// acceptance by default.
fn finish(
    kind: RequestKind,
    reply: impl Fn(&str) -> Option<Result<Reply, CallFailure>>,
) -> (Value, Vec<String>) {
    let rig = Rig::default();
    let (answer, happened) = rig.finish(rig.run(kind, POLICY), |order| reply(order.call.id()));
    (answer, happened.called)
}

fn statuses(answer: &Value) -> Vec<String> {
    let line = |e: &Value| {
        format!(
            "{} {}",
            e["id"].as_str().unwrap(),
            e["status"].as_str().unwrap()
        )
    };
    answer["extensions"]
        .as_array()
        .unwrap()
        .iter()
        .map(line)
        .collect()
}

#[test]
fn route_goes_through_every_stage_in_order() {
    let (answer, called) = finish(RequestKind::Route, |id| {
        (id == "pre_a").then(|| Ok(edit("\"clean\"")))
    });
    assert_eq!(
        called,
        [
            "pre_a",
            "pre_b",
            "val_block",
            "val_warn",
            "val_ignore",
            "p1",
            "post_a"
        ]
    );
    assert_eq!(
        (&answer["ok"], &answer["response"]["output"]),
        (&json!(true), &json!("out"))
    );
    assert_eq!(
        answer["message"]["payload"], "clean",
        "the message is as the pre-processors left it"
    );
    assert_eq!(answer["decision"]["reason"], "weighted");
    let want = [
        "pre_a success",
        "pre_b success",
        "val_block success",
        "val_warn success",
        "val_ignore success",
        "p1 success",
        "p2 skipped",
        "off skipped",
        "post_a success",
    ];
    assert_eq!(statuses(&answer), want);
}

#[test]
fn the_explanation_tells_the_steps_in_their_order() {
    let (answer, _) = finish(RequestKind::Route, |_| None);
    let steps = answer["decision"]["explanation"]["steps"].to_string();
    let at = |text: &str| {
        steps
            .find(text)
            .unwrap_or_else(|| panic!("{text} is not in {steps}"))
    };
    assert!(
        at("pre pre_a") < at("validator val_block")
            && at("validator val_block") < at("provider p1: weight 70, 70.0 %")
    );
    assert!(
        at("attempt 1 at p1 v1 (weighted): success in 1 ms") < at("p1 v1 chosen by weight")
            && at("p1 v1 chosen by weight") < at("post post_a v1: success")
    );
}

#[test]
fn decide_calls_no_provider_and_no_post() {
    let (answer, called) = finish(RequestKind::Decide, |_| None);
    assert_eq!(called.last().map(String::as_str), Some("val_ignore"));
    assert!(answer.get("response").is_none());
    assert_eq!(answer["message"]["payload"], "1.10");
    let steps: Vec<&str> = answer["decision"]["explanation"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_str().unwrap())
        .collect();
    assert!(
        steps.contains(&"9. provider off: excluded, disabled"),
        "{steps:?}"
    );
}

#[test]
fn what_a_failure_means_depends_on_the_policy() {
    let answered = || {
        CallFailure::Answered(AnsweredFailure {
            message: "m".into(),
            ..AnsweredFailure::of_code("E")
        })
    };
    let open = || CallFailure::CircuitOpen {
        retry_after: Duration::from_secs(2),
        opened_by: None,
    };
    let cases: Vec<(&str, Result<Reply, CallFailure>, &str)> = vec![
        ("pre_a", Err(answered()), "pre_processor_failed"),
        ("pre_a", Err(CallFailure::Timeout), "extension_timeout"),
        ("pre_a", Err(open()), "extension_unavailable"),
        ("pre_b", Err(answered()), "ok"),
        ("pre_b", Err(CallFailure::BusUnavailable), "ok"),
        ("pre_b", Err(CallFailure::Deadline), "deadline_exceeded"),
        ("pre_b", Err(CallFailure::TooLittleTime), "ok"),
        (
            "pre_a",
            Err(CallFailure::TooLittleTime),
            "deadline_exceeded",
        ),
        ("val_block", Ok(reject()), "validator_blocked"),
        ("val_block", Err(answered()), "validator_blocked"),
        ("val_block", Err(CallFailure::Timeout), "validator_blocked"),
        ("val_block", Err(open()), "validator_blocked"),
        (
            "val_block",
            Err(CallFailure::BusUnavailable),
            "bus_unavailable",
        ),
        ("val_warn", Ok(reject()), "ok"),
        (
            "val_block",
            Err(CallFailure::TooLittleTime),
            "deadline_exceeded",
        ),
        ("val_warn", Err(CallFailure::Timeout), "ok"),
        ("val_warn", Err(CallFailure::TooLittleTime), "ok"),
        ("val_ignore", Ok(reject()), "ok"),
        ("p1", Err(answered()), "extension_error"),
        (
            "p1",
            Err(CallFailure::Malformed("x".into())),
            "extension_error",
        ),
        ("p1", Err(CallFailure::Timeout), "extension_timeout"),
        (
            "p1",
            Err(CallFailure::NoResponders),
            "extension_unavailable",
        ),
        ("post_a", Err(answered()), "post_processor_failed"),
        (
            "post_a",
            Err(CallFailure::TooLarge { size: 2, limit: 1 }),
            "invalid_request",
        ),
    ];
    for (who, how, want) in cases {
        let shown = format!("{who} {how:?}");
        let (answer, _) = finish(RequestKind::Route, |id| (id == who).then(|| how.clone()));
        let got = if answer["ok"] == true {
            "ok"
        } else {
            answer["error"]["code"].as_str().unwrap()
        };
        assert_eq!(got, want, "{shown}");
        if want != "ok" {
            assert_eq!(answer["error"]["details"]["extension_id"], who, "{shown}");
        }
    }
}

#[test]
fn a_deadline_names_the_stage_that_it_hit() {
    for (who, stage) in [
        ("pre_b", "pre"),
        ("val_ignore", "validator"),
        ("p1", "provider"),
        ("post_a", "post"),
    ] {
        let (answer, _) = finish(RequestKind::Route, |id| {
            (id == who).then_some(Err(CallFailure::Deadline))
        });
        let error = &answer["error"];
        assert_eq!(
            (&error["code"], &error["details"]["stage"]),
            (&json!("deadline_exceeded"), &json!(stage))
        );
        let (answer, _) = finish(RequestKind::Route, |id| {
            (id == who).then_some(Err(CallFailure::BusUnavailable))
        });
        assert_eq!(answer["error"]["details"].get("stage"), None, "{answer}");
    }
    let mut run = Rig::default().run(RequestKind::Route, r#"{"providers": ["p1"]}"#);
    assert!(matches!(run.next_step(), Next::Choose));
    run.time_out(Duration::from_secs(1));
    assert_eq!(run.failure.unwrap().details["stage"], "provider");
}

#[test]
fn what_did_not_run_is_said() {
    let (answer, _) = finish(RequestKind::Route, |id| match id {
        "pre_b" => Some(Err(CallFailure::Timeout)),
        "val_warn" => Some(Ok(reject())),
        _ => None,
    });
    let want = json!([{"id": "pre_b", "reason": "extension_timeout"}, {"id": "val_warn", "reason": "pii"}]);
    assert_eq!(answer["degraded"], want);
    let (answer, called) = finish(RequestKind::Route, |id| {
        (id == "val_block").then(|| Ok(reject()))
    });
    assert!(
        !called.contains(&"p1".to_owned()),
        "nothing after a rejection is called"
    );
    assert_eq!(
        statuses(&answer)[5..],
        ["p1 skipped", "p2 skipped", "off skipped", "post_a skipped"]
    );
    assert_eq!(
        answer["error"]["details"]["timestamp"],
        "1970-01-01T00:00:00.000Z"
    );
}

#[test]
fn an_open_breaker_takes_a_provider_out_of_the_choice() {
    let mut rig = Rig::default();
    rig.held_back("p1", 3);
    let (answer, _) = rig.finish(rig.run(RequestKind::Decide, POLICY), |_| None);
    assert_eq!(answer["decision"]["provider_id"], "p2");
    rig.held_back("p2", 2);
    let (answer, _) = rig.finish(rig.run(RequestKind::Decide, POLICY), |_| None);
    let error = &answer["error"];
    assert_eq!(
        (&error["code"], &error["details"]["retry_after_ms"]),
        (&json!("extension_unavailable"), &json!(2000))
    );
}

#[test]
fn a_policy_that_cannot_be_kept_is_refused_before_the_first_call() {
    let limits = |max_extensions| PlanLimits {
        subject_prefix: "b".into(),
        max_extensions,
    };
    let code = |policy: &str, id: &str, most| {
        let context = Fields::default();
        let facts = Facts {
            tenant_id: "t",
            policy_id: id,
            environment: "test",
            message_type: "chat",
            context: &context,
        };
        let mut choice = ChoiceContext {
            endpoint_state: &|_, _| EndpointState::default(),
            roll: &mut || 0.0,
            left: Duration::from_secs(1),
        };
        Plan::new(&facts, &snapshot(&[], policy), &limits(most), &mut choice)
            .unwrap_err()
            .code
    };
    assert_eq!(code(POLICY, "nope", 32), ErrorCode::PolicyNotFound);
    assert_eq!(code(POLICY, "default", 6), ErrorCode::InvalidRequest);
    let unknown = r#"{"pre": [{"id": "ghost"}], "providers": [{"name": "p1"}]}"#;
    assert_eq!(code(unknown, "default", 32), ErrorCode::ExtensionNotFound);
}
