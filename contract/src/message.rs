//! The message of a request, as it crosses the wire in requests, calls and answers.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::fields::Fields;

/// `message` of an answer, and `payload` of a call. The payload passes through as it was written.
///
/// All of it is always written; what a reader misses besides the payload is empty.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MessageBody<'a> {
    #[serde(borrow, default)]
    pub message_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub message_type: Cow<'a, str>,
    #[serde(borrow)]
    pub payload: Cow<'a, RawValue>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub metadata: Cow<'a, Fields>,
}

/// Whoever calls an extension by hand may write null for an object that is empty.
fn null_is_empty<'de, 'a, D>(deserializer: D) -> Result<Cow<'a, Fields>, D::Error>
where
    D: Deserializer<'de>,
{
    let fields = Option::<Fields>::deserialize(deserializer)?;
    Ok(Cow::Owned(fields.unwrap_or_default()))
}
