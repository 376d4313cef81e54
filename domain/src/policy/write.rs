//! The canonical document of a policy, whatever form it was read from.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Backoff, Fallback, Policy, Processor, Sticky, Validator, When};
use beamline_contract::fields::Fields;
use beamline_contract::policy::{Mode, OnFail, Order, Strategy};
use beamline_contract::record::BreakerOverrides;

impl Policy {
    /// The document as JSON on one line. Reading it gives an equal policy.
    pub fn to_document(&self) -> String {
        let document = Document {
            version: &self.version,
            policy_id: self.policy_id.as_deref(),
            pre: self.pre.iter().map(ProcessorEntry::of).collect(),
            validators: self.validators.iter().map(ValidatorEntry::of).collect(),
            providers: Providers::of(self),
            post: self.post.iter().map(ProcessorEntry::of).collect(),
            fallbacks: self.fallbacks.iter().map(Rule::of).collect(),
            sticky: self.sticky.as_ref().map(StickyEntry::of),
            circuit_breaker: breaker(&self.circuit_breaker),
            metadata: &self.metadata,
        };
        serde_json::to_string(&document).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_id: Option<&'a str>,
    pre: Vec<ProcessorEntry<'a>>,
    validators: Vec<ValidatorEntry<'a>>,
    providers: Providers<'a>,
    post: Vec<ProcessorEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fallbacks: Vec<Rule<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sticky: Option<StickyEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit_breaker: Option<BTreeMap<&'static str, u32>>,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    metadata: &'a Fields,
}

#[derive(Serialize)]
struct ProcessorEntry<'a> {
    id: &'a str,
    mode: Mode,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    config: &'a Fields,
    #[serde(skip_serializing_if = "Option::is_none")]
    depends_on: Option<&'a [String]>,
}

impl<'a> ProcessorEntry<'a> {
    fn of(processor: &'a Processor) -> Self {
        let Processor {
            id,
            mode,
            config,
            depends_on,
        } = processor;
        Self {
            id,
            mode: *mode,
            config,
            depends_on: depends_on.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct ValidatorEntry<'a> {
    id: &'a str,
    on_fail: OnFail,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    config: &'a Fields,
}

impl<'a> ValidatorEntry<'a> {
    fn of(validator: &'a Validator) -> Self {
        Self {
            id: &validator.id,
            on_fail: validator.on_fail,
            config: &validator.config,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Providers<'a> {
    Names(Vec<&'a str>),
    Weighted(Vec<ProviderEntry<'a>>),
}

#[derive(Serialize)]
struct ProviderEntry<'a> {
    name: &'a str,
    weight: Box<RawValue>,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    config: &'a Fields,
}

impl<'a> Providers<'a> {
    fn of(policy: &'a Policy) -> Self {
        let entry = |provider: &'a super::Provider| ProviderEntry {
            name: &provider.name,
            weight: number(provider.weight),
            config: &provider.config,
        };
        match policy.order {
            Order::Priority => Self::Names(
                policy
                    .providers
                    .iter()
                    .map(|provider| provider.name.as_str())
                    .collect(),
            ),
            Order::Weighted => Self::Weighted(policy.providers.iter().map(entry).collect()),
        }
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

#[derive(Serialize)]
struct Rule<'a> {
    #[serde(skip_serializing_if = "Fields::is_empty")]
    when: Fields,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<BackoffEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
}

#[derive(Serialize)]
struct BackoffEntry {
    strategy: Strategy,
    base_ms: u128,
    max_ms: u128,
    jitter: bool,
}

impl<'a> Rule<'a> {
    fn of(rule: &'a Fallback) -> Self {
        let Backoff {
            strategy,
            base,
            max,
            jitter,
        } = rule.backoff;
        let entry = BackoffEntry {
            strategy,
            base_ms: base.as_millis(),
            max_ms: max.as_millis(),
            jitter,
        };
        let backoff = (rule.backoff != Backoff::default()).then_some(entry);
        Self {
            when: rule.when.to_fields(),
            retry: rule.retry,
            backoff,
            to: rule.to.as_deref(),
        }
    }
}

impl When {
    /// As it goes into a document.
    pub(super) fn to_fields(&self) -> Fields {
        let mut fields = self.conditions.to_fields();
        let words: Vec<String> = self.status.iter().map(ToString::to_string).collect();
        if let Some(words) = to_raw_value(&words).ok().filter(|_| !words.is_empty()) {
            fields.set("status", words);
        }
        fields
    }
}

#[derive(Serialize)]
struct StickyEntry<'a> {
    enabled: bool,
    session_key: &'a str,
    ttl: String,
}

impl<'a> StickyEntry<'a> {
    fn of(sticky: &'a Sticky) -> Self {
        let ttl = humantime::format_duration(sticky.ttl).to_string();
        Self {
            enabled: true,
            session_key: &sticky.session_key,
            ttl,
        }
    }
}

fn breaker(overrides: &BreakerOverrides) -> Option<BTreeMap<&'static str, u32>> {
    let numbers: BTreeMap<&'static str, u32> = overrides
        .numbers()
        .map(|(setting, number)| (setting.policy_name(), number))
        .collect();
    (!numbers.is_empty()).then_some(numbers)
}
