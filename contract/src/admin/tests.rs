//! What holds for every operation.

use std::collections::HashSet;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::fields::Fields;

/// Written and read again it is the same, and what a newer router adds is passed over.
fn comes_back(json: &Value, read: impl Fn(&str) -> Value) {
    let mut more = json.clone();
    if let Some(object) = more.as_object_mut() {
        object.insert("a_newer_field".into(), json!({"x": [1]}));
    }
    assert_eq!(read(&more.to_string()), *json);
}

fn again<T: Serialize + DeserializeOwned + Debug>(json: &str) -> Value {
    let read: T = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    serde_json::to_value(read).expect("JSON")
}

#[test]
fn names_are_told_apart() {
    assert_eq!(NAMES.iter().collect::<HashSet<_>>().len(), NAMES.len());
    assert_eq!(ResetBreaker::NAME, "reset_breaker");
}

#[test]
fn whoever_only_looks_needs_the_least_role() {
    assert_eq!(GetExtension::ROLE, Role::Viewer);
    assert_eq!(SetBreaker::ROLE, Role::Operator);
    assert_eq!(PutPolicy::ROLE, Role::Editor);
    assert_eq!(CreateKey::ROLE, Role::Admin);
}

#[test]
fn a_flattened_answer_comes_back() {
    let figures = json!({"status": "healthy", "success_rate": 0.99, "requests": 7, "latency_p50_ms": 1.5,
        "latency_p95_ms": null, "latency_p99_ms": null});
    let target = merged(
        &figures,
        json!({"version": "v1", "subject": "b.ext.pre.a.v1"}),
    );
    let called = merged(
        &figures,
        json!({"alive": true, "in_flight": 1, "waiting": 0, "limit": 5, "ceiling": 9, "targets": [target]}),
    );
    let health = json!({"ok": true, "health": {"a": called, "b": figures}});
    comes_back(&health, again::<HealthAnswer>);

    let closed =
        json!({"state": "closed", "opened_at": null, "failure_count": 0, "error_rate": 0.0});
    let target = merged(&closed, json!({"subject": "b.ext.pre.a.v1"}));
    let fleet = json!({"replicas": 3, "open": 1, "half_open": 0, "targets": {"b.ext.pre.a.v1": {"open": 1, "half_open": 0}}});
    let operator =
        json!({"state": "forced_open", "until": "2026-01-01T00:00:00.000Z", "reason": "a trial"});
    let entry = json!({"settings": {"jitter": 25, "isolation": "shared"}, "targets": [target], "fleet": fleet,
        "operator": operator, "measured_state": "closed", "tenants": {},
        "versions": {"v1": {"state": "open", "failure_count": 5, "class": "no_responders"}}});
    let states = json!({"ok": true, "states": {"a": merged(&closed, entry)}, "replicas": [{"replica_id": "r", "revision": 3}]});
    comes_back(&states, again::<BreakerStatesAnswer>);
}

fn merged(lower: &Value, upper: Value) -> Value {
    let entries = [lower, &upper].map(|value| value.as_object().cloned().unwrap_or_default());
    Value::Object(entries.into_iter().flatten().collect())
}

#[test]
fn a_policy_that_was_only_checked_answers_no_document() {
    comes_back(
        &json!({"ok": true, "revision": 4, "checked": true}),
        again::<PolicyWritten>,
    );
    let saved = json!({"ok": true, "revision": 4, "tenant_id": "t", "policy_id": "p", "policy": {"version": "1.0"}});
    comes_back(&saved, again::<PolicyWritten>);
}

#[test]
fn documents_keep_every_digit() {
    let json = r#"{"id":"a","config":{"limit":1.50}}"#;
    let update: UpdateExtension = serde_json::from_str(json).expect("JSON");
    assert_eq!(
        serde_json::to_string(&update).expect("JSON"),
        r#"{"config":{"limit":1.50},"id":"a"}"#
    );

    let body = Fields::parse(r#"{"tenant_id": "t", "policy_id": "p", "policy": {"weight": 0.70}}"#)
        .expect("JSON");
    let put: PutPolicy = body.read().expect("a policy");
    assert_eq!(
        (put.policy.get(), put.check_only),
        (r#"{"weight": 0.70}"#, false)
    );
}
