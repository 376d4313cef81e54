//! Operations on the audit log (contract section 6).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What somebody has done, or was refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditRecord {
    /// Of its row in the store.
    pub id: u64,
    /// Its place in the chain, a moment after it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// RFC 3339.
    pub at: String,
    /// Of the registry; 0 where nothing was changed.
    pub revision: u64,
    /// The id of a key; absent: whoever had none.
    pub actor: Option<String>,
    pub key_id: Option<String>,
    pub role: Option<String>,
    /// The way by which it came: `nats-admin`.
    pub source: String,
    pub address: Option<String>,
    /// Of the key.
    pub tenant_id: Option<String>,
    pub action: String,
    pub object_kind: String,
    pub object_id: String,
    /// This and `after` only where they were asked for.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Object>"))]
    pub before: Option<Box<RawValue>>,
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Object>"))]
    pub after: Option<Box<RawValue>>,
    pub reason: Option<String>,
    /// `done` or `refused`.
    pub outcome: String,
    pub error_code: Option<String>,
    /// The nonce of a signed request.
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    /// SHA-256 of the hash before it and of this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// The newest first; each field that is given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListAudit {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339; before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Rows, 1 to 500; absent: 50. There may be fewer in an answer, so that it is not too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Only rows before this id: `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_id: Option<u64>,
    /// Also the objects before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditAnswer {
    pub ok: bool,
    pub records: Vec<AuditRecord>,
    /// `before_id` of the next question; absent: these are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A part of the chain, looked at row by row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VerifyAudit {
    /// From behind this place on: `next` of the answer before. Absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditVerified {
    pub ok: bool,
    /// Rows that were looked at.
    pub rows: u64,
    /// Nothing before this place is there any more: it was taken away by `prune_audit`.
    pub pruned_to: u64,
    /// The place behind which it begins, and its hash; absent: there is no such place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<AuditHead>,
    /// The last place that was looked at, and its hash: to be kept elsewhere and compared.
    pub head: Option<AuditHead>,
    /// What is not as a router has written it.
    pub findings: Vec<AuditFinding>,
    /// `after_seq` of the next question; absent: these are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditHead {
    pub seq: u64,
    pub hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditFinding {
    /// `changed`, `gap`, or `forged`: a row that no router vouches for.
    pub kind: Cow<'static, str>,
    /// Of the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// A sentence for people.
    pub message: String,
}

/// Takes whole months away, the chain goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PruneAudit {
    /// The first month that stays: `2026-05`.
    pub before: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditPruned {
    pub ok: bool,
    /// The last place that was taken away; absent: nothing was.
    pub pruned_to: Option<u64>,
    /// Not everything was taken away in one go: ask again.
    #[serde(default)]
    pub more: bool,
}
