//! Figures over time, as each replica keeps them in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the replicas served lately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetStats {
    /// How far back, 10 s to 6 h. Absent: 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<u64>,
    /// At most so many steps, 1 to 120; a step has 10 s or a multiple. Absent: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Figures of this tenant alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatsAnswer {
    pub ok: bool,
    pub replicas: Vec<ReplicaStats>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ReplicaStats {
    pub replica_id: String,
    /// How long a step is.
    pub step_ms: u64,
    /// The oldest first. The last one is not over yet.
    pub steps: Vec<StatsStep>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct StatsStep {
    /// When it began, in milliseconds since 1970.
    pub at_ms: u64,
    /// Of a tenant alone, its own.
    pub requests: StatsCount,
    /// Calls by extension. Absent for a tenant alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, StatsCount>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, StatsCount>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct StatsCount {
    pub count: u64,
    /// Of requests, those that were not answered `ok`; of calls, those that failed.
    pub failed: u64,
    /// Of all together.
    pub total_ms: f64,
    pub longest_ms: f64,
}

impl StatsCount {
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.failed += other.failed;
        self.total_ms += other.total_ms;
        self.longest_ms = self.longest_ms.max(other.longest_ms);
    }
}
