//! What happened to single requests, as replicas remember the last ones. Nothing of a message is in
//! it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Requests that a replica remembers at most, besides those that it turned away.
pub const REMEMBERED_REQUESTS: usize = 2_000;

/// The stories of requests, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetRequest {
    /// Its `request_id` or `trace_id`. Absent: the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Only those that were not answered `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<bool>,
    /// Absent: all tenants that the key sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// Of this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    /// That called this extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_id: Option<String>,
    /// `ok`, or the code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// That took so many milliseconds, or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_ms: Option<u64>,
    /// Answered after this moment, in milliseconds since 1970 by the clock of the replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// At most so many, 1 to 100. Absent: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RequestsAnswer {
    pub ok: bool,
    pub requests: Vec<RequestStory>,
    /// The replicas that were heard.
    pub replicas: Vec<String>,
}

/// One request. Times of its parts are milliseconds since it was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RequestStory {
    pub replica_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    pub trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<String>,
    /// Of the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Where it came in: `nats`.
    pub edge: Cow<'static, str>,
    /// `decide` or `route`.
    pub kind: Cow<'static, str>,
    /// `ok`, or the code of the error.
    pub outcome: Cow<'static, str>,
    /// When it was read.
    pub received_at: String,
    /// When it was answered, in milliseconds since 1970.
    pub answered_ms: u64,
    pub duration_ms: f64,
    /// What it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<f64>,
    /// The provider that was chosen last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<RequestProvider>,
    /// Providers of the policy that could not be chosen then, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_chosen: Vec<NotChosen>,
    /// Of a sticky session: `kept` its provider, has a `new` one, or `moved` to another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Cow<'static, str>>,
    /// Guardrails that it went without, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<NotChosen>,
    pub stages: Vec<RequestStage>,
    /// In the order in which they began.
    pub calls: Vec<CalledInRequest>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RequestProvider {
    pub id: String,
    /// `sticky`, `weighted`, `retry` or `fallback`.
    pub reason: Cow<'static, str>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct NotChosen {
    pub id: String,
    pub reason: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RequestStage {
    /// `pre`, `validate`, `provider`, `post` or `output`.
    pub name: Cow<'static, str>,
    pub began_ms: f64,
    pub took_ms: f64,
}

/// One call of an extension, with all its attempts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct CalledInRequest {
    pub stage: Cow<'static, str>,
    pub extension_id: String,
    pub version: String,
    /// The rule that chose this version; absent: it is the extension's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_rule: Option<String>,
    pub began_ms: f64,
    pub took_ms: f64,
    pub status: Cow<'static, str>,
    /// Reason, class and code of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub attempts: Vec<RequestAttempt>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RequestAttempt {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    pub subject: String,
    pub began_ms: f64,
    /// Until it had a place, and a bus.
    pub waited_ms: f64,
    pub took_ms: f64,
    /// False: the breaker, the limit or the router itself ended it.
    pub sent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}
