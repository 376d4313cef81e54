//! The answers to a gateway (contract section 1), as bytes.

use std::time::SystemTime;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::request::Correlation;
use crate::request::call::WireMessage;
use crate::request::error::RequestError;
use crate::request::explanation;
use crate::request::run::{Attempt, Decision, Degraded, Report, Run};
use beamline_contract::error::IntakeCode;
use beamline_contract::fields::Fields;
use beamline_contract::time::milliseconds;

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
                Some(Happened {
                    reports: &reports,
                    attempts: run.trail(),
                    degraded: &run.degraded,
                }),
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
    #[serde(skip_serializing_if = "<[Attempt]>::is_empty")]
    attempts: &'a [Attempt],
    degraded: &'a [Degraded],
    context: WireContext<'a>,
}

/// `decision` of an answer.
#[derive(Debug, Serialize)]
pub(super) struct WireDecision<'a> {
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

/// The decision as it is answered, with its explanation.
pub(super) fn decision<'a>(run: &'a Run, decision: &'a Decision) -> WireDecision<'a> {
    let provider = &decision.call.extension;
    let registered = provider.metadata.number("expected_latency_ms");
    WireDecision {
        provider_id: &provider.id,
        reason: decision.reason.as_str(),
        priority: decision.reason.priority(),
        policy_id: &run.plan.policy_id,
        policy_version: &run.plan.policy.version,
        expected_latency_ms: decision
            .expected_latency
            .map(milliseconds)
            .or(registered)
            .unwrap_or_default(),
        expected_cost: provider
            .metadata
            .number("expected_cost")
            .unwrap_or_default(),
        metadata: &provider.metadata,
        explanation: explanation::of(run, decision),
    }
}

fn success(run: &Run, decided: &Decision, reports: &[Report]) -> Bytes {
    let answer = Success {
        ok: true,
        decision: decision(run, decided),
        message: WireMessage::from(&decided.message),
        response: run.response.as_ref().map(|response| WireResponse {
            provider_id: &response.provider_id,
            output: &run.message.payload,
            usage: response.usage.as_deref(),
            metadata: &response.metadata,
        }),
        extensions: reports,
        attempts: run.trail(),
        degraded: &run.degraded,
        context: WireContext {
            request_id: Some(&run.request.request_id),
            trace_id: &run.request.trace.trace_id,
        },
    };
    serde_json::to_vec(&answer)
        .map(Bytes::from)
        .unwrap_or_default()
}

fn error(
    failure: &RequestError,
    correlation: &Correlation,
    happened: Option<Happened<'_>>,
    now: SystemTime,
) -> Bytes {
    let details = Details {
        known: &failure.details,
        correlation,
        now,
    };
    let answer = Failure {
        ok: false,
        error: WireError {
            code: failure.code.as_str(),
            message: &failure.message,
            intake_error_code: failure.intake_code.map(IntakeCode::as_str),
            details,
        },
        extensions: happened.as_ref().map(|happened| happened.reports),
        attempts: happened
            .as_ref()
            .map(|happened| happened.attempts)
            .filter(|attempts| !attempts.is_empty()),
        degraded: happened.as_ref().map(|happened| happened.degraded),
        context: WireContext {
            request_id: correlation.request_id.as_deref(),
            trace_id: &correlation.trace_id,
        },
    };
    serde_json::to_vec(&answer)
        .map(Bytes::from)
        .unwrap_or_default()
}

/// What a request had reached when it failed.
struct Happened<'a> {
    reports: &'a [Report],
    attempts: &'a [Attempt],
    degraded: &'a [Degraded],
}

#[derive(Serialize)]
struct Failure<'a> {
    ok: bool,
    error: WireError<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<&'a [Report]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<&'a [Attempt]>,
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
    details: Details<'a>,
}

/// Written without a copy: under overload most answers are refusals.
struct Details<'a> {
    known: &'a Map<String, Value>,
    correlation: &'a Correlation,
    now: SystemTime,
}

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own = [
            ("policy_id", &self.correlation.policy_id),
            ("tenant_id", &self.correlation.tenant_id),
        ];
        let own = own
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_deref()?)));
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.known {
            if key != "timestamp" && own.clone().all(|(known, _)| known != key) {
                map.serialize_entry(key, value)?;
            }
        }
        own.into_iter()
            .try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.serialize_key("timestamp")?;
        map.serialize_value(&format_args!(
            "{}",
            humantime::format_rfc3339_millis(self.now)
        ))?;
        map.end()
    }
}
