//! The registry record of an extension (contract section 3).

use serde::{Deserialize, Serialize};

use crate::fields::Fields;

/// One extension as administration shows it, complete, so that it can be written back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryRecord {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where calls go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Milliseconds that one attempt may take.
    pub timeout_ms: u64,
    /// Attempts after the first.
    pub retry: u32,
    pub enabled: bool,
    pub version: String,
    #[serde(default)]
    pub config: Fields,
    #[serde(default)]
    pub metadata: Fields,
    #[serde(default)]
    pub versions: Vec<ExtensionVersion>,
    #[serde(default)]
    pub instances: Vec<Instance>,
    /// Calls of it that may run at a time; absent means what the router grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// What its breakers go by, where that is not the router's own.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub breaker: Fields,
}

/// Another version of an extension, chosen by its routing rules; what it leaves out it takes from the extension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtensionVersion {
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Fields>,
    #[serde(default)]
    pub routing_rules: Fields,
    pub enabled: bool,
}

/// One of several places where the same extension runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub instance_id: String,
    pub subject: String,
    /// 0 to 100; 0 takes no traffic.
    pub weight: u32,
    pub enabled: bool,
}

/// What an extension does in a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Pre,
    Validator,
    Post,
    Provider,
}

impl Kind {
    pub const ALL: [(&'static str, Self); 4] = [
        ("pre", Self::Pre),
        ("validator", Self::Validator),
        ("post", Self::Post),
        ("provider", Self::Provider),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Validator => "validator",
            Self::Post => "post",
            Self::Provider => "provider",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(name, _)| *name == word)
            .map(|(_, kind)| kind)
    }

    /// Milliseconds that one call may take when the record does not say: a guardrail is quick, a model is not. Less than the
    /// usual deadline of a request (30 s), so that another provider can still take over from one that hangs.
    pub fn default_timeout_ms(self) -> u64 {
        match self {
            Self::Pre | Self::Validator | Self::Post => 1_000,
            Self::Provider => 20_000,
        }
    }
}
