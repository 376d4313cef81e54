//! What a provider is asked, found in a payload of any shape (contract section 2).

use std::borrow::Cow;

use beamline_contract::fields::Fields;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::request::reply::content::has_content;

/// Where a text stands that is the prompt; the first that is not empty.
const PROMPT_KEYS: [&str; 4] = ["text", "prompt", "content", "input"];
const MESSAGES: &str = "messages";
const PARAMETERS: &str = "parameters";
/// Where Google's clients have their messages.
const CONTENTS: &str = "contents";
/// The messages of a person, whose last one is the prompt.
const USER: &str = "user";
/// A message that gives texts for others to find needs no prompt.
const EMBEDDING: &str = "embedding";

/// A payload, taken apart.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) prompt: Cow<'a, str>,
    pub(super) messages: Option<Cow<'a, RawValue>>,
    /// What the caller asks for besides.
    pub(super) parameters: Fields,
}

impl<'a> Asked<'a> {
    pub(super) fn of(payload: &'a RawValue) -> Self {
        if let Ok(text) = serde_json::from_str::<BorrowedText<'a>>(payload.get()) {
            return Self {
                prompt: text.0,
                messages: None,
                parameters: Fields::default(),
            };
        }
        if is_list_of_messages(payload) {
            return Self {
                prompt: Cow::Owned(last_of_user(payload).unwrap_or_default()),
                messages: Some(Cow::Borrowed(payload)),
                parameters: Fields::default(),
            };
        }
        Self::of_object(&Fields::parse(payload.get()).unwrap_or_default())
    }

    fn of_object(payload: &Fields) -> Self {
        let messages = payload.get(MESSAGES).filter(|raw| raw.get() != "null");
        let text = PROMPT_KEYS.iter().find_map(|key| {
            let text = payload.text(key).filter(|text| !text.trim().is_empty())?;
            Some((*key, text))
        });
        let listed = || messages.or(payload.get(CONTENTS)).and_then(last_of_user);
        let prompt_key = text.as_ref().map(|(key, _)| *key);
        Self {
            prompt: Cow::Owned(
                text.map(|(_, text)| text)
                    .or_else(listed)
                    .unwrap_or_default(),
            ),
            messages: messages.map(|raw| Cow::Owned(raw.to_owned())),
            parameters: parameters(payload, prompt_key),
        }
    }

    /// Whether there is anything in it that a provider can answer.
    pub(super) fn is_something(&self, message_type: &str) -> bool {
        let is_given = |key: &str| self.parameters.get(key).is_some_and(is_filled);
        message_type == EMBEDDING
            || !self.prompt.trim().is_empty()
            || self.messages.as_deref().is_some_and(has_content)
            || is_given("input")
            || is_given(CONTENTS)
    }
}

/// Whether a value is neither null nor empty.
fn is_filled(raw: &RawValue) -> bool {
    match serde_json::from_str(raw.get()) {
        Ok(Value::Null) | Err(_) => false,
        Ok(Value::String(text)) => !text.trim().is_empty(),
        Ok(Value::Array(items)) => !items.is_empty(),
        Ok(Value::Object(fields)) => !fields.is_empty(),
        Ok(Value::Bool(_) | Value::Number(_)) => true,
    }
}

/// Every other key of the payload, and over them its `parameters`.
fn parameters(payload: &Fields, prompt_key: Option<&str>) -> Fields {
    let is_other = |key: &str| key != MESSAGES && key != PARAMETERS && Some(key) != prompt_key;
    let others = payload.iter().filter(|(key, _)| is_other(key));
    let mut parameters: Fields = others
        .map(|(key, raw)| (key.to_owned(), raw.to_owned()))
        .collect();
    let own = payload.get(PARAMETERS);
    if let Some(own) = own.and_then(|raw| Fields::parse(raw.get()).ok()) {
        parameters.overlay(&own);
    }
    parameters
}

fn is_list_of_messages(payload: &RawValue) -> bool {
    let list = serde_json::from_str::<Vec<Role<'_>>>(payload.get());
    list.is_ok_and(|messages| !messages.is_empty())
}

/// The text of the last message of the user; where nobody says who speaks, of the last one.
fn last_of_user(messages: &RawValue) -> Option<String> {
    let messages: Vec<Spoken<'_>> = serde_json::from_str(messages.get()).ok()?;
    let by_user = |message: &&Spoken<'_>| message.role.as_deref().is_none_or(|role| role == USER);
    messages.iter().rev().find(by_user)?.text()
}

/// What has a role is a message.
#[derive(Deserialize)]
struct Role<'a> {
    #[serde(borrow, rename = "role")]
    _role: Cow<'a, str>,
}

