//! JSON objects as a handler reads and writes them.

use beamline_contract::fields;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// Metadata, context or parameters of a call. Values stay as they were written, so that numbers
/// keep every digit on their way through.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Fields(fields::Fields);

impl Fields {
    pub(crate) fn from_contract(fields: Option<fields::Fields>) -> Self {
        Self(fields.unwrap_or_default())
    }

    pub(crate) fn as_contract(&self) -> &fields::Fields {
        &self.0
    }

    /// The value under `key`, when there is one of that type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let raw = self.raw(key)?;
        serde_json::from_str(raw.get()).ok()
    }

    /// The value under `key` as it was written.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        self.0.get(key)
    }

    /// Sets `key`. A value that has no JSON form (a map with keys that are no strings) is stored as
    /// null.
    pub fn insert(&mut self, key: impl Into<String>, value: &impl Serialize) {
        let raw = to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        self.0.set(key, raw);
    }

    /// The whole object, every value as it was written.
    pub fn to_json(&self) -> String {
        self.0.to_json()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key)
    }
}

impl<'de> Deserialize<'de> for Fields {
    /// Null counts as "no fields": gateways write it for an absent object.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::from_contract)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        let json =
            r#"{"big":123456789012345678901234567890,"pi":3.14159265358979323846264338327950288}"#;
        let fields: Fields = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&fields).unwrap(), json);
    }

    #[test]
    fn null_is_empty() {
        assert!(serde_json::from_str::<Fields>("null").unwrap().is_empty());
        assert!(serde_json::from_str::<Fields>("[]").is_err());
    }
}
