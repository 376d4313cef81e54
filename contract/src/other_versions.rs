//! Answers of routers of other versions: a newer one writes fields and words that are not known
//! here, an older one leaves fields out.

use serde_json::{Value, json};

use crate::admin::{
    BreakerStatesAnswer, ComplexityAnswer, DryRunAnswer, DryRunResult, ExtensionAnswer,
    ExtensionDeleted, ExtensionsAnswer, HealthAnswer, PoliciesAnswer, RefusalAnswer,
    SupervisionTreeAnswer,
};
use crate::answer::{AttemptReport, DecisionAnswer, ErrorBody, ExtensionReport};

/// The least that is read, and words from the future in all places that have words.
struct Case {
    name: &'static str,
    read: fn(&str) -> Result<(), serde_json::Error>,
    least: Value,
    words: Value,
}

#[test]
fn answers_of_other_versions_are_read() {
    for case in administration().into_iter().chain(gateways()) {
        for json in [&case.least, &case.words] {
            for json in [json.clone(), with_newer_fields(json)] {
                let read = (case.read)(&json.to_string());
                assert!(read.is_ok(), "{}: {read:?}: {json}", case.name);
            }
        }
    }
}

/// A field that is not known here in every object.
fn with_newer_fields(json: &Value) -> Value {
    match json {
        Value::Object(entries) => {
            let mut newer: serde_json::Map<_, _> = entries
                .iter()
                .map(|(name, value)| (name.clone(), newer_entry(name, value)))
                .collect();
            newer.insert("a_newer_field".to_owned(), json!({"x": [1]}));
            Value::Object(newer)
        }
        Value::Array(items) => items.iter().map(with_newer_fields).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => json.clone(),
    }
}

fn newer_entry(name: &str, value: &Value) -> Value {
    match (name, value) {
        // Their keys are ids, not fields.
        ("health" | "states", Value::Object(by_extension)) => by_extension
            .iter()
            .map(|(id, entry)| (id.clone(), with_newer_fields(entry)))
            .collect(),
        _ => with_newer_fields(value),
    }
}

fn administration() -> Vec<Case> {
    vec![
        Case {
            name: "supervision_tree",
            read: |json| serde_json::from_str::<SupervisionTreeAnswer>(json).map(drop),
            least: json!({"ok": true, "router": {}, "tree": {"name": "root", "status": "running"}}),
            words: json!({"ok": true, "router": {"status": "novel", "pressure": "novel", "registry_source": "novel"},
                "tree": {"name": "root", "type": "novel", "status": "novel", "breaker": {"state": "novel"}}}),
        },
        Case {
            name: "get_extension_health",
            read: |json| serde_json::from_str::<HealthAnswer>(json).map(drop),
            least: json!({"ok": true, "health": {"a": {"status": "healthy", "in_flight": 1, "limit": 2}}}),
            words: json!({"ok": true, "health": {"a": {"status": "novel", "targets": [{"status": "novel"}]}}}),
        },
        Case {
            name: "get_circuit_breaker_states",
            read: |json| serde_json::from_str::<BreakerStatesAnswer>(json).map(drop),
            least: json!({"ok": true, "states": {"a": {"state": "open"}}}),
            words: json!({"ok": true, "states": {"a": {"state": "novel", "measured_state": "novel", "reason_code": "novel",
                "operator": {"state": "novel", "until": "novel"}, "targets": [{"subject": "s", "state": "novel"}]}}}),
        },
        Case {
            name: "list_extensions, with records as they were written",
            read: |json| serde_json::from_str::<ExtensionsAnswer<Value>>(json).map(drop),
            least: json!({"ok": true, "revision": 1, "extensions": [{"id": "a"}]}),
            words: json!({"ok": true, "revision": 1, "extensions": [{"id": "a", "type": "novel"}]}),
        },
        Case {
            name: "update_extension, with the record as it was written",
            read: |json| serde_json::from_str::<ExtensionAnswer<Value>>(json).map(drop),
            least: json!({"ok": true, "revision": 1, "extension": {"id": "a"}}),
            words: json!({"ok": true, "revision": 1, "extension": {"id": "a", "type": "novel"}}),
        },
        Case {
            name: "delete_extension",
            read: |json| serde_json::from_str::<ExtensionDeleted>(json).map(drop),
            least: json!({"ok": true, "revision": 1}),
            words: json!({"ok": true, "revision": 1, "used_by_policies": ["novel"]}),
        },
        Case {
            name: "list_policies",
            read: |json| serde_json::from_str::<PoliciesAnswer>(json).map(drop),
            least: json!({"ok": true, "revision": 1, "policies": [{"tenant_id": "t", "policy_id": "p", "policy": {}}]}),
            words: json!({"ok": true, "revision": 1, "policies": [], "unreadable": [{"name": "novel"}]}),
        },
        Case {
            name: "get_pipeline_complexity",
            read: |json| serde_json::from_str::<ComplexityAnswer>(json).map(drop),
            least: json!({"complexity_score": 1.0, "complexity_level": "low", "estimated_latency_ms": 2.0}),
            words: json!({"complexity_score": 1.0, "complexity_level": "novel", "estimated_latency_ms": 2.0,
                "estimate_from": "novel"}),
        },
        Case {
            name: "dry_run_pipeline",
            read: |json| serde_json::from_str::<DryRunAnswer<DryRunResult<'_>>>(json).map(drop),
            least: dry_run(&json!({"type": "pre"}), "weighted"),
            words: dry_run(&json!({"mode": "novel", "on_fail": "novel"}), "novel"),
        },
        Case {
            name: "a refusal",
            read: |json| serde_json::from_str::<RefusalAnswer>(json).map(drop),
            least: json!({"ok": false, "error": {"code": "not_found", "message": "no"}}),
            words: json!({"ok": false, "error": {"code": "novel", "message": "no", "details": {"reason": "novel"}}}),
        },
    ]
}

