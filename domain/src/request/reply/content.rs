//! Whether a provider's answer has content (contract section 2): text, a tool call, a refusal,
//! another content part, or a number.

use std::borrow::Cow;
use std::fmt;

use beamline_contract::failure::FailureKind;
use beamline_contract::fields::Fields;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::request::failure::codes::{letters, meaning};

/// Where the APIs of models have their content, in small letters without anything between the
/// words. An object with one of them has its content there and nowhere else.
const CONTENT: [&str; 29] = [
    "audio",
    "b64json",
    "candidates",
    "choices",
    "completion",
    "content",
    "data",
    "delta",
    "embedding",
    "embeddings",
    "function",
    "functioncall",
    "generatedtext",
    "generations",
    "images",
    "inlinedata",
    "message",
    "messages",
    "output",
    "outputtext",
    "outputs",
    "parts",
    "prediction",
    "predictions",
    "refusal",
    "response",
    "results",
    "text",
    "toolcalls",
];
/// What an answer says about itself.
const ENVELOPE: [&str; 24] = [
    "annotations",
    "created",
    "createdat",
    "done",
    "finishreason",
    "id",
    "index",
    "logprobs",
    "metadata",
    "model",
    "modelversion",
    "object",
    "promptfeedback",
    "provider",
    "responseid",
    "role",
    "safetyratings",
    "servicetier",
    "status",
    "stopreason",
    "stopsequence",
    "systemfingerprint",
    "type",
    "usage",
];
/// Where an answer says why it ends.
const REASONS: [&str; 4] = [
    "blockreason",
    "finishreason",
    "nativefinishreason",
    "stopreason",
];
/// Outputs are not looked into more deeply for that.
const DEPTH: usize = 6;

/// The class of an answer without content: `empty`, or `content_filter` where it says so.
pub fn class(output: &RawValue, metadata: &Fields) -> Option<FailureKind> {
    if has_content(output) {
        return None;
    }
    let mut reasons: Vec<String> = metadata
        .iter()
        .filter(|(key, _)| REASONS.contains(&letters(key).as_str()))
        .filter_map(|(_, raw)| serde_json::from_str(raw.get()).ok())
        .collect();
    let output = serde_json::from_str(output.get()).unwrap_or_default();
    find_reasons(&output, DEPTH, &mut reasons);
    let is_filtered =
        |reason: &String| meaning(&[reason], &[], "").kind == FailureKind::ContentFilter;
    if reasons.iter().any(is_filtered) {
        Some(FailureKind::ContentFilter)
    } else {
        Some(FailureKind::Empty)
    }
}

/// Whether there is anything in a value besides its envelope.
pub fn has_content(output: &RawValue) -> bool {
    serde_json::from_str(output.get()).is_ok_and(|Content(found)| found)
}

fn find_reasons(value: &Value, depth: usize, reasons: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(reason) if REASONS.contains(&letters(key).as_str()) => {
                        reasons.push(reason.to_owned());
                    }
                    _ => find_reasons(value, depth - 1, reasons),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                find_reasons(item, depth - 1, reasons);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether a value has content.
struct Content(bool);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Search)
    }
}

struct Search;

impl<'de> Visitor<'de> for Search {
    type Value = Content;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content(false))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
        Ok(Content(!text.trim().is_empty()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Content, E> {
        Ok(Content(true))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Content, E> {
        Ok(Content(true))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Content, E> {
        Ok(Content(true))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Content, E> {
        Ok(Content(true))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut any = false;
        while let Some(Content(found)) = items.next_element()? {
            any |= found;
        }
        Ok(Content(any))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Content, A::Error> {
        let mut in_content: Option<bool> = None;
        let mut elsewhere = false;
        while let Some(key) = fields.next_key::<Cow<'de, str>>()? {
            let key = letters(&key);
            if ENVELOPE.contains(&key.as_str()) {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            let Content(found) = fields.next_value()?;
            if CONTENT.contains(&key.as_str()) {
                in_content = Some(found | in_content.unwrap_or_default());
            } else {
                elsewhere |= found;
            }
        }
        Ok(Content(in_content.unwrap_or(elsewhere)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(output: &str, metadata: &str) -> Option<&'static str> {
        let output = RawValue::from_string(output.to_owned()).unwrap();
        class(&output, &Fields::parse(metadata).unwrap()).map(FailureKind::as_str)
    }

    #[test]
    fn content_is_text_a_call_a_refusal_a_part_or_a_number() {
        for output in [
            r#""hi""#,
            "7",
            "[0.1, 0.2]",
            "false",
            r#"{"text": "hi"}"#,
            r#"{"choices": [{"index": 0, "message": {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}}]}"#,
            r#"{"choices": [{"message": {"role": "assistant", "content": null, "refusal": "I cannot help with that."}}]}"#,
            r#"{"content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}"#,
            r#"{"data": [{"object": "embedding", "index": 0, "embedding": [0.1]}]}"#,
            r#"{"score": 0}"#,
            r#"{"summary": "short", "tone": "kind"}"#,
            r#"{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}]}}]}"#,
        ] {
            assert_eq!(class_of(output, "{}"), None, "{output}");
        }
    }

    #[test]
    fn an_answer_without_any_is_empty() {
        for output in [
            "null",
            "{}",
            "[]",
            r#""""#,
            r#"" \n\t""#,
            r#"{"text": ""}"#,
            r#"{"choices": []}"#,
            r#"{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}], "usage": {"total_tokens": 9}}"#,
            r#"{"type": "message", "role": "assistant", "content": [{"type": "text", "text": " "}], "stop_reason": "end_turn"}"#,
            r#"{"model": "m", "message": {"role": "assistant", "content": ""}, "done": true, "total_duration": 5}"#,
            r#"{"id": "x", "output": [], "status": "completed", "parallel_tool_calls": true}"#,
            r#"{"text": "", "generation_id": "g", "meta": {"billed_units": {"input_tokens": 5}}}"#,
        ] {
            assert_eq!(class_of(output, "{}"), Some("empty"), "{output}");
        }
    }

    #[test]
    fn one_that_says_why_it_is_empty_was_filtered() {
        for (output, metadata) in [
            (r#""""#, r#"{"finish_reason": "content_filter"}"#),
            (
                r#"{"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]}"#,
                "{}",
            ),
            (
                r#"{"candidates": [{"finishReason": "SAFETY", "safetyRatings": [{"category": "X"}]}]}"#,
                "{}",
            ),
            (r#"{"content": [], "stop_reason": "refusal"}"#, "{}"),
            (
                r#"{"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 5}}"#,
                "{}",
            ),
            (
                r#"{"promptFeedback": {"blockReason": "BLOCKLIST"}, "candidates": [], "usageMetadata": {"totalTokenCount": 5}}"#,
                "{}",
            ),
            (
                r#"{"choices": [{"message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter", "content_filter_results": {"violence": {"filtered": true}}}]}"#,
                "{}",
            ),
        ] {
            assert_eq!(
                class_of(output, metadata),
                Some("content_filter"),
                "{output}"
            );
        }
        assert_eq!(
            class_of(r#""""#, r#"{"finish_reason": "length"}"#),
            Some("empty")
        );
    }
}
