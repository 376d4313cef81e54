use serde_json::{Value, json};

use super::*;
use crate::domain::answer;
use crate::domain::extension::Extension;
use crate::domain::plan::PlanLimits;
use crate::domain::request::{RequestHeaders, RequestLimits};
use crate::domain::snapshot::{Content, Snapshot, StoredPolicy};

const POLICY: &str = r#"{"pre": [{"id": "pre_a", "mode": "required"}, {"id": "pre_b"}],
    "validators": [{"id": "val_block"}, {"id": "val_warn", "on_fail": "warn"}, {"id": "val_ignore", "on_fail": "ignore"}],
    "providers": [{"name": "p1", "weight": 70}, {"name": "p2", "weight": 30}, {"name": "off", "weight": 1000}],
    "post": [{"id": "post_a", "mode": "required"}]}"#;

fn snapshot(policy: &str) -> Snapshot {
    let record = |id: &str, kind: &str, enabled: bool| {
        let json = json!({"id": id, "type": kind, "enabled": enabled, "config": {"own": 1}}).to_string();
        Extension::parse(&json, "beamline").unwrap()
    };
    let extensions = vec![
        record("pre_a", "pre", true),
        record("pre_b", "pre", true),
        record("val_block", "validator", true),
        record("val_warn", "validator", true),
        record("val_ignore", "validator", true),
        record("p1", "provider", true),
        record("p2", "provider", true),
        record("off", "provider", false),
        record("post_a", "post", true),
    ];
    let document = RawValue::from_string(policy.to_owned()).unwrap();
    let policies = vec![StoredPolicy { tenant_id: "t".into(), policy_id: "default".into(), document }];
    Snapshot::new(Content { revision: 7, extensions, policies })
}

