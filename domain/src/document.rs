//! Reads JSON objects from outside: every mistake is collected with its JSON pointer, so that all of them can be shown at
//! once. A repeated key is a mistake everywhere; an unknown one in records and policies, where a typo is an outage.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use beamline_contract::escape;
use beamline_contract::fields::Fields;
use beamline_contract::mistake::Mistake;

pub mod pointer;

use crate::mistakes::Found;
use crate::position::Position;
use crate::suggest::closest;
use pointer::{Part, Place};

/// A mistake with its place in the text, for somebody who has it in an editor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located {
    #[serde(flatten)]
    pub position: Position,
    #[serde(flatten)]
    pub mistake: Mistake,
}

/// Whoever made more mistakes mends these first. The list is part of an answer, so it has an end.
const MAX_MISTAKES: usize = 20;

/// Everything found wrong so far with a document.
pub type Mistakes = crate::mistakes::MistakeList<Place>;

impl Default for Mistakes {
    fn default() -> Self {
        Self::up_to(MAX_MISTAKES)
    }
}

impl Mistakes {
    /// `value` if nothing was wrong, otherwise all mistakes.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T, Vec<Mistake>> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self.into_iter().map(mistake).collect()),
        }
    }

    /// All mistakes in the order of the text that they were found in.
    pub fn located_in(self, json: &str) -> Vec<Located> {
        let mut located = Vec::with_capacity(self.count());
        for found in self {
            let position = pointer::position(json, &found.place);
            let mistake = mistake(found);
            located.push(Located { position, mistake });
        }
        located.sort_by_key(|located| located.position);
        located
    }
}

fn mistake(found: Found<Place>) -> Mistake {
    Mistake {
        pointer: found.place.pointer,
        message: found.message,
    }
}

/// A JSON object being read key by key.
#[derive(Debug)]
pub struct Object<'a> {
    pointer: String,
    entries: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Parses a whole document. Nothing else can be said about one that is not JSON, so there is one mistake then.
    pub fn parse(json: &'a str, mistakes: &mut Mistakes) -> Option<Self> {
        if let Err(problem) = check_depth(json.as_bytes()) {
            mistakes.add("", problem);
            return None;
        }
        match serde_json::from_str::<&RawValue>(json) {
            Ok(raw) => Self::read(raw, String::new(), mistakes),
            Err(error) => {
                mistakes.add("", format!("is not valid JSON: {error}"));
                None
            }
        }
    }

    /// Reads one value that must be an object.
    pub fn read(raw: &'a RawValue, pointer: String, mistakes: &mut Mistakes) -> Option<Self> {
        match serde_json::from_str::<Entries<'a>>(raw.get()) {
            Ok(Entries(entries)) => {
                let mut object = Self {
                    pointer,
                    entries: Vec::with_capacity(entries.len()),
                };
                // A set, because an object from outside may have as many keys as fit into a message.
                let mut known = HashSet::with_capacity(entries.len());
                for (key, value) in entries {
                    if known.insert(key.clone()) {
                        object.entries.push((key, value));
                    } else {
                        mistakes.add(
                            Place::new(object.at(&key), Part::SecondKey),
                            "is given twice",
                        );
                    }
                }
                Some(object)
            }
            Err(_) if raw.get().starts_with('{') => {
                mistakes.add(pointer, BROKEN_TEXT);
                None
            }
            Err(_) => {
                mistakes.add(pointer, format!("must be an object, is {}", kind_of(raw)));
                None
            }
        }
    }

    /// Where this object is.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The pointer of `key` inside this object.
    pub fn at(&self, key: &str) -> String {
        format!(
            "{}/{}",
            self.pointer,
            key.replace('~', "~0").replace('/', "~1")
        )
    }

    /// Whether `key` is given and not `null`.
    pub fn has(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|(known, raw)| known == key && raw.get() != "null")
    }

    /// The raw value of `key`, left where it is.
    pub fn peek(&self, key: &str) -> Option<&'a RawValue> {
        self.entries
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, raw)| *raw)
    }

    /// The keys that are left, in their order.
    pub fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Takes the raw value of `key`, `null` too.
    pub fn take_any(&mut self, key: &str) -> Option<&'a RawValue> {
        let index = self.entries.iter().position(|(known, _)| known == key)?;
        Some(self.entries.remove(index).1)
    }

    /// Takes the raw value of `key`; `null` counts as absent.
    pub fn take(&mut self, key: &str) -> Option<&'a RawValue> {
        self.take_any(key).filter(|raw| raw.get() != "null")
    }

    pub fn text(&mut self, key: &str, mistakes: &mut Mistakes) -> Option<String> {
        self.typed(key, "a string", mistakes)
    }

    pub fn required_text(&mut self, key: &str, mistakes: &mut Mistakes) -> Option<String> {
        if !self.has(key) {
            self.take(key);
            mistakes.add(self.at(key), "is required");
            return None;
        }
        self.text(key, mistakes)
    }

    pub fn flag(&mut self, key: &str, mistakes: &mut Mistakes) -> Option<bool> {
        self.typed(key, "true or false", mistakes)
    }

    /// A whole number within `range`.
    pub fn whole(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
        mistakes: &mut Mistakes,
    ) -> Option<u64> {
        let raw = self.take(key)?;
        match serde_json::from_str::<u64>(raw.get()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let shown = shorten(raw.get());
                let message = format!(
                    "must be a whole number from {} to {}, is {shown}",
                    range.start(),
                    range.end()
                );
                mistakes.add(self.at(key), message);
                None
            }
        }
    }

    /// A whole number of milliseconds within `range`.
    pub fn milliseconds(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
        mistakes: &mut Mistakes,
    ) -> Option<Duration> {
        self.whole(key, range, mistakes).map(Duration::from_millis)
    }

    /// A finite number that is not negative.
    pub fn weight(&mut self, key: &str, mistakes: &mut Mistakes) -> Option<f64> {
        let raw = self.take(key)?;
        // Not by serde_json, which may miss the nearest number by a bit; the standard library never does.
        match raw.get().parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Some(number.abs()),
            _ => {
                mistakes.add(
                    self.at(key),
                    format!("must be a number of 0 or more, is {}", shorten(raw.get())),
                );
                None
            }
        }
    }

    /// One of a fixed set of words.
    pub fn choice<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
        mistakes: &mut Mistakes,
    ) -> Option<T> {
        let raw = self.take(key)?;
        let word = serde_json::from_str::<String>(raw.get()).unwrap_or_default();
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(*value);
        }
        let allowed: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!(
            "must be one of {}, is {}",
            allowed.join(", "),
            shorten(raw.get())
        );
        mistakes.add(self.at(key), message);
        None
    }

    /// A free-form object; absent is empty.
    pub fn fields(&mut self, key: &str, mistakes: &mut Mistakes) -> Fields {
        let Some(raw) = self.take(key) else {
            return Fields::default();
        };
        let Some(object) = Object::read(raw, self.at(key), mistakes) else {
            return Fields::default();
        };
        object
            .entries
            .into_iter()
            .map(|(key, raw)| (key, raw.to_owned()))
            .collect()
    }

    /// The items of an array with the pointer of each; absent is empty.
    pub fn items(&mut self, key: &str, mistakes: &mut Mistakes) -> Vec<(String, &'a RawValue)> {
        self.take(key)
            .map_or_else(Vec::new, |raw| items(raw, &self.at(key), mistakes))
    }

    /// Takes every key that is left, with its value and pointer.
    pub fn rest(&mut self) -> Vec<(String, &'a RawValue, String)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .map(|(key, raw)| (key.clone(), raw, self.at(&key)))
            .collect()
    }

    /// Ends the reading: a key that nobody asked for is a mistake.
    pub fn finish(self, known: &[&str], mistakes: &mut Mistakes) {
        for (key, _) in &self.entries {
            let hint = match closest(key, known) {
                Some(near) => format!("is not a known key; did you mean {near}?"),
                None => format!("is not a known key; known are {}", known.join(", ")),
            };
            mistakes.add(Place::new(self.at(key), Part::Key), hint);
        }
    }

    fn typed<T: Deserialize<'a>>(
        &mut self,
        key: &str,
        expected: &str,
        mistakes: &mut Mistakes,
    ) -> Option<T> {
        let raw = self.take(key)?;
        match serde_json::from_str(raw.get()) {
            Ok(value) => Some(value),
            Err(_) => {
                let is = kind_of(raw);
                let message = if is == expected {
                    BROKEN_TEXT.into()
                } else {
                    format!("must be {expected}, is {is}")
                };
                mistakes.add(self.at(key), message);
                None
            }
        }
    }
}

