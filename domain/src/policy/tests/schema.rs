//! The JSON Schema accepts and refuses what the parser does, as far as a schema can say it.

use serde_json::Value;

use super::forms::TWINS;
use super::mistakes::REFUSED;
use super::*;
use crate::names::id_problem;

/// What only the parser sees: it is about several places at once, or about what a text means.
const BEYOND_A_SCHEMA: &[&str] = &[
    "too large to add up",
    "is given twice",
    "is listed twice",
    "is missing in weights",
    "is not in p",
    "has a weight in providers already",
    "steps select the providers already",
    "is in steps as well",
    "but the router runs",
    "goes in a circle",
    "is the only provider",
    "must be base_ms or more",
    "half of a surrogate pair",
    "must be from 1s to 7days",
    "a duration with a unit, for example",
];

#[test]
fn what_the_parser_accepts_the_schema_accepts() {
    let schema = Schema::new();
    // Null counts as absent, which editors need not offer.
    for (json, _, canonical) in TWINS
        .iter()
        .filter(|(json, ..)| !json.contains("\"steps\": null"))
    {
        for json in [*json, *canonical, &policy(json).to_document()] {
            let document: Value = serde_json::from_str(json).unwrap();
            assert!(schema.accepts(&schema.root, &document), "{json}");
        }
    }
}

#[test]
fn what_the_parser_refuses_the_schema_refuses() {
    let schema = Schema::new();
    let mut refused = 0;
    for (json, want) in REFUSED {
        let only_for_the_parser =
            |mistake: &&str| BEYOND_A_SCHEMA.iter().any(|words| mistake.contains(words));
        let messages = mistakes_of(json);
        if messages
            .iter()
            .map(String::as_str)
            .all(|mistake| only_for_the_parser(&mistake))
        {
            continue;
        }
        let Ok(document) = serde_json::from_str::<Value>(json) else {
            continue;
        };
        assert!(!schema.accepts(&schema.root, &document), "{json}\n{want:?}");
        refused += 1;
    }
    assert!(refused >= 25, "only {refused} were tried");
}

#[test]
fn the_schema_knows_the_keys_and_words_of_the_parser() {
    let schema = Schema::new();
    let keys = |at: &str| -> Vec<String> {
        let mut keys: Vec<String> = schema
            .root
            .pointer(at)
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        keys.sort();
        keys
    };
    let mut known: Vec<&str> = crate::policy::read::KEYS.to_vec();
    known.sort_unstable();
    assert_eq!(keys("/properties"), known);
    let words = |at: &str| -> Vec<&str> {
        schema
            .root
            .pointer(at)
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect()
    };
    assert_eq!(
        words("/$defs/processor/properties/mode/enum"),
        Mode::WORDS.map_words()
    );
    assert_eq!(
        words("/$defs/validator/properties/on_fail/enum"),
        OnFail::WORDS.map_words()
    );
    assert_eq!(
        words("/$defs/backoff/properties/strategy/enum"),
        Strategy::WORDS.map_words()
    );
    assert_eq!(
        words("/$defs/status/anyOf/0/enum"),
        Status::WORDS.map_words()
    );
}

trait Words {
    fn map_words(&self) -> Vec<&'static str>;
}

impl<T> Words for [(&'static str, T)] {
    fn map_words(&self) -> Vec<&'static str> {
        self.iter().map(|(word, _)| *word).collect()
    }
}

/// As much of JSON Schema 2020-12 as ours uses; anything else in it fails the test.
struct Schema {
    root: Value,
}

impl Schema {
    fn new() -> Self {
        Self {
            root: serde_json::from_str(SCHEMA).unwrap(),
        }
    }

    fn accepts(&self, schema: &Value, value: &Value) -> bool {
        let Some(keywords) = schema.as_object() else {
            return schema.as_bool().unwrap();
        };
        keywords
            .iter()
            .all(|(keyword, rule)| self.keyword(keywords, keyword, rule, value))
    }

