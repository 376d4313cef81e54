//! Words of sets that grow: a newer router may write one that this version does not know.

use serde::{Deserialize, Serialize};

/// A word that this version knows, or another one as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Word<T> {
    Known(T),
    Other(String),
}

impl<T> Word<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(word) => Some(word),
            Self::Other(_) => None,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T: Default> Default for Word<T> {
    fn default() -> Self {
        Self::Known(T::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    #[test]
    fn a_word_from_the_future_stays_as_it_is() {
        for (json, word) in [
            (r#""pre""#, Word::Known(Kind::Pre)),
            (r#""cache""#, Word::Other("cache".to_owned())),
        ] {
            assert_eq!(serde_json::from_str::<Word<Kind>>(json).unwrap(), word);
            assert_eq!(serde_json::to_string(&word).unwrap(), json);
        }
    }
}
