//! One layer of the configuration, as the `config` crate takes it: keys with the values that were
//! written for them.

use std::collections::HashMap;
use std::fmt;

use config::{ConfigError, Source, Value, ValueKind};

use super::origin::Origin;

/// The values of one layer in the order in which they were written; of a key given twice the last
/// value counts.
#[derive(Clone, Default)]
pub(super) struct Layer(Vec<(String, Value)>);

impl Layer {
    pub(super) fn add(&mut self, key: String, kind: impl Into<ValueKind>, origin: &Origin) {
        self.0.push((key, origin.mark(kind)));
    }

    pub(super) fn values_of(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.0
            .iter()
            .filter(move |(given, _)| given == key)
            .map(|(_, value)| value)
    }

    /// Takes out the values that stand where no key is, and the sections that stand where one is.
    pub(super) fn take_misplaced(&mut self, known: &[&str]) -> Vec<(String, Value)> {
        let is_misplaced = |(key, value): &mut (String, Value)| {
            matches!(value.kind, ValueKind::Table(_)) || !known.contains(&key.as_str())
        };
        self.0.extract_if(.., is_misplaced).collect()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, ConfigError> {
        Ok(self.0.iter().cloned().collect())
    }
}

/// Without the values, which may be secrets.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _)| key))
            .finish()
    }
}
