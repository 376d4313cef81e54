use serde_json::json;

use super::*;

const MOST: usize = 10_000;

#[test]
fn what_leads_out_of_a_schema_is_not_followed() {
    for (schema, said) in [
        (json!({"$ref": "http://a/b"}), "refers to http://a/b"),
        (
            json!({"properties": {"a": {"$ref": "file:///x"}}}),
            "refers to file:///x",
        ),
        (json!({"$ref": "#anchor"}), "refers to #anchor"),
        (json!({"$ref": "#/a%2Fb"}), "refers to #/a%2Fb"),
        (json!({"$dynamicRef": "#x"}), "uses $dynamicRef"),
        (json!({"$defs": {"a": {"$id": "x"}}}), "has an $id inside"),
        (
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            "is of draft 4",
        ),
    ] {
        let refused = check(&schema).unwrap_err();
        assert!(refused.starts_with(said), "{refused}");
    }
    for schema in [
        json!(true),
        json!({"$id": "urn:x", "$ref": "#/$defs/a", "$defs": {"a": {}}}),
        json!({"properties": {"$ref": {"type": "string"}, "id": {"type": "string"}}}),
    ] {
        assert_eq!(check(&schema), Ok(()), "{schema}");
    }
}

#[test]
fn depth_and_patterns_have_an_end() {
    let deep = (0..=DEEPEST).fold(json!({}), |inner, _| json!({"not": inner}));
    assert!(check(&deep).unwrap_err().contains("nested deeper"));
    let many: Vec<Value> = (0..65).map(|n| json!({"pattern": n.to_string()})).collect();
    let refused = check(&json!({"allOf": many})).unwrap_err();
    assert!(refused.starts_with("has 65 patterns"), "{refused}");
}

#[test]
fn a_schema_without_an_end_is_stopped() {
    let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}});
    let stopped = steps_left(&circle, &json!({}), MOST).unwrap_err();
    assert!(stopped.starts_with("comes back to itself"), "{stopped}");
    let twice = |n: usize| {
        let next = json!({"$ref": format!("#/$defs/{}", n + 1)});
        (n.to_string(), json!({"anyOf": [next, next]}))
    };
    let mut definitions: Map<String, Value> = (0..25).map(twice).collect();
    definitions.insert("25".to_owned(), json!(true));
    let doubling = json!({"$ref": "#/$defs/0", "$defs": definitions});
    let stopped = steps_left(&doubling, &json!({}), MOST).unwrap_err();
    assert!(stopped.starts_with("takes too many steps"), "{stopped}");
}

#[test]
fn what_follows_the_config_down_ends_with_it() {
    let tree = json!({"properties": {"next": {"$ref": "#"}}});
    let config = json!({"next": {"next": {"next": {}}}});
    assert_eq!(steps_left(&tree, &config, MOST), Ok(MOST - 7));
}

#[test]
fn lists_and_patterns_are_counted() {
    for (schema, config, steps) in [
        (json!({"enum": [1, 2, 3]}), json!(1), 4),
        (json!({"pattern": "a"}), json!("a".repeat(160)), 111),
        (json!({"items": {}}), json!([1, 2, 3]), 4),
        (
            json!({"additionalProperties": {}}),
            json!({"a": 1, "b": 2}),
            3,
        ),
        (
            json!({"patternProperties": {"a": {}}}),
            json!({"b": 1}),
            102,
        ),
        (
            json!({"allOf": [{}], "unevaluatedProperties": false}),
            json!({}),
            4,
        ),
    ] {
        let left = steps_left(&schema, &config, MOST).unwrap();
        assert_eq!(MOST - left, steps, "{schema}");
    }
}
