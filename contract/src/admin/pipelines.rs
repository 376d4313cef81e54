//! What would happen in a pipeline.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::fields::Fields;

/// Goes through a pipeline without a gateway, and never calls the provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DryRunPipeline {
    pub tenant_id: String,
    /// Absent: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    /// A document to try instead of the stored one.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// The time that a request would have; with it, providers that usually take longer are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Calls pre-processors, validators and post-processors.
    #[serde(default)]
    pub call_extensions: bool,
    /// What the post-processors get as the provider's output; absent: the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_output: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DryRunAnswer {
    pub ok: bool,
    pub result: Box<RawValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetPipelineComplexity {
    pub tenant_id: String,
    pub policy_id: String,
}

/// How long a pipeline is, and what makes it long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComplexityAnswer {
    /// 0 to 100.
    pub complexity_score: f64,
    pub complexity_level: Cow<'static, str>,
    /// Without the provider.
    pub total_extensions: u32,
    #[serde(default)]
    pub pre: u32,
    #[serde(default)]
    pub validators: u32,
    #[serde(default)]
    pub post: u32,
    /// Of all extensions but the provider.
    pub estimated_latency_ms: f64,
    /// What the estimate rests on: `assumption`, `some_measurements` or `measurements`.
    #[serde(default)]
    pub estimate_from: Cow<'static, str>,
    #[serde(default)]
    pub warnings: Vec<String>,
    /// One for each warning.
    #[serde(default)]
    pub recommendations: Vec<String>,
}
