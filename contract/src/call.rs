//! Calls to extensions and their answers (contract section 2).

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::fields::Fields;
use crate::message::MessageBody;

/// The body of a call to a pre-processor, validator or post-processor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// What the extension that the record's `notes_of` names has kept with this request.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Cow<'a, RawValue>>,
}

/// The body of a call to a provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProviderCall<'a> {
    #[serde(borrow)]
    pub trace_id: Cow<'a, str>,
    #[serde(borrow)]
    pub tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    #[serde(borrow)]
    pub provider_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub message_type: Cow<'a, str>,
    /// The text that is asked, wherever it stood in the payload; may be empty beside `messages`.
    #[serde(borrow)]
    pub prompt: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Cow<'a, RawValue>>,
    /// What the caller asks for besides, between the defaults and the config of record and policy.
    #[serde(default)]
    pub parameters: Cow<'a, Fields>,
    /// The request's context so far.
    #[serde(default)]
    pub context: Cow<'a, Fields>,
    /// What the extension that the record's `notes_of` names has kept with this request.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Cow<'a, RawValue>>,
}

/// Either call as an extension reads it. Everything may be absent or null, because people call
/// extensions by hand; which fields must be there is the extension's to say.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct CallBody<'a> {
    #[serde(borrow)]
    pub trace_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub tenant_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub request_id: Option<Cow<'a, str>>,
    pub metadata: Option<Fields>,
    pub config: Option<Box<RawValue>>,
    pub notes: Option<Box<RawValue>>,
    #[serde(borrow)]
    pub payload: Option<MessageBody<'a>>,
    #[serde(borrow)]
    pub provider_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub message_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub prompt: Option<Cow<'a, str>>,
    pub messages: Option<Box<RawValue>>,
    pub parameters: Option<Fields>,
    pub context: Option<Fields>,
}

/// `status` of an answer: the message may go on.
pub const STATUS_OK: &str = "ok";
/// `status` of an answer of a processor or provider: the same as `ok`.
pub const STATUS_SUCCESS: &str = "success";
/// `status` of an answer: the message may not go on.
pub const STATUS_REJECT: &str = "reject";
/// `status` of an answer: the older form of a failure.
pub const STATUS_ERROR: &str = "error";

/// Every field that an answer to a call may have; which ones matter depends on who answers. The
/// values are raw, because an extension may answer anything: what is odd in one field must not hide
/// what the others say.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallAnswer<'a> {
    /// Provider: who answers. The router knows whom it called and does not read it.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<Cow<'a, str>>,
    /// Pre and post: what they change of the message, a [`MessageEdit`].
    #[serde(
        borrow,
        default,
        deserialize_with = "as_written",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "schema", schemars(with = "Option<MessageEdit<'static>>"))]
    pub payload: Option<Cow<'a, RawValue>>,
    /// Provider: what the model says.
    #[serde(
        borrow,
        default,
        deserialize_with = "as_written",
        skip_serializing_if = "Option::is_none"
    )]
    pub output: Option<Cow<'a, RawValue>>,
    /// Provider: tokens by kind.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Cow<'a, RawValue>>,
    /// Pre, post: added to the context. Provider: told to the caller.
    #[serde(
        borrow,
        default,
        deserialize_with = "as_written",
        skip_serializing_if = "Option::is_none"
    )]
    pub metadata: Option<Cow<'a, RawValue>>,
    /// Validator, which must say one of them: `ok` or `reject`. Processor: the same, or `success`,
    /// or nothing. Anybody, beside the older form of a failure: `error`.
    #[serde(
        borrow,
        default,
        deserialize_with = "as_written",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(
        feature = "schema",
        schemars(extend("enum" = [STATUS_OK, STATUS_SUCCESS, STATUS_REJECT, STATUS_ERROR]))
    )]
    pub status: Option<Cow<'a, RawValue>>,
    /// Validator: the older form of a status, `true` or `false`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    pub valid: Option<Cow<'a, RawValue>>,
    /// Why it rejects.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, RawValue>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub details: Option<Cow<'a, RawValue>>,
    /// Pre, validator: kept with the request for the extension whose `notes_of` names this one, at
    /// most 16 KiB. Nobody else sees them.
    #[serde(
        borrow,
        default,
        deserialize_with = "as_written",
        skip_serializing_if = "Option::is_none"
    )]
    pub notes: Option<Cow<'a, RawValue>>,
    /// That it failed, and why: an [`AnsweredError`].
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<AnsweredError<'static>>"))]
    pub error: Option<Cow<'a, RawValue>>,
    /// The older form of a failure, beside the status `error`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<Cow<'a, RawValue>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<Cow<'a, RawValue>>,
    /// Provider: the older form of an answer, beside the status `success`: an object with the
    /// `output`, or the same as `payload`, and its `usage` and `metadata`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub response: Option<Cow<'a, RawValue>>,
}

