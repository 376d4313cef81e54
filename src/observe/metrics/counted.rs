//! What the router itself counts, under its names.

use beamline_actors::metrics::Metrics;
use prometheus_client::registry::Registry as Exposed;

use super::table;

/// Everything that the router itself counts.
pub(crate) fn register(to: &mut Exposed, counted: &Metrics) {
    let Metrics {
        extensions: _,
        tenants: _,
        fallback_pairs: _,
        registry_size,
        reload_duration,
        reload_errors,
        extension_requests,
        extension_duration,
        extension_failures,
        extension_in_flight,
        extension_limit,
        extension_calls_refused,
        answers_tolerated,
        breaker_transitions,
        provider_requests,
        provider_latency,
        provider_tokens,
        retries,
        retries_refused,
        fallbacks,
        sessions,
        requests_received,
        requests_answered,
        request_duration,
        stage_duration,
        tenant_requests,
        requests_in_flight,
        requests_limit,
        requests_ceiling,
        pressure,
        lag,
        bus_lag,
        memory_used,
        requests_queued,
        requests_shed,
        request_bytes,
        restarts,
        wrong_keys,
    } = counted.clone();
    table::REQUESTS_RECEIVED.register(to, requests_received);
    table::REQUESTS_ANSWERED.register(to, requests_answered);
    table::REQUEST_DURATION.register(to, request_duration);
    table::STAGE_DURATION.register(to, stage_duration);
    table::TENANT_REQUESTS.register(to, tenant_requests);
    table::REQUESTS_IN_FLIGHT.register(to, requests_in_flight);
    table::FALLBACKS.register(to, fallbacks);
    table::SESSIONS.register(to, sessions);
    table::EXTENSION_REQUESTS.register(to, extension_requests);
    table::EXTENSION_DURATION.register(to, extension_duration);
    table::EXTENSION_FAILURES.register(to, extension_failures);
    table::EXTENSION_IN_FLIGHT.register(to, extension_in_flight);
    table::EXTENSION_LIMIT.register(to, extension_limit);
    table::EXTENSION_CALLS_REFUSED.register(to, extension_calls_refused);
    table::BREAKER_TRANSITIONS.register(to, breaker_transitions);
    table::ANSWERS_TOLERATED.register(to, answers_tolerated);
    table::RETRIES.register(to, retries);
    table::RETRIES_REFUSED.register(to, retries_refused);
    table::PROVIDER_REQUESTS.register(to, provider_requests);
    table::PROVIDER_LATENCY.register(to, provider_latency);
    table::PROVIDER_TOKENS.register(to, provider_tokens);
    table::REQUESTS_LIMIT.register(to, requests_limit);
    table::REQUESTS_CEILING.register(to, requests_ceiling);
    table::REQUESTS_QUEUED.register(to, requests_queued);
    table::REQUESTS_SHED.register(to, requests_shed);
    table::REQUEST_BYTES.register(to, request_bytes);
    table::PRESSURE.register(to, pressure);
    table::LAG.register(to, lag);
    table::BUS_LAG.register(to, bus_lag);
    table::MEMORY_RATIO.register(to, memory_used);
    table::REGISTRY_SIZE.register(to, registry_size);
    table::RELOAD_DURATION.register(to, reload_duration);
    table::RELOAD_ERRORS.register(to, reload_errors);
    table::WRONG_KEYS.register(to, wrong_keys);
    table::RESTARTS.register(to, restarts);
}
