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

/// An enum of words that cross the wire, each of them written once. Its schema lets a word through
/// that only a newer router knows.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $($(#[$of_variant:meta])* $variant:ident = $word:literal,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$of_variant])* $variant,)*
        }

        impl $name {
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// `None` for a word that this version does not know.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "description": "One of these words, or one that only a newer router knows.",
                    "anyOf": [{"enum": [$($word),*]}, {"type": "string"}],
                })
            }
        }
    };
}

pub(crate) use words;

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
