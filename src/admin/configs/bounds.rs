//! Whether somebody else's schema can be used without harm: what it refers to, how deep it goes,
//! and how many steps a config can make it take.

use beamline_domain::document::shorten;
use serde_json::{Map, Value};

/// Levels of a schema; each takes some stack when it is read.
const DEEPEST: usize = 32;
/// Each becomes an automaton.
const MOST_PATTERNS: usize = 64;
/// Schemas inside of schemas that are looked at in one go, references followed.
const DEEPEST_STEP: usize = 64;
/// As many steps as a pattern takes, and besides one for some bytes of the text.
const STEPS_OF_A_PATTERN: usize = 100;
const BYTES_A_STEP: usize = 16;

/// References that leave the schema, or whose target depends on the way.
const ELSEWHERE: [&str; 2] = ["$dynamicRef", "$recursiveRef"];

/// What is wrong with a schema before anything is made of it, as the end of a sentence.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let mut patterns = 0;
    scan(schema, 0, &mut patterns)?;
    if patterns > MOST_PATTERNS {
        return Err(format!(
            "has {patterns} patterns; at most {MOST_PATTERNS} are read"
        ));
    }
    Ok(())
}

fn scan(value: &Value, depth: usize, patterns: &mut usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("is nested deeper than {DEEPEST} levels"));
    }
    let inside: Vec<&Value> = match value {
        Value::Object(keywords) => {
            check_references(keywords, depth)?;
            let more = keywords.get("patternProperties").and_then(Value::as_object);
            *patterns += more.map_or(0, Map::len);
            *patterns += usize::from(keywords.get("pattern").is_some_and(Value::is_string));
            keywords.values().collect()
        }
        Value::Array(items) => items.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    inside
        .into_iter()
        .try_for_each(|value| scan(value, depth + 1, patterns))
}

fn check_references(keywords: &Map<String, Value>, depth: usize) -> Result<(), String> {
    if let Some(Value::String(target)) = keywords.get("$ref")
        && local(target).is_none()
    {
        let target = shorten(target);
        return Err(format!(
            "refers to {target}, and only what begins with #/ is followed"
        ));
    }
    let elsewhere = ELSEWHERE.iter().find(|word| keywords.contains_key(**word));
    if let Some(word) = elsewhere {
        return Err(format!("uses {word}, which is not followed"));
    }
    let text = |word| keywords.get(word).and_then(Value::as_str);
    if depth > 0 && text("$id").is_some() {
        return Err("has an $id inside, and references would go by it".to_owned());
    }
    // Its ids have another name, under which a default may hold anything.
    if text("$schema").is_some_and(|draft| draft.contains("draft-04")) {
        return Err("is of draft 4; those from draft 6 on are read".to_owned());
    }
    Ok(())
}

/// The pointer that a reference consists of.
fn local(target: &str) -> Option<&str> {
    let pointer = target.strip_prefix('#')?;
    let is_pointer = pointer.is_empty() || pointer.starts_with('/');
    (is_pointer && !pointer.contains('%')).then_some(pointer)
}

/// Counts the steps that it takes to hold a config against a schema, at least as many as there are;
/// what comes back to itself without an end, or multiplies, takes too many. Answers how many of
/// `most` are left.
pub(super) fn steps_left(schema: &Value, config: &Value, most: usize) -> Result<usize, String> {
    let mut walk = Walk {
        root: schema,
        left: most,
    };
    walk.apply(schema, config, 0)?;
    Ok(walk.left)
}

struct Walk<'s> {
    root: &'s Value,
    left: usize,
}

/// To what a keyword with one schema, or a list of them, applies it.
const HERE: [&str; 7] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];
const TO_MEMBERS: [&str; 2] = ["additionalProperties", "unevaluatedProperties"];
const TO_ITEMS: [&str; 5] = [
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
];
/// Keywords with a schema for each key of theirs.
const HERE_BY_KEY: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords with a list in which each entry is looked at.
const LISTS: [&str; 2] = ["enum", "required"];
/// What these say depends on everything beside them, which is looked at again for it.
const LOOK_AGAIN: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

