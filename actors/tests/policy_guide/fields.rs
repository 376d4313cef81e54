//! The schema of policies and the guide name the same fields, with the same defaults and limits.

use std::collections::{BTreeMap, BTreeSet};

use beamline_contract::policy::SCHEMA;
use beamline_markdown::{code, tables};
use serde_json::Value;

use super::{GUIDE, blocks};

/// A field as the schema has it.
#[derive(Debug, Default)]
struct Field {
    default: Option<String>,
    limits: BTreeSet<u64>,
    words: BTreeSet<String>,
}

#[test]
fn every_field_is_documented_with_its_default_and_limits() {
    let schema = fields();
    let guide = rows();
    let names = |fields: Vec<&String>| fields.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(guide.keys().collect()),
        names(schema.keys().collect()),
        "guide and schema differ"
    );
    for (path, field) in schema {
        let [types, default, limits, _] = guide[&path].as_slice() else {
            panic!("{path}: a row has five cells")
        };
        // The map itself gives the weight: there is none without.
        if let Some(known) = field.default {
            assert!(
                code(default).contains(&known.as_str()),
                "{path}: the default is {known}, not {default}"
            );
        }
        let told: BTreeSet<u64> = limits
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect();
        assert!(
            told.is_superset(&field.limits),
            "{path}: the limits are {:?}, not {limits}",
            field.limits
        );
        let words = code(types);
        assert!(
            field
                .words
                .iter()
                .all(|word| words.contains(&word.as_str())),
            "{path}: {:?}",
            field.words
        );
    }
}

#[test]
fn every_field_has_an_example() {
    let mut shown = BTreeSet::new();
    let marked = |marks: &[String]| marks.starts_with(&["json".into(), "policy".into()]);
    for block in blocks()
        .filter(|block| marked(&block.marks) && !block.marks.contains(&"refused".to_owned()))
    {
        collect(&serde_json::from_str(&block.text).unwrap(), "", &mut shown);
    }
    let missing: Vec<String> = fields()
        .into_keys()
        .filter(|path| !shown.contains(path))
        .collect();
    assert!(missing.is_empty(), "no example has {missing:?}");
}

/// The rows of all tables of fields, by path; without the first cell.
fn rows() -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for row in tables(GUIDE, &["field", "type"])
        .into_iter()
        .flat_map(|table| table.rows)
    {
        for path in code(&row[0])
            .into_iter()
            .filter(|path| !path.starts_with("routing_rules."))
        {
            let path = path
                .replace("[]", "")
                .replace("<name>", "<>")
                .replace("<key>", "<>");
            assert!(
                rows.insert(path.clone(), row[1..].to_vec()).is_none(),
                "{path} is documented twice"
            );
        }
    }
    rows
}

fn fields() -> BTreeMap<String, Field> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut fields = BTreeMap::new();
    walk(&schema, &schema, "", &mut fields);
    fields.remove("");
    fields
}

/// Goes through everything that a value at `path` may be.
fn walk(root: &Value, node: &Value, path: &str, fields: &mut BTreeMap<String, Field>) {
    let Some(keywords) = node.as_object() else {
        return;
    };
    let field = fields.entry(path.to_owned()).or_default();
    field.default = field
        .default
        .take()
        .or(keywords.get("default").and_then(scalar));
    let limits = ["minimum", "maximum", "maxItems", "maxLength"];
    field
        .limits
        .extend(limits.iter().filter_map(|key| keywords.get(*key)?.as_u64()));
    let words = keywords
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .chain(keywords.get("const"));
    // The words for failures have a table of their own.
    field.words.extend(
        words
            .filter(|_| !path.ends_with("status") && !path.ends_with("conditions"))
            .filter_map(text),
    );
    if let Some(name) = keywords.get("$ref").and_then(Value::as_str) {
        walk(root, root.pointer(&name[1..]).unwrap(), path, fields);
    }
    for one in ["anyOf", "oneOf"]
        .iter()
        .filter_map(|key| keywords.get(*key)?.as_array())
        .flatten()
    {
        // Where alternatives only say what must be there, they say nothing about the fields.
        if one.get("required").is_none() || one.get("description").is_some() {
            walk(root, one, path, fields);
        }
    }
    if let Some(item) = keywords.get("items") {
        // A limit of an entry is none of the list.
        let mut inside = BTreeMap::new();
        walk(root, item, path, &mut inside);
        inside.remove(path);
        merge(fields, inside);
    }
    let dot = if path.is_empty() { "" } else { "." };
    for (key, one) in keywords
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        walk(root, one, &format!("{path}{dot}{key}"), fields);
    }
    if let Some(one) = keywords
        .get("additionalProperties")
        .filter(|one| one.is_object())
    {
        walk(root, one, &format!("{path}.<>"), fields);
    }
}

fn merge(fields: &mut BTreeMap<String, Field>, more: BTreeMap<String, Field>) {
    for (path, field) in more {
        let known = fields.entry(path).or_default();
        known.default = known.default.take().or(field.default);
        known.limits.extend(field.limits);
        known.words.extend(field.words);
    }
}

/// As people write it; a list or an object is none.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => number.as_f64().map(|number| number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::String(word) => Some(word.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The paths of everything in a document.
fn collect(value: &Value, path: &str, shown: &mut BTreeSet<String>) {
    shown.insert(path.to_owned());
    let is_free = ["config", "metadata"].iter().any(|key| path.ends_with(key));
    let is_map = path == "weights" || path.ends_with("when") || path.ends_with("conditions");
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, shown)),
        Value::Object(members) if !is_free => {
            for (key, value) in members {
                let is_of_a_rule = path.starts_with("fallback");
                let is_word = key == "status" || is_of_a_rule && key == "provider";
                let key = if is_map && !is_word { "<>" } else { key };
                let dot = if path.is_empty() { "" } else { "." };
                collect(value, &format!("{path}{dot}{key}"), shown);
            }
        }
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
