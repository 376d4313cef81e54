//! Reading the registry anew.

use serde::{Deserialize, Serialize};

/// Reads everything from the store, changed or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reload {}

/// The revision of the registry after an operation that answers nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RevisionAnswer {
    pub ok: bool,
    pub revision: u64,
}
