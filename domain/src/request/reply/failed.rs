//! Failures that an extension answers: its own forms (contract section 2), and the error bodies of
//! other people's APIs as they are. However odd one is, what can be read of it is kept.

use std::time::Duration;

use beamline_contract::failure::FailureKind;
use serde_json::{Map, Value};

use super::wait;
use crate::request::failure::AnsweredFailure;
use crate::request::failure::codes::{Meaning, meaning, number_of};

type Object = Map<String, Value>;

/// Where words stand that say what is wrong, the one that is told first.
const WORD_KEYS: [&str; 10] = [
    "code",
    "error_code",
    "errorcode",
    "__type",
    "type",
    "reason",
    "status",
    "name",
    "error_type",
    "finish_reason",
];
/// Where numbers stand that only HTTP writes.
const NUMBER_KEYS: [&str; 7] = [
    "http_status",
    "status_code",
    "statuscode",
    "httpstatuscode",
    "httpstatus",
    "http_code",
    "http_status_code",
];
/// Where sentences for people stand.
const MESSAGE_KEYS: [&str; 8] = [
    "message",
    "error_message",
    "error_msg",
    "msg",
    "detail",
    "title",
    "errors",
    "raw",
];
/// What holds more of the same.
const INNER_KEYS: [&str; 10] = [
    "error",
    "detail",
    "innererror",
    "inner_error",
    "details",
    "metadata",
    "$metadata",
    "responsemetadata",
    "headers",
    "errors",
];
/// Errors are not nested more deeply than this, and lists in them are not longer.
const DEPTH: usize = 4;
const ITEMS: usize = 16;
/// Words of programs that say nothing about what is wrong.
const SAY_NOTHING: [&str; 5] = [NO_CODE, "None", "null", "about:blank", "unknown_error"];
/// Of one error, and of one of them, in bytes and in digits.
const MOST_WORDS: usize = 32;
const LONGEST_CODE: usize = 128;
const MOST_DIGITS: usize = 6;
/// What an extension says to people is told in this many characters.
const TOLD: usize = 256;
/// What one says whose error has no code.
const NO_CODE: &str = "error";

/// What an answer's headers say of another attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RetryHints {
    pub(super) retryable: Option<bool>,
    pub(super) retry_after: Option<Duration>,
}

/// Reads the body of an answer that tells of a failure. What it says of another attempt goes before
/// what its headers say.
pub(super) fn read(body: &str, headers: RetryHints) -> AnsweredFailure {
    let body = serde_json::from_str(body).unwrap_or_default();
    let mut found = Found::default();
    found.read_body(&body);
    let hints = RetryHints {
        retryable: found.retryable.or(headers.retryable),
        retry_after: found.wait.or(headers.retry_after),
    };
    found.into_failure(hints)
}

/// The same where headers name the code and the message; the body may say more.
pub(super) fn read_service_error(
    code: Option<u16>,
    message: &str,
    body: &str,
    headers: RetryHints,
) -> AnsweredFailure {
    let body: Object = serde_json::from_str(body).unwrap_or_default();
    let mut found = Found::default();
    found.read_body(&body);
    found.numbers.extend(code.map(u64::from));
    let hints = RetryHints {
        retryable: found.retryable.or(headers.retryable),
        retry_after: found.wait.or(headers.retry_after),
    };
    let has_words = !found.words.is_empty();
    found.message = Some(message.to_owned()).filter(|text| !text.is_empty());
    let failure = found.into_failure(hints);
    let shown = code.map_or_else(|| "service_error".to_owned(), |code| code.to_string());
    AnsweredFailure {
        code: if has_words { failure.code } else { shown },
        ..failure
    }
}

/// As much of what an extension says to people as goes to the caller.
pub(super) fn told(text: &str) -> String {
    text.chars().take(TOLD).collect()
}

/// Whether a body without an answer in it is somebody's error.
pub(super) fn is_foreign_error(body: &str) -> bool {
    let Ok(body) = serde_json::from_str::<Object>(body) else {
        return false;
    };
    const SIGNS: [&str; 8] = [
        "statuscode",
        "__type",
        "error_code",
        "errorcode",
        "code",
        "message",
        "detail",
        "errors",
    ];
    body.keys()
        .any(|key| SIGNS.contains(&key.to_ascii_lowercase().as_str()))
}