/// `null` is a value like any other: an output of `null` is there.
fn as_written<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, RawValue>>, D::Error> {
    <&'de RawValue>::deserialize(deserializer).map(|raw| Some(Cow::Borrowed(raw)))
}

/// What a pre- or post-processor changes of the message; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MessageEdit<'a> {
    /// `null` is a payload like any other.
    #[serde(
        borrow,
        default,
        deserialize_with = "as_written",
        skip_serializing_if = "Option::is_none"
    )]
    pub payload: Option<Cow<'a, RawValue>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Cow<'a, Fields>>,
}

/// `error` of an answer to a call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AnsweredError<'a> {
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// What kind of failure it is, where the code does not say it. A word that is none of them is
    /// not read.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::failure::FailureKind>")
    )]
    pub class: Option<Cow<'a, str>>,
    /// Whether another attempt may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// Milliseconds to wait before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_extension_reads_every_field_that_a_call_has() {
        let call = ExtensionCall {
            trace_id: "trace".into(),
            tenant_id: "acme".into(),
            request_id: "r".into(),
            extension_id: "x".into(),
            payload: serde_json::from_str(r#"{"message_id": "m", "payload": 1.50}"#).unwrap(),
            metadata: Cow::Owned(Fields::parse(r#"{"lang": "en"}"#).unwrap()),
            config: Cow::Owned(Fields::parse(r#"{"trim": true}"#).unwrap()),
            notes: serde_json::from_str(r#"[1.50]"#).unwrap(),
        };
        let json = serde_json::to_string(&call).unwrap();
        let body: CallBody<'_> = serde_json::from_str(&json).unwrap();
        assert_eq!(body.trace_id.as_deref(), Some("trace"));
        assert_eq!(body.tenant_id.as_deref(), Some("acme"));
        assert_eq!(body.request_id.as_deref(), Some("r"));
        let payload = body.payload.unwrap();
        assert_eq!((&*payload.message_id, payload.payload.get()), ("m", "1.50"));
        assert_eq!(body.metadata.unwrap().text("lang").unwrap(), "en");
        assert_eq!(body.config.unwrap().get(), r#"{"trim":true}"#);
        assert_eq!(body.notes.unwrap().get(), "[1.50]");
    }

    #[test]
    fn a_provider_reads_every_field_that_a_call_has() {
        let call = json!({
            "trace_id": "trace", "tenant_id": "acme", "request_id": "r", "provider_id": "p",
            "prompt": "hi", "messages": [1], "parameters": {"model": "m"}, "context": {"a": 1},
        })
        .to_string();
        let written: ProviderCall<'_> = serde_json::from_str(&call).unwrap();
        let body: CallBody<'_> = serde_json::from_str(&call).unwrap();
        assert_eq!(body.provider_id, Some(written.provider_id));
        assert_eq!(body.prompt, Some(written.prompt));
        assert_eq!(body.messages.unwrap().get(), "[1]");
        assert_eq!(body.parameters.as_ref(), Some(&*written.parameters));
        assert_eq!(body.context.as_ref(), Some(&*written.context));
    }

    #[test]
    fn what_is_absent_from_a_call_may_be_null() {
        for json in [
            r#"{"payload": {"payload": 1}}"#,
            r#"{"payload": {"payload": 1, "metadata": null}, "metadata": null, "config": null,
                "trace_id": null, "prompt": null, "messages": null, "parameters": null}"#,
        ] {
            let body: CallBody<'_> = serde_json::from_str(json).unwrap();
            assert!(body.metadata.is_none() && body.config.is_none() && body.messages.is_none());
            assert!(body.payload.unwrap().metadata.is_empty());
        }
    }
}
