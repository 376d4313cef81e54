//! What is counted of the calls of one extension. Its counters are looked up once and kept, because
//! to find one takes longer than to count.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use beamline_contract::record::Kind;
use prometheus_client::metrics::counter::Counter;

use super::Finished;
use crate::metrics::{
    ExtensionLabel, ExtensionReason, ExtensionStatus, Metrics, ProviderLabel, ProviderStatus,
    Seconds, TraceLabel,
};

#[derive(Debug)]
pub(super) struct Counted {
    /// What the extension is called in the metrics.
    label: Arc<str>,
    metrics: Metrics,
    requests: ByWord,
    duration: Seconds,
    failures: ByWord,
    /// Of one that was called as a provider.
    provider: Option<CountedProvider>,
}

#[derive(Debug)]
struct CountedProvider {
    requests: ByWord,
    latency: Seconds,
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
    pub(super) fn new(extension_id: &str, metrics: Metrics) -> Self {
        let label = metrics.extension(extension_id);
        let extension = ExtensionLabel {
            extension_id: Arc::clone(&label),
        };
        Self {
            label,
            requests: ByWord::default(),
            duration: metrics.extension_duration.of(&extension),
            failures: ByWord::default(),
            provider: None,
            metrics,
        }
    }

    pub(super) fn count(&mut self, finished: &Finished) {
        let status = finished.status;
        let seconds = finished.latency.as_secs_f64();
        self.requests.count(status, || {
            let extension_id = Arc::clone(&self.label);
            self.metrics.extension_requests.of(&ExtensionStatus {
                extension_id,
                status,
            })
        });
        self.duration
            .observe(seconds, TraceLabel::of(&finished.trace_id), None);
        if let Some((reason, _)) = finished.failure {
            self.failures.count(reason, || {
                let extension_id = Arc::clone(&self.label);
                self.metrics.extension_failures.of(&ExtensionReason {
                    extension_id,
                    reason,
                })
            });
        }
        if finished.kind == Kind::Provider {
            self.count_provider(finished, seconds);
        }
    }

    /// An answer was taken that will be refused one day.
    pub(super) fn tolerated(&self) {
        let extension_id = Arc::clone(&self.label);
        let label = ExtensionLabel { extension_id };
        self.metrics.answers_tolerated.of(&label).inc();
    }

    fn count_provider(&mut self, finished: &Finished, seconds: f64) {
        let status = finished.status;
        let provider = self
            .provider
            .get_or_insert_with(|| CountedProvider::new(&self.label, &self.metrics));
        provider.requests.count(status, || {
            let provider_id = Arc::clone(&self.label);
            self.metrics.provider_requests.of(&ProviderStatus {
                provider_id,
                status,
            })
        });
        provider
            .latency
            .observe(seconds, TraceLabel::of(&finished.trace_id), None);
        if let Some(tokens) = finished.tokens {
            provider.tokens.inc_by(tokens);
        }
    }
}

impl CountedProvider {
    fn new(label: &Arc<str>, metrics: &Metrics) -> Self {
        let label = ProviderLabel {
            provider_id: Arc::clone(label),
        };
        Self {
            requests: ByWord::default(),
            latency: metrics.provider_latency.of(&label),
            tokens: metrics.provider_tokens.of(&label),
        }
    }
}
