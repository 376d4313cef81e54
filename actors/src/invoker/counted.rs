//! What is counted of the calls of one extension. Its counters are looked up once and kept, because
//! to find one takes longer than to count.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use beamline_contract::record::Kind;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::Finished;
use crate::metrics::{
    ExtensionLabel, ExtensionReason, ExtensionStatus, Metrics, ProviderLabel, ProviderStatus,
};

#[derive(Debug)]
pub(super) struct Counted {
    extension_id: Arc<str>,
    metrics: Metrics,
    requests: ByWord,
    duration: Histogram,
    failures: ByWord,
    /// Of one that was called as a provider.
    provider: Option<CountedProvider>,
}

#[derive(Debug)]
struct CountedProvider {
    requests: ByWord,
    latency: Histogram,
    tokens: Counter<f64, AtomicU64>,
}

/// A counter for each status or reason that came up: a handful, so that the comparison of a few
/// words finds it.
#[derive(Debug, Default)]
struct ByWord(Vec<(&'static str, Counter)>);

impl ByWord {
    fn count(&mut self, word: &'static str, look_up: impl FnOnce() -> Counter) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == word) {
            counter.inc();
            return;
        }
        let counter = look_up();
        counter.inc();
        self.0.push((word, counter));
    }
}

impl Counted {
    pub(super) fn new(extension_id: &Arc<str>, metrics: Metrics) -> Self {
        let label = ExtensionLabel {
            extension_id: extension_id.to_string(),
        };
        Self {
            extension_id: Arc::clone(extension_id),
            requests: ByWord::default(),
            duration: metrics.extension_duration.get_or_create_owned(&label),
            failures: ByWord::default(),
            provider: None,
            metrics,
        }
    }

    pub(super) fn count(&mut self, finished: &Finished) {
        let id = || self.extension_id.to_string();
        let status = finished.status;
        let seconds = finished.latency.as_secs_f64();
        self.requests.count(status, || {
            let extension_id = id();
            let label = ExtensionStatus {
                extension_id,
                status,
            };
            self.metrics.extension_requests.get_or_create_owned(&label)
        });
        self.duration.observe(seconds);
        if let Some((reason, _)) = finished.failure {
            self.failures.count(reason, || {
                let extension_id = id();
                let label = ExtensionReason {
                    extension_id,
                    reason,
                };
                self.metrics.extension_failures.get_or_create_owned(&label)
            });
        }
        if finished.kind == Kind::Provider {
            self.count_provider(finished, seconds);
        }
    }

    /// An answer was taken that will be refused one day.
    pub(super) fn tolerated(&self) {
        let extension_id = self.extension_id.to_string();
        let label = ExtensionLabel { extension_id };
        self.metrics.answers_tolerated.get_or_create(&label).inc();
    }

    fn count_provider(&mut self, finished: &Finished, seconds: f64) {
        let id = || self.extension_id.to_string();
        let status = finished.status;
        let provider = self
            .provider
            .get_or_insert_with(|| CountedProvider::new(id(), &self.metrics));
        provider.requests.count(status, || {
            let provider_id = id();
            let label = ProviderStatus {
                provider_id,
                status,
            };
            self.metrics.provider_requests.get_or_create_owned(&label)
        });
        provider.latency.observe(seconds);
        if let Some(tokens) = finished.tokens {
            provider.tokens.inc_by(tokens);
        }
    }
}

impl CountedProvider {
    fn new(provider_id: String, metrics: &Metrics) -> Self {
        let label = ProviderLabel { provider_id };
        Self {
            requests: ByWord::default(),
            latency: metrics.provider_latency.get_or_create_owned(&label),
            tokens: metrics.provider_tokens.get_or_create_owned(&label),
        }
    }
}
