//! Where a value was written: kept with each value through the merging of the layers.

use std::fmt;

use beamline_contract::escape::OneLine;
use beamline_domain::position::Position;
use config::{Value, ValueKind};
use serde::{Deserialize, Serialize};

/// Where a value was written. The order is that of the layers, and in a file that of the lines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Origin {
    Default,
    /// The file in which a running router says where it is.
    Discovered(String),
    /// A mistake of the file as a whole has no position.
    File {
        path: String,
        position: Option<Position>,
    },
    /// The name of the variable.
    Environment(String),
    /// The key after `--set`.
    Flag(String),
}

impl Origin {
    pub(super) fn of(value: &Value) -> Self {
        let kept = value.origin().map(serde_json::from_str);
        kept.and_then(Result::ok).unwrap_or(Self::Default)
    }

    /// The value with this origin. The `config` crate keeps an origin as a text, and as JSON
    /// nothing of it is lost.
    pub(super) fn mark(&self, kind: impl Into<ValueKind>) -> Value {
        Value::new(serde_json::to_string(self).ok().as_ref(), kind)
    }

    /// Two values of one layer contradict each other; of two layers the later one wins.
    pub(super) fn same_layer(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether texts are all that can be written there, so that the key decides what a text means.
    pub(super) fn knows_only_texts(&self) -> bool {
        match self {
            Self::Discovered(_) | Self::Environment(_) | Self::Flag(_) => true,
            Self::Default | Self::File { .. } => false,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Discovered(path) => write!(f, "{} of the running `up`", OneLine(path)),
            Self::File {
                path,
                position: None,
            } => write!(f, "{}", OneLine(path)),
            Self::File {
                path,
                position: Some(Position { line, column }),
            } => write!(f, "{}:{line}:{column}", OneLine(path)),
            Self::Environment(variable) => write!(f, "{}", OneLine(variable)),
            Self::Flag(key) => write!(f, "flag {}", OneLine(key)),
        }
    }
}
