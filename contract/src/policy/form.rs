//! The forms in which policies are written.

use std::fmt;

use serde::Serialize;

/// Which of the forms a document has. What it means does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    Canonical,
    /// `providers` lists names, in priority order.
    Names,
    Steps,
    /// The older one, with `weights` by name.
    Weights,
    Mixture,
}

/// For a sentence: "written in the ...".
impl fmt::Display for Form {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Canonical => "canonical form",
            Self::Names => "canonical form with a list of names",
            Self::Steps => "step form",
            Self::Weights => "older form with a map of weights",
            Self::Mixture => "mixture of forms",
        })
    }
}
