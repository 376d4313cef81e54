//! `normalize_text`: brings the text of a message into one form, so that later stages compare like
//! with like.

use beamline_extension::{CallContext, Edit, Failure, Message, RawValue};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use crate::json_text::{Step, Token, rewrite, unescape};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Remove white space at both ends.
    pub trim: bool,
    /// Make every run of white space, line breaks included, one space.
    pub collapse_whitespace: bool,
    pub lowercase: bool,
    /// Remove control characters other than line breaks and tabs, and the invisible marks that
    /// change reading order.
    pub strip_control: bool,
    pub unicode: UnicodeForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnicodeForm {
    Nfc,
    None,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            trim: true,
            collapse_whitespace: true,
            lowercase: false,
            strip_control: true,
            unicode: UnicodeForm::Nfc,
        }
    }
}

/// Of what [`Config`] reads.
pub fn config_schema() -> Schema {
    schema_for!(Config)
}

/// # Errors
/// `invalid_config`.
#[expect(clippy::unused_async, reason = "handlers are async functions")]
pub async fn handle(message: Message, call: CallContext) -> Result<Edit, Failure> {
    let config: Config = call.config()?;
    let Some(json) = normalize_json(message.payload.get(), &config) else {
        return Ok(Edit::unchanged());
    };
    let payload =
        RawValue::from_string(json).map_err(|_| Failure::internal("the new payload is no JSON"))?;
    Ok(Edit::replace(Message { payload, ..message }))
}

/// Normalises the text in a payload; `None` when nothing changed.
fn normalize_json(json: &str, config: &Config) -> Option<String> {
    rewrite(json, |scalar| match scalar.token {
        Token::String(content) if is_text(scalar.path) => {
            let text = unescape(content);
            let normalized = normalize(&text, config);
            (normalized != text).then_some(normalized)
        }
        Token::String(_) | Token::Number(_) => None,
    })
}

