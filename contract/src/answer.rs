//! The answers to a gateway (contract section 1).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::message::MessageBody;
use crate::record::Kind;
use crate::word::Word;

mod words;

pub use words::{DecisionReason, ExtensionStatus};

/// The answer to a request that was decided, and for `route` carried out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DecisionAnswer<'a> {
    /// True.
    #[cfg_attr(feature = "schema", schemars(extend("const" = true)))]
    pub ok: bool,
    #[serde(borrow)]
    pub decision: DecisionBody<'a>,
    /// As the pre-processors left it.
    #[serde(borrow)]
    pub message: MessageBody<'a>,
    /// What the provider answered, as the post-processors left it; absent for `decide`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ProviderResponse<'a>>,
    /// What happened to every extension that the policy configures, in its order.
    #[serde(borrow, default)]
    pub extensions: Vec<ExtensionReport<'a>>,
    /// The attempts at providers, in the order in which they were made.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptReport<'a>>,
    /// What the policy wanted and did not get.
    #[serde(borrow, default)]
    pub degraded: Vec<Degradation<'a>>,
    #[serde(borrow, default)]
    pub context: AnswerContext<'a>,
}

/// The answer to a request that failed. `D` are the details.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(bound(deserialize = "D: Deserialize<'de> + Default"))]
#[cfg_attr(
    feature = "schema",
    schemars(
        rename = "ErrorAnswer",
        bound = "D: schemars::JsonSchema + Default + Serialize"
    )
)]
pub struct ErrorAnswer<'a, D = Map<String, Value>> {
    /// False.
    #[cfg_attr(feature = "schema", schemars(extend("const" = false)))]
    pub ok: bool,
    #[serde(borrow)]
    pub error: ErrorBody<'a, D>,
    /// Absent when the request never had a plan.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<ExtensionReport<'a>>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptReport<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Vec<Degradation<'a>>>,
    #[serde(borrow)]
    pub context: AnswerContext<'a>,
}

/// `error` of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(
        rename = "ErrorBody",
        bound = "D: schemars::JsonSchema + Default + Serialize"
    )
)]
pub struct ErrorBody<'a, D = Map<String, Value>> {
    /// An [`ErrorCode`](crate::error::ErrorCode), or one that a newer router knows.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "crate::error::ErrorCode"))]
    pub code: Cow<'a, str>,
    /// A sentence for people.
    #[serde(borrow, default)]
    pub message: Cow<'a, str>,
    /// An [`IntakeCode`](crate::error::IntakeCode).
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::error::IntakeCode>")
    )]
    pub intake_error_code: Option<Cow<'a, str>>,
    #[serde(default)]
    pub details: D,
}

/// `decision` of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DecisionBody<'a> {
    #[serde(borrow)]
    pub provider_id: Cow<'a, str>,
    /// Why it is this one.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "DecisionReason"))]
    pub reason: Cow<'a, str>,
    #[serde(default)]
    pub priority: u32,
    #[serde(borrow, default)]
    pub policy_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub policy_version: Cow<'a, str>,
    /// Milliseconds.
    #[serde(default)]
    pub expected_latency_ms: f64,
    #[serde(default)]
    pub expected_cost: f64,
    /// Of the provider's record.
    #[serde(default)]
    pub metadata: Cow<'a, Fields>,
    #[serde(borrow, default)]
    pub explanation: Explanation<'a>,
}

/// Why a request went the way it went. How much of it there is, `context.detail_level` of the
/// request says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Explanation<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub context: Option<ExplanationContext<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub places: Option<Vec<CallPlace<'a>>>,
    #[serde(borrow)]
    pub policy_id: Cow<'a, str>,
    #[serde(borrow)]
    pub policy_version: Cow<'a, str>,
    pub priority: u32,
    #[serde(borrow)]
    pub provider_id: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<ProviderChance<'a>>>,
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "DecisionReason"))]
    pub reason: Cow<'a, str>,
    /// Of the registry; with what follows only for `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Numbered sentences; from `detailed` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<String>>,
    /// Where the chosen provider listens.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
}

/// `context` of an explanation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ExplanationContext<'a> {
    #[serde(borrow)]
    pub tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    pub trace_id: Cow<'a, str>,
}

/// A provider as the choice saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProviderChance<'a> {
    #[serde(borrow)]
    pub provider_id: Cow<'a, str>,
    pub weight: f64,
    /// Part of the requests that it gets as things are, 0 to 1.
    pub share: f64,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Cow<'a, str>>,
    /// Only a fallback rule names it.
    #[serde(default)]
    pub fallback_only: bool,
}

/// Where a call goes, and how long it may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallPlace<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub instance: Option<Cow<'a, str>>,
    pub retry: u32,
    /// The routing rule that chose the version; null for the extension's own.
    pub rule: Option<String>,
    #[serde(borrow)]
    pub subjects: Vec<Cow<'a, str>>,
    pub timeout_ms: f64,
    #[serde(rename = "type")]
    pub kind: Word<Kind>,
    #[serde(borrow)]
    pub version: Cow<'a, str>,
}

/// `response` of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProviderResponse<'a> {
    #[serde(borrow)]
    pub provider_id: Cow<'a, str>,
    #[serde(borrow)]
    pub output: Cow<'a, RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Cow<'a, RawValue>>,
    #[serde(default)]
    pub metadata: Cow<'a, Fields>,
}

/// A line of `extensions`: what happened to one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExtensionReport<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(rename = "type")]
    pub kind: Word<Kind>,
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Cow<'a, str>>,
    /// How its last attempt ended.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "ExtensionStatus"))]
    pub status: Cow<'a, str>,
    /// Milliseconds, all attempts together.
    #[serde(default)]
    pub latency_ms: f64,
    #[serde(default)]
    pub attempts: u32,
}

/// A line of `attempts`: one attempt at a provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AttemptReport<'a> {
    #[serde(borrow)]
    pub provider_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "DecisionReason"))]
    pub reason: Cow<'a, str>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "ExtensionStatus"))]
    pub status: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<Cow<'a, str>>,
    /// What kind of failure it was.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::failure::FailureKind>")
    )]
    pub class: Option<Cow<'a, str>>,
    /// The code that the provider gave.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
    /// The position of the fallback rule that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// Milliseconds that passed before it.
    #[serde(default)]
    pub waited_ms: f64,
    #[serde(default)]
    pub latency_ms: f64,
}

/// A line of `degraded`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Degradation<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub reason: Cow<'a, str>,
}

/// `context` of an answer: what matches it with its request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct AnswerContext<'a> {
    /// Null when it could not be read.
    #[serde(borrow)]
    pub request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub trace_id: Cow<'a, str>,
}
