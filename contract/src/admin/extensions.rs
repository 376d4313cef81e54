//! Operations on extensions.

use serde::{Deserialize, Serialize};

use crate::fields::Fields;
use crate::mistake::Mistake;
use crate::record::{ExtensionRecord, Kind};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListExtensions {
    /// Only these.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetExtension {
    pub id: String,
}

/// The registry record as somebody wrote it; what it leaves out has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct CreateExtension(
    #[cfg_attr(feature = "schema", schemars(with = "crate::record::WrittenExtension"))] pub Fields,
);

/// The `id`, and the parts of the record that change. A part is not looked into: a changed `config`
/// is a whole one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct UpdateExtension(
    #[cfg_attr(feature = "schema", schemars(with = "crate::record::WrittenPatch"))] pub Fields,
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeleteExtension {
    pub id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnableExtension {
    pub id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DisableExtension {
    pub id: String,
}

// `E` is how its reader takes a record: whole, or as it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExtensionsAnswer<E = ExtensionRecord> {
    pub ok: bool,
    /// Of the registry.
    pub revision: u64,
    /// By id.
    pub extensions: Vec<E>,
}

// `E` is how its reader takes the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExtensionAnswer<E = ExtensionRecord> {
    pub ok: bool,
    pub revision: u64,
    pub extension: E,
    /// `tenant/policy` of each policy that names it, when it was disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by_policies: Option<Vec<String>>,
    /// Saved, but probably not what was meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Mistake>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExtensionDeleted {
    pub ok: bool,
    pub revision: u64,
    /// `tenant/policy` of each policy that still names it.
    #[serde(default)]
    pub used_by_policies: Vec<String>,
}
