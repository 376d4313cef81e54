//! Calls to extensions and their answers (contract section 2).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fields::Fields;
use crate::message::MessageBody;

/// The body of a call to a pre-processor, validator or post-processor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExtensionCall<'a> {
    #[serde(borrow)]
    pub trace_id: Cow<'a, str>,
    #[serde(borrow)]
    pub tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    #[serde(borrow)]
    pub extension_id: Cow<'a, str>,
    #[serde(borrow)]
    pub payload: MessageBody<'a>,
    /// The request's context so far.
    #[serde(default)]
    pub metadata: Cow<'a, Fields>,
    /// The registry's config overlaid by the policy's.
    #[serde(default)]
    pub config: Cow<'a, Fields>,
}

/// The body of a call to a provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProviderCall<'a> {
    #[serde(borrow)]
    pub trace_id: Cow<'a, str>,
    #[serde(borrow)]
    pub tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    #[serde(borrow)]
    pub provider_id: Cow<'a, str>,
    #[serde(borrow)]
    pub prompt: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Cow<'a, RawValue>>,
    #[serde(default)]
    pub parameters: Cow<'a, Fields>,
    /// The request's context so far.
    #[serde(default)]
    pub context: Cow<'a, Fields>,
}

/// Every field that an answer to a call may have; which ones matter depends on who answers. The values are raw, because an
/// extension may answer anything: what is odd in one field must not hide what the others say.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExtensionAnswer<'a> {
    /// Pre and post: the changed message, a [`MessageEdit`].
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Cow<'a, RawValue>>,
    /// Pre, post: added to the context. Provider: told to the caller.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Cow<'a, RawValue>>,
    /// Validator: `ok` or `reject`. Anybody: `error`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub status: Option<Cow<'a, RawValue>>,
    /// Why a validator rejects.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, RawValue>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub details: Option<Cow<'a, RawValue>>,
    /// A failure, a [`AnsweredError`].
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, RawValue>>,
    /// The older form of a failure, beside `status: "error"`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<Cow<'a, RawValue>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<Cow<'a, RawValue>>,
    /// Provider: what the model says.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub output: Option<Cow<'a, RawValue>>,
    /// Provider: tokens by kind.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Cow<'a, RawValue>>,
}

/// What a pre- or post-processor changes of the message; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MessageEdit<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Cow<'a, RawValue>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Cow<'a, Fields>>,
}

/// `error` of an answer to a call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnsweredError<'a> {
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// Whether another attempt may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// Milliseconds to wait before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}
