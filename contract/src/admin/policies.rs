//! Operations on policies.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::mistake::Mistake;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListPolicies {
    /// Only those of this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetPolicy {
    pub tenant_id: String,
    pub policy_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PutPolicy {
    pub tenant_id: String,
    pub policy_id: String,
    /// The document, kept as it is written.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "crate::policy::PolicyDocument<'static>")
    )]
    pub policy: Box<RawValue>,
    /// Says whether it could be saved, and saves nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub check_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeletePolicy {
    pub tenant_id: String,
    pub policy_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoliciesAnswer {
    pub ok: bool,
    /// Of the registry.
    pub revision: u64,
    pub policies: Vec<ListedPolicy>,
    /// Stored policies that this router cannot read.
    #[serde(default)]
    pub unreadable: Vec<UnreadablePolicy>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListedPolicy {
    pub tenant_id: String,
    pub policy_id: String,
    /// That the document gives itself. A router of an earlier version does not look into documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Extensions in each stage, whatever form the document has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validators: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post: Option<usize>,
    /// Of its last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The document, as it was written.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Object"))]
    pub policy: Box<RawValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnreadablePolicy {
    /// `tenant/policy`
    pub name: String,
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyAnswer {
    pub ok: bool,
    /// Of the registry.
    pub revision: u64,
    /// Of the policy's last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_revision: Option<u64>,
    pub tenant_id: String,
    pub policy_id: String,
    /// The document, as it was written.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Object"))]
    pub policy: Box<RawValue>,
}

/// The answer to `put_policy`: the stored policy, or that it was only checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyWritten {
    pub ok: bool,
    pub revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Object>"))]
    pub policy: Option<Box<RawValue>>,
    /// Nothing was saved.
    #[serde(default, skip_serializing_if = "is_false")]
    pub checked: bool,
    /// It can be saved, but is probably not what was meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Mistake>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
