//! An object that is read key by key.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use beamline_contract::fields::Fields;
use beamline_contract::limits::MAX_ITEMS;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json::{check_depth, kind_of, shorten};
use super::located::Mistakes;
use super::pointer::{Part, Place, child};
use crate::suggest::closest;

/// A JSON object being read key by key.
#[derive(Debug)]
pub struct Object<'a> {
    pointer: String,
    pub(super) entries: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Parses a whole document. Nothing else can be said about one that is not JSON, so there is
    /// one mistake then.
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
                // A set, because an object from outside may have as many keys as fit into a
                // message.
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
        child(&self.pointer, key)
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
        // Not by serde_json, which may miss the nearest number by a bit; the standard library never
        // does.
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
            if mistakes.is_full() {
                break;
            }
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

const BROKEN_TEXT: &str =
    "has half of a surrogate pair (\\ud800 to \\udfff) in a text; write both halves or neither";

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
