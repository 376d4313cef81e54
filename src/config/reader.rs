//! Hands each part of the configuration its values in their types, and collects what is wrong with them on the way.
//!
//! A value that is wrong is replaced by the default so that reading goes on; the mistake makes `load` fail at the end.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::file::{is_world_readable, read_limited};
use super::layers::{Layers, Origin, Raw};
use super::mistakes::Mistakes;
use super::printout::{Entry, Printout, REDACTED};
use super::suggest;

/// A key file of this size would be no key.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Why a value cannot be used, as the end of a sentence that starts with the key: `must be true or false`.
pub(super) type Problem = String;

pub(super) struct Reader {
    layers: Layers,
    entries: Vec<Entry>,
    warnings: Vec<String>,
    /// The configuration file itself holds a secret, whether or not a later layer replaces it.
    secret_in_file: bool,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Self {
        Self {
            layers,
            entries: Vec::new(),
            warnings: Vec::new(),
            secret_in_file: false,
        }
    }

    pub(super) fn text(
        &mut self,
        key: &str,
        default: &str,
        check: impl FnOnce(&str) -> Result<(), Problem>,
    ) -> String {
        let given = self.value(key, |raw| checked(raw, check));
        let text = given.unwrap_or_else(|| default.to_owned());
        self.record(key, Some(text.clone().into()));
        text
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Option<String> {
        let given = self.value(key, |raw| checked(raw, |_| Ok(())));
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
        let given = self.value(key, |raw| {
            let text = text_of(raw)?;
            text.parse::<T>()
                .map_err(|_| format!("must be {expected}, not {}", shown(&text)))
        });
        let value = given.unwrap_or(default);
        self.record(key, Some(value.to_string().into()));
        value
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        let given = self.value(key, |raw| match raw {
            Raw::Boolean(truth) => Ok(*truth),
            Raw::Untyped(text) => text
                .parse()
                .map_err(|_| format!("must be true or false, not {}", shown(text))),
            Raw::Text(_) | Raw::Integer(_) | Raw::List(_) | Raw::Other(_) => {
                Err(format!("must be true or false, not {}", kind(raw)))
            }
        });
        let truth = given.unwrap_or(default);
        self.record(key, Some(truth.into()));
        truth
    }

    pub(super) fn number(&mut self, key: &str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let given = self.value(key, |raw| {
            let expected = format!(
                "must be a whole number between {} and {}",
                range.start(),
                range.end()
            );
            match raw {
                Raw::Untyped(text) | Raw::Integer(text) => {
                    let number = text.parse().ok().filter(|number| range.contains(number));
                    number.ok_or_else(|| format!("{expected}, not {}", printable_number(text)))
                }
                Raw::Text(_) | Raw::Boolean(_) | Raw::List(_) | Raw::Other(_) => {
                    Err(format!("{expected}, not {}", kind(raw)))
                }
            }
        });
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
        let given = self.value(key, |raw| duration_of(raw, &range));
        let duration = given.unwrap_or(default);
        self.record(
            key,
            Some(humantime::format_duration(duration).to_string().into()),
        );
        duration
    }

    /// A list that may be empty, which is not the same as none.
    pub(super) fn list(
        &mut self,
        key: &str,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Option<Vec<String>> {
        let given = self.value(key, |raw| {
            let items = list_of(raw)?;
            items.iter().try_for_each(|item| check(item))?;
            Ok(items)
        });
        self.record(key, given.clone().map(Into::into));
        given
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

    /// A secret, written under its own key or in the file that `<key>_file` names. `redact` says how it may be shown.
    pub(super) fn secret(
        &mut self,
        key: &str,
        redact: fn(&str) -> String,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        self.notice_secrets_in_file(key, redact);
        let check = |text: &str| {
            if text.contains(REDACTED) {
                Err(left_out())
            } else {
                check(text)
            }
        };

        let direct = self.value(key, |raw| checked(raw, check));
        let path = self
            .value(&file_key, |raw| checked(raw, |_| Ok(())))
            .map(PathBuf::from);
        let (direct, path) = self.direct_or_file(key, direct, path);
        self.record(key, direct.as_deref().map(|text| redact(text).into()));
        self.record(
            &file_key,
            path.as_ref().map(|path| path.display().to_string().into()),
        );

        let text = match (direct, path) {
            (Some(text), _) => Some(text),
            (None, Some(path)) => self.secret_from_file(&file_key, &path, check),
            (None, None) => None,
        };
        text.map(SecretString::from)
    }

    /// The default of a secret that is not one, such as the address of the embedded database.
    pub(super) fn secret_default(&mut self, key: &str, default: &str) -> SecretString {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.value = Some(default.into());
        }
        SecretString::from(default)
    }

    /// Whether the key, or the file of a secret, was written in any layer.
    pub(super) fn given(&self, key: &str) -> bool {
        self.layers.top(key).is_some() || self.layers.top(&format!("{key}_file")).is_some()
    }

    /// Checks that concern two keys are only worth making if each of them is right by itself.
    pub(super) fn all_good(&self, keys: &[&str]) -> bool {
        let is_wrong = |key: &&str| {
            self.layers
                .mistakes
                .iter()
                .any(|found| found.key.as_deref() == Some(*key))
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
        let origin = self.origin(key);
        self.layers
            .mistake(origin, Some(key.to_owned()), format!("{key} {problem}"));
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Ends the reading: what nobody asked for is unknown.
    pub(super) fn finish(mut self) -> Result<(Printout, Vec<String>), Mistakes> {
        let keys: Vec<&str> = self
            .entries
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        let found = suggest::unknown_keys(&self.layers, &keys);
        self.warnings
            .extend(suggest::lookalikes(&self.layers, &keys));
        self.layers.mistakes.extend(found);
        if let Some(path) = self
            .layers
            .world_readable_file
            .clone()
            .filter(|_| self.secret_in_file)
        {
            self.warn(format!(
                "{} holds a secret and everybody can read it; {RESTRICT}",
                path.display()
            ));
        }
        if self.layers.mistakes.is_empty() {
            Ok((Printout::new(self.entries), self.warnings))
        } else {
            Err(self.layers.into_mistakes())
        }
    }

    fn value<T>(&mut self, key: &str, parse: impl FnOnce(&Raw) -> Result<T, Problem>) -> Option<T> {
        match parse(&self.layers.top(key)?.raw) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.mistake(key, &problem);
                None
            }
        }
    }

    fn record(&mut self, key: &str, value: Option<toml::Value>) {
        let origin = self.origin(key);
        self.entries.push(Entry {
            key: key.to_owned(),
            value,
            origin: origin.to_string(),
        });
    }

    fn origin(&self, key: &str) -> Origin {
        self.layers
            .top(key)
            .map_or(Origin::Default, |given| given.origin.clone())
    }

    /// Of a secret and its file in two layers the later layer counts; in one layer nobody can say which was meant.
    fn direct_or_file(
        &mut self,
        key: &str,
        direct: Option<String>,
        path: Option<PathBuf>,
    ) -> (Option<String>, Option<PathBuf>) {
        let file_key = format!("{key}_file");
        let (direct_origin, path_origin) = (self.origin(key), self.origin(&file_key));
        if direct_origin == Origin::Default || path_origin == Origin::Default {
            (direct, path)
        } else if direct_origin.same_layer(&path_origin) {
            self.mistake(
                key,
                &format!("and {file_key} are both given; keep one of them"),
            );
            (direct, None)
        } else if direct_origin > path_origin {
            (direct, None)
        } else {
            (None, path)
        }
    }

    fn secret_from_file(
        &mut self,
        file_key: &str,
        path: &Path,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Option<String> {
        match read_secret(path) {
            Ok((text, world_readable)) => {
                if world_readable {
                    self.warn_world_readable(file_key, path);
                }
                if let Err(problem) = check(&text) {
                    self.mistake(file_key, &format!("names a file whose content {problem}"));
                }
                Some(text)
            }
            Err(problem) => {
                self.mistake(file_key, &problem);
                None
            }
        }
    }

    fn notice_secrets_in_file(&mut self, key: &str, redact: fn(&str) -> String) {
        let is_secret = |raw: &Raw| matches!(raw, Raw::Text(text) if redact(text) != *text);
        let in_file = self.layers.all().any(|(given_key, given)| {
            given_key == key && matches!(given.origin, Origin::File { .. }) && is_secret(&given.raw)
        });
        self.secret_in_file |= in_file;
    }

    fn warn_world_readable(&mut self, key: &str, path: &Path) {
        self.warn(format!(
            "{key}: everybody can read {}; {RESTRICT}",
            path.display()
        ));
    }
}

const RESTRICT: &str = "restrict it with chmod 600";

fn left_out() -> Problem {
    format!(
        "holds {REDACTED}, which stands for a secret that was left out in print; put the secret in its place"
    )
}

fn read_secret(path: &Path) -> Result<(String, bool), Problem> {
    let content = read_limited(path, MAX_SECRET_BYTES)
        .map_err(|error| format!("names a file that cannot be read: {error}"))?;
    let text = String::from_utf8(content.bytes)
        .map_err(|_| "names a file that is not valid UTF-8".to_owned())?;
    // Editors and `echo` end a file with a line break, which is never part of the secret.
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err("names a file that is empty".to_owned());
    }
    Ok((text.to_owned(), content.world_readable))
}

/// Text that is not empty: an empty variable is more often a slip than a wish.
fn checked(raw: &Raw, check: impl FnOnce(&str) -> Result<(), Problem>) -> Result<String, Problem> {
    let text = text_of(raw)?;
    if text.is_empty() {
        return Err("is empty; give it a value or leave it out".to_owned());
    }
    check(&text)?;
    Ok(text)
}

fn text_of(raw: &Raw) -> Result<String, Problem> {
    match raw {
        Raw::Untyped(text) | Raw::Text(text) => Ok(text.clone()),
        Raw::Integer(_) | Raw::Boolean(_) | Raw::List(_) | Raw::Other(_) => {
            Err(format!("must be text in quotes, not {}", kind(raw)))
        }
    }
}

fn duration_of(raw: &Raw, range: &RangeInclusive<Duration>) -> Result<Duration, Problem> {
    const EXPECTED: &str = r#"must be a duration with its unit, such as "5s" or "250ms""#;
    let text = match raw {
        Raw::Untyped(text) | Raw::Text(text) => text,
        Raw::Integer(number) => {
            return Err(format!("{EXPECTED}, not {}", printable_number(number)));
        }
        Raw::Boolean(_) | Raw::List(_) | Raw::Other(_) => {
            return Err(format!("{EXPECTED}, not {}", kind(raw)));
        }
    };
    let duration =
        humantime::parse_duration(text).map_err(|_| format!("{EXPECTED}, not {}", shown(text)))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let (least, most) = (
        humantime::format_duration(*range.start()),
        humantime::format_duration(*range.end()),
    );
    Err(format!(
        "must be between {least} and {most}, not {}",
        shown(text)
    ))
}

fn list_of(raw: &Raw) -> Result<Vec<String>, Problem> {
    const EXPECTED: &str = r#"must be a list of texts, such as ["a", "b"]"#;
    match raw {
        Raw::Untyped(text) if text.trim().is_empty() => Ok(Vec::new()),
        // A list as TOML has it would become one odd text.
        Raw::Untyped(text) if text.trim_start().starts_with('[') => {
            Err("must be texts separated by commas, without brackets".to_owned())
        }
        Raw::Untyped(text) => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
        Raw::List(items) => items
            .iter()
            .map(|item| text_of(item).map_err(|_| format!("{EXPECTED}, not of {}", kind(item))))
            .collect(),
        Raw::Text(_) | Raw::Integer(_) | Raw::Boolean(_) | Raw::Other(_) => {
            Err(format!("{EXPECTED}, not {}", kind(raw)))
        }
    }
}

fn kind(raw: &Raw) -> &'static str {
    match raw {
        Raw::Untyped(_) | Raw::Text(_) => "text",
        Raw::Integer(_) => "a number",
        Raw::Boolean(_) => "true or false",
        Raw::List(_) => "a list",
        Raw::Other(kind) => kind,
    }
}

fn printable_number(text: &str) -> String {
    if text.parse::<i64>().is_ok() {
        text.to_owned()
    } else {
        shown(text)
    }
}

/// A value as part of a message: in quotes, escaped, and not longer than a line should be.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
