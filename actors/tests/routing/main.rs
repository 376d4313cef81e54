//! What holds for every policy and however its calls end, on the whole tree in memory with paused
//! time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use beamline_actors::dry_run::Rehearsal;
use beamline_actors::testing::content;
use beamline_contract::fields::Fields;
use beamline_domain::request::{Message, RequestKind};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use support::{one, plant, send};
use tokio::runtime::Builder;
use tokio::time::Instant;

use bus::{Called, ScriptedBus};
use cases::{Case, Delays, POOL, any_case, delays, records, settled_case};

mod bus;
mod cases;
#[path = "../support/tree.rs"]
mod support;

/// One request of a case.
struct Ran {
    answer: Value,
    calls: Vec<Called>,
    took: Duration,
}

fn run(case: &Case, delays: &Delays, kind: RequestKind, timeout_ms: u64) -> Ran {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let bus = ScriptedBus::new(case.script(delays));
        let (_store, _registry, _invokers, door, _root) =
            plant(registry(case), bus.clone(), 10, case.budget).await;
        let request = json!({"version": "1", "tenant_id": "t", "request_id": "r", "message": {"payload": "raw"},
            "timeout_ms": timeout_ms, "context": {"user": case.user, "detail_level": "minimal"}});
        let begun = Instant::now();
        let answers = send(&door, kind, &request);
        let answer = one(answers).await;
        Ran { answer, calls: bus.calls(), took: begun.elapsed() }
    })
}

fn registry(case: &Case) -> beamline_domain::snapshot::Content {
    let records = records();
    let policy = case.policy.to_string();
    content(
        &records.iter().map(String::as_str).collect::<Vec<_>>(),
        &[("t", "default", &policy)],
    )
}

const LONG: u64 = 60_000;

fn kinds() -> impl Strategy<Value = RequestKind> {
    prop_oneof![Just(RequestKind::Decide), Just(RequestKind::Route)]
}

fn kind_of(id: &str) -> &'static str {
    POOL.iter()
        .find(|(known, _)| *known == id)
        .map_or("nobody's", |(_, kind)| *kind)
}

