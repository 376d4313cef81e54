use std::time::Duration;

use beamline_contract::error::ErrorCode;
use beamline_contract::failure::FailureKind;
use beamline_contract::policy::Status;

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
            "no_responders error OfTheExtension(ExtensionUnavailable) false NoResponders NotReached Some(1s)",
        ),
        (
            CallFailure::CircuitOpen {
                retry_after: WAIT,
                opened_by: None,
            },
            "circuit_open circuit_open OfTheExtension(ExtensionUnavailable) false Ignored Never Some(2s)",
        ),
        (
            CallFailure::LeftAlone { retry_after: WAIT },
            "overloaded error OfTheRequest(Overloaded) false Ignored Never Some(2s)",
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
                retryable: Some(true),
                retry_after: Some(WAIT),
                ..AnsweredFailure::of_code("503")
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

/// Which words of `when.status` fit a failure.
#[test]
fn a_class_is_found_under_every_name_that_it_has() {
    let answered = |code: &str| CallFailure::Answered(AnsweredFailure::of_code(code));
    let cases = [
        (CallFailure::Timeout, "timeout error"),
        (
            CallFailure::NoResponders,
            "5xx error no_responders connection_error provider_unavailable 503",
        ),
        (
            CallFailure::CircuitOpen {
                retry_after: WAIT,
                opened_by: None,
            },
            "error circuit_breaker_open unhealthy provider_unavailable",
        ),
        (
            CallFailure::CircuitOpen {
                retry_after: WAIT,
                opened_by: Some(FailureKind::ServerError),
            },
            "5xx error circuit_breaker_open unhealthy provider_unavailable 503",
        ),
        (
            CallFailure::LeftAlone { retry_after: WAIT },
            "5xx 4xx 429 rate_limited error overloaded",
        ),
        (
            CallFailure::Overloaded { retry_after: WAIT },
            "5xx error overloaded provider_unavailable 503",
        ),
        (
            CallFailure::Malformed(String::new()),
            "5xx error connection_error",
        ),
        (answered("500"), "5xx error"),
        (answered("503"), "5xx error provider_unavailable 503"),
        (answered("504"), "timeout 5xx error"),
        (answered("408"), "timeout error"),
        (answered("429"), "4xx 429 rate_limited error"),
        (
            answered("insufficient_quota"),
            "4xx 429 rate_limited error quota",
        ),
        (answered("402"), "4xx 429 rate_limited error quota"),
        (answered("401"), "4xx error auth"),
        (answered("404"), "4xx error"),
        (answered("context_length_exceeded"), "error context_length"),
        (answered("content_filter"), "content_filter"),
        (
            answered("overloaded"),
            "5xx error overloaded provider_unavailable 503",
        ),
        (answered("cut"), "error cut"),
        (answered("empty"), "error empty"),
        (answered("E_ANYTHING"), "5xx error"),
    ];
    for (failure, want) in cases {
        let class = failure.row().class;
        let words = Status::WORDS.iter().map(|(word, status)| (*word, *status));
        let fitting: Vec<&str> = words
            .chain([("503", Status::Code(503))])
            .filter(|(_, status)| class.is(*status))
            .map(|(word, _)| word)
            .collect();
        assert_eq!(fitting.join(" "), want, "{failure:?}");
    }
}

#[test]
fn what_is_wrong_everywhere_is_not_asked_elsewhere() {
    let cases = [
        ("400", true),
        ("422", true),
        ("content_filter", true),
        ("401", false),
        ("402", false),
        ("403", false),
        ("404", false),
        ("408", false),
        ("413", false),
        ("429", false),
        ("context_length", false),
        ("500", false),
        ("empty", false),
    ];
    for (code, is_callers) in cases {
        let class = AnsweredFailure::of_code(code).class();
        assert_eq!(class.is_callers_fault(), is_callers, "{code}");
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
