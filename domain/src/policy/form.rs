//! The forms in which policies are written (contract section 4).

use std::fmt;

use serde::Serialize;

use crate::document::Object;

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

impl Form {
    /// Looks at the keys only.
    pub(super) fn of(object: &Object<'_>, names: bool) -> Self {
        let has = |keys: &[&str]| keys.iter().any(|key| object.has(key));
        let (steps, weights, fallback) = (
            object.has("steps"),
            object.has("weights"),
            object.has("fallback"),
        );
        let lists = has(&["pre", "validators", "providers", "post", "fallbacks"]);
        match (steps, weights) {
            (true, false) if !lists => Self::Steps,
            (false, true) if !lists && !object.has("circuit_breaker") => Self::Weights,
            (false, false) if !fallback && names => Self::Names,
            (false, false) if !fallback => Self::Canonical,
            _ => Self::Mixture,
        }
    }
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