fn reports(answer: &Value) -> &[Value] {
    answer["extensions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What must not depend on who answers first: all of a good answer but times and places, and the
/// error of a bad one with what led to it.
fn outcome(answer: &Value) -> Value {
    let attempts: Vec<Value> = answer["attempts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(without_chance)
        .collect();
    if answer["ok"] == true {
        let reports: Vec<Value> = reports(answer).iter().map(without_chance).collect();
        return json!({"decision": answer["decision"], "message": answer["message"], "response": answer["response"],
            "extensions": reports, "attempts": attempts, "degraded": answer["degraded"]});
    }
    let mut error = answer["error"].clone();
    let culprit = text(&error["details"], "extension_id").to_owned();
    let last = reports(answer)
        .iter()
        .position(|report| report["id"] == *culprit)
        .map_or(0, |index| index + 1);
    let before: Vec<Value> = reports(answer)
        .iter()
        .take(last)
        .map(without_chance)
        .collect();
    for key in ["timestamp", "retry_after_ms"] {
        error["details"].as_object_mut().unwrap().remove(key);
    }
    json!({"error": error, "before": before, "attempts": attempts})
}

fn without_chance(line: &Value) -> Value {
    let mut line = line.clone();
    for key in ["latency_ms", "waited_ms", "instance"] {
        line.as_object_mut().unwrap().remove(key);
    }
    line
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_outside_the_policy_is_ever_called(case in any_case(), delays in delays(), kind in kinds()) {
        let ran = run(&case, &delays, kind, LONG);
        let named = case.named();
        for Called { id, .. } in &ran.calls {
            prop_assert!(named.contains(&format!("{} {id}", kind_of(id))), "{id} was called: {}", ran.answer);
            prop_assert!(id != "off", "it is disabled");
            let before_the_choice = ["pre", "validator"].contains(&kind_of(id));
            prop_assert!(kind == RequestKind::Route || before_the_choice, "{id} was called for a decision");
        }
    }

    #[test]
    fn everything_configured_is_reported_exactly_once(case in any_case(), delays in delays(), kind in kinds()) {
        let ran = run(&case, &delays, kind, LONG);
        let lines: Vec<String> = reports(&ran.answer).iter().map(|r| format!("{} {}", text(r, "type"), text(r, "id"))).collect();
        prop_assert_eq!(lines.len(), case.named().len(), "{:?}", &lines);
        prop_assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), case.named());
        for report in reports(&ran.answer) {
            let calls = ran.calls.iter().filter(|call| call.id == text(report, "id")).count();
            // What was cut off may have been called.
            if report["status"] != "skipped" {
                prop_assert_eq!(&report["attempts"], calls, "{}", report);
            }
            prop_assert!(calls == 0 || report["attempts"] != 0, "{} was called {} times", report, calls);
        }
    }

    #[test]
    fn the_outcome_is_independent_of_who_answers_first(case in settled_case(), one in delays(), other in delays()) {
        let first = run(&case, &one, RequestKind::Route, LONG);
        let second = run(&case, &other, RequestKind::Route, LONG);
        prop_assert_eq!(outcome(&first.answer), outcome(&second.answer), "{}\n{}", &first.answer, &second.answer);
    }

    #[test]
    fn attempts_stay_within_the_budget_and_no_provider_is_visited_twice(case in any_case(), delays in delays()) {
        let ran = run(&case, &delays, RequestKind::Route, LONG);
        let calls = |id: &str| ran.calls.iter().filter(|call| call.id == id).count();
        let providers: Vec<&Called> = ran.calls.iter().filter(|call| kind_of(&call.id) == "provider").collect();
        let guardrails = POOL.iter().filter(|(_, kind)| *kind != "provider");
        let extra: usize = guardrails.map(|(id, _)| calls(id).saturating_sub(1)).sum();
        let extra = extra + providers.len().saturating_sub(1);
        prop_assert!(extra <= case.budget as usize, "{extra} beyond the first, {} allowed: {}", case.budget, ran.answer);

        let mut trail: Vec<&str> =
            ran.answer["attempts"].as_array().into_iter().flatten().map(|a| text(a, "provider_id")).collect();
        // One that its breaker kept back is in the trail, too.
        prop_assert!(trail.len() >= providers.len(), "{:?} of {:?}", providers, trail);
        trail.dedup();
        prop_assert_eq!(trail.len(), trail.iter().collect::<BTreeSet<_>>().len(), "{:?}", trail);
        for (id, _) in POOL {
            let visits = providers.iter().filter(|call| call.id == id && call.attempt == 1).count();
            prop_assert!(visits <= 1, "{id} was visited {visits} times: {:?}", providers);
        }
    }

    #[test]
    fn the_deadline_bounds_retries_waits_and_fallbacks(case in any_case(), delays in delays(), timeout_ms in 20u64..600) {
        let ran = run(&case, &delays, RequestKind::Route, timeout_ms);
        prop_assert!(ran.took <= Duration::from_millis(timeout_ms), "{:?} of {timeout_ms} ms: {}", ran.took, ran.answer);
        prop_assert_eq!(reports(&ran.answer).len(), case.named().len());
    }

    #[test]
    fn a_dry_run_calls_nobody_and_tells_the_plan_that_a_request_runs_by(case in any_case(), delays in delays()) {
        let (told, calls) = rehearse(&case, &delays);
        prop_assert_eq!(calls, Vec::<Called>::new());
        let pipeline = &told["pipeline"];
        let waves = pipeline["pre"].as_array().into_iter().chain(pipeline["post"].as_array()).flatten();
        let guardrails = waves.chain([&pipeline["validators"]]).filter_map(Value::as_array).flatten();
        let providers = pipeline["providers"].as_array().into_iter().flatten().map(|provider| &provider["call"]);
        let steps: Vec<&Value> = guardrails.chain(providers).filter(|step| !step.is_null()).collect();
        let ran = run(&case, &delays, RequestKind::Route, LONG);
        for report in reports(&ran.answer).iter().filter(|report| report["version"] != "") {
            let planned = steps.iter().find(|step| step["id"] == report["id"] && step["type"] == report["type"]);
            prop_assert_eq!(planned.map(|step| &step["version"]), Some(&report["version"]), "{}", report);
        }
    }
}

/// The result of a dry run without calls, and what was called all the same.
fn rehearse(case: &Case, delays: &Delays) -> (Value, Vec<Called>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let bus = ScriptedBus::new(case.script(delays));
        let (_store, _registry, _invokers, door, _root) =
            plant(registry(case), bus.clone(), 10, case.budget).await;
        let rehearsal = Rehearsal {
            tenant_id: "t".into(),
            policy_id: "default".into(),
            policy: None,
            message: Message {
                message_id: "m".into(),
                message_type: "chat".into(),
                payload: RawValue::from_string("1".into()).unwrap().into(),
                metadata: Fields::default().into(),
            },
            context: Fields::parse(&json!({"user": case.user}).to_string()).unwrap(),
            timeout: None,
            call_extensions: false,
            output: None,
            assumed_latency: Duration::from_millis(30),
        };
        let told = door.services().dry_run(rehearsal).await.unwrap();
        (serde_json::from_str(told.get()).unwrap(), bus.calls())
    })
}
