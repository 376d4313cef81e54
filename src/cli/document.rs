//! JSON that somebody hands in: from a file, from standard input, or from an argument.

use std::io::Read;

use beamline_contract::fields::Fields;
use serde_json::value::RawValue;

use super::failure::Failure;

/// The most that is read from a file or from standard input: far beyond any message NATS would
/// carry.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Reads the JSON object in a file, or on standard input for `-`.
pub(super) fn object_in(source: &str) -> Result<Fields, Failure> {
    let text = read(source)?;
    Fields::parse(&text).map_err(|error| {
        Failure::Usage(format!(
            "{} is not a JSON object: {error}.",
            name_of(source)
        ))
    })
}

/// Reads the JSON object in a file, or on standard input for `-`, and keeps it as it is.
pub(super) fn whole_object_in(source: &str) -> Result<Box<RawValue>, Failure> {
    let text = read(source)?;
    let whole = Fields::parse(&text).and_then(|_fields| serde_json::from_str(&text));
    whole.map_err(|error| {
        Failure::Usage(format!(
            "{} is not a JSON object: {error}.",
            name_of(source)
        ))
    })
}

/// Any JSON value: the argument itself, `@file`, or `-` for standard input.
pub(super) fn value_of(argument: &str) -> Result<Box<RawValue>, Failure> {
    let (text, name) = match argument.strip_prefix('@') {
        Some(file) => (read(file)?, name_of(file)),
        None if argument == "-" => (read("-")?, name_of("-")),
        None => (argument.to_owned(), "the argument".to_owned()),
    };
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("{name} is not JSON: {error}.")))
}

/// A string as a JSON value.
pub(super) fn string(text: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::value::to_raw_value(text)
        .map_err(|error| Failure::Failed(format!("cannot write {text:?} as JSON: {error}.")))
}

fn read(source: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let done = if source == "-" {
        std::io::stdin().take(LIMIT).read_to_string(&mut text)
    } else {
        std::fs::File::open(source).and_then(|file| file.take(LIMIT).read_to_string(&mut text))
    };
    match done {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::Usage(format!(
            "cannot read {}: {error}.",
            name_of(source)
        ))),
    }
}

fn name_of(source: &str) -> String {
    if source == "-" {
        "standard input".to_owned()
    } else {
        format!("'{source}'")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn values_keep_every_digit() {
        assert_eq!(
            value_of("1.10000000000000000001").expect("JSON").get(),
            "1.10000000000000000001"
        );
        assert_eq!(string("a \"b\"").expect("JSON").get(), r#""a \"b\"""#);
    }

    #[test]
    fn a_file_is_read_and_must_hold_an_object() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(br#"{"version": "1.0"}"#).expect("written");
        let path = &file.path().to_str().expect("a readable path").to_owned();
        assert_eq!(
            value_of(&format!("@{path}")).expect("JSON").get(),
            r#"{"version": "1.0"}"#
        );
        assert_eq!(
            whole_object_in(path).expect("an object").get(),
            r#"{"version": "1.0"}"#
        );
        file.write_all(b"!").expect("written");
        assert_eq!(
            object_in(path).expect_err("not JSON any more").exit_code(),
            2
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let sentence = object_in("/nowhere/policy.json")
            .expect_err("no such file")
            .sentence();
        assert!(
            sentence.starts_with("error: cannot read '/nowhere/policy.json'"),
            "{sentence}"
        );
        assert_eq!(value_of("{").expect_err("half a document").exit_code(), 2);
    }
}
