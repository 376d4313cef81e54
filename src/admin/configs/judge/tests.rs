use beamline_contract::fields::Fields;
use beamline_domain::delivery::{of_entry, of_record};
use beamline_domain::record;
use serde_json::json;

use super::*;

const V1: &str = "p.ext.pre.clean.v1";
const V2: &str = "p.ext.pre.clean.v2";

fn listener(subject: &str, schema: Option<&str>) -> Listener {
    Listener {
        program: "clean".to_owned(),
        subject: subject.to_owned(),
        config_schema: schema.map(Arc::from),
    }
}

fn heard(listeners: impl IntoIterator<Item = Listener>) -> Heard {
    let mut heard = Heard::default();
    let subjects = [V1, V2, "p.provider.model.v1"];
    let wanted = subjects.map(str::to_owned).into();
    for listener in listeners {
        heard.take(listener, &wanted);
    }
    heard
}

/// Takes only these keys, and of each only a text.
fn only(keys: &[&str], required: &[&str]) -> String {
    let properties: serde_json::Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), json!({"type": "string"})))
        .collect();
    json!({"properties": properties, "required": required, "additionalProperties": false})
        .to_string()
}

fn lines(list: &[Mistake]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn of_the_record(json: &str, heard: &Heard) -> Opinion {
    let record = record::parse(json, "p").unwrap();
    Judge::new(heard).opinion(&of_record(&record, "p"), Completed::Later)
}

fn of_an_entry(record: &str, config: &str, heard: &Heard) -> Opinion {
    let record = record::parse(record, "p").unwrap();
    let config = Fields::parse(config).unwrap();
    let deliveries = of_entry(&record, "p", &config, "/pre/0/config");
    Judge::new(heard).opinion(&deliveries, Completed::Here)
}

const RECORD: &str = r#"{"id": "clean", "type": "pre", "config": {"a": "x"}}"#;
const TWO_VERSIONS: &str = r#"{"id": "clean", "type": "pre", "config": {"a": "x"}, "versions": [{"version": "v2", "config": {"b": "x"}}]}"#;

#[test]
fn what_the_extension_would_refuse_is_a_mistake_where_it_was_written() {
    let schema = only(&["a", "b"], &[]);
    let one = heard([listener(V1, Some(&schema))]);
    let opinion = of_an_entry(RECORD, r#"{"b": 1, "bb": "x", "a": "y"}"#, &one);
    let expected = [
        "/pre/0/config/b: must be a string, is a number",
        "/pre/0/config/bb: is not a known key; did you mean b?",
    ];
    assert_eq!(lines(&opinion.mistakes), expected);
    assert_eq!(lines(&opinion.warnings), [""; 0]);
    let good = of_an_entry(RECORD, r#"{"b": "x"}"#, &one);
    assert_eq!(good, Opinion::default());
}

#[test]
fn who_says_nothing_takes_everything() {
    let nobody = heard([]);
    let silent = heard([listener(V1, None)]);
    for heard in [nobody, silent] {
        let opinion = of_an_entry(RECORD, r#"{"bad": 1}"#, &heard);
        assert_eq!(opinion, Opinion::default());
    }
}

#[test]
fn while_a_program_is_replaced_only_what_breaks_both_is_refused() {
    let older = only(&["a", "b"], &[]);
    let newer = only(&["a", "c"], &[]);
    let both = heard([listener(V1, Some(&older)), listener(V1, Some(&newer))]);
    let opinion = of_an_entry(RECORD, r#"{"b": "x", "c": "x", "dd": "x"}"#, &both);
    let mistakes = lines(&opinion.mistakes);
    assert!(
        mistakes
            .iter()
            .all(|line| line.starts_with("/pre/0/config/dd: "))
    );
    let warnings = lines(&opinion.warnings);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let who = format!("so says clean on {V1}, others that get it do not");
    assert!(
        warnings.iter().all(|line| line.ends_with(&who)),
        "{warnings:?}"
    );

    let without = heard([listener(V1, Some(&older)), listener(V1, None)]);
    let opinion = of_an_entry(RECORD, r#"{"c": "x"}"#, &without);
    assert!(opinion.mistakes.is_empty() && opinion.warnings.len() == 1);
}

#[test]
fn each_version_is_asked_for_what_it_gets() {
    let first = only(&["a"], &[]);
    let second = only(&["a", "b"], &[]);
    let both = heard([listener(V1, Some(&first)), listener(V2, Some(&second))]);
    assert_eq!(of_the_record(TWO_VERSIONS, &both), Opinion::default());
    // The other way round the second version gets a key that it does not know.
    let swapped = heard([listener(V1, Some(&second)), listener(V2, Some(&first))]);
    let opinion = of_the_record(TWO_VERSIONS, &swapped);
    let expected = ["/versions/0/config/b: is not a known key; did you mean a?"];
    assert_eq!(lines(&opinion.mistakes), expected);
}

#[test]
fn what_only_one_version_refuses_is_warned_of() {
    let first = only(&["a", "b", "c"], &[]);
    let second = only(&["a", "b"], &[]);
    for other in [Some(first.as_str()), None] {
        let both = heard([listener(V1, other), listener(V2, Some(&second))]);
        let opinion = of_an_entry(TWO_VERSIONS, r#"{"c": "x"}"#, &both);
        assert_eq!(lines(&opinion.mistakes), [""; 0]);
        let expected = format!(
            "/pre/0/config/c: is not a known key; did you mean a?: so says clean on {V2}, others that get it do not"
        );
        assert_eq!(lines(&opinion.warnings), [expected]);
    }
    let alone = heard([listener(V2, Some(&second))]);
    let opinion = of_an_entry(TWO_VERSIONS, r#"{"c": "x"}"#, &alone);
    assert_eq!(opinion.mistakes.len(), 1, "nobody serves the first version");
}

#[test]
fn what_a_record_lacks_a_policy_may_give() {
    let schema = only(&["a", "b"], &["b"]);
    let one = heard([listener(V1, Some(&schema))]);
    let opinion = of_the_record(RECORD, &one);
    let expected = [format!(
        "/config/b: is required by clean on {V1}, unless a policy mends it"
    )];
    assert_eq!(lines(&opinion.warnings), expected);
    assert_eq!(lines(&opinion.mistakes), [""; 0]);
    let entry = of_an_entry(RECORD, r#"{"a": "y"}"#, &one);
    assert_eq!(lines(&entry.mistakes), ["/pre/0/config/b: is required"]);
    assert_eq!(
        of_an_entry(RECORD, r#"{"b": "y"}"#, &one),
        Opinion::default()
    );
}

#[test]
fn a_policy_is_not_refused_for_its_record() {
    let schema = only(&["b"], &[]);
    let one = heard([listener(V1, Some(&schema))]);
    let opinion = of_an_entry(RECORD, r#"{"b": "x"}"#, &one);
    let expected = [
        "/pre/0/config: comes to clean with a of its record, which is not a known key; did you mean b?",
    ];
    assert_eq!(lines(&opinion.warnings), expected);
    assert_eq!(lines(&opinion.mistakes), [""; 0]);
}

#[test]
fn a_provider_is_asked_for_parameters_and_callers_may_give_the_rest() {
    let record = r#"{"id": "model", "type": "provider", "config": {"defaults": {"t": 1}, "m": 2}}"#;
    let schema = only(&["t", "m", "x"], &["x"]);
    let one = heard([listener("p.provider.model.v1", Some(&schema))]);
    let opinion = of_the_record(record, &one);
    let expected = [
        "/config/defaults/t: must be a string, is a number",
        "/config/m: must be a string, is a number",
    ];
    assert_eq!(lines(&opinion.mistakes), expected);
    assert_eq!(lines(&opinion.warnings), [""; 0]);
}

#[test]
fn a_schema_that_cannot_be_used_is_warned_of_and_not_gone_by() {
    let endless = r##"{"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}"##;
    for (schema, why) in [
        ("{", "is not valid JSON"),
        (
            r#"{"$ref": "http://127.0.0.1/x"}"#,
            "refers to http://127.0.0.1/x",
        ),
        (endless, "comes back to itself"),
        (r#"{"type": 7}"#, "is no JSON Schema"),
    ] {
        let one = heard([listener(V1, Some(schema))]);
        let opinion = of_an_entry(RECORD, r#"{"bad": 1}"#, &one);
        assert_eq!(lines(&opinion.mistakes), [""; 0], "{schema}");
        let start = format!(
            "/pre/0/config: was not held against the schema that clean publishes for {V1}: it {why}"
        );
        let warnings = lines(&opinion.warnings);
        assert!(
            warnings.len() == 1 && warnings[0].starts_with(&start),
            "{warnings:?}"
        );
    }
}

#[test]
fn a_config_that_is_no_value_or_very_large_is_not_looked_at() {
    let schema = only(&["a"], &[]);
    let one = heard([listener(V1, Some(&schema))]);
    let large = json!({"b": "x".repeat(LARGEST_CONFIG)}).to_string();
    for config in [r#"{"b": 1e400}"#, &large] {
        let opinion = of_an_entry(RECORD, config, &one);
        assert!(opinion.mistakes.is_empty() && opinion.warnings.len() == 1);
    }
}

#[test]
fn keys_are_found_as_they_are_spelt() {
    for (pointer, key, rest) in [
        ("/a", "a", ""),
        ("/a/b/0", "a", "/b/0"),
        ("/a~1b~0c/d", "a/b~c", "/d"),
        ("", "", ""),
    ] {
        assert_eq!(key_and_rest(pointer), (key.to_owned(), rest), "{pointer}");
    }
}
