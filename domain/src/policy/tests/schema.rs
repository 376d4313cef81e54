//! The JSON Schema accepts and refuses what the parser does, as far as a schema can say it.

use jsonschema::Validator;
use serde_json::Value;

use super::forms::TWINS;
use super::mistakes::REFUSED;
use super::*;
use beamline_contract::policy::SCHEMA;

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
    let validator = validator();
    for (json, _, canonical) in TWINS {
        for json in [json, canonical, &policy(json).to_document()] {
            let document: Value = serde_json::from_str(json).unwrap();
            let refusal = validator.validate(&document).err();
            assert!(refusal.is_none(), "{json}: {refusal:?}");
        }
    }
}

#[test]
fn what_the_parser_refuses_the_schema_refuses() {
    let validator = validator();
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
        assert!(!validator.is_valid(&document), "{json}\n{want:?}");
        refused += 1;
    }
    assert!(refused >= 25, "only {refused} were tried");
}

#[test]
fn the_schema_knows_the_keys_and_words_of_the_parser() {
    let schema = schema();
    let keys = |at: &str| -> Vec<String> {
        let mut keys: Vec<String> = schema
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
    for (definition, words) in [
        ("Mode", Mode::WORDS.map_words()),
        ("OnFail", OnFail::WORDS.map_words()),
        ("Strategy", Strategy::WORDS.map_words()),
        ("Status", Status::WORDS.map_words()),
    ] {
        assert_eq!(
            words_of(&schema["$defs"][definition]),
            words,
            "{definition}"
        );
    }
}

/// The words that an editor offers.
fn words_of(definition: &Value) -> Vec<&str> {
    let alternatives = ["oneOf", "anyOf"].map(|key| definition[key].as_array());
    let words = alternatives
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|one| {
            let several = one["enum"].as_array().into_iter().flatten();
            several.chain(one.get("const"))
        });
    words.filter_map(Value::as_str).collect()
}

trait Words {
    fn map_words(&self) -> Vec<&'static str>;
}

impl<T> Words for [(&'static str, T)] {
    fn map_words(&self) -> Vec<&'static str> {
        self.iter().map(|(word, _)| *word).collect()
    }
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// Fails for what is no schema of draft 2020-12.
fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}
