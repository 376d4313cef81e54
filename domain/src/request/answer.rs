//! The answers to a gateway (contract section 1), as bytes.

use std::borrow::Cow;
use std::time::SystemTime;

use beamline_contract::answer::{
    AnswerContext, AttemptReport, DecisionAnswer, DecisionBody, Degradation, ErrorAnswer,
    ErrorBody, ExtensionReport, ExtensionStatus, ProviderResponse,
};
use beamline_contract::error::IntakeCode;
use beamline_contract::fields::Fields;
use beamline_contract::record::Kind;
use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use crate::request::Correlation;
use crate::request::error::RequestError;
use crate::request::explanation;
use crate::request::plan::{Candidate, PlannedCall};
use crate::request::run::{Attempt, Decision, Degraded, Report, Run};
use beamline_contract::time::milliseconds;

mod legacy;

pub use legacy::with_older_code;

/// Room for an answer besides its message: the explanation and a line for each extension.
const ROOM: usize = 3 * 1024;

/// The answer to a finished run.
pub fn of_run(run: &Run, now: SystemTime) -> Bytes {
    if let (None, Some(decision)) = (&run.failure, &run.decision) {
        return success(run, decision);
    }
    let internal = RequestError::internal();
    let failure = run.failure.as_ref().unwrap_or(&internal);
    let correlation = run.request.correlation();
    write(&ErrorAnswer {
        extensions: Some(extension_reports(run)),
        attempts: attempt_reports(run),
        degraded: Some(run.degraded.iter().map(degradation).collect()),
        ..error(failure, &correlation, now)
    })
}

/// The answer to a request that never became a run.
pub fn of_error(failure: &RequestError, correlation: &Correlation, now: SystemTime) -> Bytes {
    write(&error(failure, correlation, now))
}

/// The decision as it is answered, with its explanation.
pub(super) fn decision_body<'a>(run: &'a Run, decision: &'a Decision) -> DecisionBody<'a> {
    let provider = &decision.call.extension;
    let expected_latency_ms = match decision.expected_latency {
        Some(known) => milliseconds(known),
        None => provider
            .metadata
            .number("expected_latency_ms")
            .unwrap_or_default(),
    };
    DecisionBody {
        provider_id: Cow::Borrowed(&provider.id),
        reason: Cow::Borrowed(decision.reason.as_str()),
        priority: decision.reason.priority(),
        policy_id: Cow::Borrowed(&run.plan.policy_id),
        policy_version: Cow::Borrowed(&run.plan.policy.version),
        expected_latency_ms,
        expected_cost: provider
            .metadata
            .number("expected_cost")
            .unwrap_or_default(),
        metadata: metadata(decision),
        explanation: explanation::of(run, decision),
    }
}

/// Of the provider's record; with the wait before a repeat that the caller makes itself.
fn metadata(decision: &Decision) -> Cow<'_, Fields> {
    let record = &decision.call.extension.metadata;
    let Some(wait) = decision.wait else {
        return Cow::Borrowed(record);
    };
    let mut metadata = record.clone();
    if let Ok(wait_ms) = to_raw_value(&milliseconds(wait)) {
        metadata.set("wait_ms", wait_ms);
    }
    Cow::Owned(metadata)
}

/// What happened to one extension.
pub(super) fn extension_report(report: &Report) -> ExtensionReport<'_> {
    ExtensionReport {
        id: Cow::Borrowed(report.call.id()),
        kind: report.call.extension.kind.into(),
        version: Cow::Borrowed(&report.call.target.version),
        instance: report.instance().map(Cow::Borrowed),
        status: report.status.as_str().into(),
        latency_ms: milliseconds(report.latency),
        attempts: report.attempts,
    }
}

pub(super) fn degradation(degraded: &Degraded) -> Degradation<'_> {
    Degradation {
        id: Cow::Borrowed(&degraded.id),
        reason: Cow::Borrowed(&degraded.reason),
    }
}

fn success(run: &Run, decision: &Decision) -> Bytes {
    let response = run.response.as_ref().map(|response| ProviderResponse {
        provider_id: Cow::Borrowed(response.call.id()),
        output: Cow::Borrowed(&*run.message.payload),
        usage: response.usage.as_deref().map(Cow::Borrowed),
        metadata: Cow::Borrowed(&*response.metadata),
    });
    write(&DecisionAnswer {
        ok: true,
        decision: decision_body(run, decision),
        message: decision.message.body(),
        response,
        extensions: extension_reports(run),
        attempts: attempt_reports(run),
        degraded: run.degraded.iter().map(degradation).collect(),
        context: AnswerContext {
            request_id: Some(Cow::Borrowed(&run.request.request_id)),
            trace_id: Cow::Borrowed(&run.request.trace.trace_id),
        },
    })
}

