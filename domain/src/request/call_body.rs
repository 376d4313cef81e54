//! The bodies of calls to extensions (contract section 2).

use std::borrow::Cow;

use beamline_contract::call::{ExtensionCall, ProviderCall};
use beamline_contract::fields::Fields;
use beamline_contract::message::MessageBody;
use beamline_contract::record::Kind;
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::request::plan::PlannedCall;
use crate::request::{Message, Request};

/// Room for what a body holds besides the message: ids, config, context.
const ROOM: usize = 512;

/// The body of a call; `message` and `context` are as the stages before left them.
pub fn call_body(
    call: &PlannedCall,
    request: &Request,
    message: &Message,
    context: &Fields,
) -> Bytes {
    let mut bytes = Vec::with_capacity(ROOM + message.payload.get().len());
    let written = match call.extension.kind {
        Kind::Pre | Kind::Validator | Kind::Post => serde_json::to_writer(
            &mut bytes,
            &ExtensionCall {
                trace_id: Cow::Borrowed(&request.trace.trace_id),
                tenant_id: Cow::Borrowed(&request.tenant_id),
                request_id: Cow::Borrowed(&request.request_id),
                extension_id: Cow::Borrowed(&call.extension.id),
                payload: message.body(),
                metadata: Cow::Borrowed(context),
                config: Cow::Borrowed(&call.config),
            },
        ),
        Kind::Provider => {
            serde_json::to_writer(&mut bytes, &provider_call(call, request, message, context))
        }
    };
    // Strings and raw JSON always serialise; an empty body would be refused by any extension.
    written.map(|()| Bytes::from(bytes)).unwrap_or_default()
}

impl Message {
    /// As it crosses the wire.
    pub fn body(&self) -> MessageBody<'_> {
        MessageBody {
            message_id: Cow::Borrowed(&self.message_id),
            message_type: Cow::Borrowed(&self.message_type),
            payload: Cow::Borrowed(&self.payload),
            metadata: Cow::Borrowed(&self.metadata),
        }
    }
}

fn provider_call<'a>(
    call: &'a PlannedCall,
    request: &'a Request,
    message: &'a Message,
    context: &'a Fields,
) -> ProviderCall<'a> {
    let payload = Fields::parse(message.payload.get()).unwrap_or_default();
    let messages = payload.get("messages").map(RawValue::to_owned);
    ProviderCall {
        trace_id: Cow::Borrowed(&request.trace.trace_id),
        tenant_id: Cow::Borrowed(&request.tenant_id),
        request_id: Cow::Borrowed(&request.request_id),
        provider_id: Cow::Borrowed(&call.extension.id),
        prompt: prompt(&message.payload, &payload),
        messages: messages.map(Cow::Owned),
        parameters: parameters(&payload, &call.config),
        context: Cow::Borrowed(context),
    }
}

/// The caller may ask for parameters; what the registry or the policy sets is not the caller's to
/// change.
fn parameters<'a>(payload: &Fields, config: &'a Fields) -> Cow<'a, Fields> {
    let requested = payload
        .get("parameters")
        .and_then(|raw| Fields::parse(raw.get()).ok());
    match requested {
        Some(mut parameters) => {
            parameters.overlay(config);
            Cow::Owned(parameters)
        }
        None => Cow::Borrowed(config),
    }
}

/// The payload when it is a string, else its `text`, `prompt` or `content`; empty when there is
/// none of them.
fn prompt<'a>(payload: &'a RawValue, fields: &Fields) -> Cow<'a, str> {
    if let Ok(text) = serde_json::from_str::<BorrowedText<'a>>(payload.get()) {
        return text.0;
    }
    let text = ["text", "prompt", "content"]
        .into_iter()
        .find_map(|key| fields.text(key));
    Cow::Owned(text.unwrap_or_default())
}

/// A text that is copied only where it has escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_found_in_a_string_or_an_object() {
        for (payload, want) in [
            (r#""hi""#, "hi"),
            (r#"{"text": "a"}"#, "a"),
            (r#"{"content": "c"}"#, "c"),
            ("[1]", ""),
            ("{}", ""),
        ] {
            let raw = RawValue::from_string(payload.to_owned()).unwrap();
            assert_eq!(
                prompt(&raw, &Fields::parse(payload).unwrap_or_default()),
                want,
                "{payload}"
            );
        }
    }
}
