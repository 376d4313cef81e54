//! Everything that is wrong with a configuration, so that it can be put right in one go.

use std::fmt;

use serde::Serialize;

use super::origin::Origin;

/// One thing that is wrong: where, and what to do about it. Never holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// `beamline.toml:3:5`, the name of an environment variable, or the flag.
    pub place: String,
    /// The key in question, such as `nats.url`, if there is one.
    pub key: Option<String>,
    /// A sentence for people.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// All mistakes of a configuration in the order of their layers; never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mistakes(Vec<Mistake>);

/// A mistake that still knows its layer, so that all of them can be put in order.
pub(super) struct Found {
    pub(super) origin: Origin,
    pub(super) key: Option<String>,
    pub(super) message: String,
}

impl Mistakes {
    /// The mistakes in the order of the layers, and in a file in the order of its lines.
    pub(super) fn in_order(mut found: Vec<Found>) -> Self {
        found.sort_by(|a, b| a.origin.cmp(&b.origin));
        Self(found.into_iter().map(Mistake::from).collect())
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }
}

impl From<Found> for Mistake {
    fn from(found: Found) -> Self {
        Self {
            place: found.origin.to_string(),
            key: found.key,
            message: found.message,
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl IntoIterator for Mistakes {
    type Item = Mistake;
    type IntoIter = std::vec::IntoIter<Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
