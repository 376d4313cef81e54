//! From a JSON pointer to the line and column where a person finds the place.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::position::{Lines, Position};

/// What of the place a mistake is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The value; where there is none, the innermost value around it.
    Value,
    Key,
    /// The key where it stands for the second time.
    SecondKey,
}

/// A place in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// JSON pointer (RFC 6901); empty for the document itself.
    pub pointer: String,
    pub part: Part,
}

impl Place {
    pub fn new(pointer: impl Into<String>, part: Part) -> Self {
        Self {
            pointer: pointer.into(),
            part,
        }
    }
}

/// The place of a value.
impl<T: Into<String>> From<T> for Place {
    fn from(pointer: T) -> Self {
        Self::new(pointer, Part::Value)
    }
}

/// The pointer of a key, or of an item by its number, in what another one leads to.
pub fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Where a place is in a valid JSON text. What does not exist is at the innermost object or list
/// that it is not in.
pub fn position(json: &str, place: &Place) -> Position {
    let byte = serde_json::from_str::<&RawValue>(json)
        .map_or(0, |root| offset(json, find(root, place).get()));
    Position::of_byte(json, byte)
}

/// The place that serde_json reports; its columns are bytes, and 0 stands for the end of the line
/// before.
pub fn position_of_error(json: &str, error: &serde_json::Error) -> Position {
    let lines = Lines::of(json);
    let line_start = json.len() - lines.from(error.line()).len();
    lines.position(line_start + error.column().saturating_sub(1))
}

fn find<'a>(root: &'a RawValue, place: &Place) -> &'a RawValue {
    let mut here = root;
    let mut segments = place
        .pointer
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
        .peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let Some(next) = step(
            here,
            &segment,
            if is_last { place.part } else { Part::Value },
        ) else {
            break;
        };
        here = next;
    }
    here
}

fn step<'a>(here: &'a RawValue, segment: &str, part: Part) -> Option<&'a RawValue> {
    if here.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(here.get()).ok()?;
        return items.get(segment.parse::<usize>().ok()?).copied();
    }
    let Members(members) = serde_json::from_str(here.get()).ok()?;
    let is_named =
        |key: &&RawValue| serde_json::from_str::<String>(key.get()).is_ok_and(|key| key == segment);
    let mut named = members.into_iter().filter(|(key, _)| is_named(key));
    match part {
        Part::Value => named.next().map(|(_, value)| value),
        Part::Key => named.next().map(|(key, _)| key),
        Part::SecondKey => named.nth(1).map(|(key, _)| key),
    }
}

/// Both are parts of one text, so the distance of their starts is the offset.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// The members of an object as they were written.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"ä\": 1, \"list\": [\n    {\"a/b\": true},\r\n\t{\"x~y\": {\"k\": 1,\n\"k\": 2}}\n  ]\n}";

    #[test]
    fn pointers_lead_to_lines_and_columns() {
        let table = [
            ("", Part::Value, (1, 1)),
            ("/ä", Part::Value, (2, 8)),
            ("/ä", Part::Key, (2, 3)),
            ("/list", Part::Value, (2, 19)),
            ("/list/0/a~1b", Part::Value, (3, 13)),
            ("/list/1/x~0y", Part::Key, (4, 3)),
            ("/list/1/x~0y/k", Part::Value, (4, 16)),
            ("/list/1/x~0y/k", Part::SecondKey, (5, 1)),
            ("/list/0/missing", Part::Value, (3, 5)),
            ("/list/7", Part::Value, (2, 19)),
            ("/list/0/missing/deeper", Part::Key, (3, 5)),
            ("nonsense", Part::Value, (1, 1)),
        ];
        for (pointer, part, (line, column)) in table {
            assert_eq!(
                position(TEXT, &Place::new(pointer, part)),
                Position { line, column },
                "{pointer} {part:?}"
            );
        }
    }

    #[test]
    fn errors_of_the_parser_count_characters_too() {
        for (text, line, column) in [
            ("{\"ä\": x}", 1, 7),
            ("{\n\n  \"a\": 1,\n}", 4, 1),
            ("", 1, 1),
            ("{\"a\": 1", 1, 7),
            ("{\"ä", 1, 3),
        ] {
            let error = serde_json::from_str::<&RawValue>(text).unwrap_err();
            assert_eq!(
                position_of_error(text, &error),
                Position { line, column },
                "{text:?} {error}"
            );
        }
    }

    #[test]
    fn what_is_no_json_is_at_its_start() {
        assert_eq!(
            position("{\"a\": ", &Place::from("/a")),
            Position { line: 1, column: 1 }
        );
    }
}
