//! Whether an answer is the one on the page, but for what differs in each run.

use serde_json::Value;

/// Numbers and texts under these keys are never the same twice.
const VARYING: [&str; 4] = [
    "latency_ms",
    "expected_latency_ms",
    "retry_after_ms",
    "timestamp",
];

/// What the page shows of an answer; it may leave out keys of the outermost object.
pub(super) fn assert_shown(shown: &str, answer: &Value, place: &str) {
    let shown: Value =
        serde_json::from_str(shown).unwrap_or_else(|error| panic!("{place}: no JSON: {error}"));
    for (key, value) in shown.as_object().expect("an object") {
        let got = answer.get(key).unwrap_or(&Value::Null);
        assert_eq!(
            settled(key, value),
            settled(key, got),
            "{place}: {key} differs; the whole answer is {answer:#}"
        );
    }
}

/// The same without what differs in each run.
fn settled(key: &str, value: &Value) -> Value {
    match value {
        Value::Number(_) | Value::String(_) if VARYING.contains(&key) => "#".into(),
        Value::String(text) => plain(text).into(),
        Value::Array(items) => items.iter().map(|item| settled("", item)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), settled(key, value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// A text without times, durations, revisions and ids of traces.
pub(super) fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let settle = |(index, word): (usize, &&str)| {
        let next = words.get(index + 1).copied().unwrap_or_default();
        let last = index.checked_sub(1).and_then(|index| words.get(index));
        let is_revision = last == Some(&"revision") && word.parse::<u64>().is_ok();
        let varies = is_revision || is_time(word) || is_duration(word, next);
        if varies {
            "#".to_owned()
        } else {
            without_ids(word)
        }
    };
    words
        .iter()
        .enumerate()
        .map(settle)
        .collect::<Vec<_>>()
        .join(" ")
}

/// 12:34:56
fn is_time(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    let is_part = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(is_part)
}

/// What was measured has a fraction; 200 ms were asked for.
fn is_duration(word: &str, next: &str) -> bool {
    let number = match word.strip_suffix("ms").or(word.strip_suffix('s')) {
        Some(number) => number.trim_end_matches('µ'),
        None if next == "ms" => word,
        None => return false,
    };
    number.contains('.') && number.parse::<f64>().is_ok()
}

/// Ids of traces and spans are long and hexadecimal.
fn without_ids(word: &str) -> String {
    let settle = |part: &str| {
        let is_id = part.len() >= 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id {
            "#".to_owned()
        } else {
            part.to_owned()
        }
    };
    word.split('-').map(settle).collect::<Vec<_>>().join("-")
}

#[test]
fn only_what_varies_is_left_out() {
    for (text, want) in [
        (
            "attempt 1 at mock_provider v1: success in 3.024 ms",
            "attempt 1 at mock_provider v1: success in # ms",
        ),
        ("retry: model_a after 200 ms", "retry: model_a after 200 ms"),
        (
            "02:44:23 Received with rtt 11.49ms",
            "# Received with rtt #",
        ),
        (
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-fa5b6ea41b873237-01",
            "traceparent: 00-#-#-01",
        ),
        ("at registry revision 12", "at registry revision #"),
        ("has 2 mistakes", "has 2 mistakes"),
    ] {
        assert_eq!(plain(text), want);
    }
}
