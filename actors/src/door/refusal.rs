//! What those are told that the door turned away, and when they may come back.

use std::ops::Range;
use std::time::Duration;

use beamline_contract::details::QUOTA;
use beamline_domain::admission::ShedReason;
use beamline_domain::request::error::RequestError;

/// What a refused caller is told to wait, moved by chance so that not all come back together.
const RETRY_AFTER_MS: Range<u64> = 50..250;
const LEAST_RETRY_AFTER: Duration = Duration::from_millis(1);

/// The supervisor of the pipelines is away for a moment.
pub(super) fn restarting() -> RequestError {
    overloaded("This router is restarting a part of itself; send it again a little later.")
}

/// What somebody is told who was turned away.
pub(super) fn refusal(reason: ShedReason) -> RequestError {
    match reason {
        ShedReason::Batch => overloaded(
            "This router keeps its last places for requests that somebody waits for; send it again later.",
        ),
        ShedReason::QueueFull | ShedReason::Waited => overloaded(
            "This router has as many requests in flight as it may; send it again a little later.",
        ),
        ShedReason::Bytes => overloaded(
            "The requests in this router have as many bytes as they may; send it again a little later.",
        ),
        ShedReason::Pressure => overloaded(
            "This router is short of memory, or its threads are late; send it again a little later.",
        ),
        ShedReason::TenantFull => {
            let wait = Duration::from_millis(fastrand::u64(RETRY_AFTER_MS));
            RequestError::rate_limited(wait).with(QUOTA, "requests_in_flight_per_tenant")
        }
        ShedReason::Rate(wait) => RequestError::rate_limited(
            wait.max(LEAST_RETRY_AFTER)
                .mul_f64(1.0 + fastrand::f64() / 4.0),
        ),
    }
}

fn overloaded(message: &str) -> RequestError {
    RequestError::overloaded(
        message,
        Duration::from_millis(fastrand::u64(RETRY_AFTER_MS)),
    )
}
