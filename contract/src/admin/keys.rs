//! Operations on keys.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The id of the key that stands in the configuration (`admin.api_key`).
pub const CONFIGURED: &str = "config";

/// With exactly one of `role` and `edge`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateKey {
    /// What a key of the administration may do: a [`Role`](super::Role).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::Role>"))]
    pub role: Option<String>,
    /// A key for the OpenAI edge, which needs a tenant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub edge: bool,
    /// The only tenant whose policies it sees and writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// Whose it is or what it is for, at most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// RFC 3339. Absent: it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListKeys {}

/// A new key in the place of another one, which holds for some time still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RotateKey {
    pub id: String,
    /// Milliseconds that the old key holds beside the new one; absent: a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_ms: Option<u64>,
    /// Of the new key, RFC 3339. Absent: it holds as long as the old one was to hold when it was
    /// made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// It holds no longer, at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RevokeKey {
    pub id: String,
}

/// A key as it is shown: without anything that opens a door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShownKey {
    pub id: String,
    /// A [`KeyKind`](super::KeyKind).
    #[cfg_attr(feature = "schema", schemars(with = "super::KeyKind"))]
    pub kind: Cow<'static, str>,
    /// Of a key of the administration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::Role>"))]
    pub role: Option<Cow<'static, str>>,
    /// Absent: all tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// RFC 3339. Absent for the one of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListedKey {
    #[serde(flatten)]
    pub key: ShownKey,
    /// Of its last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// The only answer that ever holds the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyCreated {
    pub ok: bool,
    pub revision: u64,
    /// What its holder sends. It is kept nowhere.
    pub key: String,
    #[serde(flatten)]
    pub shown: ShownKey,
    /// The key in whose place it comes, and until when that one holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ReplacedKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplacedKey {
    pub id: String,
    /// RFC 3339.
    pub expires_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeysAnswer {
    pub ok: bool,
    /// Of the registry.
    pub revision: u64,
    /// By id; that of the configuration comes first.
    pub keys: Vec<ListedKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyRevoked {
    pub ok: bool,
    pub revision: u64,
    pub id: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