/// What an error says, wherever it stands.
#[derive(Debug, Default)]
struct Found {
    class: Option<FailureKind>,
    words: Vec<String>,
    numbers: Vec<u64>,
    message: Option<String>,
    retryable: Option<bool>,
    wait: Option<Duration>,
}

impl Found {
    /// What stands in `error` is nearer to the matter than what stands beside it.
    fn read_body(&mut self, body: &Object) {
        match body.get("error") {
            Some(Value::Object(error)) => self.read_object(error, DEPTH),
            Some(Value::String(text)) => self.read_text(text),
            Some(other) => self.message = Some(other.to_string()),
            None => {}
        }
        self.read_object(body, 1);
    }

    /// An error that is one word is its code, and is shown as its message too.
    fn read_text(&mut self, text: &str) {
        self.add_code(text);
        self.message = Some(text.to_owned());
    }

    fn read_object(&mut self, object: &Object, depth: usize) {
        let class = text_at(object, "class").and_then(|word| FailureKind::parse(&word));
        self.class = self.class.or(class);
        for key in WORD_KEYS {
            self.add_word(value_at(object, key));
        }
        for key in NUMBER_KEYS {
            self.numbers.extend(value_at(object, key).and_then(number));
        }
        self.retryable = self.retryable.or_else(|| flag_at(object, "retryable"));
        self.wait = self.wait.or_else(|| wait::in_object(object));
        let message = MESSAGE_KEYS
            .iter()
            .find_map(|key| text_at(object, key))
            .filter(|text| !text.is_empty());
        self.message = self.message.take().or(message);
        if depth > 0 {
            self.read_inner(object, depth);
        }
    }

    fn read_inner(&mut self, object: &Object, depth: usize) {
        for inner in INNER_KEYS {
            match value_at(object, inner) {
                Some(Value::Object(inner)) => self.read_object(inner, depth - 1),
                Some(Value::Array(items)) => {
                    for item in items.iter().take(ITEMS).filter_map(Value::as_object) {
                        self.read_object(item, depth - 1);
                    }
                }
                Some(_) | None => {}
            }
        }
    }

    /// `status` and `type` are also words of ours that say nothing.
    fn add_word(&mut self, value: Option<&Value>) {
        let Some(value) = value else { return };
        if let Some(number) = number(value) {
            self.numbers.push(number);
        } else if let Some(word) = value.as_str() {
            self.add_code(word);
        }
    }

    /// Codes go into logs and metrics. What is no word of a program may be somebody's text.
    fn add_code(&mut self, word: &str) {
        if self.words.len() < MOST_WORDS && is_code(word) && !SAY_NOTHING.contains(&word) {
            self.words.push(word.to_owned());
        }
    }

    fn into_failure(self, hints: RetryHints) -> AnsweredFailure {
        let message = self.message.unwrap_or_default();
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let read = meaning(&words, &self.numbers, &message);
        let meaning = match self.class {
            Some(kind) => Meaning {
                kind,
                number: number_of(kind, &words, &self.numbers),
                ..read
            },
            None => read,
        };
        let first = self.words.into_iter().next();
        let number = self.numbers.first().map(u64::to_string);
        AnsweredFailure {
            code: first.or(number).unwrap_or_else(|| NO_CODE.to_owned()),
            retry_after: hints.retry_after.or_else(|| wait::in_message(&message)),
            message: told(&message),
            meaning,
            retryable: hints.retryable,
        }
    }
}

/// A word of letters, digits and what stands between them, without a number as long as a card's or
/// a telephone's.
fn is_code(word: &str) -> bool {
    let begins = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.:#/-".contains(c);
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    begins && word.len() <= LONGEST_CODE && word.chars().all(fits) && digits <= MOST_DIGITS
}

/// Keys in any case.
fn value_at<'o>(object: &'o Object, key: &str) -> Option<&'o Value> {
    let exact = object.get(key);
    exact.or_else(|| {
        let mut others = object.iter();
        let same = others.find(|(other, _)| other.eq_ignore_ascii_case(key));
        same.map(|(_, value)| value)
    })
}

fn text_at(object: &Object, key: &str) -> Option<String> {
    match value_at(object, key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Also as a word, because some send everything as text.
fn flag_at(object: &Object, key: &str) -> Option<bool> {
    match value_at(object, key)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(word) => Some(word.eq_ignore_ascii_case("true")),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A whole number, or one that is written as text.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
