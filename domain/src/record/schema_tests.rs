//! The JSON Schema of records accepts and refuses what the reader does.

use serde_json::Value;

use super::parse;

const SCHEMA: &str = include_str!("../../../docs/schemas/extension-record.json");

const ACCEPTED: &[&str] = &[
    r#"{"id": "a", "type": "pre"}"#,
    r#"{"id": "openai:gpt-4_1", "type": "provider", "subject": "beamline.provider.openai.v1", "version": "v1.2", "timeout_ms": 600000, "retry": 2, "enabled": false,
        "config": {"x": [1]}, "metadata": {"external": true}, "max_in_flight": 1,
        "breaker": {"isolation": "tenant", "jitter": 0, "window_ms": null}}"#,
    r#"{"id": "a", "type": "pre", "versions": [{"version": "v2", "routing_rules": {"tenant": []}}]}"#,
    r#"{"id": "a", "type": "post", "subject": "beamline.ext.post.a.v1", "timeout_ms": null, "versions": [
        {"version": "v2", "routing_rules": {"tenant": ["x", "y"], "percent": 0.5, "percent_by": "user_id"}, "enabled": true},
        {"version": "v3", "subject": "beamline.ext.post.a.v3", "timeout_ms": 1, "retry": 0, "config": {}}],
        "instances": [{"instance_id": "i-1", "subject": "beamline.ext.post.a.i1", "weight": 0}]}"#,
    r#"{"id": "openai:mini", "type": "provider", "subject_of": "openai", "config": {"model": "mini"}}"#,
    r#"{"id": "mask", "type": "post", "notes_of": "mask_in"}"#,
    r#"{"id": "mask", "type": "post", "notes_of": null, "subject_of": null}"#,
];

const REFUSED: &[&str] = &[
    r#"[]"#,
    r#"{"type": "pre"}"#,
    r#"{"id": "a"}"#,
    r#"{"id": "A", "type": "pre"}"#,
    r#"{"id": "a.b", "type": "pre"}"#,
    r#"{"id": "a:b", "type": "pre", "subject": "beamline.ext.pre.a.v1"}"#,
    r#"{"id": "a:b", "type": "provider"}"#,
    r#"{"id": "a::b", "type": "provider", "subject": "beamline.provider.a.v1"}"#,
    r#"{"id": "a", "type": "pre", "subject_of": "b"}"#,
    r#"{"id": "a", "type": "provider", "subject_of": "B"}"#,
    r#"{"id": "a", "type": "post", "notes_of": 1}"#,
    r#"{"id": "a", "type": "filter"}"#,
    r#"{"id": "a", "type": "pre", "colour": 1}"#,
    r#"{"id": "a", "type": "pre", "timeout_ms": "5s"}"#,
    r#"{"id": "a", "type": "pre", "timeout_ms": 0}"#,
    r#"{"id": "a", "type": "pre", "retry": 4}"#,
    r#"{"id": "a", "type": "pre", "enabled": "yes"}"#,
    r#"{"id": "a", "type": "pre", "version": ""}"#,
    r#"{"id": "a", "type": "pre", "subject": "beamline.ext.>"}"#,
    r#"{"id": "a", "type": "pre", "config": []}"#,
    r#"{"id": "a", "type": "pre", "max_in_flight": 10001}"#,
    r#"{"id": "a", "type": "pre", "breaker": {"jitter": 51}}"#,
    r#"{"id": "a", "type": "pre", "breaker": {"failure_threshold": 5}}"#,
    r#"{"id": "a", "type": "pre", "breaker": {"isolation": "none"}}"#,
    r#"{"id": "a", "type": "pre", "breaker_operator": {"state": "disabled"}}"#,
    r#"{"id": "a", "type": "pre", "versions": [{}]}"#,
    r#"{"id": "a", "type": "pre", "versions": [{"version": "v2", "weight": 1}]}"#,
    r#"{"id": "a", "type": "pre", "versions": [{"version": "v2", "routing_rules": {"percent": 101}}]}"#,
    r#"{"id": "a", "type": "pre", "versions": [{"version": "v2", "routing_rules": {"percent": null}}]}"#,
    r#"{"id": "a", "type": "pre", "versions": [{"version": "v2", "routing_rules": {"percent_by": "user_id"}}]}"#,
    r#"{"id": "a", "type": "pre", "instances": [{"instance_id": "i"}]}"#,
    r#"{"id": "a", "type": "pre", "instances": [{"instance_id": "i", "subject": "beamline.ext.a.i", "weight": 101}]}"#,
];

#[test]
fn reader_and_schema_agree() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let accepted = ACCEPTED.iter().map(|json| (json, true));
    for (json, is_good) in accepted.chain(REFUSED.iter().map(|json| (json, false))) {
        let document: Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            parse(json, "beamline").is_ok(),
            is_good,
            "the reader: {json}"
        );
        let error = validator.validate(&document).err();
        assert_eq!(error.is_none(), is_good, "the schema: {json}: {error:?}");
    }
}