/// A dry run of one step; `more` is of that step.
fn dry_run(more: &Value, word: &str) -> Value {
    let mut step =
        json!({"id": "a", "type": word, "version": "v1", "timeout_ms": 1.0, "available": true});
    if let (Some(step), Some(more)) = (step.as_object_mut(), more.as_object()) {
        step.extend(more.clone());
    }
    let provider = json!({"provider_id": "b", "weight": 1.0, "share": 1.0, "excluded": word});
    json!({"ok": true, "result": {
        "decision": {"provider_id": "b", "reason": word},
        "pipeline": {"policy_id": "p", "policy_version": "1", "revision": 1, "pre": [[step]], "validators": [],
            "order": word, "providers": [provider], "post": []},
        "estimate": {"extensions_ms": 1.0, "extensions_from": word, "total_ms": 1.0}}})
}

fn gateways() -> Vec<Case> {
    vec![
        Case {
            name: "route",
            read: |json| serde_json::from_str::<DecisionAnswer<'_>>(json).map(drop),
            least: json!({"ok": true, "decision": {"provider_id": "b", "reason": "weighted"}, "message": {"payload": 1}}),
            words: json!({"ok": true, "decision": {"provider_id": "b", "reason": "novel"}, "message": {"payload": 1},
                "extensions": [{"id": "a", "type": "novel", "status": "novel"}],
                "attempts": [{"provider_id": "b", "status": "novel", "reason": "novel", "error_type": "novel"}],
                "degraded": [{"id": "a", "reason": "novel"}]}),
        },
        Case {
            name: "an error",
            read: |json| serde_json::from_str::<ErrorBody<'_>>(json).map(drop),
            least: json!({}),
            words: json!({"code": "novel", "intake_error_code": "NOVEL", "details": {"error_type": "novel"}}),
        },
        Case {
            name: "a line of extensions",
            read: |json| serde_json::from_str::<ExtensionReport<'_>>(json).map(drop),
            least: json!({"id": "a", "type": "pre"}),
            words: json!({"id": "a", "type": "novel", "status": "novel"}),
        },
        Case {
            name: "a line of attempts",
            read: |json| serde_json::from_str::<AttemptReport<'_>>(json).map(drop),
            least: json!({"provider_id": "b"}),
            words: json!({"provider_id": "b", "status": "novel", "reason": "novel", "error_type": "novel"}),
        },
    ]
}
