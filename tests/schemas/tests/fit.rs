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
            "admin/set_breaker.request",
            json!({"id": "a", "state": "normal"}),
            true,
        ),
        ("admin/set_breaker.request", json!({"id": "a"}), false),
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
