//! What would happen in a pipeline.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

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
