//! What an operator has decided about the breakers of an extension, until when, and why.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::time::{read_time, write_time};

/// What holds instead of what the breaker measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OperatorState {
    /// Every call goes; its outcome is counted, and opens nothing.
    Disabled,
    /// No call goes.
    ForcedOpen,
    /// Every call goes, and the breaker shows what it would have done: for trying out settings.
    MetricsOnly,
}

impl OperatorState {
    pub const WORDS: [(&'static str, Self); 3] = [
        ("disabled", Self::Disabled),
        ("forced_open", Self::ForcedOpen),
        ("metrics_only", Self::MetricsOnly),
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::ForcedOpen => "forced_open",
            Self::MetricsOnly => "metrics_only",
        }
    }
}

/// An operator's decision. It ends by the wall clock, because that is what all replicas and their
/// restarts share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OperatorDecision {
    pub state: OperatorState,
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Moment"))]
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub until: SystemTime,
    pub reason: String,
}

impl OperatorDecision {
    /// How long a decision holds when nobody says.
    pub const DEFAULT_TIME: Duration = Duration::from_secs(3_600);

    /// The time that it holds still; `None` when it is over.
    pub fn left(&self, wall: SystemTime) -> Option<Duration> {
        self.until
            .duration_since(wall)
            .ok()
            .filter(|left| !left.is_zero())
    }
}

/// How often operators have closed the breakers of an extension. It only rises while the extension
/// is registered, so that a replica that was away for some of the times still knows that there was
/// one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BreakerResets {
    pub count: u64,
    /// Why they were closed the last time.
    #[serde(default)]
    pub reason: String,
}
