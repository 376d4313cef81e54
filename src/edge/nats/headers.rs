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
    let carried = &call.carried;
    for (name, value) in [
        (header::TRACESTATE, &carried.tracestate),
        (header::BAGGAGE, &carried.baggage),
    ] {
        if let Some(value) = value {
            insert(&mut headers, name, value)?;
        }
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

/// The wait that an answer asks for: `retry_after_ms` or `retry-after-ms`, else `Retry-After` in
/// seconds or as a date. Anything else is no wait.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let given = |name, unit: f64| text(headers, name).and_then(|text| wait(text, unit));
    given(header::RETRY_AFTER_MS, 0.001)
        .or_else(|| given(header::RETRY_AFTER_MS_OF_HTTP, 0.001))
        .or_else(|| given(header::RETRY_AFTER, 1.0))
        .or_else(|| until(text(headers, header::RETRY_AFTER)?, now))
}

/// A number of such parts of a second, fractions too.
fn wait(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

/// A date that has passed asks for no wait at all.
fn until(date: &str, now: SystemTime) -> Option<Duration> {
    let at = httpdate::parse_http_date(date).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}
