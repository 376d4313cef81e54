//! Reads JSON objects from outside: every mistake is collected with its JSON pointer, so that all of them can be shown at
//! once. A repeated key is a mistake everywhere; an unknown one in records and policies, where a typo is an outage.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::fields::Fields;

/// One thing wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// JSON pointer (RFC 6901); empty for the document itself.
    pub pointer: String,
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "(document)" } else { &self.pointer };
        write!(out, "{place}: {}", self.message)
    }
}

/// Whoever made more mistakes mends these first. The list is part of an answer, so it has an end.
const MAX_MISTAKES: usize = 20;

/// Everything found wrong so far.
#[derive(Debug, Default)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < MAX_MISTAKES {
            self.0.push(Mistake { pointer: pointer.into(), message: message.into() });
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// `value` if nothing was wrong, otherwise all mistakes.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T, Vec<Mistake>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
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
                let mut object = Self { pointer, entries: Vec::with_capacity(entries.len()) };
                // A set, because an object from outside may have as many keys as fit into a message.
                let mut known = HashSet::with_capacity(entries.len());
                for (key, value) in entries {
                    if known.insert(key.clone()) {
                        object.entries.push((key, value));
                    } else {
                        mistakes.add(object.at(&key), "is given twice");
                    }
                }
                Some(object)
            }
            Err(_) => {
                mistakes.add(pointer, format!("must be an object, is {}", kind_of(raw)));
                None
            }
        }
    }

    /// The pointer of `key` inside this object.
    pub fn at(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1"))
    }

    /// Whether `key` is given and not `null`.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(known, raw)| known == key && raw.get() != "null")
    }

    /// Takes the raw value of `key`, `null` too.
    pub fn take_any(&mut self, key: &str) -> Option<&'a RawValue> {
        let index = self.entries.iter().position(|(known, _)| known == key)?;
        Some(self.entries.swap_remove(index).1)
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
    pub fn whole(&mut self, key: &str, range: RangeInclusive<u64>, mistakes: &mut Mistakes) -> Option<u64> {
        let raw = self.take(key)?;
        match serde_json::from_str::<u64>(raw.get()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let shown = shorten(raw.get());
                let message = format!("must be a whole number from {} to {}, is {shown}", range.start(), range.end());
                mistakes.add(self.at(key), message);
                None
            }
        }
    }

    /// A finite number that is not negative.
    pub fn weight(&mut self, key: &str, mistakes: &mut Mistakes) -> Option<f64> {
        let raw = self.take(key)?;
        match serde_json::from_str::<f64>(raw.get()) {
            Ok(number) if number.is_finite() && number >= 0.0 => Some(number),
            _ => {
                mistakes.add(self.at(key), format!("must be a number of 0 or more, is {}", shorten(raw.get())));
                None
            }
        }
    }

    /// One of a fixed set of words.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], mistakes: &mut Mistakes) -> Option<T> {
        let raw = self.take(key)?;
        let word = serde_json::from_str::<String>(raw.get()).unwrap_or_default();
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(*value);
        }
        let allowed: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("must be one of {}, is {}", allowed.join(", "), shorten(raw.get()));
        mistakes.add(self.at(key), message);
        None
    }

    /// A free-form object; absent is empty.
    pub fn fields(&mut self, key: &str, mistakes: &mut Mistakes) -> Fields {
        let Some(raw) = self.take(key) else { return Fields::default() };
        let Some(object) = Object::read(raw, self.at(key), mistakes) else { return Fields::default() };
        object.entries.into_iter().map(|(key, raw)| (key, raw.to_owned())).collect()
    }

    /// The items of an array with the pointer of each; absent is empty.
    pub fn items(&mut self, key: &str, mistakes: &mut Mistakes) -> Vec<(String, &'a RawValue)> {
        let Some(raw) = self.take(key) else { return Vec::new() };
        let pointer = self.at(key);
        match serde_json::from_str::<Vec<&'a RawValue>>(raw.get()) {
            Ok(items) if items.len() > MAX_ITEMS => {
                mistakes.add(pointer, format!("has {} entries; at most {MAX_ITEMS} are read", items.len()));
                Vec::new()
            }
            Ok(items) => items.into_iter().enumerate().map(|(i, item)| (format!("{pointer}/{i}"), item)).collect(),
            Err(_) => {
                mistakes.add(pointer, format!("must be a list, is {}", kind_of(raw)));
                Vec::new()
            }
        }
    }

    /// Takes every key that is left, with its value and pointer.
    pub fn rest(&mut self) -> Vec<(String, &'a RawValue, String)> {
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().map(|(key, raw)| (key.clone(), raw, self.at(&key))).collect()
    }

    /// Ends the reading: a key that nobody asked for is a mistake.
    pub fn finish(self, known: &[&str], mistakes: &mut Mistakes) {
        for (key, _) in &self.entries {
            let hint = match closest(key, known) {
                Some(near) => format!("is not a known key; did you mean {near}?"),
                None => format!("is not a known key; known are {}", known.join(", ")),
            };
            mistakes.add(self.at(key), hint);
        }
    }

    fn typed<T: Deserialize<'a>>(&mut self, key: &str, expected: &str, mistakes: &mut Mistakes) -> Option<T> {
        let raw = self.take(key)?;
        match serde_json::from_str(raw.get()) {
            Ok(value) => Some(value),
            Err(_) => {
                mistakes.add(self.at(key), format!("must be {expected}, is {}", kind_of(raw)));
                None
            }
        }
    }
}

