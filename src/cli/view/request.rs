//! What a router answered to one message, as text: the output first, then how it came about.

use std::time::Duration;

use beamline_contract::answer::{DecisionAnswer, ExtensionReport};
use beamline_contract::fields::Fields;
use serde_json::value::RawValue;

use super::{attempts, json, table, text};

/// The whole report. `sent_trace_id` is shown when the answer names none.
pub(in crate::cli) fn text(
    report: &DecisionAnswer<'_>,
    sent_trace_id: &str,
    round_trip: Duration,
    explain: bool,
) -> String {
    let mut parts = vec![output(report), fields(report, sent_trace_id, round_trip)];
    if !report.extensions.is_empty() {
        parts.push(extensions(&report.extensions));
    }
    parts.extend(attempts::text(&report.attempts));
    if explain {
        parts.push(steps(report));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

/// What the provider said; without a provider, the message as the pre-processors left it.
fn output(report: &DecisionAnswer<'_>) -> String {
    let output = match &report.response {
        Some(response) => &response.output,
        None => &report.message.payload,
    };
    match output.get() {
        "null" => String::new(),
        _ => readable(output),
    }
}

/// A string as its text, anything else as laid-out JSON.
fn readable(value: &RawValue) -> String {
    match serde_json::from_str::<String>(value.get()) {
        Ok(string) => text::plain_block(&string),
        Err(_not_a_string) => json::pretty(value.get()),
    }
}

fn fields(report: &DecisionAnswer<'_>, sent_trace_id: &str, round_trip: Duration) -> String {
    let decision = &report.decision;
    let trace_id = match &*report.context.trace_id {
        "" => sent_trace_id,
        trace_id => trace_id,
    };
    let chosen = format!(
        "{} ({})",
        text::plain(&decision.provider_id),
        text::plain(&decision.reason)
    );
    let mut fields = vec![("provider", chosen)];
    if !decision.policy_id.is_empty() {
        let policy = format!("{} {}", decision.policy_id, decision.policy_version);
        fields.push(("policy", text::plain(policy.trim_end())));
    }
    let usage = report
        .response
        .as_ref()
        .and_then(|response| response.usage.as_deref());
    fields.extend(usage.and_then(tokens).map(|tokens| ("tokens", tokens)));
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

/// Token counts may be fractional.
fn tokens(usage: &RawValue) -> Option<String> {
    let usage = Fields::parse(usage.get()).ok()?;
    let [prompt, completion] = ["prompt_tokens", "completion_tokens"].map(|name| {
        usage
            .number(name)
            .map_or_else(|| "?".to_owned(), |tokens| tokens.to_string())
    });
    Some(format!("{prompt} in, {completion} out"))
}

/// A row for each stage of the pipeline.
pub(super) fn extensions(reports: &[ExtensionReport<'_>]) -> String {
    let has_instances = reports.iter().any(|report| report.instance.is_some());
    let mut header = vec!["ID", "TYPE", "VERSION", "STATUS", "LATENCY", "ATTEMPTS"];
    if has_instances {
        header.insert(3, "INSTANCE");
    }
    let mut table = table::with_header(&header, &["LATENCY", "ATTEMPTS"]).sparing(&["ATTEMPTS"]);
    for report in reports {
        let mut row = vec![
            text::plain(&report.id),
            text::plain(report.kind.as_str()),
            text::or_dash(Some(&report.version)),
            text::plain(&report.status),
            text::latency(report.latency_ms),
            report.attempts.to_string(),
        ];
        if has_instances {
            row.insert(3, text::or_dash(report.instance.as_deref()));
        }
        table.add_row(row);
    }
    table::text(&table)
}

/// The router numbers them.
fn steps(report: &DecisionAnswer<'_>) -> String {
    let steps = report.decision.explanation.steps.iter().flatten();
    let steps: Vec<String> = steps.map(|step| text::plain(step)).collect();
    steps.join("\n")
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
                          {"id":"mask_pii","type":"post","version":"","status":"skipped","latency_ms":0.0,"attempts":0}],
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
mask_pii        post  -        skipped   0.0 ms         0";
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
        let answer = r#"{"ok":true,"decision":{"provider_id":"b","reason":"fallback","explanation":{"steps":["1. policy p","2. b\u001b"]}},"message":{"payload":null},
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
