//! The headers of a call to an extension, and those of its answer (contract section 2).

use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use beamline_actors::ports::Call;
use beamline_bus::headers::{Unfit, insert, number, text};
use beamline_contract::header;

/// A longer timeout means "no limit" to everybody concerned, and a deadline beyond the calendar
/// cannot be written.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// `now` is the time of day at which the call is sent; its timeout is at most [`LONGEST`].
pub(super) fn of_call(call: &Call, now: SystemTime) -> Result<HeaderMap, Unfit> {
    let timeout = call.timeout;
    let mut headers = HeaderMap::new();
    if !call.traceparent.is_empty() {
        insert(&mut headers, header::TRACEPARENT, &call.traceparent)?;
    }
    insert(&mut headers, header::TRACE_ID, &call.trace_id)?;
    insert(&mut headers, header::TENANT_ID, &call.tenant_id)?;
    // Zero would mean that the time is up.
    insert(
        &mut headers,
        header::TIMEOUT_MS,
        &timeout.as_millis().max(1).to_string(),
    )?;
    // A call that was held up on its way is dropped by this, whatever is left of its timeout.
    insert(
        &mut headers,
        header::DEADLINE,
        &humantime::format_rfc3339_millis(now + timeout).to_string(),
    )?;
    insert(&mut headers, header::ATTEMPT, &call.attempt.to_string())?;
    Ok(headers)
}

/// The failure that a NATS service reports by headers: code and description.
pub(super) fn service_error(headers: &HeaderMap) -> Option<(Option<u16>, String)> {
    let description = text(headers, header::SERVICE_ERROR);
    let code = number(headers, header::SERVICE_ERROR_CODE);
    (description.is_some() || code.is_some())
        .then(|| (code.flatten(), description.unwrap_or_default().to_owned()))
}

/// What an error answer says of another attempt: `retryable` with `true` or `false`.
pub(super) fn retryable(headers: &HeaderMap) -> Option<bool> {
    text(headers, header::RETRYABLE).and_then(|word| word.to_ascii_lowercase().parse().ok())
}

/// The wait that an answer asks for: `retry_after_ms`, else `Retry-After` in seconds. A date or
/// anything else is no wait.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let given = |name| number::<u64>(headers, name).flatten();
    given(header::RETRY_AFTER_MS)
        .map(Duration::from_millis)
        .or_else(|| given(header::RETRY_AFTER).map(Duration::from_secs))
}
