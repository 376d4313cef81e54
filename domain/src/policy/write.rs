//! The canonical document of a policy, whatever form it was read from.

use std::borrow::Cow;
use std::time::Duration;

use beamline_contract::fields::Fields;
use beamline_contract::policy::{
    BackoffEntry, CircuitBreaker, FallbackEntry, Order, PolicyDocument, ProcessorEntry,
    ProviderEntry, Providers, StickyEntry, ValidatorEntry,
};
use serde_json::value::{RawValue, to_raw_value};

use super::{Backoff, EntryWhen, Fallback, Policy, Processor, Provider, Sticky, Validator, When};

impl Policy {
    /// The document as JSON on one line. Reading it gives an equal policy.
    pub fn to_document(&self) -> String {
        let document = PolicyDocument {
            version: &self.version,
            policy_id: self.policy_id.as_deref(),
            pre: self.pre.iter().map(processor).collect(),
            validators: self.validators.iter().map(validator).collect(),
            providers: providers(self),
            post: self.post.iter().map(processor).collect(),
            output_validators: self.output_validators.iter().map(validator).collect(),
            fallbacks: self.fallbacks.iter().map(fallback).collect(),
            sticky: self.sticky.as_ref().map(sticky),
            circuit_breaker: CircuitBreaker(self.circuit_breaker),
            metadata: Cow::Borrowed(&self.metadata),
            ..PolicyDocument::default()
        };
        serde_json::to_string(&document).unwrap_or_default()
    }
}

fn processor(processor: &Processor) -> ProcessorEntry<'_> {
    ProcessorEntry {
        id: &processor.id,
        mode: processor.mode,
        config: Cow::Borrowed(&processor.config),
        depends_on: processor.depends_on.as_deref(),
        when: processor.terms.when.as_ref().map(EntryWhen::to_raw),
        timeout_ms: processor.terms.timeout.map(millis),
    }
}

fn validator(validator: &Validator) -> ValidatorEntry<'_> {
    ValidatorEntry {
        id: &validator.id,
        on_fail: validator.on_fail,
        config: Cow::Borrowed(&validator.config),
        when: validator.terms.when.as_ref().map(EntryWhen::to_raw),
        timeout_ms: validator.terms.timeout.map(millis),
    }
}

fn providers(policy: &Policy) -> Providers<'_> {
    let providers = policy.providers.iter();
    match policy.order {
        Order::Priority => Providers::Names(providers.map(|p| p.name.as_str()).collect()),
        Order::Weighted => Providers::Weighted(providers.map(provider).collect()),
    }
}

fn provider(provider: &Provider) -> ProviderEntry<'_> {
    ProviderEntry {
        name: &provider.name,
        weight: number(provider.weight),
        config: Cow::Borrowed(&provider.config),
        timeout_ms: provider.timeout.map(millis),
    }
}

/// `70` and `0.7` as people write them, and exactly the same number when read again.
fn number(weight: f64) -> Box<RawValue> {
    let text = if (1e-6..1e15).contains(&weight) || weight == 0.0 {
        weight.to_string()
    } else {
        format!("{weight:e}")
    };
    RawValue::from_string(text).unwrap_or_default()
}

fn fallback(rule: &Fallback) -> FallbackEntry<'_> {
    FallbackEntry {
        when: rule.when.to_fields(),
        retry: rule.retry,
        backoff: (rule.backoff != Backoff::default()).then(|| backoff(&rule.backoff)),
        to: rule.to.as_deref(),
    }
}

fn backoff(backoff: &Backoff) -> BackoffEntry {
    BackoffEntry {
        strategy: backoff.strategy,
        base_ms: millis(backoff.base),
        max_ms: millis(backoff.max),
        jitter: backoff.jitter,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl When {
    /// As it goes into a document.
    pub(super) fn to_fields(&self) -> Fields {
        let mut fields = self.conditions.to_fields();
        let words: Vec<String> = self.status.iter().map(ToString::to_string).collect();
        if let Some(words) = to_raw_value(&words).ok().filter(|_| !words.is_empty()) {
            fields.set("status", words);
        }
        let names = to_raw_value(&self.providers).ok();
        if let Some(names) = names.filter(|_| !self.providers.is_empty()) {
            fields.set("provider", names);
        }
        fields
    }
}

fn sticky(sticky: &Sticky) -> StickyEntry<'_> {
    StickyEntry {
        enabled: true,
        session_key: &sticky.session_key,
        ttl: Cow::Owned(humantime::format_duration(sticky.ttl).to_string()),
        ttl_seconds: None,
    }
}
