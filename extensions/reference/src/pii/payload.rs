//! Looks for personal data in every string of a JSON payload, in JSON that is written in its
//! strings, and in numbers. Keys are left alone.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::hint::{Hint, of_key};
use super::{Counts, Detector, Find, Kind, Style};
use crate::json_text::{Scalar, Step, Token, pointer, rewrite, unescape};

/// What a payload holds and where; never the data itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub counts: Counts,
    /// JSON pointers of the first values with finds.
    pub locations: Vec<String>,
}

/// JSON in strings of JSON is looked into so deep; what lies deeper is read as text.
const MAX_DEPTH: usize = 4;
/// A key that is longer says nothing, and is not read for each of its values.
const LONGEST_KEY: usize = 64;

impl Detector {
    /// Looks through a valid JSON text, naming at most `max_locations` places.
    pub fn inspect_payload(&self, json: &str, max_locations: usize) -> Findings {
        let mut findings = Findings::default();
        let unchanged = rewrite(json, |scalar| {
            let before = findings.counts.clone();
            self.count(scalar, 0, &mut findings.counts);
            if findings.counts != before && findings.locations.len() < max_locations {
                let shown = pointer(scalar.path, |key| self.key_without_data(key));
                findings.locations.push(shown);
            }
            None
        });
        debug_assert_eq!(unchanged, None, "looking changes nothing");
        findings
    }

    fn count(&self, scalar: &Scalar<'_, '_>, depth: usize, counts: &mut Counts) {
        let found = match value_of(scalar, depth) {
            Value::Json(inner) => {
                rewrite(&inner, |scalar| {
                    self.count(scalar, depth + 1, counts);
                    None
                });
                return;
            }
            Value::Text(text, key) => self.find_under(&text, key),
            Value::Number(number, key) => self.find_in_number(number, key).into_iter().collect(),
        };
        for find in found {
            *counts.entry(find.kind).or_default() += 1;
        }
    }

    /// Numbers are cards where no key says otherwise, and more only where a key says so.
    pub(super) fn find_in_number(&self, number: &str, key: Option<Hint>) -> Option<Find> {
        // A JSON number may have a sign, a point or an exponent; these numbers have none.
        if number.len() < 8 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut found = self.find_under(number, key).into_iter();
        let find = found
            .next()
            .filter(|find| find.range == (0..number.len()))?;
        let said = matches!(
            (find.kind, key),
            (Kind::Card, _) | (Kind::Phone, Some(Hint::Phone)) | (Kind::Ssn, Some(Hint::Ssn))
        );
        said.then_some(find)
    }

    /// A key may be an address too, and a pointer would repeat it.
    fn key_without_data(&self, key: &str) -> String {
        let masked = Self::default().mask_text(key, |piece| Style::Label.replacement(piece));
        masked.map_or_else(|| key.to_owned(), |(masked, _)| masked)
    }
}

/// What stands at a place of a payload.
pub(super) enum Value<'a> {
    Text(Cow<'a, str>, Option<Hint>),
    Number(&'a str, Option<Hint>),
    /// A string that is JSON itself, such as the arguments of a tool call.
    Json(Cow<'a, str>),
}

pub(super) fn value_of<'a>(scalar: &Scalar<'a, '_>, depth: usize) -> Value<'a> {
    match scalar.token {
        Token::Number(number) => Value::Number(number, key_hint(scalar.path)),
        Token::String(content) => {
            let text = unescape(content);
            match depth < MAX_DEPTH && is_json(&text) {
                true => Value::Json(text),
                false => {
                    let key = if may_hold_data(&text) {
                        key_hint(scalar.path)
                    } else {
                        None
                    };
                    Value::Text(text, key)
                }
            }
        }
    }
}

/// Plain words need no key.
fn may_hold_data(text: &str) -> bool {
    !text.is_ascii() || text.bytes().any(|byte| byte.is_ascii_digit())
}

fn key_hint(path: &[Step<'_>]) -> Option<Hint> {
    let key = path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(*key),
        Step::Index(_) => None,
    })?;
    if key.len() <= LONGEST_KEY {
        of_key(&unescape(key))
    } else {
        None
    }
}

fn is_json(text: &str) -> bool {
    let trimmed = text.trim();
    let enclosed = trimmed.starts_with('{') && trimmed.ends_with('}')
        || trimmed.starts_with('[') && trimmed.ends_with(']')
        || trimmed.len() > 1 && trimmed.starts_with('"') && trimmed.ends_with('"');
    enclosed && serde_json::from_str::<&RawValue>(text).is_ok()
}
