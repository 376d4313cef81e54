//! The record of one extension, whichever version of the router wrote it.

use beamline_contract::fields::Fields;
use serde_json::value::RawValue;

use super::{json, table, text};
use crate::cli::Failure;

/// What people look for first, in their order.
const FIRST: [&str; 12] = [
    "id",
    "type",
    "version",
    "enabled",
    "subject",
    "subject_of",
    "notes_of",
    "timeout_ms",
    "retry",
    "max_in_flight",
    "max_payload_bytes",
    "timeout_per_mib_ms",
];

/// One record as lines of names and values.
pub(in crate::cli) fn text(record: &str) -> Result<String, Failure> {
    let record = Fields::parse(record).map_err(|error| {
        Failure::Failed(format!(
            "the extension in the answer cannot be read: {error}."
        ))
    })?;
    let first = FIRST
        .into_iter()
        .filter_map(|name| Some((name, record.get(name)?)));
    let rest = record.iter().filter(|(name, _)| !FIRST.contains(name));
    let lines: Vec<(String, String)> = first
        .chain(rest)
        .map(|(name, value)| (text::plain(name), readable(value)))
        .collect();
    Ok(table::of_fields(&lines))
}

fn readable(value: &RawValue) -> String {
    match serde_json::from_str::<String>(value.get()) {
        Ok(string) => text::plain(&string),
        Err(_not_a_string) => json::pretty(value.get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_field_by_field() {
        let shown = text(
            r#"{"config":{"limit":1.50},"retry":1,"id":"upper\u001b[2J","enabled":true,"metadata":{}}"#,
        );
        let expected = "\
id        upper\\u{1b}[2J
enabled   true
retry     1
config    {
            \"limit\": 1.50
          }
metadata  {}";
        assert_eq!(shown.expect("a text"), expected);
    }
}
