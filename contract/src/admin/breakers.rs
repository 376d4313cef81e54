//! The circuit breakers, and what an operator decides about them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

#[cfg(feature = "schema")]
use crate::limits::{DECISION_MS, MAX_REASON};
use crate::record::OperatorState;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetCircuitBreakerStates {
    /// Absent: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Asks all replicas, and counts where they are open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<bool>,
}

/// Sets or ends an operator's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields, transform = says_why))]
pub struct SetBreaker {
    /// Of the extension.
    pub id: String,
    /// `disabled`, `forced_open`, `metrics_only`, or `normal` to end a decision.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = SetBreaker::STATES)))]
    pub state: Cow<'static, str>,
    /// How long it holds. Absent: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = *DECISION_MS.start(), max = *DECISION_MS.end())))]
    pub for_ms: Option<u64>,
    /// For whoever finds it like this, in at most 500 bytes; a decision needs one.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_REASON)))]
    pub reason: String,
}

impl SetBreaker {
    /// The state that ends a decision: as the breaker itself finds.
    pub const NORMAL: &'static str = "normal";
    pub const STATES: [&'static str; 4] = [
        Self::NORMAL,
        OperatorState::Disabled.as_str(),
        OperatorState::ForcedOpen.as_str(),
        OperatorState::MetricsOnly.as_str(),
    ];
}

/// Whoever decides says why; whoever ends a decision need not.
#[cfg(feature = "schema")]
fn says_why(schema: &mut schemars::Schema) {
    let ends = serde_json::json!({"properties": {"state": {"const": SetBreaker::NORMAL}}});
    let has_a_reason =
        serde_json::json!({"required": ["reason"], "properties": {"reason": {"pattern": "\\S"}}});
    schema.insert("anyOf".into(), vec![ends, has_a_reason].into());
}

/// Closes the breakers of an extension, and ends an operator's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct ResetBreaker {
    /// Of the extension.
    pub id: String,
    /// For whoever looks at it later, in at most 500 bytes.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_REASON)))]
    pub reason: String,
}

// `E` is how its reader takes an entry: whole, or as it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BreakerStatesAnswer<E = ExtensionBreakers> {
    pub ok: bool,
    /// By extension.
    pub states: BTreeMap<String, E>,
    /// Those that answered, when they were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Vec<ReplicaSeen>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExtensionBreakers {
    #[serde(flatten)]
    pub breaker: ShownBreaker,
    /// What its record makes of the defaults, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
    /// By version, of those that were called; the targets of each as one.
    #[serde(default, deserialize_with = "readable_parts")]
    pub versions: BTreeMap<String, PartBreaker>,
    /// By tenant: those that are kept back by what they alone have met, the worst of them.
    #[serde(default, deserialize_with = "readable_parts")]
    pub tenants: BTreeMap<String, PartBreaker>,
    /// When each tenant has breakers of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants_counted: Option<TenantsCounted>,
    /// Each subject that was called, when there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetBreaker>,
    /// When all replicas were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetBreakers>,
}

/// Of an extension, or of one of its targets. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShownBreaker {
    /// What the next call meets: `closed`, `open` or `half_open`. Of an extension with several
    /// versions, the worst that it may meet.
    pub state: Cow<'static, str>,
    /// Null when it is closed.
    pub opened_at: Option<String>,
    /// In a row.
    #[serde(default)]
    pub failure_count: u64,
    /// 0 to 1.
    #[serde(default)]
    pub error_rate: f64,
    /// The end of the open time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Why it opened the last time: a sentence, and its word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<Cow<'static, str>>,
    /// The class of the failure that opened it the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::failure::FailureKind>")
    )]
    pub class: Option<Cow<'static, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_opened_at: Option<String>,
    /// Another replica's is open: until then, fewer failures open this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect_until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<ShownDecision>,
    /// What the next call would meet, had no operator decided otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_state: Option<Cow<'static, str>>,
}

/// What an operator has decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShownDecision {
    /// `disabled`, `forced_open` or `metrics_only`.
    pub state: Cow<'static, str>,
    /// RFC 3339.
    pub until: String,
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TargetBreaker {
    /// Absent when the registry knows the subject no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    pub subject: String,
    #[serde(flatten)]
    pub breaker: ShownBreaker,
}

/// Breakers of tenants, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TenantsCounted {
    /// Tenants that have called lately.
    pub known: usize,
    pub open: usize,
    pub half_open: usize,
}

/// Of one version, or of the calls of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PartBreaker {
    /// What the next call meets there.
    pub state: Cow<'static, str>,
    /// In a row.
    #[serde(default)]
    pub failure_count: u64,
    /// Why it opened the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The class of the failure that opened it the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<crate::failure::FailureKind>")
    )]
    pub class: Option<Cow<'static, str>>,
    /// The end of the open time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// An older router says something else under the same name; that is passed over.
fn readable_parts<'de, D: Deserializer<'de>>(
    json: D,
) -> Result<BTreeMap<String, PartBreaker>, D::Error> {
    let parts = BTreeMap::<String, Value>::deserialize(json)?;
    let read = |(name, part)| Some((name, serde_json::from_value(part).ok()?));
    Ok(parts.into_iter().filter_map(read).collect())
}

/// The breakers of one extension on all replicas that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FleetBreakers {
    /// Replicas that answered.
    pub replicas: usize,
    /// Of the extension as a whole.
    #[serde(flatten)]
    pub count: FleetCount,
    /// Targets that are not closed everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<BTreeMap<String, FleetCount>>,
}

/// On how many replicas a breaker is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FleetCount {
    pub open: usize,
    pub half_open: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplicaSeen {
    pub replica_id: String,
    /// Of the registry, as far as it has it.
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BreakerSet {
    pub ok: bool,
    pub revision: u64,
    /// Of the extension.
    pub id: String,
    /// What was set.
    pub state: Cow<'static, str>,
    /// Null when a decision was ended.
    pub operator: Option<ShownDecision>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BreakerReset {
    pub ok: bool,
    pub revision: u64,
    pub id: String,
    /// How often operators have closed these breakers, with this time.
    pub resets: u64,
    pub replicas: ReplicasReset,
}

/// How many replicas answered, and how many of them have closed their breakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplicasReset {
    pub answered: usize,
    pub closed: usize,
}