/// The places where payloads carry text: the payload itself; its `text`, `prompt`, `content` or
/// `input`; the content of its `messages`, or of the messages that it or its `input` is a list of;
/// and the `parts` of its `contents`. Other strings may be identifiers, and stay.
fn is_text(path: &[Step<'_>]) -> bool {
    use Step::{Index, Key};
    match path {
        [] => true,
        [Key("messages"), Index(_), message @ ..] => is_text_of_message(message),
        [Key("input"), Index(_), message @ ..] if is_text_of_message(message) => true,
        [Key("contents"), Index(_), content @ ..] | [Key("contents"), content @ ..]
            if is_text_of_message(content) =>
        {
            true
        }
        [
            Key("text" | "prompt" | "content" | "input" | "contents"),
            parts @ ..,
        ] => is_part(parts),
        // A bare list is one of messages or of parts; its plain strings may be anything.
        [Index(_), Key("text")] => true,
        [Index(_), message @ ..] => is_text_of_message(message),
        [Key(_), ..] => false,
    }
}

fn is_text_of_message(path: &[Step<'_>]) -> bool {
    match path {
        [Step::Key("content" | "parts"), parts @ ..] => is_part(parts),
        _ => false,
    }
}

/// Text, or a list of texts and of parts with text.
fn is_part(path: &[Step<'_>]) -> bool {
    matches!(
        path,
        [] | [Step::Index(_)] | [Step::Index(_), Step::Key("text")]
    )
}

/// Normalises one text.
pub fn normalize(text: &str, config: &Config) -> String {
    let mut text = text.to_owned();
    if config.strip_control {
        text.retain(|c| !is_invisible_control(c));
    }
    if config.lowercase {
        text = text.to_lowercase();
    }
    if config.unicode == UnicodeForm::Nfc {
        text = text.nfc().collect();
    }
    if config.collapse_whitespace {
        text = collapse_whitespace(&text);
    }
    if config.trim {
        text = text.trim().to_owned();
    }
    text
}

fn is_invisible_control(c: char) -> bool {
    let kept = matches!(c, '\n' | '\r' | '\t');
    let reorders_or_hides =
        matches!(c, '\u{200b}' | '\u{feff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && !kept) || reorders_or_hides
}

fn collapse_whitespace(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_whitespace() {
            collapsed.push(c);
        } else if !collapsed.ends_with(' ') {
            collapsed.push(' ');
        }
    }
    collapsed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        let standard = Config::default();
        let nothing = Config {
            trim: false,
            collapse_whitespace: false,
            lowercase: false,
            strip_control: false,
            unicode: UnicodeForm::None,
        };
        for (config, text, expected) in [
            (&standard, "  Hello \n\t World ", "Hello World"),
            (&standard, "a\u{0}b\u{7}c\u{202e}d", "abcd"),
            (&standard, "e\u{301}", "\u{e9}"),
            (
                &standard,
                "family \u{1f469}\u{200d}\u{1f469}",
                "family \u{1f469}\u{200d}\u{1f469}",
            ),
            (&nothing, " A\u{0}  e\u{301} ", " A\u{0}  e\u{301} "),
            (
                &Config {
                    trim: true,
                    ..nothing.clone()
                },
                " A  B ",
                "A  B",
            ),
            (
                &Config {
                    lowercase: true,
                    ..nothing.clone()
                },
                "ÄB",
                "äb",
            ),
            (
                &Config {
                    unicode: UnicodeForm::Nfc,
                    ..nothing.clone()
                },
                " e\u{301}",
                " \u{e9}",
            ),
            (
                &Config {
                    collapse_whitespace: true,
                    ..nothing.clone()
                },
                " A \n B ",
                " A B ",
            ),
            (
                &Config {
                    strip_control: true,
                    ..nothing.clone()
                },
                "a\u{1b}\tb",
                "a\tb",
            ),
        ] {
            assert_eq!(normalize(text, config), expected, "{text:?}");
        }
    }

    #[test]
    fn only_the_text_of_a_payload_changes() {
        let config = Config::default();
        for (json, expected) in [
            (r#"" a ""#, Some(r#""a""#)),
            (
                r#"{"text":" a ","id":" b ","n":1.50}"#,
                Some(r#"{"text":"a","id":" b ","n":1.50}"#),
            ),
            (r#"{"prompt":" a "}"#, Some(r#"{"prompt":"a"}"#)),
            (
                r#"{"messages":[{"role":" user ","content":" a "}]}"#,
                Some(r#"{"messages":[{"role":" user ","content":"a"}]}"#),
            ),
            (
                r#"{"messages":[{},{"content":[{"type":"text","text":" b "}]}]}"#,
                Some(r#"{"messages":[{},{"content":[{"type":"text","text":"b"}]}]}"#),
            ),
            (r#"{"input":" a "}"#, Some(r#"{"input":"a"}"#)),
            (
                r#"{"input":[" a "],"model":" m "}"#,
                Some(r#"{"input":["a"],"model":" m "}"#),
            ),
            (
                r#"{"input":[{"role":"user","content":[{"type":"input_text","text":" a "}]}]}"#,
                Some(r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}]}"#),
            ),
            (
                r#"[{"role":" user ","content":" a "},{"content":[{"type":"text","text":" b "}]}]"#,
                Some(
                    r#"[{"role":" user ","content":"a"},{"content":[{"type":"text","text":"b"}]}]"#,
                ),
            ),
            (
                r#"[{"type":"text","text":" a "},{"type":"image_url","image_url":{"url":" u "}}]"#,
                Some(
                    r#"[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":" u "}}]"#,
                ),
            ),
            (
                r#"{"contents":[{"role":"user","parts":[{"text":" a "},{"text":" b "}]}]}"#,
                Some(r#"{"contents":[{"role":"user","parts":[{"text":"a"},{"text":"b"}]}]}"#),
            ),
            (
                r#"{"contents":{"parts":[{"text":" a "}]}}"#,
                Some(r#"{"contents":{"parts":[{"text":"a"}]}}"#),
            ),
            (r#"{"contents":[" a "]}"#, Some(r#"{"contents":["a"]}"#)),
            (
                r#"{"content":[{"type":"text","text":" a "}]}"#,
                Some(r#"{"content":[{"type":"text","text":"a"}]}"#),
            ),
            (
                r#"{"messages":[{"content":null,"tool_calls":[{"function":{"arguments":" {} "}}]}]}"#,
                None,
            ),
            (
                r#"{"contents":[{"parts":[{"inline_data":{"data":" a "}}]}]}"#,
                None,
            ),
            (r#"{"text":"a"}"#, None),
            (r#"{"deep":{"text":" a "}}"#, None),
            ("[\" a \"]", None),
            ("12.0", None),
            ("null", None),
        ] {
            assert_eq!(normalize_json(json, &config).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn configs() {
        assert_eq!(
            serde_json::from_str::<Config>("{}").unwrap(),
            Config::default()
        );
        assert_eq!(
            serde_json::from_str::<Config>(r#"{"unicode":"none"}"#)
                .unwrap()
                .unicode,
            UnicodeForm::None
        );
        for invalid in [r#"{"trimm":true}"#, r#"{"unicode":"nfd"}"#, r#"{"trim":1}"#] {
            assert!(
                serde_json::from_str::<Config>(invalid).is_err(),
                "{invalid}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_second_time_changes_nothing(text in any::<String>(), lowercase in any::<bool>()) {
            let config = Config { lowercase, ..Config::default() };
            let once = normalize(&text, &config);
            prop_assert_eq!(normalize(&once, &config), once);
        }
    }
}
