//! What documents of this repository say fits the schemas. What a running router answers is held
//! against them in its own tests (`tests/support/src/schemas.rs`), what the readers refuse in those
//! of the rules.

use jsonschema::Validator;
use serde_json::{Value, json};

const GUIDE: &str = include_str!("../../../docs/routing-policy.md");

fn validator(name: &str) -> Validator {
    let files = beamline_schemas::files();
    let file = files.iter().find(|file| file.name == name).expect(name);
    jsonschema::draft202012::new(file.schema.as_value()).unwrap()
}

/// The blocks of the guide that are marked so.
fn blocks(marks: &str) -> Vec<Value> {
    let fence = format!("```{marks}\n");
    let blocks = GUIDE.split(&fence).skip(1);
    let texts = blocks.map(|rest| rest.split("\n```").next().unwrap());
    texts
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

#[test]
fn every_schema_is_one_of_draft_2020_12() {
    for file in beamline_schemas::files() {
        jsonschema::draft202012::meta::validate(file.schema.as_value()).expect(&file.name);
        validator(&file.name);
    }
}

#[test]
fn what_the_guide_shows_fits() {
    for (marks, name, least) in [
        ("json policy", "policy", 15),
        ("json policy same", "policy", 3),
        ("json extension", "extension-record", 2),
        ("json request", "request", 1),
    ] {
        let validator = validator(name);
        let blocks = blocks(marks);
        assert!(blocks.len() >= least, "{} blocks of {marks}", blocks.len());
        for block in blocks {
            let error = validator.validate(&block).err();
            assert!(error.is_none(), "{error:?}: {block}");
        }
    }
}

#[test]
fn what_is_sent_and_answered_fits_and_what_is_odd_does_not() {
    for (name, document, is_good) in [
        ("extension-answer", json!({}), true),
        (
            "extension-answer",
            json!({"status": "reject", "reason": "pii", "details": {"n": 1}}),
            true,
        ),
        (
            "extension-answer",
            json!({"payload": {"payload": "x"}, "metadata": {"lang": "en"}}),
            true,
        ),
        (
            "extension-answer",
            json!({"provider_id": "p", "output": "x", "usage": {"tokens": 3}}),
            true,
        ),
        (
            "extension-answer",
            json!({"error": {"code": "503", "message": "m", "retry_after_ms": 5}}),
            true,
        ),
        ("extension-answer", json!({"status": "maybe"}), false),
        ("extension-answer", json!({"error": {"code": "503"}}), false),
        ("extension-answer", json!({"payload": "x"}), false),
        ("extension-answer", json!([]), false),
        (
            "admin/put_policy.request",
            json!({"tenant_id": "t", "policy_id": "p", "policy": {"providers": ["a"]}}),
            true,
        ),
        (
            "admin/put_policy.request",
            json!({"tenant_id": "t", "policy_id": "p", "policy": {"provider": ["a"]}}),
            false,
        ),
        (
            "admin/update_extension.request",
            json!({"id": "a", "retry": 2}),
            true,
        ),
        (
            "admin/update_extension.request",
            json!({"id": "a", "retrry": 2}),
            false,
        ),
        (
            "admin/refusal",
            json!({"ok": false, "error": {"code": "conflict", "message": "m", "details": {}}}),
            true,
        ),
        ("admin/refusal", json!({"ok": false}), false),
        ("admin/reload.request", json!({"api_key": "k"}), true),
        ("admin/reload.request", json!({"api_key": 1}), false),
        (
            "admin/create_extension.request",
            json!({"id": "a", "type": "pre", "api_key": "k"}),
            true,
        ),
        (
            "extension-record",
            json!({"id": "a", "type": "pre", "api_key": "k"}),
            false,
        ),
    ] {
        let error = validator(name)
            .validate(&document)
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.is_none(), is_good, "{name}: {document}: {error:?}");
    }
}

