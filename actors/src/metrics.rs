//! What the router counts. What it is called outside stands in one table, with what others count
//! (`src/observe/metrics`).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

mod labels;
mod series;
#[cfg(test)]
mod tests;

pub use labels::{
    EdgeLabel, ExtensionLabel, ExtensionReason, ExtensionState, ExtensionStatus, FallbackLabel,
    NodeLabel, OutcomeLabel, ProviderLabel, ProviderStatus, RefusedRetryLabel, RetryLabel,
    SessionLabel, ShedLabel, StageLabel, TenantOutcome, TraceLabel,
};
pub use series::{Named, OTHER, OfExtension, Series};

/// Durations, each bucket with the trace of one that fell into it.
pub type Seconds = HistogramWithExemplars<TraceLabel>;

/// Cheap to clone: all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// The extensions that have series of their own.
    pub extensions: Arc<Named>,
    /// The tenants that do, where the deployment asks for that.
    pub tenants: Arc<Named>,
    pub registry_size: Gauge,
    pub reload_duration: Histogram,
    pub reload_errors: Counter,
    pub extension_requests: Series<ExtensionStatus, Counter>,
    pub extension_duration: Series<ExtensionLabel, Seconds>,
    pub extension_failures: Series<ExtensionReason, Counter>,
    pub extension_in_flight: Series<ExtensionLabel, Gauge>,
    pub extension_limit: Series<ExtensionLabel, Gauge>,
    pub extension_calls_refused: Series<ExtensionReason, Counter>,
    pub answers_tolerated: Series<ExtensionLabel, Counter>,
    pub breaker_transitions: Series<ExtensionState, Counter>,
    pub provider_requests: Series<ProviderStatus, Counter>,
    pub provider_latency: Series<ProviderLabel, Seconds>,
    /// Token counts may be fractional.
    pub provider_tokens: Series<ProviderLabel, Counter<f64, AtomicU64>>,
    pub retries: Series<RetryLabel, Counter>,
    pub retries_refused: Series<RefusedRetryLabel, Counter>,
    pub fallbacks: Family<FallbackLabel, Counter>,
    /// The pairs of providers that have a series of their own.
    pub fallback_pairs: Arc<Named>,
    pub sessions: Family<SessionLabel, Counter>,
    pub requests_received: Counter,
    pub requests_answered: Family<OutcomeLabel, Counter>,
    pub request_duration: Family<EdgeLabel, Seconds, fn() -> Seconds>,
    pub stage_duration: Family<StageLabel, Histogram, fn() -> Histogram>,
    pub tenant_requests: Family<TenantOutcome, Counter>,
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
    pub wrong_keys: Counter,
}

/// More extensions share one label.
const MOST_EXTENSIONS: usize = 200;
const MOST_TENANTS: usize = 50;
/// Stands between the ids of a pair, and in no id.
const BETWEEN: char = ' ';
/// A policy has a few providers that take over from each other.
const MOST_FALLBACKS: usize = 200;

impl Default for Metrics {
    fn default() -> Self {
        Self {
            extensions: Arc::new(Named::at_most(MOST_EXTENSIONS)),
            tenants: Arc::new(Named::at_most(MOST_TENANTS)),
            registry_size: Gauge::default(),
            reload_duration: histogram(),
            reload_errors: Counter::default(),
            extension_requests: Series::new(Counter::default),
            extension_duration: Series::new(seconds),
            extension_failures: Series::new(Counter::default),
            extension_in_flight: Series::new(Gauge::default),
            extension_limit: Series::new(Gauge::default),
            extension_calls_refused: Series::new(Counter::default),
            answers_tolerated: Series::new(Counter::default),
            breaker_transitions: Series::new(Counter::default),
            provider_requests: Series::new(Counter::default),
            provider_latency: Series::new(seconds),
            provider_tokens: Series::new(Counter::default),
            retries: Series::new(Counter::default),
            retries_refused: Series::new(Counter::default),
            fallbacks: Family::default(),
            fallback_pairs: Arc::new(Named::at_most(MOST_FALLBACKS)),
            sessions: Family::default(),
            requests_received: Counter::default(),
            requests_answered: Family::default(),
            request_duration: Family::new_with_constructor(seconds),
            stage_duration: Family::new_with_constructor(histogram),
            tenant_requests: Family::default(),
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
            wrong_keys: Counter::default(),
        }
    }
}

impl Metrics {
    /// The label of an extension.
    pub fn extension(&self, id: &str) -> Arc<str> {
        self.extensions.label(id)
    }

    /// The series of extensions that are gone end, and make room for others.
    pub fn retain_extensions(&self, is_known: impl Fn(&str) -> bool) {
        let pairs = &self.fallback_pairs;
        for pair in pairs.retain(|pair| pair.split(BETWEEN).all(&is_known)) {
            if let Some((from, to)) = pair.split_once(BETWEEN) {
                self.fallbacks.remove(&fallback(from, to));
            }
        }
        for id in self.extensions.retain(is_known) {
            self.extension_requests.forget(&id);
            self.extension_duration.forget(&id);
            self.extension_failures.forget(&id);
            self.extension_in_flight.forget(&id);
            self.extension_limit.forget(&id);
            self.extension_calls_refused.forget(&id);
            self.answers_tolerated.forget(&id);
            self.breaker_transitions.forget(&id);
            self.provider_requests.forget(&id);
            self.provider_latency.forget(&id);
            self.provider_tokens.forget(&id);
            self.retries.forget(&id);
            self.retries_refused.forget(&id);
        }
    }

    /// Another provider took over from one that failed.
    pub fn fell_back(&self, from: &str, to: &str) {
        let pair = self.fallback_pairs.label(&format!("{from}{BETWEEN}{to}"));
        let (from, to) = pair.split_once(BETWEEN).unwrap_or((OTHER, OTHER));
        self.fallbacks.get_or_create(&fallback(from, to)).inc();
    }
}

fn fallback(from: &str, to: &str) -> FallbackLabel {
    FallbackLabel {
        from: from.into(),
        to: to.into(),
    }
}

/// From half a millisecond to about a minute.
fn buckets() -> impl Iterator<Item = f64> {
    exponential_buckets(0.0005, 2.0, 18)
}

fn seconds() -> Seconds {
    Seconds::new(buckets())
}

fn histogram() -> Histogram {
    Histogram::new(buckets())
}