/// More than any pipeline may have.
const MAX_ITEMS: usize = 256;

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

/// A value for a message: at most 64 characters, control characters escaped.
pub fn shorten(text: &str) -> String {
    let mut cut = String::new();
    for c in text.chars().take(64) {
        if c.is_control() { cut.extend(c.escape_default()) } else { cut.push(c) }
    }
    if text.chars().nth(64).is_some() { cut + "..." } else { cut }
}

/// The known word that differs from `word` by at most two edits.
fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known.iter().map(|k| (distance(word, k), *k)).filter(|(d, _)| *d <= 2).min().map(|(_, k)| k)
}

/// Levenshtein distance over bytes, two rows.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.bytes().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (byte_b, above) in b.bytes().zip(row.windows(2)) {
            let [diagonal, up] = *above else { continue };
            left = (diagonal + usize::from(byte_a != byte_b)).min(up + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
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
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings_only() {
        assert!(check_depth("[".repeat(128).as_bytes()).is_ok());
        assert!(check_depth("[".repeat(129).as_bytes()).is_err());
        assert!(check_depth(format!("\"\\\"{}\"", "[".repeat(500)).as_bytes()).is_ok());
    }

    #[test]
    fn repeated_and_unknown_keys_are_mistakes_with_a_place() {
        let mut mistakes = Mistakes::default();
        let mut object = Object::parse(r#"{"id": "a", "id": "b", "wieght": 1}"#, &mut mistakes).unwrap();
        object.text("id", &mut mistakes);
        object.finish(&["id", "weight"], &mut mistakes);
        let all: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
        assert_eq!(all, ["/id: is given twice", "/wieght: is not a known key; did you mean weight?"]);
    }

    #[test]
    fn a_hostile_number_of_keys_costs_no_more_than_its_length() {
        let keys: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\":0")).collect();
        let twice = format!("{{{},{}}}", keys.join(","), keys.join(","));
        let mut mistakes = Mistakes::default();
        assert_eq!(Object::parse(&twice, &mut mistakes).unwrap().entries.len(), 100_000);
        assert_eq!(mistakes.count(), MAX_MISTAKES);
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, want) in [("", "ab", 2), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(a, b), want, "{a} {b}");
        }
    }
}
