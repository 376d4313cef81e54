//! The effective configuration as text: each value with its origin, no secret.

use beamline_contract::escape;
use serde_json::{Map, Value};

/// Stands for a secret wherever one would be shown.
pub(super) const REDACTED: &str = "[redacted]";

/// One key as it may be shown.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Already without its secrets.
    pub(super) value: Option<toml::Value>,
    pub(super) origin: String,
    /// Nobody has given a value, and what counts instead follows from other keys.
    pub(super) follows: bool,
}

/// All keys in the order in which the parts have read them, a section's own keys before those of
/// its sections.
#[derive(Debug, Clone, Default)]
pub(super) struct Printout(Vec<Entry>);

impl Printout {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self(entries)
    }

    pub(super) fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut current = "";
        for entry in &self.0 {
            let (section, name) = entry.key.rsplit_once('.').unwrap_or(("", &entry.key));
            if section != current {
                let gap = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}[{section}]\n"));
                current = section;
            }
            text.push_str(&match &entry.value {
                Some(value) => format!("{name} = {value} # {}\n", escape::line(&entry.origin)),
                None if self.has_file(&entry.key) => format!("# {name} is read from {name}_file\n"),
                None => format!("# {name} is not set\n"),
            });
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let mut root = Map::new();
        let mut origins = Map::new();
        for entry in &self.0 {
            origins.insert(entry.key.clone(), entry.origin.clone().into());
            let value = entry
                .value
                .as_ref()
                .map_or(Value::Null, |value| serde_json::json!(value));
            insert(&mut root, &entry.key, value);
        }
        root.insert("origins".to_owned(), Value::Object(origins));
        Value::Object(root)
    }

    fn has_file(&self, key: &str) -> bool {
        let file_key = format!("{key}_file");
        self.0
            .iter()
            .any(|entry| entry.key == file_key && entry.value.is_some())
    }
}

fn insert(object: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            object.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = object
                .entry(section)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// How every secret is shown that is secret as a whole.
pub(super) fn redacted(_secret: &str) -> String {
    REDACTED.to_owned()
}
