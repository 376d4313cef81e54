//! What an extension is, where it listens, and how long it may take.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::breaker::BreakerOverrides;
use super::operator::{BreakerResets, OperatorDecision};
use crate::fields::Fields;
use crate::kind::Kind;
use crate::subject;

/// One extension as the registry holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExtensionRecord {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where it listens; absent means the subject that follows from type, id and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The provider whose program this one is another face of: the same subject, with a config,
    /// limits and breakers of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_of: Option<String>,
    /// The extension whose notes it gets; both are faces of one program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes_of: Option<String>,
    /// What `subject_of` names, as the registry has it. Not part of what is stored.
    #[serde(skip)]
    pub program: Option<Arc<Program>>,
    /// Milliseconds that one attempt may take.
    pub timeout_ms: u64,
    /// Attempts after the first, 0 to 3.
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
    pub instances: Vec<ExtensionInstance>,
    /// Calls of it that may run at a time, whichever version or instance takes them; absent means
    /// what the router grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// Bytes that a call of it may have; what is larger is not sent. Absent means what NATS
    /// carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_payload_bytes: Option<u64>,
    /// Milliseconds that one attempt may take besides, for each MiB of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_per_mib_ms: Option<u64>,
    /// What its breakers go by, where that is not the router's own.
    #[serde(default, skip_serializing_if = "BreakerOverrides::is_empty")]
    pub breaker: BreakerOverrides,
    /// What an operator has decided about its breakers. No part of what people write: an operation
    /// of its own sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_operator: Option<OperatorDecision>,
    /// How often operators have closed its breakers; set like the above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_reset: Option<BreakerResets>,
    /// Of its last change, in answers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Another version of an extension, chosen by its routing rules; what it leaves out it takes from
/// the extension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExtensionInstance {
    pub instance_id: String,
    pub subject: String,
    /// 0 to 100; 0 takes no traffic.
    pub weight: u32,
    pub enabled: bool,
}

/// Where the program of a provider listens.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    pub id: String,
    pub subject: Option<String>,
    pub version: String,
    pub instances: Vec<ExtensionInstance>,
}

impl ExtensionRecord {
    /// The subject that a call goes to. `prefix` is the deployment's subject prefix.
    pub fn effective_subject(&self, prefix: &str) -> String {
        self.subject
            .clone()
            .unwrap_or_else(|| self.derived_subject(&self.version, prefix))
    }

    /// The subject of a version that writes none.
    pub fn derived_subject(&self, version: &str, prefix: &str) -> String {
        let of = |id: &str, version: &str| subject::extension(prefix, self.kind, id, version);
        match (&self.program, &self.subject_of) {
            (Some(program), _) => program
                .subject
                .clone()
                .unwrap_or_else(|| of(&program.id, &program.version)),
            (None, Some(id)) => of(id, version),
            (None, None) => of(&self.id, version),
        }
    }

    /// The extension whose program it is: itself, unless it is another face of one.
    pub fn program_id(&self) -> &str {
        self.subject_of.as_deref().unwrap_or(&self.id)
    }

    /// The places where it runs: those of its program where it has none of its own.
    pub fn places(&self) -> &[ExtensionInstance] {
        match &self.program {
            Some(program) if self.instances.is_empty() => &program.instances,
            Some(_) | None => &self.instances,
        }
    }

    /// Every subject that belongs to it: its own, and those of its versions and instances.
    pub fn subjects(&self, prefix: &str) -> Vec<String> {
        let mut subjects = vec![self.effective_subject(prefix)];
        for version in &self.versions {
            subjects.push(self.version_subject(version, prefix));
        }
        for instance in self.places() {
            subjects.push(instance.subject.clone());
        }
        subjects
    }

    /// True for a provider that the caller of `decide` executes itself (contract section 4).
    pub fn is_external(&self) -> bool {
        self.kind == Kind::Provider && self.metadata.flag("external") == Some(true)
    }

    /// How often operators have closed its breakers.
    pub fn breaker_resets(&self) -> u64 {
        self.breaker_reset.as_ref().map_or(0, |reset| reset.count)
    }

    /// The subject that calls of one of its versions go to.
    pub fn version_subject(&self, version: &ExtensionVersion, prefix: &str) -> String {
        version
            .subject
            .clone()
            .unwrap_or_else(|| self.derived_subject(&version.version, prefix))
    }
}
