//! What an extension does in a pipeline, and what follows from it.

use serde::{Deserialize, Serialize};

use crate::word::Word;

/// What an extension does in a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Pre,
    Validator,
    Post,
    Provider,
}

impl Kind {
    pub const ALL: [(&'static str, Self); 4] = [
        ("pre", Self::Pre),
        ("validator", Self::Validator),
        ("post", Self::Post),
        ("provider", Self::Provider),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Validator => "validator",
            Self::Post => "post",
            Self::Provider => "provider",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(name, _)| *name == word)
            .map(|(_, kind)| kind)
    }

    /// Milliseconds that one call may take when the record does not say: a guardrail is quick, a
    /// model is not. Less than the usual deadline of a request (30 s), so that another provider can
    /// still take over from one that hangs.
    pub fn default_timeout_ms(self) -> u64 {
        match self {
            Self::Pre | Self::Validator | Self::Post => 1_000,
            Self::Provider => 20_000,
        }
    }
}

impl Word<Kind> {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(kind) => kind.as_str(),
            Self::Other(word) => word,
        }
    }
}
