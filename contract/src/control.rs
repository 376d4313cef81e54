//! What the replicas of a router tell and ask each other, on the control subjects.

use serde::{Deserialize, Serialize};

use crate::admin::{GetRequest, LogLevel, RequestStory};

/// The last tokens of the control subjects.
pub const BREAKER: &str = "breaker";
pub const BREAKERS: &str = "breakers";
pub const REQUESTS: &str = "requests";
pub const STATS: &str = "stats";
pub const LOG_LEVEL: &str = "log_level";

/// On [`BREAKER`]: a breaker has changed its state. Times are durations: clocks need not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerHint {
    pub replica_id: String,
    pub extension_id: String,
    /// The target.
    pub subject: String,
    /// `closed`, `open` or `half_open`.
    pub state: String,
    pub generation: u64,
    /// What is left of the open time; 0 when it is not open.
    #[serde(default)]
    pub open_for_ms: u64,
    /// What the failure was about that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

/// On [`BREAKERS`]: a question to all replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakersQuestion {
    /// Absent: everything that is not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_id: Option<String>,
}

/// What one replica answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    pub replica_id: String,
    /// Of the registry, as far as it has it.
    pub revision: u64,
    pub breakers: Vec<BreakerStatus>,
    /// Breakers beyond those listed.
    #[serde(default)]
    pub omitted: u64,
}

/// The breakers of an extension as one, or that of one of its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerStatus {
    pub extension_id: String,
    /// The target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What the next call meets there: `closed`, `open` or `half_open`.
    pub state: String,
    /// The operators' resets that it has followed.
    #[serde(default)]
    pub resets: u64,
}

/// On [`LOG_LEVEL`]: a question to all replicas; each answers with its filter after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevelQuestion {
    #[serde(flatten)]
    pub level: LogLevel,
    /// The id of the key that asks for it.
    #[serde(default)]
    pub by: String,
}

/// On [`REQUESTS`]: a question to all replicas.
pub type RequestsQuestion = GetRequest;

/// What one replica answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaRequests {
    pub replica_id: String,
    pub requests: Vec<RequestStory>,
}
