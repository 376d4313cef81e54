//! The message of a request, as it crosses the wire in requests, calls and answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fields::Fields;

/// `message` of a request and of an answer, and `payload` of a call. The payload is never looked into.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageBody<'a> {
    #[serde(borrow)]
    pub message_id: Cow<'a, str>,
    #[serde(borrow)]
    pub message_type: Cow<'a, str>,
    #[serde(borrow)]
    pub payload: Cow<'a, RawValue>,
    #[serde(default)]
    pub metadata: Cow<'a, Fields>,
}
