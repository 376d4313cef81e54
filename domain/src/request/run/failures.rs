//! What a failed call, or a choice that could not be made, means for the request.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::policy::{Mode, OnFail};
use crate::request::call::{CallFailure, Reply};
use crate::request::error::RequestError;
use crate::request::plan::{Candidate, Exclusion, PlannedCall, Rule};
use beamline_contract::error::{ErrorCode, IntakeCode};
use beamline_contract::record::Kind;

/// Whether a call's end decides about the request, so that what still runs beside it need not be waited for.
pub fn is_fatal(call: &PlannedCall, outcome: &Result<Reply, CallFailure>) -> bool {
    match outcome {
        Ok(Reply::Reject { .. }) => {
            !matches!(call.rule, Rule::Validator(OnFail::Warn | OnFail::Ignore))
        }
        Ok(_) => false,
        Err(failure) => fatal(call, failure).is_some(),
    }
}

/// A message that an extension does not let through.
pub(super) fn rejection(id: &str, reason: &str, details: Option<&RawValue>) -> RequestError {
    let error = RequestError::new(
        ErrorCode::ValidatorBlocked,
        format!("{id} rejected the message: {reason}."),
    )
    .with("extension_id", id)
    .with("error_type", "rejected")
    .with("reason", reason);
    let details = details.and_then(|raw| serde_json::from_str::<serde_json::Value>(raw.get()).ok());
    details
        .into_iter()
        .fold(error, |e, value| e.with("validator_details", value))
}

/// The error that a failed call means for the request; `None` when the request goes on without it.
pub(super) fn fatal(call: &PlannedCall, failure: &CallFailure) -> Option<RequestError> {
    if *failure == CallFailure::Cancelled {
        return None;
    }
    // The request's own end, or the bus's, is not about this extension.
    let shared = match failure {
        CallFailure::Deadline | CallFailure::TooLittleTime => Some(ErrorCode::DeadlineExceeded),
        CallFailure::BusUnavailable => Some(ErrorCode::BusUnavailable),
        CallFailure::Overloaded { .. } => Some(ErrorCode::Overloaded),
        CallFailure::TooLarge { .. } => Some(ErrorCode::InvalidRequest),
        CallFailure::Timeout | CallFailure::NoResponders | CallFailure::CircuitOpen { .. } => None,
        CallFailure::Answered { .. } | CallFailure::Malformed(_) => None,
        CallFailure::Refused(_) | CallFailure::Cancelled => None,
    };
    let own = match failure {
        CallFailure::Timeout => Some(ErrorCode::ExtensionTimeout),
        CallFailure::NoResponders | CallFailure::CircuitOpen { .. } => {
            Some(ErrorCode::ExtensionUnavailable)
        }
        CallFailure::Answered { .. } | CallFailure::Malformed(_) | CallFailure::Refused(_) => None,
        CallFailure::Deadline | CallFailure::BusUnavailable | CallFailure::TooLarge { .. } => None,
        CallFailure::TooLittleTime | CallFailure::Cancelled | CallFailure::Overloaded { .. } => {
            None
        }
    };
    let optional = matches!(
        call.rule,
        Rule::Processor(Mode::Optional) | Rule::Validator(OnFail::Warn | OnFail::Ignore)
    );
    // With the time all gone there is nothing to go on with.
    if optional && *failure != CallFailure::Deadline {
        return None;
    }
    let code = match (call.rule, call.extension.kind) {
        (Rule::Validator(_), _) => shared.unwrap_or(ErrorCode::ValidatorBlocked),
        (Rule::Processor(_), Kind::Post) => {
            shared.or(own).unwrap_or(ErrorCode::PostProcessorFailed)
        }
        (Rule::Processor(_), _) => shared.or(own).unwrap_or(ErrorCode::PreProcessorFailed),
        (Rule::Provider, _) => shared.or(own).unwrap_or(ErrorCode::ExtensionError),
    };
    let mut error = RequestError::new(code, failure.sentence(&call.extension.id));
    error.intake_code =
        (code == ErrorCode::InvalidRequest).then_some(IntakeCode::SchemaValidationFailed);
    let error = error
        .with("extension_id", call.extension.id.as_str())
        .with("error_type", failure.reason());
    Some(
        error
            .at_stage(call.extension.kind)
            .retry_after(failure.retry_after()),
    )
}

/// No provider can be chosen; `exclusions` are in the order of `candidates`.
pub(super) fn no_provider(
    candidates: &[Candidate],
    exclusions: &[Option<Exclusion>],
) -> RequestError {
    let why = |(c, exclusion): (&Candidate, &Option<Exclusion>)| {
        let why = match exclusion {
            Some(exclusion) => exclusion.as_str(),
            None if c.listed => "weight 0",
            None => "only for fallbacks",
        };
        format!("{} ({why})", c.name)
    };
    let list = candidates
        .iter()
        .zip(exclusions)
        .map(why)
        .collect::<Vec<_>>()
        .join(", ");
    let message = format!("No provider can be chosen: {list}.");
    let names: Vec<&str> = candidates
        .iter()
        .map(|candidate| candidate.name.as_str())
        .collect();
    let code = match shortest_wait(exclusions) {
        Some(wait) => {
            return RequestError::new(ErrorCode::ExtensionUnavailable, message)
                .retry_after(Some(wait));
        }
        None if exclusions
            .iter()
            .all(|e| matches!(e, Some(Exclusion::Unknown | Exclusion::Disabled))) =>
        {
            ErrorCode::ExtensionNotFound
        }
        None if exclusions
            .iter()
            .any(|e| matches!(e, Some(Exclusion::TooSlow(_)))) =>
        {
            ErrorCode::DeadlineExceeded
        }
        None => ErrorCode::DecisionFailed,
    };
    RequestError::new(code, message)
        .with("providers", names)
        .at_stage(Kind::Provider)
}

/// When the first of the open breakers lets a call through again.
fn shortest_wait(exclusions: &[Option<Exclusion>]) -> Option<Duration> {
    let wait = |exclusion: &Option<Exclusion>| match exclusion {
        Some(Exclusion::CircuitOpen(wait) | Exclusion::AskedToWait(wait)) => Some(*wait),
        Some(Exclusion::Unknown | Exclusion::Disabled | Exclusion::TooSlow(_)) | None => None,
    };
    exclusions.iter().filter_map(wait).min()
}

pub(super) fn external(id: &str) -> RequestError {
    let message = format!(
        "{id} is executed by the caller (metadata.external); ask `decide` instead of `route`."
    );
    RequestError::new(ErrorCode::ExtensionNotFound, message).with("extension_id", id)
}