/// A message of a conversation, as OpenAI and Anthropic (`content`) or Google (`parts`) write it.
#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

impl Spoken<'_> {
    fn text(&self) -> Option<String> {
        let content = self.content.or(self.parts)?;
        if let Ok(text) = serde_json::from_str::<String>(content.get()) {
            return Some(text);
        }
        let parts: Vec<Part<'_>> = serde_json::from_str(content.get()).ok()?;
        let texts: Vec<Cow<'_, str>> = parts.into_iter().filter_map(|part| part.text).collect();
        Some(texts.join("\n"))
    }
}

/// A text that is copied only where it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(payload: &str) -> (String, Option<String>, String, bool) {
        let raw = RawValue::from_string(payload.to_owned()).unwrap();
        let asked = Asked::of(&raw);
        let messages = asked.messages.as_ref().map(|raw| raw.get().to_owned());
        let is_something = asked.is_something("chat");
        let parameters = asked.parameters.to_json();
        (
            asked.prompt.into_owned(),
            messages,
            parameters,
            is_something,
        )
    }

    #[test]
    fn a_prompt_is_found_in_every_shape() {
        let turns = r#"[{"role": "system", "content": "be kind"}, {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]"#;
        for (payload, prompt) in [
            (r#""hi""#, "hi"),
            (r#""a\nb""#, "a\nb"),
            (r#"{"text": "a"}"#, "a"),
            (r#"{"text": "", "prompt": "b"}"#, "b"),
            (r#"{"text": " ", "content": "c"}"#, "c"),
            (r#"{"input": "d"}"#, "d"),
            (r#"{"text": "a", "input": "d"}"#, "a"),
            (turns, "three"),
            (&format!(r#"{{"messages": {turns}}}"#), "three"),
            (
                r#"[{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "u"}}, {"type": "text", "text": "here"}]}]"#,
                "look\nhere",
            ),
            (
                r#"{"contents": [{"role": "user", "parts": [{"text": "g"}]}]}"#,
                "g",
            ),
            (r#"{"contents": [{"parts": [{"text": "g"}]}]}"#, "g"),
            (r#"{"prompt": "p", "messages": []}"#, "p"),
        ] {
            let (found, _, _, is_something) = asked(payload);
            assert_eq!(found, prompt, "{payload}");
            assert!(is_something, "{payload}");
        }
    }

    #[test]
    fn messages_and_everything_else_of_a_chat_go_along() {
        let (prompt, messages, parameters, _) = asked(
            r#"{"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}], "tool_choice": "auto", "response_format": {"type": "json_object"}, "temperature": 0.70, "seed": 12345678901234567890123, "parameters": {"temperature": 0.2, "top_k": 5}}"#,
        );
        assert_eq!(prompt, "hi");
        assert_eq!(messages.unwrap(), r#"[{"role": "user", "content": "hi"}]"#);
        assert_eq!(
            parameters,
            r#"{"model":"m","response_format":{"type": "json_object"},"seed":12345678901234567890123,"temperature":0.2,"tool_choice":"auto","tools":[{"type": "function"}],"top_k":5}"#
        );
        let (_, messages, parameters, _) =
            asked(r#"{"input": ["a", "b"], "text": "t", "lang": "en"}"#);
        assert_eq!(messages, None);
        assert_eq!(parameters, r#"{"input":["a", "b"],"lang":"en"}"#);
    }

    #[test]
    fn nobody_is_paid_for_an_empty_prompt() {
        for payload in [
            "null",
            "1.10",
            "true",
            "[]",
            "{}",
            r#""""#,
            r#"" ""#,
            "[1]",
            r#"["a"]"#,
            r#"{"text": ""}"#,
            r#"{"messages": []}"#,
            r#"{"lang": "en"}"#,
            r#"{"input": []}"#,
            r#"{"messages": [{"role": "user", "content": ""}]}"#,
        ] {
            assert!(!asked(payload).3, "{payload}");
            let raw = RawValue::from_string(payload.to_owned()).unwrap();
            assert!(Asked::of(&raw).is_something("embedding"), "{payload}");
        }
        for payload in [
            r#"{"input": [1, 2]}"#,
            r#"{"input": [{"type": "item_reference", "id": "msg_1"}]}"#,
            r#"{"input": {"audio": "b64"}}"#,
            r#"{"contents": [{"parts": [{"inline_data": {"data": "b64"}}]}]}"#,
            r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]}"#,
            r#"[{"role": "assistant", "content": "go on"}]"#,
        ] {
            assert!(asked(payload).3, "{payload}");
        }
    }
}
