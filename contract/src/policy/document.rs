//! The document of a policy: every form that is read, and the canonical one that is written.
//!
//! The router's reader takes a document apart by hand, to name all its mistakes at once; these
//! types say what it accepts, for editors, and write the canonical form. `null` counts as absent.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::older::{OlderFallbacks, Step};
use super::{CircuitBreaker, DEFAULT_SESSION_KEY, DEFAULT_VERSION, Mode, OnFail, Strategy};
use crate::fields::Fields;

/// What happens to the messages of a tenant: which extensions run, which provider answers, and what
/// is done when one fails. All forms of a policy are accepted; `beamline-router policy check` also
/// finds what a schema cannot say.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(default, deny_unknown_fields, transform = super::schema::names_a_provider)
)]
pub struct PolicyDocument<'a> {
    /// Where editors find the schema; the router ignores it.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<&'a str>,
    /// Yours to count; answers name it.
    pub version: &'a str,
    /// The name of the policy; one in the document must be the one that it is saved under.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::PolicyId>"))]
    pub policy_id: Option<&'a str>,
    /// Pre-processors, which may change the message before validators see it.
    #[cfg_attr(feature = "schema", schemars(length(max = crate::limits::MAX_ITEMS)))]
    pub pre: Vec<ProcessorEntry<'a>>,
    /// Validators, which run side by side and may block the message.
    #[cfg_attr(feature = "schema", schemars(length(max = crate::limits::MAX_ITEMS)))]
    pub validators: Vec<ValidatorEntry<'a>>,
    /// Who may answer: objects with weights, or names in priority order.
    pub providers: Providers<'a>,
    /// Post-processors, which may change the answer.
    #[cfg_attr(feature = "schema", schemars(length(max = crate::limits::MAX_ITEMS)))]
    pub post: Vec<ProcessorEntry<'a>>,
    /// Validators of what the post-processors left, by the same contract.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = crate::limits::MAX_ITEMS)))]
    pub output_validators: Vec<ValidatorEntry<'a>>,
    /// Rules for failures of a provider, tried in order; the first that matches wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = crate::limits::MAX_RULES)))]
    pub fallbacks: Vec<FallbackEntry<'a>>,
    /// Requests of one session go to one provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickyEntry<'a>>,
    /// What the policy asks of the breakers of its providers.
    #[serde(skip_serializing_if = "CircuitBreaker::is_empty")]
    pub circuit_breaker: CircuitBreaker,
    /// Yours; the router only keeps it.
    #[serde(skip_serializing_if = "is_empty")]
    pub metadata: Cow<'a, Fields>,
    /// The step form: everything in one list, in the order in which it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = crate::limits::MAX_ITEMS)))]
    pub steps: Option<Vec<Step<'a>>>,
    /// The older form: weights by the names of providers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::Weights>"))]
    pub weights: Option<Fields>,
    /// The older form of `fallbacks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<OlderFallbacks<'a>>,
    /// Of older documents: kept, without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub defaults: Option<&'a RawValue>,
    /// Of older documents: kept, without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub escalate_on: Option<&'a RawValue>,
}

impl Default for PolicyDocument<'_> {
    fn default() -> Self {
        Self {
            schema: None,
            version: DEFAULT_VERSION,
            policy_id: None,
            pre: Vec::new(),
            validators: Vec::new(),
            providers: Providers::Weighted(Vec::new()),
            post: Vec::new(),
            output_validators: Vec::new(),
            fallbacks: Vec::new(),
            sticky: None,
            circuit_breaker: CircuitBreaker::default(),
            metadata: Cow::default(),
            steps: None,
            weights: None,
            fallback: None,
            defaults: None,
            escalate_on: None,
        }
    }
}

/// A pre- or post-processor.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct ProcessorEntry<'a> {
    /// The extension.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Id"))]
    pub id: &'a str,
    /// Whether a request fails without it.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub mode: Mode,
    /// Laid over the config of the extension's record, key by key.
    #[serde(skip_serializing_if = "is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub config: Cow<'a, Fields>,
    /// Ids of the same stage that must finish first. Absent: everything listed before. An empty
    /// list: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::Ids>"))]
    pub depends_on: Option<&'a [String]>,
    /// The requests that it is for: keys that must be equal, or JsonLogic. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<super::schema::EntryWhen>")
    )]
    pub when: Option<Box<RawValue>>,
    /// Milliseconds that it may take, no more than its record gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<super::schema::EntryTimeout>")
    )]
    pub timeout_ms: Option<u64>,
}

