//! What is wrong with a configuration, and where.

use std::fmt;

use serde::{Serialize, Serializer};

use super::origin::Origin;

/// All mistakes of a configuration in the order of its layers, and in a file in the order of its
/// lines; never empty when returned as an error. None holds the value of a secret.
pub type Mistakes = beamline_domain::mistakes::MistakeList<Place>;

/// Where a mistake of the configuration is; shown as `beamline.toml:3:5`, the name of an
/// environment variable, or the flag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    #[serde(rename = "place", serialize_with = "as_text")]
    pub(super) origin: Origin,
    /// The key in question, such as `nats.url`, if there is one.
    pub key: Option<String>,
}

impl Place {
    pub(super) fn of_key(key: impl Into<String>, origin: Origin) -> Self {
        Self {
            origin,
            key: Some(key.into()),
        }
    }
}

/// A place where something is wrong that concerns no single key.
impl From<Origin> for Place {
    fn from(origin: Origin) -> Self {
        Self { origin, key: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

fn as_text<S: Serializer>(origin: &Origin, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(origin)
}
