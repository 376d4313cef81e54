//! A gateway's request (contract section 1).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fields::Fields;

/// The only version that there is.
pub const VERSION: &str = "1";

/// The body of `decide` and `route`. What is absent is not written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RequestBody<'a> {
    /// [`VERSION`].
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// May come from the header `tenant_id` instead.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<Cow<'a, str>>,
    /// For correlation; it may repeat.
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub message: Option<RequestMessage<'a>>,
    /// The older form of `message`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub task: Option<RequestTask<'a>>,
    /// Absent: `default`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub context: Cow<'a, Fields>,
    /// Milliseconds that the caller waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// `message` of a request; what it leaves out, the router fills in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestMessage<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub payload: Cow<'a, RawValue>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub metadata: Cow<'a, Fields>,
}

/// `task` of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestTask<'a> {
    #[serde(borrow, rename = "type", skip_serializing_if = "Option::is_none")]
    pub task_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub payload: Cow<'a, RawValue>,
}

fn is_empty(fields: &Fields) -> bool {
    fields.is_empty()
}
