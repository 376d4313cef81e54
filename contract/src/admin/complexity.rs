//! How complex a pipeline is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::word::Word;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetPipelineComplexity {
    pub tenant_id: String,
    pub policy_id: String,
}

/// How long a pipeline is, and what makes it long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ComplexityAnswer {
    /// 0 to 100.
    pub complexity_score: f64,
    /// `low`, `medium`, `high` or `very_high`.
    pub complexity_level: Cow<'static, str>,
    /// Without the provider.
    #[serde(default)]
    pub total_extensions: u32,
    #[serde(default)]
    pub pre: u32,
    #[serde(default)]
    pub validators: u32,
    #[serde(default)]
    pub post: u32,
    /// Of all extensions but the provider.
    pub estimated_latency_ms: f64,
    #[serde(default)]
    pub estimate_from: Word<EstimateSource>,
    #[serde(default)]
    pub warnings: Vec<String>,
    /// One for each warning.
    #[serde(default)]
    pub recommendations: Vec<String>,
}

/// What an estimate rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EstimateSource {
    /// No extension of the pipeline was called yet.
    #[default]
    Assumption,
    /// Some were; the assumption stands for the others.
    SomeMeasurements,
    Measurements,
}

impl EstimateSource {
    /// In words, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Assumption => "assumed, nothing was called yet",
            Self::SomeMeasurements => "measured where known, assumed otherwise",
            Self::Measurements => "measured",
        }
    }
}

impl Word<EstimateSource> {
    /// In words, for people; what this version does not know, as it was written.
    pub fn describe(&self) -> &str {
        match self {
            Self::Known(source) => source.describe(),
            Self::Other(word) => word,
        }
    }
}
