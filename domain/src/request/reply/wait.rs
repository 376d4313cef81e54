//! How long an error asks to wait before another attempt, in all the ways in which people say it.

use std::time::Duration;

use serde_json::{Map, Value};

/// Longer waits than this that an extension asks for are not taken over.
const LONGEST: Duration = Duration::from_mins(10);
/// What stands before a wait in a sentence.
const LEADS: [&str; 7] = [
    "try again in ",
    "retry in ",
    "retry after ",
    "again after ",
    "retry your request in ",
    "please wait ",
    "resets in ",
];

/// `Some` only for a wait that is taken over.
pub(super) fn bounded(wait: Duration) -> Option<Duration> {
    (wait <= LONGEST).then_some(wait)
}

/// `retry_after_ms`, `retry_after` in seconds, `retryDelay` as Google writes it; `retry-after` and
/// the like are the same keys.
pub(super) fn in_object(object: &Map<String, Value>) -> Option<Duration> {
    let find = |name: &str| {
        object.iter().find_map(|(key, value)| {
            let letters = key.bytes().filter(u8::is_ascii_alphanumeric);
            let is_same = letters.map(|b| b.to_ascii_lowercase()).eq(name.bytes());
            is_same.then_some(value)
        })
    };
    find("retryafterms")
        .and_then(|value| seconds(value, 0.001))
        .or_else(|| find("retryafter").and_then(|value| seconds(value, 1.0)))
        .or_else(|| find("retrydelay").and_then(|value| seconds(value, 1.0)))
        .and_then(bounded)
}

/// A wait that a sentence asks for, `7.66s`, `20 seconds`, `1m30.5s` or `250ms`.
pub(super) fn in_message(message: &str) -> Option<Duration> {
    let message = message.to_ascii_lowercase();
    let lead = LEADS
        .iter()
        .find_map(|lead| message.split_once(lead).map(|(_, rest)| rest))?;
    spoken(lead).and_then(bounded)
}

/// A number or a text of one, in this part of a second each.
fn seconds(value: &Value, unit: f64) -> Option<Duration> {
    let bare = |number: f64| Duration::try_from_secs_f64(number * unit).ok();
    match value {
        Value::Number(number) => number.as_f64().and_then(bare),
        Value::String(text) => match text.trim().parse() {
            Ok(number) => bare(number),
            Err(_) => spoken(text.trim()),
        },
        Value::Object(parts) => {
            let seconds = parts.get("seconds").and_then(Value::as_f64)?;
            let nanos = parts.get("nanos").and_then(Value::as_f64);
            bare(seconds + nanos.unwrap_or_default() / 1e9)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

/// The numbers with units that a text begins with.
fn spoken(text: &str) -> Option<Duration> {
    let mut total: Option<f64> = None;
    let mut rest = text;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
        let Ok(number) = number.trim_end_matches('.').parse::<f64>() else {
            break;
        };
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic());
        let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
        let Some(unit) = unit_seconds(unit) else {
            break;
        };
        total = Some(total.unwrap_or_default() + number * unit);
        rest = after.trim_start();
    }
    Duration::try_from_secs_f64(total?).ok()
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ms" | "millisecond" | "milliseconds" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Option<f64> {
        let object = serde_json::from_str(json).unwrap();
        in_object(&object).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn a_wait_is_read_in_every_form() {
        let cases = [
            (r#"{"retry_after_ms": 20}"#, Some(0.02)),
            (r#"{"retry_after_ms": "1500"}"#, Some(1.5)),
            (r#"{"retry_after": 0.25}"#, Some(0.25)),
            (r#"{"Retry-After": "2"}"#, Some(2.0)),
            (r#"{"retry-after-ms": 100, "retry-after": 1}"#, Some(0.1)),
            (r#"{"retryDelay": "34.074824224s"}"#, Some(34.074_824_224)),
            (
                r#"{"retryDelay": {"seconds": 3, "nanos": 500000000}}"#,
                Some(3.5),
            ),
            (r#"{"retry_after": "soon"}"#, None),
            (r#"{"retry_after": -1}"#, None),
            (r#"{"retry_after": 601}"#, None),
            ("{}", None),
        ];
        for (json, want) in cases {
            assert_eq!(asked(json), want, "{json}");
        }
    }

    #[test]
    fn a_sentence_may_ask_for_a_wait() {
        let cases = [
            (
                "Limit 200000. Please try again in 7.66s. Visit our page.",
                Some(7.66),
            ),
            ("Please try again in 6ms.", Some(0.006)),
            ("Please retry in 34.07s.", Some(34.07)),
            ("Please retry after 20 seconds.", Some(20.0)),
            ("Please try again in 1m30.5s.", Some(90.5)),
            ("Try again in 2 minutes", Some(120.0)),
            ("Please try again in 3h2m.", None),
            ("Please try again in a while.", None),
            ("Please wait before trying again.", None),
            ("", None),
        ];
        for (message, want) in cases {
            let wait = in_message(message).map(|wait| wait.as_secs_f64());
            assert_eq!(wait, want, "{message}");
        }
    }
}