fn error<'a>(
    failure: &'a RequestError,
    correlation: &'a Correlation,
    now: SystemTime,
) -> ErrorAnswer<'a, Details<'a>> {
    ErrorAnswer {
        ok: false,
        error: ErrorBody {
            code: Cow::Borrowed(failure.code.as_str()),
            message: Cow::Borrowed(&failure.message),
            intake_error_code: failure
                .intake_code
                .map(IntakeCode::as_str)
                .map(Cow::Borrowed),
            details: Details {
                known: &failure.details,
                correlation,
                now,
            },
        },
        extensions: None,
        attempts: Vec::new(),
        degraded: None,
        context: AnswerContext {
            request_id: correlation.request_id.as_deref().map(Cow::Borrowed),
            trace_id: Cow::Borrowed(&correlation.trace_id),
        },
    }
}

/// Everything that the policy configures, in its order; what did not run is `skipped`.
fn extension_reports(run: &Run) -> Vec<ExtensionReport<'_>> {
    let plan = &run.plan;
    let mut reports = Vec::with_capacity(plan.policy.pipeline_length() + plan.providers.len());
    for call in plan.before_provider() {
        reports.push(guardrail_report(run, call));
    }
    for candidate in &plan.providers {
        reports.push(candidate_report(run, candidate));
    }
    for call in plan.after_provider() {
        reports.push(guardrail_report(run, call));
    }
    reports
}

fn guardrail_report<'a>(run: &'a Run, call: &'a PlannedCall) -> ExtensionReport<'a> {
    match run.report(call) {
        Some(report) => extension_report(report),
        None => skipped(call.id(), call),
    }
}

fn candidate_report<'a>(run: &'a Run, candidate: &'a Candidate) -> ExtensionReport<'a> {
    match &candidate.choice {
        Ok(call) => guardrail_report(run, call),
        Err(_) => ExtensionReport {
            id: Cow::Borrowed(&candidate.name),
            kind: Kind::Provider.into(),
            version: Cow::Borrowed(""),
            instance: None,
            status: ExtensionStatus::Skipped.as_str().into(),
            latency_ms: 0.0,
            attempts: 0,
        },
    }
}

fn skipped<'a>(id: &'a str, call: &'a PlannedCall) -> ExtensionReport<'a> {
    ExtensionReport {
        id: Cow::Borrowed(id),
        kind: call.extension.kind.into(),
        version: Cow::Borrowed(&call.target.version),
        instance: None,
        status: ExtensionStatus::Skipped.as_str().into(),
        latency_ms: 0.0,
        attempts: 0,
    }
}

fn attempt_reports(run: &Run) -> Vec<AttemptReport<'_>> {
    run.attempts().iter().map(attempt_report).collect()
}

fn attempt_report(attempt: &Attempt) -> AttemptReport<'_> {
    AttemptReport {
        provider_id: Cow::Borrowed(attempt.call.id()),
        version: Cow::Borrowed(&attempt.call.target.version),
        instance: attempt.instance().map(Cow::Borrowed),
        reason: Cow::Borrowed(attempt.reason.as_str()),
        status: attempt.status.as_str().into(),
        error_type: attempt.error_type.map(Cow::Borrowed),
        class: attempt.class.map(|kind| Cow::Borrowed(kind.as_str())),
        code: attempt.code.as_deref().map(Cow::Borrowed),
        rule: attempt.rule,
        waited_ms: milliseconds(attempt.waited),
        latency_ms: milliseconds(attempt.latency),
    }
}

fn write(answer: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(ROOM);
    match serde_json::to_writer(&mut bytes, answer) {
        Ok(()) => Bytes::from(bytes),
        // Strings and raw JSON always serialise.
        Err(_) => Bytes::new(),
    }
}

/// Written without a copy: under overload most answers are refusals.
#[derive(Debug)]
struct Details<'a> {
    known: &'a Map<String, Value>,
    correlation: &'a Correlation,
    now: SystemTime,
}

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own = [
            ("policy_id", self.correlation.policy_id.as_deref()),
            ("tenant_id", self.correlation.tenant_id.as_deref()),
        ];
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.known {
            let is_own = own.iter().any(|(name, own)| name == key && own.is_some());
            if key != "timestamp" && !is_own {
                map.serialize_entry(key, value)?;
            }
        }
        for (name, value) in own {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        let now = humantime::format_rfc3339_millis(self.now);
        map.serialize_entry("timestamp", &format_args!("{now}"))?;
        map.end()
    }
}
