//! Reading a type out of raw fields, so that what is missing can be named.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error, MapAccess, value::MapAccessDeserializer,
};
use serde_json::value::RawValue;

/// A required field is absent, or its value is of another type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field {0} is required")]
pub struct MissingField(pub String);

pub(super) fn read<T: DeserializeOwned>(
    fields: &BTreeMap<String, Box<RawValue>>,
) -> Result<T, MissingField> {
    let mut unfit = Vec::new();
    loop {
        let entries = Entries {
            left: fields.iter(),
            unfit: &unfit,
            current: None,
        };
        match T::deserialize(MapAccessDeserializer::new(entries)) {
            Ok(value) => return Ok(value),
            Err(Unread::Missing(field)) => return Err(MissingField(field)),
            Err(Unread::Unfit(field)) => unfit.push(field),
        }
    }
}

/// Why a pass over the fields did not end well.
#[derive(Debug)]
enum Unread {
    Missing(String),
    /// The value of this field is of another type.
    Unfit(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(out, "{field} is missing"),
            Self::Unfit(field) => write!(out, "{field} is of another type"),
        }
    }
}

impl std::error::Error for Unread {}

impl Error for Unread {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Missing(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field.to_owned())
    }
}

struct Entries<'f> {
    left: std::collections::btree_map::Iter<'f, String, Box<RawValue>>,
    unfit: &'f [String],
    current: Option<(&'f str, &'f RawValue)>,
}

impl<'f> MapAccess<'f> for Entries<'f> {
    type Error = Unread;

    fn next_key_seed<K: DeserializeSeed<'f>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unread> {
        let unfit = self.unfit;
        let Some((key, value)) = self.left.find(|(key, _)| !unfit.contains(key)) else {
            return Ok(None);
        };
        self.current = Some((key, value));
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'f>>(&mut self, seed: V) -> Result<V::Value, Unread> {
        let Some((key, value)) = self.current.take() else {
            return Err(Unread::custom("a value without its key"));
        };
        seed.deserialize(value)
            .map_err(|_| Unread::Unfit(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::fields::Fields;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Wanted {
        tenant_id: String,
        policy_id: String,
        #[serde(default)]
        check_only: bool,
        document: Option<Box<str>>,
    }

    fn read(json: &str) -> Result<Wanted, MissingField> {
        Fields::parse(json).expect("JSON").read()
    }

    #[test]
    fn the_first_missing_field_is_named() {
        let missing = |field: &str| Err(MissingField(field.to_owned()));
        assert_eq!(read("{}"), missing("tenant_id"));
        assert_eq!(
            read(r#"{"policy_id": 7, "tenant_id": 8}"#),
            missing("tenant_id")
        );
        assert_eq!(
            read(r#"{"policy_id": 7, "tenant_id": "t"}"#),
            missing("policy_id")
        );
    }

    #[test]
    fn what_is_of_another_type_counts_as_absent() {
        let given = r#"{"tenant_id": "t", "policy_id": "p", "check_only": "yes", "document": [1], "more": {}}"#;
        let wanted = Wanted {
            tenant_id: "t".into(),
            policy_id: "p".into(),
            check_only: false,
            document: None,
        };
        assert_eq!(read(given), Ok(wanted));
    }
}
