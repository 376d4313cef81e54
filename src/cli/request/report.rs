//! What a router answered to one message, as text: the output first, then how it came about.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::attempts::{self, Attempt};
use crate::cli::{json, table, text};

/// The answer to `route` or `decide`.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    decision: Decision,
    response: Option<Response>,
    message: Option<Message>,
    #[serde(default)]
    extensions: Vec<Stage>,
    #[serde(default)]
    attempts: Vec<Attempt>,
    #[serde(default)]
    degraded: Vec<Degraded>,
    context: Option<Context>,
}

#[derive(Debug, Deserialize)]
struct Decision {
    provider_id: String,
    reason: String,
    policy_id: Option<String>,
    policy_version: Option<String>,
    explanation: Option<Explanation>,
}

#[derive(Debug, Deserialize)]
struct Explanation {
    #[serde(default)]
    steps: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Response {
    output: Option<Box<RawValue>>,
    usage: Option<Usage>,
}

/// Token counts may be fractional.
#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: Option<f64>,
    completion_tokens: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Message {
    payload: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Stage {
    id: String,
    #[serde(rename = "type", default)]
    kind: String,
    version: Option<String>,
    instance: Option<String>,
    #[serde(default)]
    status: String,
    latency_ms: Option<f64>,
    attempts: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Degraded {
    id: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Context {
    trace_id: Option<String>,
}

/// The whole report. `sent_trace_id` is shown when the answer names none.
pub(super) fn text(
    report: &Report,
    sent_trace_id: &str,
    round_trip: Duration,
    explain: bool,
) -> String {
    let mut parts = vec![output(report), fields(report, sent_trace_id, round_trip)];
    if !report.extensions.is_empty() {
        parts.push(stages(&report.extensions));
    }
    parts.extend(attempts::text(&report.attempts));
    if explain {
        parts.push(steps(report));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

/// What the provider said; without a provider, the message as the pre-processors left it.
fn output(report: &Report) -> String {
    let response = report
        .response
        .as_ref()
        .and_then(|response| response.output.as_ref());
    let output = match &report.response {
        Some(_) => response,
        None => report
            .message
            .as_ref()
            .and_then(|message| message.payload.as_ref()),
    };
    output.map(|output| readable(output)).unwrap_or_default()
}

/// A string as its text, anything else as laid-out JSON.
fn readable(value: &RawValue) -> String {
    match serde_json::from_str::<String>(value.get()) {
        Ok(string) => text::plain_block(&string),
        Err(_not_a_string) => json::pretty(value.get()),
    }
}

fn fields(report: &Report, sent_trace_id: &str, round_trip: Duration) -> String {
    let decision = &report.decision;
    let trace_id = report
        .context
        .as_ref()
        .and_then(|context| context.trace_id.as_deref())
        .unwrap_or(sent_trace_id);
    let mut fields = vec![(
        "provider",
        format!(
            "{} ({})",
            text::plain(&decision.provider_id),
            text::plain(&decision.reason)
        ),
    )];
    if let Some(policy) = &decision.policy_id {
        let version = decision
            .policy_version
            .as_deref()
            .map(|version| format!(" {version}"))
            .unwrap_or_default();
        fields.push(("policy", text::plain(&format!("{policy}{version}"))));
    }
    if let Some(usage) = report
        .response
        .as_ref()
        .and_then(|response| response.usage.as_ref())
    {
        let number = |tokens: Option<f64>| {
            tokens.map_or_else(|| "?".to_owned(), |tokens| tokens.to_string())
        };
        fields.push((
            "tokens",
            format!(
                "{} in, {} out",
                number(usage.prompt_tokens),
                number(usage.completion_tokens)
            ),
        ));
    }
    for degraded in &report.degraded {
        fields.push((
            "degraded",
            format!(
                "{} ({})",
                text::plain(&degraded.id),
                text::plain(&degraded.reason)
            ),
        ));
    }
    fields.push((
        "round trip",
        text::latency(round_trip.as_secs_f64() * 1000.0),
    ));
    fields.push(("trace", text::plain(trace_id)));
    table::of_fields(&fields)
}

fn stages(stages: &[Stage]) -> String {
    let instances = stages.iter().any(|stage| stage.instance.is_some());
    let mut header = vec!["ID", "TYPE", "VERSION", "STATUS", "LATENCY", "ATTEMPTS"];
    if instances {
        header.insert(3, "INSTANCE");
    }
    let mut table = table::with_header(&header, &["LATENCY", "ATTEMPTS"]);
    for stage in stages {
        let mut row = vec![
            text::plain(&stage.id),
            text::plain(&stage.kind),
            text::or_dash(stage.version.as_deref()),
            text::plain(&stage.status),
            stage
                .latency_ms
                .map_or_else(|| "-".to_owned(), text::latency),
            stage
                .attempts
                .map_or_else(|| "-".to_owned(), |attempts| attempts.to_string()),
        ];
        if instances {
            row.insert(3, text::or_dash(stage.instance.as_deref()));
        }
        table.add_row(row);
    }
    table::text(&table)
}

/// The router numbers them.
fn steps(report: &Report) -> String {
    let steps = report
        .decision
        .explanation
        .iter()
        .flat_map(|explanation| &explanation.steps);
    steps
        .map(|step| text::plain(step))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(answer: &str) -> String {
        let report = serde_json::from_str(answer).expect("an answer of a router");
        text(&report, "sent", Duration::from_micros(12_340), false)
    }

    #[test]
    fn a_routed_message_shows_output_decision_and_stages() {
        let answer = r#"{"ok":true,
            "decision":{"provider_id":"mock","reason":"weighted","priority":50,"policy_id":"default","policy_version":"1.0"},
            "message":{"payload":"hello"},"context":{"request_id":"cli-1","trace_id":"4bf9"},
            "response":{"provider_id":"mock","output":"Hello,\nworld\u001b[31m","usage":{"prompt_tokens":12,"completion_tokens":8.5}},
            "extensions":[{"id":"normalize_text","type":"pre","version":"v1","status":"success","latency_ms":1.92,"attempts":1},
                          {"id":"add_context","type":"pre","version":"v1","status":"timeout","latency_ms":1200,"attempts":3},
                          {"id":"mask_pii","type":"post","status":"skipped"}],
            "degraded":[{"id":"add_context","reason":"extension_timeout"}]}"#;
        let expected = "\
Hello,
world\\u{1b}[31m

provider    mock (weighted)
policy      default 1.0
tokens      12 in, 8.5 out
degraded    add_context (extension_timeout)
round trip  12.3 ms
trace       4bf9

ID              TYPE  VERSION  STATUS   LATENCY  ATTEMPTS
normalize_text  pre   v1       success   1.9 ms         1
add_context     pre   v1       timeout   1.20 s         3
mask_pii        post  -        skipped        -         -";
        assert_eq!(shown(answer), expected);
    }

    #[test]
    fn a_decision_shows_the_message_as_it_was_left() {
        let answer = r#"{"ok":true,"decision":{"provider_id":"mock","reason":"sticky"},"message":{"payload":{"n":1.50}}}"#;
        let expected = "{\n  \"n\": 1.50\n}\n\nprovider    mock (sticky)\nround trip  12.3 ms\ntrace       sent";
        assert_eq!(shown(answer), expected);
    }
    #[test]
    fn instances_attempts_and_steps_are_shown_where_there_are_any() {
        let answer = r#"{"ok":true,"decision":{"provider_id":"b","reason":"fallback","explanation":{"steps":["1. policy p","2. b\u001b"]}},
            "extensions":[{"id":"a","type":"provider","version":"v1","instance":"eu","status":"timeout","latency_ms":20,"attempts":2},
                          {"id":"b","type":"provider","version":"v2","status":"success","latency_ms":2,"attempts":1}],
            "attempts":[{"provider_id":"a","version":"v1","instance":"eu","reason":"weighted","status":"timeout","error_type":"timeout","waited_ms":0.0,"latency_ms":10.0},
                        {"provider_id":"a","version":"v1","instance":"us","reason":"retry","status":"error","error_type":"5xx","rule":0,"waited_ms":83.2,"latency_ms":10.0},
                        {"provider_id":"b","version":"v2","reason":"fallback","status":"success","rule":0,"waited_ms":0.0,"latency_ms":2.0}]}"#;
        let report = serde_json::from_str(answer).expect("an answer of a router");
        let expected = "\
provider    b (fallback)
round trip  12.3 ms
trace       sent

ID  TYPE      VERSION  INSTANCE  STATUS   LATENCY  ATTEMPTS
a   provider  v1       eu        timeout  20.0 ms         2
b   provider  v2       -         success   2.0 ms         1

ATTEMPT  PROVIDER  VERSION  INSTANCE  WHY               STATUS        WAITED  LATENCY
      1  a         v1       eu        weighted          timeout            -  10.0 ms
      2  a         v1       us        retry, rule 1     error (5xx)  83.2 ms  10.0 ms
      3  b         v2       -         fallback, rule 1  success            -   2.0 ms

1. policy p
2. b\\u{1b}";
        assert_eq!(
            text(&report, "sent", Duration::from_micros(12_340), true),
            expected
        );
    }
}
