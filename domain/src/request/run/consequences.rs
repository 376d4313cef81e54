//! What a failed call, or a choice that could not be made, means for the request.

use std::time::Duration;

use beamline_contract::details::{CLASS, ERROR_TYPE, EXTENSION_ID, UPSTREAM_CODE};
use beamline_contract::error::{ErrorCode, IntakeCode};
use beamline_contract::policy::{Mode, OnFail};
use beamline_contract::record::Kind;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::request::error::RequestError;
use crate::request::failure::{CallFailure, Consequence};
use crate::request::plan::{Candidate, Exclusion, PlannedCall, Rule};
use crate::request::reply::Reply;

/// Whether a call's end decides about the request, so that what still runs beside it need not be
/// waited for.
pub fn is_fatal(call: &PlannedCall, outcome: &Result<Reply, CallFailure>) -> bool {
    match outcome {
        Ok(Reply::Reject { .. }) => !is_optional(call.rule),
        Ok(_) => false,
        Err(failure) => error_code(call, failure).is_some(),
    }
}

/// A message that an extension does not let through.
pub(super) fn rejection(id: &str, reason: &str, details: Option<&RawValue>) -> RequestError {
    let sentence = format!("{id} rejected the message: {reason}.");
    let error = RequestError::new(ErrorCode::ValidatorBlocked, sentence)
        .with(EXTENSION_ID, id)
        .with(ERROR_TYPE, "rejected")
        .with("reason", reason);
    match details.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()) {
        Some(details) => error.with("validator_details", details),
        None => error,
    }
}

/// The error that a failed call means for the request; `None` when the request goes on without it.
pub(super) fn fatal(call: &PlannedCall, failure: &CallFailure) -> Option<RequestError> {
    let code = error_code(call, failure)?;
    let row = failure.row();
    let mut error = RequestError::new(code, failure.sentence(call.id()));
    if code == ErrorCode::InvalidRequest {
        error.intake_code = Some(IntakeCode::SchemaValidationFailed);
    }
    let error = error
        .with(EXTENSION_ID, call.id())
        .with(ERROR_TYPE, row.reason)
        .at_stage(call.extension.kind)
        .retry_after(row.retry_after);
    Some(with_class(error, failure))
}

/// Names the class of the failure, and the code that came with it.
fn with_class(error: RequestError, failure: &CallFailure) -> RequestError {
    let error = match failure.kind() {
        Some(kind) => error.with(CLASS, kind.as_str()),
        None => error,
    };
    match failure.upstream_code() {
        Some(code) => error.with(UPSTREAM_CODE, code),
        None => error,
    }
}

fn error_code(call: &PlannedCall, failure: &CallFailure) -> Option<ErrorCode> {
    let consequence = failure.row().consequence;
    if consequence == Consequence::Nothing {
        return None;
    }
    // With the time all gone there is nothing to go on with.
    if is_optional(call.rule) && *failure != CallFailure::Deadline {
        return None;
    }
    Some(match (consequence, call.rule) {
        (Consequence::OfTheRequest(code), _) => code,
        (_, Rule::Validator(_)) => ErrorCode::ValidatorBlocked,
        (Consequence::OfTheExtension(code), _) => code,
        (_, Rule::Processor(_)) if call.extension.kind == Kind::Post => {
            ErrorCode::PostProcessorFailed
        }
        (_, Rule::Processor(_)) => ErrorCode::PreProcessorFailed,
        (_, Rule::Provider) => ErrorCode::ExtensionError,
    })
}

fn is_optional(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::Processor(Mode::Optional) | Rule::Validator(OnFail::Warn | OnFail::Ignore)
    )
}

/// No provider can be chosen; `exclusions` are in the order of `candidates`.
pub(super) fn no_provider(
    candidates: &[Candidate],
    exclusions: &[Option<Exclusion>],
) -> RequestError {
    let mut reasons = Vec::with_capacity(candidates.len());
    for (candidate, exclusion) in candidates.iter().zip(exclusions) {
        let why = match exclusion {
            Some(exclusion) => exclusion.as_str(),
            None if candidate.listed => "weight 0",
            None => "only for fallbacks",
        };
        reasons.push(format!("{} ({why})", candidate.name));
    }
    let message = format!("No provider can be chosen: {}.", reasons.join(", "));
    if let Some(wait) = shortest_wait(exclusions) {
        return RequestError::new(ErrorCode::ExtensionUnavailable, message).retry_after(Some(wait));
    }
    let names: Vec<&str> = candidates.iter().map(|c| c.name.as_str()).collect();
    RequestError::new(no_provider_code(exclusions), message)
        .with("providers", names)
        .at_stage(Kind::Provider)
}

fn no_provider_code(exclusions: &[Option<Exclusion>]) -> ErrorCode {
    let is_missing =
        |e: &Option<Exclusion>| matches!(e, Some(Exclusion::Unknown | Exclusion::Disabled));
    if exclusions.iter().all(is_missing) {
        return ErrorCode::ExtensionNotFound;
    }
    let is_too_slow = |e: &Option<Exclusion>| matches!(e, Some(Exclusion::TooSlow(_)));
    if exclusions.iter().any(is_too_slow) {
        return ErrorCode::DeadlineExceeded;
    }
    ErrorCode::DecisionFailed
}

/// When the first of the open breakers lets a call through again.
fn shortest_wait(exclusions: &[Option<Exclusion>]) -> Option<Duration> {
    let waits = exclusions
        .iter()
        .flatten()
        .filter_map(|exclusion| match exclusion {
            Exclusion::CircuitOpen(wait, _) | Exclusion::AskedToWait(wait) => Some(*wait),
            Exclusion::Unknown | Exclusion::Disabled | Exclusion::TooSlow(_) => None,
        });
    waits.min()
}

pub(super) fn external(id: &str) -> RequestError {
    let message = format!(
        "{id} is executed by the caller (metadata.external); ask `decide` instead of `route`."
    );
    RequestError::new(ErrorCode::ExtensionNotFound, message).with(EXTENSION_ID, id)
}

/// Nobody is paid for an empty prompt.
pub(super) fn nothing_to_ask() -> RequestError {
    let sentence = "The message has nothing that a provider could answer: send its payload as a text, as an object with \
        text, prompt, content, input, contents or messages, or as a list of messages with roles.";
    RequestError::invalid(
        IntakeCode::SchemaValidationFailed,
        "/message/payload",
        sentence,
    )
}

/// No rule leads on from the provider that the caller tells of.
pub(super) fn nobody_takes_over(provider: Option<&str>) -> RequestError {
    let provider = provider.unwrap_or_default();
    let sentence = format!(
        "Nobody takes over from {provider}: no fallback rule of the policy fits, and after this failure no other provider of it is asked."
    );
    RequestError::new(ErrorCode::DecisionFailed, sentence).with(EXTENSION_ID, provider)
}