/// The items of an array with the pointer of each.
pub fn items<'a>(
    raw: &'a RawValue,
    pointer: &str,
    mistakes: &mut Mistakes,
) -> Vec<(String, &'a RawValue)> {
    match serde_json::from_str::<Vec<&'a RawValue>>(raw.get()) {
        Ok(items) if items.len() > MAX_ITEMS => {
            mistakes.add(
                pointer,
                format!("has {} entries; at most {MAX_ITEMS} are read", items.len()),
            );
            Vec::new()
        }
        Ok(items) => items
            .into_iter()
            .enumerate()
            .map(|(i, item)| (format!("{pointer}/{i}"), item))
            .collect(),
        Err(_) => {
            mistakes.add(pointer, format!("must be a list, is {}", kind_of(raw)));
            Vec::new()
        }
    }
}

const BROKEN_TEXT: &str =
    "has half of a surrogate pair (\\ud800 to \\udfff) in a text; write both halves or neither";

/// What is wrong with a text that is no JSON, and where.
pub fn check_json(json: &str) -> Result<(), (Mistake, Position)> {
    let mistake = |message| Mistake {
        pointer: String::new(),
        message,
    };
    if let Err(problem) = check_depth(json.as_bytes()) {
        return Err((mistake(problem), Position { line: 1, column: 1 }));
    }
    serde_json::from_str::<&RawValue>(json)
        .map(drop)
        .map_err(|error| {
            let text = match json.chars().find(|c| !c.is_ascii_whitespace()) {
                None => "it is empty".to_owned(),
                Some('\u{feff}') => {
                    "it starts with a byte order mark; save it without one".to_owned()
                }
                Some(_) => error.to_string(),
            };
            // The position is said beside it, in characters.
            let what = text
                .rsplit_once(" at line ")
                .map_or(text.as_str(), |(what, _)| what);
            (
                mistake(format!("is not valid JSON: {what}")),
                pointer::position_of_error(json, &error),
            )
        })
}

/// More than any pipeline may have.
pub const MAX_ITEMS: usize = 256;

/// The deepest nesting that is read, as in serde_json itself.
pub const MAX_DEPTH: usize = 128;

/// Refuses JSON nested deeper than [`MAX_DEPTH`] in one pass without recursion: raw values are skipped over by the
/// parser without a limit, so it must be asked here.
pub fn check_depth(json: &[u8]) -> Result<(), String> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!("is nested deeper than {MAX_DEPTH} levels"));
        }
    }
    Ok(())
}

/// What a value is, in words for a person.
pub fn kind_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// A value for a message: at most 64 characters, on one line.
pub fn shorten(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(64) else {
        return escape::line(text);
    };
    let start = text.get(..end).unwrap_or_default();
    escape::line(start) + "..."
}

/// The entries of an object in order, repeated keys included.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests;