fn run(kind: RequestKind) -> Run {
    let body = br#"{"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": 1.10}, "context": {"user": 1}}"#;
    let limits = RequestLimits {
        default_timeout: Duration::from_secs(1),
        max_timeout: Duration::from_secs(1),
        allowed_tenants: None,
    };
    let request = Request::parse(body, &RequestHeaders::default(), &limits, || 1).unwrap();
    let limits = PlanLimits { subject_prefix: "beamline".into(), max_extensions: 32 };
    let plan = Plan::new("t", "default", &snapshot(POLICY), &limits).unwrap();
    Run::new(kind, Arc::new(request), Arc::new(plan), "test")
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn edit(payload: &str) -> Reply {
    let payload = Edit { payload: Some(raw(payload)), message_type: None, metadata: None };
    Reply::Edit { payload: Some(payload), metadata: Fields::default() }
}

fn reject() -> Reply {
    Reply::Reject { reason: "pii".into(), details: None }
}

fn completion() -> Reply {
    Reply::Completion { output: raw("\"out\""), usage: None, metadata: Fields::default() }
}

/// Goes through the pipeline; `reply` says how each extension ends, `Ok` of an empty edit or acceptance by default.
fn finish(mut run: Run, reply: impl Fn(&str) -> Option<Result<Reply, CallFailure>>) -> (Value, Vec<String>) {
    let mut called = Vec::new();
    loop {
        match run.next_step() {
            Next::Answer => break,
            Next::Choose => run.choose(|_| None, |_| None, 0.0),
            Next::Call(orders) => {
                let result = |order: &Order| {
                    let id = order.call.extension.id.as_str();
                    let plain = match order.call.extension.kind {
                        Kind::Pre | Kind::Post => Reply::Edit { payload: None, metadata: Fields::default() },
                        Kind::Validator => Reply::Accept,
                        Kind::Provider => completion(),
                    };
                    let outcome = reply(id).unwrap_or(Ok(plain));
                    CallResult { outcome, latency: Duration::from_millis(1), attempts: 1 }
                };
                called.extend(orders.iter().map(|order| order.call.extension.id.clone()));
                run.apply(orders.iter().map(result).collect());
            }
        }
    }
    let bytes = answer::of_run(&run, std::time::UNIX_EPOCH);
    (serde_json::from_slice(&bytes).unwrap(), called)
}

fn statuses(answer: &Value) -> Vec<String> {
    let line = |e: &Value| format!("{} {}", e["id"].as_str().unwrap(), e["status"].as_str().unwrap());
    answer["extensions"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn route_goes_through_every_stage_in_order() {
    let (answer, called) = finish(run(RequestKind::Route), |id| (id == "pre_a").then(|| Ok(edit("\"clean\""))));
    assert_eq!(called, ["pre_a", "pre_b", "val_block", "val_warn", "val_ignore", "p1", "post_a"]);
    assert_eq!((&answer["ok"], &answer["response"]["output"]), (&json!(true), &json!("out")));
    assert_eq!(answer["message"]["payload"], "clean", "the message is as the pre-processors left it");
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
    let (answer, _) = finish(run(RequestKind::Route), |_| None);
    let steps = answer["decision"]["explanation"]["steps"].to_string();
    let at = |text: &str| steps.find(text).unwrap_or_else(|| panic!("{text} is not in {steps}"));
    assert!(
        at("pre pre_a") < at("validator val_block") && at("validator val_block") < at("provider p1: weight 70 of 100")
    );
    assert!(
        at("p1 v1 chosen by weight") < at("provider p1 v1: success")
            && at("provider p1 v1: success") < at("post post_a")
    );
}

#[test]
fn decide_calls_no_provider_and_no_post() {
    let (answer, called) = finish(run(RequestKind::Decide), |_| None);
    assert_eq!(called.last().map(String::as_str), Some("val_ignore"));
    assert!(answer.get("response").is_none());
    assert_eq!(answer["message"]["payload"].to_string(), "1.1");
    let steps: Vec<&str> =
        answer["decision"]["explanation"]["steps"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    assert!(steps.contains(&"9. provider off: excluded, disabled"), "{steps:?}");
}

#[test]
fn what_a_failure_means_depends_on_the_policy() {
    let answered =
        || CallFailure::Answered { code: "E".into(), message: "m".into(), retryable: None, retry_after: None };
    let open = || CallFailure::CircuitOpen { retry_after: Duration::from_secs(2) };
    let cases: Vec<(&str, Result<Reply, CallFailure>, &str)> = vec![
        ("pre_a", Err(answered()), "pre_processor_failed"),
        ("pre_a", Err(CallFailure::Timeout), "extension_timeout"),
        ("pre_a", Err(open()), "extension_unavailable"),
        ("pre_b", Err(answered()), "ok"),
        ("pre_b", Err(CallFailure::BusUnavailable), "ok"),
        ("pre_b", Err(CallFailure::Deadline), "deadline_exceeded"),
        ("val_block", Ok(reject()), "validator_blocked"),
        ("val_block", Err(answered()), "validator_blocked"),
        ("val_block", Err(CallFailure::Timeout), "validator_blocked"),
        ("val_block", Err(open()), "validator_blocked"),
        ("val_block", Err(CallFailure::BusUnavailable), "bus_unavailable"),
        ("val_warn", Ok(reject()), "ok"),
        ("val_warn", Err(CallFailure::Timeout), "ok"),
        ("val_ignore", Ok(reject()), "ok"),
        ("p1", Err(answered()), "extension_error"),
        ("p1", Err(CallFailure::Malformed("x".into())), "extension_error"),
        ("p1", Err(CallFailure::Timeout), "extension_timeout"),
        ("p1", Err(CallFailure::NoResponders), "extension_unavailable"),
        ("post_a", Err(answered()), "post_processor_failed"),
        ("post_a", Err(CallFailure::TooLarge { size: 2, limit: 1 }), "invalid_request"),
    ];
    for (who, how, want) in cases {
        let shown = format!("{who} {how:?}");
        let (answer, _) = finish(run(RequestKind::Route), |id| (id == who).then(|| how.clone()));
        let got = if answer["ok"] == true { "ok" } else { answer["error"]["code"].as_str().unwrap() };
        assert_eq!(got, want, "{shown}");
        if want != "ok" {
            assert_eq!(answer["error"]["details"]["extension_id"], who, "{shown}");
        }
    }
}

#[test]
fn what_did_not_run_is_said() {
    let (answer, _) = finish(run(RequestKind::Route), |id| match id {
        "pre_b" => Some(Err(CallFailure::Timeout)),
        "val_warn" => Some(Ok(reject())),
        _ => None,
    });
    let want = json!([{"id": "pre_b", "reason": "extension_timeout"}, {"id": "val_warn", "reason": "pii"}]);
    assert_eq!(answer["degraded"], want);
    let (answer, called) = finish(run(RequestKind::Route), |id| (id == "val_block").then(|| Ok(reject())));
    assert!(!called.contains(&"p1".to_owned()), "nothing after a rejection is called");
    assert_eq!(statuses(&answer)[5..], ["p1 skipped", "p2 skipped", "off skipped", "post_a skipped"]);
    assert_eq!(answer["error"]["details"]["timestamp"], "1970-01-01T00:00:00.000Z");
}

#[test]
fn an_open_breaker_takes_a_provider_out_of_the_choice() {
    let mut all_open = run(RequestKind::Decide);
    let mut one_open = all_open.clone();
    one_open.choose(|call| (call.extension.id == "p1").then_some(Duration::from_secs(3)), |_| None, 0.0);
    assert_eq!(one_open.decision.unwrap().call.extension.id, "p2");
    all_open.choose(|call| Some(Duration::from_secs(if call.extension.id == "p1" { 3 } else { 2 })), |_| None, 0.0);
    let error = all_open.failure.unwrap();
    assert_eq!((error.code, &error.details["retry_after_ms"]), (ErrorCode::ExtensionUnavailable, &json!(2000)));
}

#[test]
fn a_policy_that_cannot_be_kept_is_refused_before_the_first_call() {
    let limits = |max_extensions| PlanLimits { subject_prefix: "b".into(), max_extensions };
    let code = |policy: &str, id: &str, most| Plan::new("t", id, &snapshot(policy), &limits(most)).unwrap_err().code;
    assert_eq!(code(POLICY, "nope", 32), ErrorCode::PolicyNotFound);
    assert_eq!(code(POLICY, "default", 6), ErrorCode::InvalidRequest);
    let unknown = r#"{"pre": [{"id": "ghost"}], "providers": [{"name": "p1"}]}"#;
    assert_eq!(code(unknown, "default", 32), ErrorCode::ExtensionNotFound);
}
