//! Hands each part of the configuration its values in their types, and collects what is wrong with
//! them on the way.
//!
//! A value that is wrong is replaced by the default so that reading goes on; the mistake makes
//! `load` fail at the end.

mod secrets;

pub(super) use secrets::read_secret;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use config::Value;

use super::content::is_world_readable;
use super::layers::{Defaults, Layers};
use super::mistakes::{Mistakes, Place};
use super::origin::Origin;
use super::printout::{Entry, Printout};
use super::values::{self, Problem, shown};

pub(super) struct Reader {
    layers: Layers,
    entries: Vec<Entry>,
    /// The configuration file itself holds a secret, whether or not a later layer replaces it.
    secret_in_file: bool,
    /// The files that secrets were read from.
    secret_files: BTreeMap<String, PathBuf>,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Self {
        Self {
            layers,
            entries: Vec::new(),
            secret_in_file: false,
            secret_files: BTreeMap::new(),
        }
    }

    pub(super) fn text(
        &mut self,
        key: &str,
        default: &str,
        check: impl FnOnce(&str) -> Result<(), Problem>,
    ) -> String {
        let given = self.value(key, |value| checked(value, check));
        let text = given.unwrap_or_else(|| default.to_owned());
        self.record(key, Some(text.clone().into()));
        text
    }

