//! A gateway's request (contract section 1).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fields::Fields;

/// The only version that there is.
pub const VERSION: &str = "1";

/// The body of `decide` and `route`. What is absent is not written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = has_a_message))]
pub struct RequestBody<'a> {
    /// The version of the contract: `1`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = [VERSION])))]
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// May come from the header `tenant_id` instead.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = crate::limits::MAX_REQUEST_ID)))]
    pub tenant_id: Option<Cow<'a, str>>,
    /// For correlation; it may repeat.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = crate::limits::MAX_REQUEST_ID)))]
    pub request_id: Cow<'a, str>,
    /// Absent: a new one.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = crate::limits::MAX_REQUEST_ID)))]
    pub trace_id: Option<Cow<'a, str>>,
    /// What goes through the pipeline.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub message: Option<RequestMessage<'a>>,
    /// The older form of `message`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub task: Option<RequestTask<'a>>,
    /// Absent: `default`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<Cow<'a, str>>,
    /// What policies and routing rules may ask about; `detail_level` says how much of an
    /// explanation is wanted.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub context: Cow<'a, Fields>,
    /// Milliseconds that the caller waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = *crate::limits::REQUEST_TIMEOUT_MS.start(), max = *crate::limits::REQUEST_TIMEOUT_MS.end())))]
    pub timeout_ms: Option<u64>,
}

/// `message` of a request; what it leaves out, the router fills in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RequestMessage<'a> {
    /// Absent: the `request_id`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = crate::limits::MAX_REQUEST_ID)))]
    pub message_id: Option<Cow<'a, str>>,
    /// Absent: `chat`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<Cow<'a, str>>,
    /// Any JSON value, which passes through as it was written. Absent: null.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Cow<'a, RawValue>>,
    /// Goes with it unseen.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub metadata: Cow<'a, Fields>,
}

/// `task` of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RequestTask<'a> {
    #[serde(borrow, rename = "type", skip_serializing_if = "Option::is_none")]
    pub task_type: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Cow<'a, RawValue>>,
}

/// The message, or the older form of it.
#[cfg(feature = "schema")]
fn has_a_message(schema: &mut schemars::Schema) {
    let of =
        |key: &str| serde_json::json!({"required": [key], "properties": {key: {"type": "object"}}});
    schema.insert("anyOf".into(), vec![of("message"), of("task")].into());
}

fn is_empty(fields: &Fields) -> bool {
    fields.is_empty()
}
