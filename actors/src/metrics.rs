//! What the router counts, under the names of contract section 7.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Cheap to clone: all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub registry_size: Gauge,
    pub reload_duration: Histogram,
    pub reload_errors: Counter,
    pub extension_requests: Family<ExtensionStatus, Counter>,
    pub extension_duration: Family<ExtensionLabel, Histogram>,
    pub extension_failures: Family<ExtensionReason, Counter>,
    pub extension_in_flight: Family<ExtensionLabel, Gauge>,
    pub extension_limit: Family<ExtensionLabel, Gauge>,
    pub extension_calls_refused: Family<ExtensionReason, Counter>,
    pub answers_tolerated: Family<ExtensionLabel, Counter>,
    pub provider_requests: Family<ProviderStatus, Counter>,
    pub provider_latency: Family<ProviderLabel, Histogram>,
    /// Token counts may be fractional.
    pub provider_tokens: Family<ProviderLabel, Counter<f64, AtomicU64>>,
    pub requests_received: Counter,
    pub requests_answered: Family<OutcomeLabel, Counter>,
    pub requests_in_flight: Gauge,
    pub requests_limit: Gauge,
    pub requests_ceiling: Gauge,
    /// 0 none, 1 high, 2 severe, 3 critical.
    pub pressure: Gauge,
    /// In seconds.
    pub lag: Gauge<f64, AtomicU64>,
    /// What a trip through the bus takes longer than usual, in seconds.
    pub bus_lag: Gauge<f64, AtomicU64>,
    pub memory_used: Gauge<f64, AtomicU64>,
    pub requests_queued: Gauge,
    pub requests_shed: Family<ShedLabel, Counter>,
    pub request_bytes: Gauge,
    pub restarts: Family<NodeLabel, Counter>,
    pub retries: Family<RetryLabel, Counter>,
    pub retries_refused: Family<RefusedRetryLabel, Counter>,
    pub wrong_keys: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExtensionStatus {
    pub extension_id: String,
    pub status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExtensionLabel {
    pub extension_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExtensionReason {
    pub extension_id: String,
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderStatus {
    pub provider_id: String,
    pub status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderLabel {
    pub provider_id: String,
}

/// `ok`, or the code of the error answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ShedLabel {
    pub reason: &'static str,
    pub priority: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NodeLabel {
    pub node: &'static str,
}

/// `retry` is another attempt at this extension, `fallback` a first one at a provider that takes
/// over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RetryLabel {
    pub extension_id: String,
    pub kind: &'static str,
}

/// With the budget that was empty, `extension` or `router`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedRetryLabel {
    pub extension_id: String,
    pub kind: &'static str,
    pub budget: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            registry_size: Gauge::default(),
            reload_duration: seconds(),
            reload_errors: Counter::default(),
            extension_requests: Family::default(),
            extension_duration: Family::new_with_constructor(seconds as fn() -> Histogram),
            extension_failures: Family::default(),
            extension_in_flight: Family::default(),
            extension_limit: Family::default(),
            extension_calls_refused: Family::default(),
            answers_tolerated: Family::default(),
            wrong_keys: Counter::default(),
            provider_requests: Family::default(),
            provider_latency: Family::new_with_constructor(seconds as fn() -> Histogram),
            provider_tokens: Family::default(),
            requests_received: Counter::default(),
            requests_answered: Family::default(),
            requests_in_flight: Gauge::default(),
            requests_limit: Gauge::default(),
            requests_ceiling: Gauge::default(),
            pressure: Gauge::default(),
            lag: Gauge::default(),
            bus_lag: Gauge::default(),
            memory_used: Gauge::default(),
            requests_queued: Gauge::default(),
            requests_shed: Family::default(),
            request_bytes: Gauge::default(),
            restarts: Family::default(),
            retries: Family::default(),
            retries_refused: Family::default(),
        }
    }
}

/// Buckets from half a millisecond to about a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 18))
}

