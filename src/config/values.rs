//! From a value as it was written to the type that its key wants.

use std::ops::RangeInclusive;
use std::time::Duration;

use config::{Value, ValueKind};

use super::origin::Origin;

/// Why a value cannot be used, as the end of a sentence that starts with the key: `must be true or
/// false`.
pub(super) type Problem = String;

/// A value as somebody wrote it. It may be a secret, so it has no `Debug`.
pub(super) enum Written<'a> {
    /// The environment and the command line know only texts; the key decides what one means.
    Untyped(&'a str),
    Text(&'a str),
    Integer(i64),
    Boolean(bool),
    List(&'a [Value]),
    /// What no key takes, in words.
    Other(&'static str),
}

impl<'a> Written<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        match &value.kind {
            ValueKind::String(text) if Origin::of(value).knows_only_texts() => Self::Untyped(text),
            ValueKind::String(text) => Self::Text(text),
            ValueKind::I64(number) => Self::Integer(*number),
            ValueKind::Boolean(truth) => Self::Boolean(*truth),
            ValueKind::Array(items) => Self::List(items),
            ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
                Self::Other("a number of more than 64 bits")
            }
            ValueKind::Float(_) => Self::Other("a fraction"),
            ValueKind::Nil => Self::Other("a date"),
            ValueKind::Table(_) => Self::Other("a section"),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Untyped(_) | Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(kind) => kind,
        }
    }
}

/// What was read from a file, in a shell or by whoever runs containers, often ends with a line
/// break. No value has one there.
pub(super) fn without_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// Text that is not empty: an empty variable is more often a slip than a wish.
pub(super) fn filled_text(value: &Value) -> Result<&str, Problem> {
    match text(value)? {
        "" => Err("is empty; give it a value or leave it out".to_owned()),
        text => Ok(text),
    }
}

pub(super) fn text(value: &Value) -> Result<&str, Problem> {
    match Written::of(value) {
        Written::Untyped(text) | Written::Text(text) => Ok(text),
        other @ (Written::Integer(_)
        | Written::Boolean(_)
        | Written::List(_)
        | Written::Other(_)) => Err(format!("must be text in quotes, not {}", other.kind())),
    }
}

pub(super) fn boolean(value: &Value) -> Result<bool, Problem> {
    const EXPECTED: &str = "must be true or false";
    match Written::of(value) {
        Written::Boolean(truth) => Ok(truth),
        Written::Untyped(text) => text
            .parse()
            .map_err(|_| format!("{EXPECTED}, not {}", shown(text))),
        other @ (Written::Text(_) | Written::Integer(_) | Written::List(_) | Written::Other(_)) => {
            Err(format!("{EXPECTED}, not {}", other.kind()))
        }
    }
}

pub(super) fn number(value: &Value, range: &RangeInclusive<u32>) -> Result<u32, Problem> {
    let expected = format!(
        "must be a whole number between {} and {}",
        range.start(),
        range.end()
    );
    let (number, shown) = match Written::of(value) {
        Written::Integer(number) => (u32::try_from(number).ok(), number.to_string()),
        Written::Untyped(text) => (text.parse().ok(), shown_number(text)),
        other @ (Written::Text(_) | Written::Boolean(_) | Written::List(_) | Written::Other(_)) => {
            return Err(format!("{expected}, not {}", other.kind()));
        }
    };
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{expected}, not {shown}"))
}

pub(super) fn duration(
    value: &Value,
    range: &RangeInclusive<Duration>,
) -> Result<Duration, Problem> {
    const EXPECTED: &str = r#"must be a duration with its unit, such as "5s" or "250ms""#;
    let text = match Written::of(value) {
        Written::Untyped(text) | Written::Text(text) => text,
        Written::Integer(number) => return Err(format!("{EXPECTED}, not {number}")),
        other @ (Written::Boolean(_) | Written::List(_) | Written::Other(_)) => {
            return Err(format!("{EXPECTED}, not {}", other.kind()));
        }
    };
    let duration =
        humantime::parse_duration(text).map_err(|_| format!("{EXPECTED}, not {}", shown(text)))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let least = humantime::format_duration(*range.start());
    let most = humantime::format_duration(*range.end());
    Err(format!(
        "must be between {least} and {most}, not {}",
        shown(text)
    ))
}

pub(super) fn list(value: &Value) -> Result<Vec<String>, Problem> {
    const EXPECTED: &str = r#"must be a list of texts, such as ["a", "b"]"#;
    match Written::of(value) {
        Written::Untyped(text) if text.trim().is_empty() => Ok(Vec::new()),
        // A list as TOML has it would become one odd text.
        Written::Untyped(text) if text.trim_start().starts_with('[') => {
            Err("must be texts separated by commas, without brackets".to_owned())
        }
        Written::Untyped(text) => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
        Written::List(items) => items
            .iter()
            .map(|item| match text(item) {
                Ok(text) => Ok(text.to_owned()),
                Err(_) => Err(format!("{EXPECTED}, not of {}", Written::of(item).kind())),
            })
            .collect(),
        other @ (Written::Text(_)
        | Written::Integer(_)
        | Written::Boolean(_)
        | Written::Other(_)) => Err(format!("{EXPECTED}, not {}", other.kind())),
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

fn shown_number(text: &str) -> String {
    if text.parse::<i64>().is_ok() {
        text.to_owned()
    } else {
        shown(text)
    }
}
