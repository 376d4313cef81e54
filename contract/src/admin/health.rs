//! How extensions have done lately.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetExtensionHealth {
    /// Absent: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

// `E` is how its reader takes an entry: whole, or as it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HealthAnswer<E = ExtensionHealth> {
    pub ok: bool,
    /// By extension.
    pub health: BTreeMap<String, E>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExtensionHealth {
    #[serde(flatten)]
    pub figures: HealthFigures,
    /// Whether it answered the last ping; absent when nobody pings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive: Option<bool>,
    /// Absent before the first call.
    #[serde(flatten)]
    pub places: Option<CallPlaces>,
    /// Each subject that was called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetHealth>,
}

/// Of an extension, or of one of its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HealthFigures {
    /// `healthy`, `degraded`, `unhealthy`, or `unknown` before the first call.
    pub status: Cow<'static, str>,
    /// 0 to 1.
    pub success_rate: Option<f64>,
    /// Calls that the rate is made of.
    #[serde(default)]
    pub requests: u64,
    /// Milliseconds.
    pub latency_p50_ms: Option<f64>,
    pub latency_p95_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
}

/// How many calls of an extension run, and may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallPlaces {
    pub in_flight: u32,
    #[serde(default)]
    pub waiting: u32,
    /// Calls that may run now.
    pub limit: u32,
    /// What the limit may be at most.
    #[serde(default)]
    pub ceiling: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TargetHealth {
    /// Absent when the registry knows the subject no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(default)]
    pub subject: String,
    #[serde(flatten)]
    pub figures: HealthFigures,
}
