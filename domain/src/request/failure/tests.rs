use std::time::Duration;

use beamline_contract::error::ErrorCode;

use super::*;
use crate::target::breaker::Outcome;

const WAIT: Duration = Duration::from_secs(2);

/// The table in short: reason, status, consequence, whether the request ends, breaker, repeat,
/// wait.
#[test]
fn every_failure_has_its_row() {
    let cases = [
        (
            CallFailure::Timeout,
            "extension_timeout timeout OfTheExtension(ExtensionTimeout) false Timeout \
             MayBeDone { granted_once: false } None",
        ),
        (
            CallFailure::Deadline,
            "deadline_exceeded timeout OfTheRequest(DeadlineExceeded) true Ignored Never None",
        ),
        (
            CallFailure::TooLittleTime,
            "too_little_time skipped OfTheRequest(DeadlineExceeded) true Ignored Never None",
        ),
        (
            CallFailure::NoResponders,
            "no_responders error OfTheExtension(ExtensionUnavailable) false Failure NotReached Some(1s)",
        ),
        (
            CallFailure::CircuitOpen { retry_after: WAIT },
            "circuit_open circuit_open OfTheExtension(ExtensionUnavailable) false Ignored Never Some(2s)",
        ),
        (
            CallFailure::BusUnavailable,
            "bus_unavailable error OfTheRequest(BusUnavailable) true Ignored \
             MayBeDone { granted_once: true } None",
        ),
        (
            CallFailure::Overloaded { retry_after: WAIT },
            "overloaded error OfTheRequest(Overloaded) false Ignored Never Some(2s)",
        ),
        (
            CallFailure::Answered(AnsweredFailure {
                code: "503".to_owned(),
                message: String::new(),
                retryable: Some(true),
                retry_after: Some(WAIT),
            }),
            "extension_error error OfTheStage false AskedToWait(2s) Helps Some(2s)",
        ),
        (
            CallFailure::Malformed(String::new()),
            "malformed_answer error OfTheStage false Failure Never None",
        ),
        (
            CallFailure::TooLarge { size: 2, limit: 1 },
            "too_large error OfTheRequest(InvalidRequest) true Ignored Never None",
        ),
        (
            CallFailure::Refused(String::new()),
            "refused error OfTheStage true Ignored Never None",
        ),
        (
            CallFailure::Cancelled,
            "cancelled skipped Nothing true Ignored Never None",
        ),
    ];
    for (failure, want) in cases {
        let row = failure.row();
        let is = format!(
            "{} {} {:?} {} {:?} {:?} {:?}",
            row.reason,
            row.status.as_str(),
            row.consequence,
            row.ends_request,
            row.breaker,
            row.repeat,
            row.retry_after
        );
        assert_eq!(is, want);
    }
}

#[test]
fn a_class_is_found_under_every_name_that_it_has() {
    use beamline_contract::policy::Status;
    let class = |failure: CallFailure| failure.row().class;
    let unreached = class(CallFailure::NoResponders);
    for status in [
        Status::NoResponders,
        Status::ServerError,
        Status::Code(503),
        Status::Error,
    ] {
        assert!(unreached.is(status), "{status}");
    }
    for status in [
        Status::Timeout,
        Status::ClientError,
        Status::CircuitBreakerOpen,
    ] {
        assert!(!unreached.is(status), "{status}");
    }
    let open = class(CallFailure::CircuitOpen { retry_after: WAIT });
    assert!(open.is(Status::CircuitBreakerOpen) && open.kept_back && !open.is(Status::ServerError));
    for (code, is_callers) in [(400, true), (408, false), (429, false), (500, false)] {
        assert_eq!(
            FailureClass::numbered(code).is_callers_fault(),
            is_callers,
            "{code}"
        );
    }
}

#[test]
fn what_is_about_the_request_keeps_its_code_for_validators_too() {
    let row = CallFailure::Overloaded { retry_after: WAIT }.row();
    assert_eq!(
        row.consequence,
        Consequence::OfTheRequest(ErrorCode::Overloaded)
    );
    assert_eq!(row.breaker, Outcome::Ignored);
}
