//! Free-form JSON objects whose values stay exactly as they were written, so that every digit of a
//! number survives.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

mod read;

pub use read::MissingField;

/// A JSON object of raw values: a request's context, an extension's config, anybody's metadata.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(transparent)]
pub struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.get(key).map(Box::as_ref)
    }

    /// The value of `key` when it is a JSON string.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The value of `key` when it is a JSON number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The value of `key` when it is `true` or `false`.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The type that these are the fields of. A value of another type than its field's counts as
    /// absent.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, MissingField> {
        read::read(&self.0)
    }

    pub fn set(&mut self, key: impl Into<String>, value: Box<RawValue>) {
        self.0.insert(key.into(), value);
    }

    pub fn set_text(&mut self, key: impl Into<String>, value: &str) {
        if let Ok(raw) = to_raw_value(value) {
            self.0.insert(key.into(), raw);
        }
    }

    pub fn set_flag(&mut self, key: impl Into<String>, value: bool) {
        let raw = if value {
            RawValue::TRUE
        } else {
            RawValue::FALSE
        };
        self.0.insert(key.into(), raw.to_owned());
    }

    /// Lays `upper` over this object; a key that both have takes the value of `upper`. Not deep: a
    /// nested object is one value.
    pub fn overlay(&mut self, upper: &Self) {
        for (key, value) in &upper.0 {
            self.0.insert(key.clone(), value.clone());
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_ref()))
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| String::from("{}"))
    }
}

/// Equal when both have the same keys and the values are written the same way.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|((ka, va), (kb, vb))| ka == kb && va.get() == vb.get())
    }
}

impl FromIterator<(String, Box<RawValue>)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Box<RawValue>)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_digit_and_overlays_by_key() {
        let mut base =
            Fields::parse(r#"{"id": 123456789012345678901234567890, "a": {"x": 1}}"#).unwrap();
        base.overlay(&Fields::parse(r#"{"a": {"y": 2}, "b": 1.50}"#).unwrap());
        assert_eq!(
            base.to_json(),
            r#"{"a":{"y": 2},"b":1.50,"id":123456789012345678901234567890}"#
        );
    }
}
