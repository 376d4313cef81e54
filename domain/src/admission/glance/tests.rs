use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;

fn tenant(body: &[u8]) -> Option<String> {
    Glance::at(body)
        .tenant_id
        .and_then(|raw| serde_json::from_slice(raw).ok())
}

#[test]
fn the_tenant_is_found_wherever_it_stands() {
    let text = "x\\\"{[".repeat(200_000);
    for body in [
        r#"{"tenant_id":"acme"}"#.to_owned(),
        format!(r#"{{"message": {{"payload": "{text}"}}, "tenant_id" : "acme" }}"#),
        format!(
            r#"{{"a":[1,-2.5e3,true,null,[[{{"tenant_id":"no"}}]]],"tenant_id":"acme","b":"{text}"}}"#
        ),
        format!(
            r#" {{"tenant\u005fid":"ac\u006de","n":{}{}}}"#,
            "[".repeat(500_000),
            "]".repeat(500_000)
        ),
        r#"{"message":{"tenant_id":"no"},"x":"\"tenant_id\":\"no\"","tenant_id":"acme"} trailing"#
            .to_owned(),
    ] {
        assert_eq!(
            tenant(body.as_bytes()).as_deref(),
            Some("acme"),
            "{:.60}",
            body
        );
    }
}

#[test]
fn who_names_two_tenants_or_none_names_nobody() {
    for body in [
        r#"{"tenant_id":"acme","tenant_id":"globex"}"#,
        r#"{"tenant_id":"acme","tenant\u005fid":"globex"}"#,
        r#"{"tenant_id":"acme""#,
        r#"{"tenant_id":"acme","#,
        r#"{"tenant_id":"acme" "x":1}"#,
        r#"{"tenant_id":"acme\"}"#,
        r#"["tenant_id","acme"]"#,
        r#"{"tenant_id":["acme"]}"#,
        r#"{"x":{"tenant_id":"acme"}}"#,
        r#"{"x":[}"#,
        "{",
        "\"",
        "",
    ] {
        assert_eq!(tenant(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn one_key_of_the_context_is_read_alone() {
    let context = br#"{"a":"priority","priority":"batch"}"#;
    assert_eq!(Glance::member(context, "priority"), Some(&b"\"batch\""[..]));
    assert_eq!(Glance::member(b"[]", "priority"), None);
    assert_eq!(Glance::member(br#"{"p":1,"p":2}"#, "p"), None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
        r#"[\\"{}\[\],:a ]{0,80}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(key(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("tenant_id".to_owned()),
        Just("timeout_ms".to_owned()),
        Just("context".to_owned()),
        any::<String>(),
    ]
}

proptest! {
    /// Of what is an object at all it finds what the parser finds.
    #[test]
    fn it_finds_what_the_parser_finds(body in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) };
        let text = text.unwrap();
        let parsed: HashMap<String, &RawValue> = serde_json::from_str(&text).unwrap_or_default();
        let raw = |key: &str| parsed.get(key).map(|raw| raw.get().as_bytes());
        let glance = Glance::at(text.as_bytes());
        prop_assert_eq!(glance.tenant_id, raw("tenant_id"));
        prop_assert_eq!(glance.timeout_ms, raw("timeout_ms"));
        prop_assert_eq!(glance.context, raw("context"));
    }

    #[test]
    fn it_takes_any_bytes(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'}'), Just(b'['),
        Just(b']'), Just(b':'), Just(b','), any::<u8>()], 0..400)) {
        Glance::at(&bytes);
        Glance::at(&[b"{".as_slice(), &bytes].concat());
    }
}
