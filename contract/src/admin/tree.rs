//! The supervision tree.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::word::Word;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SupervisionTree {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SupervisionTreeAnswer {
    pub ok: bool,
    pub router: RouterStatus,
    /// Null until the router has started.
    pub tree: Option<TreeNode>,
}

/// The router that answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RouterStatus {
    pub instance_id: String,
    pub version: Cow<'static, str>,
    pub environment: String,
    pub uptime_ms: u64,
    /// `running` or `draining`.
    pub status: Cow<'static, str>,
    /// Of the registry.
    pub revision: u64,
    /// Where its snapshot came from.
    pub registry_source: Cow<'static, str>,
    /// For how long it could not be compared with the store; 0 while it can.
    pub stale_seconds: u64,
    /// `none`, or how hard pressed it is.
    pub pressure: Cow<'static, str>,
    /// By how much tasks are late, in milliseconds.
    pub lag_ms: f64,
    /// Part of the memory that it may have, 0 to 1.
    pub memory_used: f64,
}

/// One place in the tree, whichever actor fills it at the moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TreeNode {
    pub name: String,
    #[serde(rename = "type", default)]
    pub kind: Word<NodeKind>,
    /// `starting`, `running`, `draining`, `restarting`, `stopped` or `failed`.
    pub status: Cow<'static, str>,
    #[serde(default)]
    pub uptime_ms: u64,
    #[serde(default)]
    pub restarts: u64,
    #[serde(default)]
    pub restarts_in_window: u64,
    pub last_exit: Option<String>,
    /// Messages sent to the actor that it has not begun to handle.
    #[serde(default)]
    pub queue_depth: u64,
    pub in_flight: Option<u64>,
    /// How many may be in flight.
    pub limit: Option<u64>,
    /// What the limit may be at most, where it follows what comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<u64>,
    /// Those that wait for a place.
    pub waiting: Option<u64>,
    #[serde(default)]
    pub handled: u64,
    pub breaker: Option<NodeBreaker>,
    pub success_rate: Option<f64>,
    /// What somebody tried who may not: answers that were refused as forged, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_events: Option<u64>,
    /// Children beyond those listed.
    #[serde(default)]
    pub omitted_children: u64,
    #[serde(default)]
    pub children: Vec<TreeNode>,
}

/// What a node of the tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    Supervisor,
    #[default]
    Worker,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeBreaker {
    /// What the next call meets.
    pub state: Cow<'static, str>,
    /// The version at which it meets that, unless it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it would meet, had no operator decided otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_state: Option<Cow<'static, str>>,
}
