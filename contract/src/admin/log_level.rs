//! What the replicas log.

use serde::{Deserialize, Serialize};

/// Shows the filter of the log of all replicas, or changes it for a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct LogLevel {
    /// As in `telemetry.log_filter`. Absent: nothing is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How long it holds, 1 s to a day. Absent: 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Back to the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogLevelAnswer {
    pub ok: bool,
    pub replicas: Vec<ReplicaLogLevel>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplicaLogLevel {
    pub replica_id: String,
    pub filter: String,
    /// When the configured one is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}