impl Walk<'_> {
    fn take(&mut self, steps: usize) -> Result<(), String> {
        self.left = self
            .left
            .checked_sub(steps)
            .ok_or("takes too many steps for this config")?;
        Ok(())
    }

    fn apply(&mut self, schema: &Value, value: &Value, depth: usize) -> Result<(), String> {
        if depth > DEEPEST_STEP {
            return Err("comes back to itself, or goes too deep, for this config".to_owned());
        }
        self.take(1)?;
        let Value::Object(keywords) = schema else {
            return Ok(());
        };
        let again = LOOK_AGAIN.iter().any(|word| keywords.contains_key(*word));
        for _ in 0..(if again { 3 } else { 1 }) {
            self.apply_here(keywords, value, depth)?;
        }
        self.take_of_values(keywords, value)?;
        match value {
            Value::Object(members) => self.apply_to_members(keywords, members, depth),
            Value::Array(items) => self.apply_to_items(keywords, items, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn apply_here(
        &mut self,
        keywords: &Map<String, Value>,
        value: &Value,
        depth: usize,
    ) -> Result<(), String> {
        if let Some(pointer) = keywords.get("$ref").and_then(Value::as_str).and_then(local)
            && let Some(target) = self.root.pointer(pointer)
        {
            self.apply(target, value, depth + 1)?;
        }
        for schema in HERE.iter().filter_map(|word| keywords.get(*word)) {
            self.apply_each(schema, value, depth)?;
        }
        for by_key in HERE_BY_KEY.iter().filter_map(|word| keywords.get(*word)) {
            for schema in by_key.as_object().into_iter().flat_map(Map::values) {
                self.apply_each(schema, value, depth)?;
            }
        }
        Ok(())
    }

    /// A schema, or each of a list.
    fn apply_each(&mut self, schema: &Value, value: &Value, depth: usize) -> Result<(), String> {
        match schema {
            Value::Array(list) => list
                .iter()
                .try_for_each(|schema| self.apply(schema, value, depth + 1)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => self.apply(schema, value, depth + 1),
        }
    }

    fn apply_to_members(
        &mut self,
        keywords: &Map<String, Value>,
        members: &Map<String, Value>,
        depth: usize,
    ) -> Result<(), String> {
        let properties = keywords.get("properties").and_then(Value::as_object);
        let patterns = keywords.get("patternProperties").and_then(Value::as_object);
        let names = keywords.get("propertyNames");
        for (key, member) in members {
            if let Some(schema) = properties.and_then(|properties| properties.get(key)) {
                self.apply(schema, member, depth + 1)?;
            }
            for schema in patterns.into_iter().flat_map(Map::values) {
                self.take(STEPS_OF_A_PATTERN + key.len() / BYTES_A_STEP)?;
                self.apply(schema, member, depth + 1)?;
            }
            if let Some(schema) = names {
                self.apply(schema, &Value::String(key.clone()), depth + 1)?;
            }
            for schema in TO_MEMBERS.iter().filter_map(|word| keywords.get(*word)) {
                self.apply(schema, member, depth + 1)?;
            }
        }
        Ok(())
    }

    fn apply_to_items(
        &mut self,
        keywords: &Map<String, Value>,
        items: &[Value],
        depth: usize,
    ) -> Result<(), String> {
        for schema in TO_ITEMS.iter().filter_map(|word| keywords.get(*word)) {
            for item in items {
                self.apply_each(schema, item, depth)?;
            }
        }
        Ok(())
    }

    /// What is compared or matched.
    fn take_of_values(
        &mut self,
        keywords: &Map<String, Value>,
        value: &Value,
    ) -> Result<(), String> {
        for list in LISTS.iter().filter_map(|word| keywords.get(*word)) {
            self.take(list.as_array().map_or(0, Vec::len))?;
        }
        if keywords.contains_key("pattern")
            && let Value::String(text) = value
        {
            self.take(STEPS_OF_A_PATTERN + text.len() / BYTES_A_STEP)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