    /// A text whose default follows from other keys, so that it is in no layer.
    pub(super) fn text_or_else(
        &mut self,
        key: &str,
        follows: &str,
        check: impl FnOnce(&str) -> Result<(), Problem>,
    ) -> String {
        let given = self.value(key, |value| checked(value, check));
        let is_given = given.is_some();
        let text = given.unwrap_or_else(|| follows.to_owned());
        self.record(key, Some(text.clone().into()));
        if let Some(entry) = self.entries.last_mut() {
            entry.follows = !is_given;
        }
        text
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Option<String> {
        let given = self.value(key, |value| checked(value, |_| Ok(())));
        self.record(key, given.clone().map(Into::into));
        given
    }

    /// A value whose type reads itself; `expected` ends the sentence "must be ..".
    pub(super) fn parsed<T: FromStr + Display>(
        &mut self,
        key: &str,
        default: T,
        expected: &str,
    ) -> T {
        let given = self.value(key, |value| parse(value, expected));
        let value: T = given.unwrap_or(default);
        self.record(key, Some(value.to_string().into()));
        value
    }

    /// The same without a default.
    pub(super) fn optional_parsed<T: FromStr + Display>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Option<T> {
        let given = self.value(key, |value| parse(value, expected));
        self.record(
            key,
            given.as_ref().map(|value: &T| value.to_string().into()),
        );
        given
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        let truth = self.value(key, values::boolean).unwrap_or(default);
        self.record(key, Some(truth.into()));
        truth
    }

    pub(super) fn number(&mut self, key: &str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let given = self.value(key, |value| values::number(value, &range));
        let number = given.unwrap_or(default);
        self.record(key, Some(i64::from(number).into()));
        number
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let given = self.value(key, |value| values::duration(value, &range));
        let duration = given.unwrap_or(default);
        let shown = humantime::format_duration(duration).to_string();
        self.record(key, Some(shown.into()));
        duration
    }

    /// A list that may be empty, which is not the same as none.
    pub(super) fn list(
        &mut self,
        key: &str,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Option<Vec<String>> {
        let given = self.value(key, |value| {
            let items = values::list(value)?;
            items.iter().try_for_each(|item| check(item))?;
            Ok(items)
        });
        self.record(key, given.clone().map(Into::into));
        given
    }

    /// A list that has a default.
    pub(super) fn list_or(
        &mut self,
        key: &str,
        default: &[&str],
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Vec<String> {
        let given = self.value(key, |value| {
            let items = values::list(value)?;
            items.iter().try_for_each(|item| check(item))?;
            Ok(items)
        });
        let items =
            given.unwrap_or_else(|| default.iter().map(|item| (*item).to_owned()).collect());
        self.record(key, Some(items.clone().into()));
        items
    }

    pub(super) fn path(&mut self, key: &str, default: &str) -> PathBuf {
        PathBuf::from(self.text(key, default, |_| Ok(())))
    }

    /// A file that must be there; `secret` warns if everybody can read it.
    pub(super) fn file(&mut self, key: &str, secret: bool) -> Option<PathBuf> {
        let path = PathBuf::from(self.optional_text(key)?);
        match is_world_readable(&path) {
            Ok(true) if secret => self.warn_world_readable(key, &path),
            Ok(_) => {}
            Err(error) => self.mistake(key, &format!("names a file that cannot be read: {error}")),
        }
        Some(path)
    }

    /// Whether the key, or the file of a secret, was written in any layer.
    pub(super) fn given(&self, key: &str) -> bool {
        self.origin(key) != Origin::Default
            || self.origin(&format!("{key}_file")) != Origin::Default
    }

    /// Whether the value is that of a router that was found running.
    pub(super) fn is_discovered(&self, key: &str) -> bool {
        matches!(self.origin(key), Origin::Discovered(_))
    }

    /// Checks that concern two keys are only worth making if each of them is right by itself.
    pub(super) fn all_good(&self, keys: &[&str]) -> bool {
        let is_wrong = |key: &&str| {
            self.layers
                .mistakes
                .iter()
                .any(|found| found.place.key.as_deref() == Some(*key))
        };
        !keys.iter().any(is_wrong)
    }

    /// Notes a mistake at the first of the keys that somebody has written.
    pub(super) fn mistake_between(&mut self, keys: &[&str], problem: &str) {
        let key = keys.iter().find(|key| self.given(key)).or(keys.first());
        if let Some(key) = key {
            self.mistake(key, problem);
        }
    }

    pub(super) fn mistake(&mut self, key: &str, problem: &str) {
        let place = Place::of_key(key, self.origin(key));
        self.layers.mistakes.add(place, format!("{key} {problem}"));
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.layers.warnings.push(warning);
    }

    /// What a reading without any layer was asked for: all keys, with their defaults as the lowest
    /// layer.
    pub(super) fn into_defaults(self) -> Defaults {
        let mut defaults = Defaults::default();
        for entry in self.entries {
            let value = entry.value.filter(|_| !entry.follows);
            if let Some(value) = value.and_then(|value| value.try_into::<Value>().ok()) {
                defaults
                    .layer
                    .add(entry.key.clone(), value.kind, &Origin::Default);
            }
            defaults.keys.push(entry.key);
        }
        defaults
    }

    /// Ends the reading.
    pub(super) fn finish(mut self) -> Result<(Printout, Vec<String>), Mistakes> {
        self.warn_of_secrets_in_file();
        if self.layers.mistakes.is_empty() {
            Ok((Printout::new(self.entries), self.layers.warnings))
        } else {
            self.layers.mistakes.sort();
            Err(self.layers.mistakes)
        }
    }

    fn value<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&Value) -> Result<T, Problem>,
    ) -> Option<T> {
        match read(&self.layers.value(key)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.mistake(key, &problem);
                None
            }
        }
    }

    fn record(&mut self, key: &str, value: Option<toml::Value>) {
        self.entries.push(Entry {
            key: key.to_owned(),
            value,
            origin: self.origin(key).to_string(),
            follows: false,
        });
    }

    fn origin(&self, key: &str) -> Origin {
        let value = self.layers.value(key);
        value.map_or(Origin::Default, |value| Origin::of(&value))
    }
}

fn parse<T: FromStr>(value: &Value, expected: &str) -> Result<T, Problem> {
    let text = values::text(value)?;
    text.parse()
        .map_err(|_| format!("must be {expected}, not {}", shown(text)))
}

/// A text that is not empty and passes the check.
fn checked(
    value: &Value,
    check: impl FnOnce(&str) -> Result<(), Problem>,
) -> Result<String, Problem> {
    let text = values::filled_text(value)?;
    check(text)?;
    Ok(text.to_owned())
}