impl Metrics {
    /// Puts everything under its name. prometheus-client adds `_total` to counters and the unit to
    /// histograms itself.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "extension_registry_size",
            "Extensions in the snapshot",
            self.registry_size.clone(),
        );
        registry.register_with_unit(
            "extension_registry_reload_duration",
            "Time of one reload from the store",
            Unit::Seconds,
            self.reload_duration.clone(),
        );
        registry.register(
            "extension_registry_reload_errors",
            "Reloads that failed",
            self.reload_errors.clone(),
        );
        registry.register(
            "extension_requests",
            "Calls of an extension by how they ended",
            self.extension_requests.clone(),
        );
        registry.register_with_unit(
            "extension_request_duration",
            "Time of a call with all its attempts",
            Unit::Seconds,
            self.extension_duration.clone(),
        );
        registry.register(
            "extension_failures",
            "Failed calls by reason",
            self.extension_failures.clone(),
        );
        registry.register(
            "extension_in_flight",
            "Calls of an extension under way",
            self.extension_in_flight.clone(),
        );
        registry.register(
            "extension_limit",
            "Calls of an extension that may run at once",
            self.extension_limit.clone(),
        );
        registry.register(
            "extension_calls_refused",
            "Attempts for which there was no place among the calls of an extension",
            self.extension_calls_refused.clone(),
        );
        registry.register(
            "extension_answers_tolerated",
            "Answers that are refused without router.strict_answers = \"warn\"",
            self.answers_tolerated.clone(),
        );
        registry.register(
            "admin_wrong_keys",
            "Requests to the administration with a key that opens nothing",
            self.wrong_keys.clone(),
        );
        registry.register(
            "provider_requests",
            "Calls of a provider by how they ended",
            self.provider_requests.clone(),
        );
        registry.register_with_unit(
            "provider_latency",
            "Time of a provider call with all its attempts",
            Unit::Seconds,
            self.provider_latency.clone(),
        );
        registry.register(
            "provider_tokens",
            "Tokens that a provider counted",
            self.provider_tokens.clone(),
        );
        registry.register(
            "router_requests_received",
            "Requests taken in",
            self.requests_received.clone(),
        );
        registry.register(
            "router_requests_answered",
            "Answers by outcome",
            self.requests_answered.clone(),
        );
        registry.register(
            "router_requests_in_flight",
            "Requests taken in and not answered",
            self.requests_in_flight.clone(),
        );
        registry.register(
            "router_requests_limit",
            "Requests that may run at once",
            self.requests_limit.clone(),
        );
        registry.register(
            "router_requests_ceiling",
            "What that limit may grow to",
            self.requests_ceiling.clone(),
        );
        registry.register(
            "router_pressure",
            "0 none, 1 high, 2 severe, 3 critical",
            self.pressure.clone(),
        );
        registry.register_with_unit(
            "router_bus_lag",
            "What a message to itself takes longer than usual",
            Unit::Seconds,
            self.bus_lag.clone(),
        );
        registry.register_with_unit(
            "router_lag",
            "How late timers are",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register(
            "router_memory_ratio",
            "Memory in use, of what there is",
            self.memory_used.clone(),
        );
        registry.register(
            "router_requests_queued",
            "Requests that wait for a place",
            self.requests_queued.clone(),
        );
        registry.register(
            "router_requests_shed",
            "Requests turned away at the door",
            self.requests_shed.clone(),
        );
        registry.register(
            "router_request_bytes",
            "Bytes of the requests in flight and waiting",
            self.request_bytes.clone(),
        );
        registry.register(
            "router_restarts",
            "Restarts of actors by supervisor",
            self.restarts.clone(),
        );
        registry.register(
            "router_retries",
            "Attempts that a retry budget granted",
            self.retries.clone(),
        );
        registry.register(
            "router_retries_refused",
            "Attempts that were not made because a retry budget was empty",
            self.retries_refused.clone(),
        );
    }
}
