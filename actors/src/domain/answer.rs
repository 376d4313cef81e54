//! The answers to a gateway (contract section 1), as bytes.

use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::call::WireMessage;
use super::error::{IntakeCode, RequestError};
use super::extension::Kind;
use super::fields::Fields;
use super::request::Correlation;
use super::run::{Decision, Degraded, Report, Run, milliseconds};

/// The answer to a finished run.
pub fn of_run(run: &Run, now: SystemTime) -> Bytes {
    let reports = run.all_reports();
    match (&run.failure, &run.decision) {
        (None, Some(decision)) => success(run, decision, &reports),
        (failure, _) => {
            let internal = RequestError::internal();
            error(
                failure.as_ref().unwrap_or(&internal),
                &run.request.correlation(),
                Some((&reports, &run.degraded)),
                now,
            )
        }
    }
}

/// The answer to a request that never became a run.
pub fn of_error(failure: &RequestError, correlation: &Correlation, now: SystemTime) -> Bytes {
    error(failure, correlation, None, now)
}

#[derive(Serialize)]
struct Success<'a> {
    ok: bool,
    decision: WireDecision<'a>,
    message: WireMessage<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<WireResponse<'a>>,
    extensions: &'a [Report],
    degraded: &'a [Degraded],
    context: WireContext<'a>,
}

#[derive(Serialize)]
struct WireDecision<'a> {
    provider_id: &'a str,
    reason: &'a str,
    priority: u32,
    policy_id: &'a str,
    policy_version: &'a str,
    expected_latency_ms: f64,
    expected_cost: f64,
    metadata: &'a Fields,
    explanation: Value,
}

#[derive(Serialize)]
struct WireResponse<'a> {
    provider_id: &'a str,
    output: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a RawValue>,
    metadata: &'a Fields,
}

#[derive(Serialize)]
struct WireContext<'a> {
    request_id: Option<&'a str>,
    trace_id: &'a str,
}

fn success(run: &Run, decision: &Decision, reports: &[Report]) -> Bytes {
    let provider = &decision.call.extension;
    let registered = provider.metadata.number("expected_latency_ms");
    let answer = Success {
        ok: true,
        decision: WireDecision {
            provider_id: &provider.id,
            reason: decision.reason,
            priority: decision.priority,
            policy_id: &run.plan.policy_id,
            policy_version: &run.plan.policy_version,
            expected_latency_ms: decision.expected_latency.map(milliseconds).or(registered).unwrap_or_default(),
            expected_cost: provider.metadata.number("expected_cost").unwrap_or_default(),
            metadata: &provider.metadata,
            explanation: explanation(run, decision),
        },
        message: WireMessage::from(&decision.message),
        response: run.response.as_ref().map(|response| WireResponse {
            provider_id: &response.provider_id,
            output: &run.message.payload,
            usage: response.usage.as_deref(),
            metadata: &response.metadata,
        }),
        extensions: reports,
        degraded: &run.degraded,
        context: WireContext { request_id: Some(&run.request.request_id), trace_id: &run.request.trace.trace_id },
    };
    serde_json::to_vec(&answer).map(Bytes::from).unwrap_or_default()
}

/// Why this provider (design, "Explanation"). `context.detail_level` is `minimal`, `detailed` or `verbose`.
fn explanation(run: &Run, decision: &Decision) -> Value {
    let provider = &decision.call.extension;
    let level = run.context.text("detail_level").unwrap_or_default();
    let mut steps = vec![format!(
        "policy {} version {} at registry revision {}",
        run.plan.policy_id, run.plan.policy_version, run.plan.revision
    )];
    let step_of =
        |report: &Report| format!("{} {} {}: {}", report.kind.as_str(), report.id, report.version, report.status);
    let before = |report: &&Report| matches!(report.kind, Kind::Pre | Kind::Validator);
    steps.extend(run.reports.iter().filter(before).map(step_of));
    let total: f64 =
        decision.weights.iter().filter(|(_, _, excluded)| excluded.is_none()).map(|(_, weight, _)| weight).sum();
    for (name, weight, excluded) in &decision.weights {
        steps.push(match excluded {
            Some(exclusion) => format!("provider {name}: excluded, {}", exclusion.as_str()),
            None => format!("provider {name}: weight {weight} of {total}"),
        });
    }
    steps.push(format!("{} {} chosen by weight", provider.id, decision.call.target.version));
    steps.extend(run.reports.iter().filter(|report| !before(report)).map(step_of));
    let numbered: Vec<String> = steps.iter().enumerate().map(|(i, step)| format!("{}. {step}", i + 1)).collect();
    let mut explanation = Map::from_iter([
        ("reason".to_owned(), json!(decision.reason)),
        ("provider_id".to_owned(), json!(provider.id)),
        ("policy_id".to_owned(), json!(run.plan.policy_id)),
        ("policy_version".to_owned(), json!(run.plan.policy_version)),
        ("priority".to_owned(), json!(decision.priority)),
    ]);
    if level != "minimal" {
        explanation.insert("steps".into(), json!(numbered));
        explanation.insert(
            "context".into(),
            json!({"tenant_id": &*run.request.tenant_id, "trace_id": run.request.trace.trace_id}),
        );
    }
    if level == "verbose" {
        explanation.insert("subject".into(), json!(&*decision.call.target.subject));
    }
    explanation.into()
}

fn error(
    failure: &RequestError,
    correlation: &Correlation,
    happened: Option<(&[Report], &[Degraded])>,
    now: SystemTime,
) -> Bytes {
    let mut details: Map<String, Value> = failure.details.clone();
    details.insert("timestamp".into(), humantime::format_rfc3339_millis(now).to_string().into());
    for (key, value) in [("policy_id", &correlation.policy_id), ("tenant_id", &correlation.tenant_id)] {
        if let Some(value) = value {
            details.insert(key.into(), value.as_str().into());
        }
    }
    let answer = Failure {
        ok: false,
        error: WireError {
            code: failure.code.as_str(),
            message: &failure.message,
            intake_error_code: failure.intake_code.map(IntakeCode::as_str),
            details,
        },
        extensions: happened.map(|(reports, _)| reports),
        degraded: happened.map(|(_, degraded)| degraded),
        context: WireContext { request_id: correlation.request_id.as_deref(), trace_id: &correlation.trace_id },
    };
    serde_json::to_vec(&answer).map(Bytes::from).unwrap_or_default()
}

#[derive(Serialize)]
struct Failure<'a> {
    ok: bool,
    error: WireError<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<&'a [Report]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<&'a [Degraded]>,
    context: WireContext<'a>,
}

#[derive(Serialize)]
struct WireError<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    intake_error_code: Option<&'a str>,
    details: Map<String, Value>,
}
