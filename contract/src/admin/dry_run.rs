//! What a dry run tells of a pipeline.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::complexity::EstimateSource;
use crate::answer::{DecisionBody, Degradation, ExtensionReport, ProviderChance};
use crate::fields::Fields;
use crate::kind::Kind;
use crate::word::Word;

/// Goes through a pipeline without a gateway, and never calls the provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DryRunPipeline {
    pub tenant_id: String,
    /// Absent: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    /// A document to try instead of the stored one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::policy::PolicyDocument<'static>>")
    )]
    pub policy: Option<Box<RawValue>>,
    /// Of the message; any JSON value.
    pub payload: Box<RawValue>,
    /// Absent: `chat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_type: Option<String>,
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub metadata: Fields,
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub context: Fields,
    /// The time that a request would have; with it, providers that usually take longer are left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Calls pre-processors, validators and post-processors. It needs the role `operator`, or a key
    /// of the tenant with `editor`.
    #[serde(default)]
    pub call_extensions: bool,
    /// What the post-processors get as the provider's output; absent: the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_output: Option<Box<RawValue>>,
}

// `R` is how the result is taken: as it was written, or as a [`DryRunResult`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DryRunAnswer<R = Box<RawValue>> {
    pub ok: bool,
    #[cfg_attr(feature = "schema", schemars(with = "DryRunResult<'static>"))]
    pub result: R,
}

/// Everything that would run, where, with which config, how long it would take, and what would
/// happen if it failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DryRunResult<'a> {
    /// Null when no provider could be chosen; `error` says why.
    #[serde(borrow)]
    pub decision: Option<DecisionBody<'a>>,
    /// Pre-processors and validators.
    #[serde(borrow, default)]
    pub executed_extensions: Vec<ExtensionReport<'a>>,
    /// The extension that ends the request.
    pub blocked_by: Option<String>,
    #[serde(borrow, default = "null")]
    pub final_payload: Cow<'a, RawValue>,
    #[serde(borrow)]
    pub provider_selected: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub post_processors_executed: Vec<ExtensionReport<'a>>,
    #[serde(default)]
    pub called_extensions: bool,
    #[serde(borrow)]
    pub pipeline: PlannedPipeline<'a>,
    pub estimate: LatencyEstimate,
    #[serde(borrow, default)]
    pub degraded: Vec<Degradation<'a>>,
    /// What is allowed, but hardly meant.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What the request would be answered.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub error: Option<DryRunError<'a>>,
}

/// The calls that a policy makes of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlannedPipeline<'a> {
    #[serde(borrow)]
    pub policy_id: Cow<'a, str>,
    #[serde(borrow)]
    pub policy_version: Cow<'a, str>,
    /// Of the registry.
    pub revision: u64,
    /// One list after the other; those of one list run side by side.
    #[serde(borrow)]
    pub pre: Vec<Vec<PlannedStep<'a>>>,
    #[serde(borrow)]
    pub validators: Vec<PlannedStep<'a>>,
    /// How a provider is chosen: `weighted` or `priority`.
    #[serde(borrow)]
    pub order: Cow<'a, str>,
    #[serde(borrow)]
    pub providers: Vec<PlannedProvider<'a>>,
    /// What comes after a failed provider, rule by rule.
    #[serde(default)]
    pub if_the_provider_fails: Vec<String>,
    #[serde(borrow)]
    pub sticky: Option<StickyRule<'a>>,
    #[serde(borrow)]
    pub post: Vec<Vec<PlannedStep<'a>>>,
    /// They judge what the post-processors left.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub output_validators: Vec<PlannedStep<'a>>,
}

/// How long a session stays with its provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StickyRule<'a> {
    #[serde(borrow)]
    pub session_key: Cow<'a, str>,
    pub ttl_ms: f64,
}

/// One extension as it would be called.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlannedStep<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(rename = "type")]
    pub kind: Word<Kind>,
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// The routing rule that chose the version; null for the extension's own.
    pub version_rule: Option<String>,
    #[serde(borrow)]
    pub instance: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<PlannedInstance<'a>>,
    #[serde(borrow, default)]
    pub subject: Cow<'a, str>,
    pub timeout_ms: f64,
    #[serde(default)]
    pub retry: u32,
    #[serde(default)]
    pub config: Cow<'a, Fields>,
    /// Of a processor: `required` or `optional`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Cow<'a, str>>,
    /// Of a validator: `block`, `warn` or `ignore`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<Cow<'a, str>>,
    /// Median of its answers; null before the first.
    pub usual_latency_ms: Option<f64>,
    pub available: bool,
    #[serde(default)]
    pub if_it_fails: String,
}

/// One of the places where the called version runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlannedInstance<'a> {
    #[serde(borrow)]
    pub instance_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub subject: Cow<'a, str>,
    #[serde(default)]
    pub weight: u32,
    pub enabled: bool,
    pub healthy: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlannedProvider<'a> {
    #[serde(borrow, flatten)]
    pub chance: ProviderChance<'a>,
    /// Null when it cannot be called.
    #[serde(borrow)]
    pub call: Option<PlannedStep<'a>>,
}

/// How long a request would take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LatencyEstimate {
    pub extensions_ms: f64,
    /// What the figure for the extensions rests on.
    pub extensions_from: Word<EstimateSource>,
    /// Null when nothing is known of the provider.
    pub provider_ms: Option<f64>,
    pub total_ms: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DryRunError<'a> {
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "crate::error::ErrorCode"))]
    pub code: Cow<'a, str>,
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    #[serde(default)]
    pub details: Cow<'a, Map<String, Value>>,
}

fn null<'a>() -> Cow<'a, RawValue> {
    Cow::Borrowed(RawValue::NULL)
}