/// A validator.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct ValidatorEntry<'a> {
    /// The extension.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Id"))]
    pub id: &'a str,
    /// What a rejection, or no answer, means.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub on_fail: OnFail,
    /// Laid over the config of the extension's record, key by key.
    #[serde(skip_serializing_if = "is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub config: Cow<'a, Fields>,
    /// The requests that it is for: keys that must be equal, or JsonLogic. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<super::schema::EntryWhen>")
    )]
    pub when: Option<Box<RawValue>>,
    /// Milliseconds that it may take, no more than its record gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<super::schema::EntryTimeout>")
    )]
    pub timeout_ms: Option<u64>,
}

/// Who may answer, and how one of them is chosen.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Providers<'a> {
    /// By weight.
    Weighted(
        #[cfg_attr(feature = "schema", schemars(length(max = crate::limits::MAX_ITEMS)))]
        Vec<ProviderEntry<'a>>,
    ),
    /// Names, in priority order.
    Names(#[cfg_attr(feature = "schema", schemars(with = "super::schema::Ids"))] Vec<&'a str>),
}

/// A provider with its weight.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct ProviderEntry<'a> {
    /// The provider.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Id"))]
    pub name: &'a str,
    /// Used in proportion to the sum of all; 0 takes no traffic.
    #[cfg_attr(
        feature = "schema",
        schemars(
            with = "f64",
            range(min = 0),
            default = "super::schema::default_weight"
        )
    )]
    pub weight: Box<RawValue>,
    /// Laid over the config of the extension's record, key by key.
    #[serde(skip_serializing_if = "is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub config: Cow<'a, Fields>,
    /// Milliseconds that it may take, no more than its record gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<super::schema::EntryTimeout>")
    )]
    pub timeout_ms: Option<u64>,
}

/// What to do when a provider failed.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(deny_unknown_fields, transform = super::schema::does_something)
)]
pub struct FallbackEntry<'a> {
    /// Which failures of which requests the rule is for; absent means any.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::When>"))]
    pub when: Fields,
    /// Attempts after the first at the provider that failed. Absent: as its record says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(range(
            min = *crate::limits::RULE_RETRIES.start(),
            max = *crate::limits::RULE_RETRIES.end()
        ))
    )]
    pub retry: Option<u32>,
    /// The waits before them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffEntry>,
    /// The provider that takes over then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Id>"))]
    pub to: Option<&'a str>,
}

/// The waits between the attempts of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(default, deny_unknown_fields))]
pub struct BackoffEntry {
    /// How the waits grow.
    pub strategy: Strategy,
    /// The first wait in milliseconds.
    #[cfg_attr(
        feature = "schema",
        schemars(range(
            min = *crate::limits::BACKOFF_BASE_MS.start(),
            max = *crate::limits::BACKOFF_BASE_MS.end()
        ))
    )]
    pub base_ms: u64,
    /// The longest wait in milliseconds, `base_ms` or more.
    #[cfg_attr(
        feature = "schema",
        schemars(range(
            min = *crate::limits::BACKOFF_MAX_MS.start(),
            max = *crate::limits::BACKOFF_MAX_MS.end()
        ))
    )]
    pub max_ms: u64,
    /// A random part of each wait instead of all of it, so that callers do not come back together.
    pub jitter: bool,
}

impl BackoffEntry {
    /// What holds where a rule says nothing.
    pub const DEFAULT: Self = Self {
        strategy: Strategy::Exponential,
        base_ms: 100,
        max_ms: 2_000,
        jitter: true,
    };
}

impl Default for BackoffEntry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Requests of one session go to one provider.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(default, deny_unknown_fields))]
pub struct StickyEntry<'a> {
    /// `false`, and an empty object, switch it off.
    pub enabled: bool,
    /// The context key that names the session.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = crate::limits::MAX_SESSION_KEY))
    )]
    pub session_key: &'a str,
    /// How long a session without a request keeps its provider, from `1s` to `7days`.
    #[cfg_attr(
        feature = "schema",
        schemars(regex(pattern = "[a-zA-Zµ]"), example = "30s", example = "1h 30m")
    )]
    pub ttl: Cow<'a, str>,
    /// The older name of `ttl`, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(range(
            min = *crate::limits::SESSION_SECONDS.start(),
            max = *crate::limits::SESSION_SECONDS.end()
        ))
    )]
    pub ttl_seconds: Option<u64>,
}

impl StickyEntry<'_> {
    /// How long a session keeps its provider where the policy does not say.
    pub const DEFAULT_TTL: &'static str = "10m";
}

impl Default for StickyEntry<'_> {
    fn default() -> Self {
        Self {
            enabled: true,
            session_key: DEFAULT_SESSION_KEY,
            ttl: Self::DEFAULT_TTL.into(),
            ttl_seconds: None,
        }
    }
}

fn is_empty(fields: &Fields) -> bool {
    fields.is_empty()
}