/// As the reader of the router does it (`src/admin/breakers/operator.rs`).
#[test]
fn what_an_operator_may_say_about_breakers_fits() {
    let longest = "r".repeat(500);
    let too_long = "r".repeat(501);
    let set = "admin/set_breaker.request";
    let reset = "admin/reset_breaker.request";
    for (name, document, is_good) in [
        (set, json!({"id": "a", "state": "normal"}), true),
        (
            set,
            json!({"id": "a", "state": "normal", "reason": ""}),
            true,
        ),
        (
            set,
            json!({"id": "a", "state": "disabled", "reason": "why"}),
            true,
        ),
        (
            set,
            json!({"id": "a", "state": "forced_open", "reason": longest}),
            true,
        ),
        (
            set,
            json!({"id": "a", "state": "metrics_only", "reason": "why", "for_ms": 1_000}),
            true,
        ),
        (
            set,
            json!({"id": "a", "state": "disabled", "reason": "why", "for_ms": 86_400_000}),
            true,
        ),
        (
            set,
            json!({"id": "a", "state": "normal", "api_key": "k"}),
            true,
        ),
        (set, json!({"id": "a"}), false),
        (set, json!({"state": "normal"}), false),
        (set, json!({"id": 1, "state": "normal"}), false),
        (
            set,
            json!({"id": "a", "state": "open", "reason": "why"}),
            false,
        ),
        (set, json!({"id": "a", "state": "disabled"}), false),
        (
            set,
            json!({"id": "a", "state": "disabled", "reason": " "}),
            false,
        ),
        (
            set,
            json!({"id": "a", "state": "disabled", "reason": too_long}),
            false,
        ),
        (
            set,
            json!({"id": "a", "state": "disabled", "reason": "why", "for_ms": 999}),
            false,
        ),
        (
            set,
            json!({"id": "a", "state": "disabled", "reason": "why", "for_ms": 86_400_001}),
            false,
        ),
        (
            set,
            json!({"id": "a", "state": "disabled", "reason": "why", "for_ms": 1_000.5}),
            false,
        ),
        (set, json!({"id": "a", "state": "normal", "for": 1}), false),
        (reset, json!({"id": "a"}), true),
        (
            reset,
            json!({"id": "a", "reason": longest, "api_key": "k"}),
            true,
        ),
        (reset, json!({"reason": "why"}), false),
        (reset, json!({"id": "a", "reason": too_long}), false),
        (reset, json!({"id": "a", "state": "normal"}), false),
    ] {
        let error = validator(name).validate(&document).err();
        assert_eq!(error.is_none(), is_good, "{name}: {document}: {error:?}");
    }
}

#[test]
fn only_route_answers_a_response() {
    let decided = json!({
        "ok": true,
        "decision": {"provider_id": "p", "reason": "weighted", "priority": 50, "policy_id": "default",
            "policy_version": "1.0", "expected_latency_ms": 1.0, "expected_cost": 0.0, "metadata": {},
            "explanation": {"policy_id": "default", "policy_version": "1.0", "priority": 50, "provider_id": "p",
                "reason": "weighted"}},
        "message": {"message_id": "m", "message_type": "chat", "payload": 1, "metadata": {}},
        "extensions": [], "degraded": [], "context": {"request_id": "r", "trace_id": "t"},
    });
    let mut routed = decided.clone();
    routed["response"] = json!({"provider_id": "p", "output": "x", "metadata": {}});
    for (name, answer, is_good) in [
        ("decide-answer", &decided, true),
        ("decide-answer", &routed, false),
        ("route-answer", &routed, true),
        ("route-answer", &decided, false),
    ] {
        let error = validator(name).validate(answer).err();
        assert_eq!(error.is_none(), is_good, "{name}: {answer}: {error:?}");
    }
}

#[test]
fn known_words_are_told_and_new_ones_let_through() {
    for (name, word, known) in [
        ("error-answer", "ErrorCode", "deadline_exceeded"),
        ("error-answer", "IntakeCode", "TENANT_FORBIDDEN"),
        ("error-answer", "ExtensionStatus", "circuit_open"),
        ("route-answer", "DecisionReason", "fallback"),
        ("admin/refusal", "RefusalCode", "store_unavailable"),
    ] {
        let files = beamline_schemas::files();
        let file = files.iter().find(|file| file.name == name).unwrap();
        let schema = file.schema.pointer(&format!("/$defs/{word}")).unwrap();
        let words = schema["anyOf"][0]["enum"].as_array().unwrap();
        assert!(words.contains(&known.into()), "{word}: {words:?}");
        assert!(jsonschema::is_valid(schema, &json!("a_new_word")), "{word}");
    }
}

#[test]
fn nobody_outside_reads_paths_of_the_code() {
    for file in beamline_schemas::files() {
        let text = file.text();
        assert!(
            !text.contains("::") && !text.contains("`]"),
            "{}",
            file.name
        );
    }
}
