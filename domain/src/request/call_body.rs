//! The bodies of calls to extensions (contract section 2).

use std::borrow::Cow;

use beamline_contract::call::{ExtensionCall, ProviderCall};
use beamline_contract::fields::Fields;
use beamline_contract::message::MessageBody;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

mod prompt;

use prompt::Asked;

use crate::request::notes::AllNotes;
use crate::request::plan::PlannedCall;
use crate::request::{Message, Request};

/// Of a provider's config: parameters that callers may change.
pub(crate) const DEFAULTS: &str = "defaults";
/// Room for what a body holds besides the message: ids, config, context.
const ROOM: usize = 512;

/// What the stages before left of a request.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    pub message: &'a Message,
    pub context: &'a Fields,
    pub notes: &'a AllNotes,
}

/// The body of a guardrail's call.
pub fn guardrail_body(call: &PlannedCall, request: &Request, left: Left<'_>) -> Bytes {
    let Left {
        message,
        context,
        notes,
    } = left;
    let body = ExtensionCall {
        trace_id: Cow::Borrowed(&request.trace.trace_id),
        tenant_id: Cow::Borrowed(&request.tenant_id),
        request_id: Cow::Borrowed(&request.request_id),
        extension_id: Cow::Borrowed(&call.extension.id),
        payload: message.body(),
        metadata: Cow::Borrowed(context),
        config: Cow::Borrowed(&call.config),
        notes: notes_for(call, notes),
    };
    write(&body, message)
}

/// The body of a provider's call; `None` when there is nothing in the message that it could answer.
pub fn provider_body(call: &PlannedCall, request: &Request, left: Left<'_>) -> Option<Bytes> {
    let Left {
        message,
        context,
        notes,
    } = left;
    let asked = Asked::of(&message.payload);
    if !asked.is_something(&message.message_type) {
        return None;
    }
    let body = ProviderCall {
        trace_id: Cow::Borrowed(&request.trace.trace_id),
        tenant_id: Cow::Borrowed(&request.tenant_id),
        request_id: Cow::Borrowed(&request.request_id),
        provider_id: Cow::Borrowed(&call.extension.id),
        message_type: Cow::Borrowed(&message.message_type),
        prompt: asked.prompt,
        messages: asked.messages,
        parameters: Cow::Owned(parameters(&asked.parameters, &call.config)),
        context: Cow::Borrowed(context),
        notes: notes_for(call, notes),
    };
    Some(write(&body, message))
}

fn notes_for<'a>(call: &PlannedCall, notes: &'a AllNotes) -> Option<Cow<'a, RawValue>> {
    let own = notes.of(call.extension.notes_of.as_deref());
    own.map(Cow::Borrowed)
}

fn write(body: &impl Serialize, message: &Message) -> Bytes {
    let mut bytes = Vec::with_capacity(ROOM + message.payload.get().len());
    // Strings and raw JSON always serialise; an empty body would be refused by any extension.
    serde_json::to_writer(&mut bytes, body).map_or_else(|_| Bytes::new(), |()| Bytes::from(bytes))
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

/// The caller may ask for parameters. What registry and policy set is not the caller's to change;
/// what is only a default stands under `defaults`.
pub(crate) fn parameters(asked: &Fields, config: &Fields) -> Fields {
    let defaults = config.get(DEFAULTS);
    let mut all = defaults
        .and_then(|raw| Fields::parse(raw.get()).ok())
        .unwrap_or_default();
    all.overlay(asked);
    for (key, value) in config.iter().filter(|(key, _)| *key != DEFAULTS) {
        all.set(key, value.to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_wins_over_what_is_asked_and_that_over_defaults() {
        let parse = |json: &str| Fields::parse(json).unwrap();
        let config = parse(
            r#"{"defaults": {"temperature": 1.0, "top_p": 0.9, "model": "small"}, "model": "large", "max_tokens": 9}"#,
        );
        let asked = parse(r#"{"temperature": 0.20, "max_tokens": 100000, "model": "huge"}"#);
        assert_eq!(
            parameters(&asked, &config).to_json(),
            r#"{"max_tokens":9,"model":"large","temperature":0.20,"top_p":0.9}"#
        );
    }
}