    fn keyword(
        &self,
        schema: &serde_json::Map<String, Value>,
        keyword: &str,
        rule: &Value,
        value: &Value,
    ) -> bool {
        let any_of = |rule: &Value| {
            rule.as_array()
                .unwrap()
                .iter()
                .filter(|one| self.accepts(one, value))
                .count()
        };
        let (number, limit) = (value.as_f64(), rule.as_f64());
        let text = value.as_str();
        match keyword {
            "$schema" | "$id" | "$defs" | "title" | "description" | "examples" => true,
            "$ref" => self.accepts(
                self.root.pointer(&rule.as_str().unwrap()[1..]).unwrap(),
                value,
            ),
            "type" => match rule.as_array() {
                Some(types) => types.iter().any(|one| is_of_type(one, value)),
                None => is_of_type(rule, value),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "anyOf" => any_of(rule) > 0,
            "oneOf" => any_of(rule) == 1,
            "not" => !self.accepts(rule, value),
            "minimum" => number.is_none_or(|number| number >= limit.unwrap()),
            "maximum" => number.is_none_or(|number| number <= limit.unwrap()),
            "minLength" => text.is_none_or(|text| text.chars().count() as f64 >= limit.unwrap()),
            "maxLength" => text.is_none_or(|text| text.chars().count() as f64 <= limit.unwrap()),
            "pattern" => text.is_none_or(|text| fits(rule.as_str().unwrap(), text)),
            "minItems" | "maxItems" | "uniqueItems" | "items" | "contains" => value
                .as_array()
                .is_none_or(|items| self.list(keyword, rule, items)),
            _ => value
                .as_object()
                .is_none_or(|members| self.object(schema, keyword, rule, members)),
        }
    }

    fn list(&self, keyword: &str, rule: &Value, items: &[Value]) -> bool {
        match keyword {
            "minItems" => items.len() as u64 >= rule.as_u64().unwrap(),
            "maxItems" => items.len() as u64 <= rule.as_u64().unwrap(),
            "uniqueItems" => items
                .iter()
                .enumerate()
                .all(|(index, item)| !items[..index].contains(item)),
            "contains" => items.iter().any(|item| self.accepts(rule, item)),
            _ => items.iter().all(|item| self.accepts(rule, item)),
        }
    }

    fn object(
        &self,
        schema: &serde_json::Map<String, Value>,
        keyword: &str,
        rule: &Value,
        members: &serde_json::Map<String, Value>,
    ) -> bool {
        let known = |key: &str| {
            schema
                .get("properties")
                .is_some_and(|known| known.get(key).is_some())
        };
        match keyword {
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|key| members.contains_key(key.as_str().unwrap())),
            "minProperties" => members.len() as u64 >= rule.as_u64().unwrap(),
            "maxProperties" => members.len() as u64 <= rule.as_u64().unwrap(),
            "properties" => members
                .iter()
                .all(|(key, value)| rule.get(key).is_none_or(|rule| self.accepts(rule, value))),
            "additionalProperties" => members
                .iter()
                .filter(|(key, _)| !known(key))
                .all(|(_, value)| self.accepts(rule, value)),
            "propertyNames" => members
                .keys()
                .all(|key| self.accepts(rule, &Value::String(key.clone()))),
            _ => panic!("{keyword} is not known here; add it or leave it out of the schema"),
        }
    }
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

/// The patterns of the schema, said again without regular expressions.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern {
        r"^[a-z0-9](?:[a-z0-9_-]|\.(?!\.|$))*$" => id_problem(text).is_none(),
        "^[1-9][0-9][0-9]$" => text
            .parse::<u16>()
            .is_ok_and(|code| text.len() == 3 && (100..=999).contains(&code)),
        "[a-zA-Zµ]" => text.chars().any(char::is_alphabetic),
        other => panic!("{other} is not known here"),
    }
}
