//! What will run for a request, decided before the first call, so that a run and an explanation show the same thing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::document::shorten;
use super::error::{ErrorCode, IntakeCode, RequestError};
use super::extension::{Extension, Kind};
use super::fields::Fields;
use super::policy::{Mode, OnFail, Policy, Processor};
use super::snapshot::Snapshot;

/// Everything that may be called for a request under one policy at one revision of the registry.
#[derive(Debug)]
pub struct Plan {
    pub policy_id: String,
    pub policy_version: String,
    pub revision: u64,
    /// Waves of pre-processors; those of one wave run side by side.
    pub pre: Vec<Vec<Arc<PlannedCall>>>,
    pub validators: Vec<Arc<PlannedCall>>,
    pub providers: Vec<Candidate>,
    pub post: Vec<Vec<Arc<PlannedCall>>>,
}

/// One extension as it will be called.
#[derive(Debug, Clone)]
pub struct PlannedCall {
    pub extension: Arc<Extension>,
    pub rule: Rule,
    pub target: Target,
    /// The registry's config overlaid by the policy's.
    pub config: Fields,
}

/// What a failure of the call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Processor(Mode),
    Validator(OnFail),
    Provider,
}

/// Where a call goes, and how long and how often it may try.
#[derive(Debug, Clone)]
pub struct Target {
    pub version: String,
    pub subject: Arc<str>,
    pub timeout: Duration,
    pub retry: u32,
}

/// A provider that the policy names.
#[derive(Debug)]
pub struct Candidate {
    pub name: String,
    pub weight: f64,
    pub choice: Result<Arc<PlannedCall>, Exclusion>,
}

/// Why a provider cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    Unknown,
    Disabled,
    CircuitOpen,
}

impl Exclusion {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "not registered",
            Self::Disabled => "disabled",
            Self::CircuitOpen => "circuit open",
        }
    }
}

/// What a deployment adds to every plan.
#[derive(Debug, Clone)]
pub struct PlanLimits {
    pub subject_prefix: String,
    /// Extensions in one pipeline, the provider counted as one.
    pub max_extensions: usize,
}

impl Plan {
    pub fn new(
        tenant_id: &str,
        policy_id: &str,
        snapshot: &Snapshot,
        limits: &PlanLimits,
    ) -> Result<Self, RequestError> {
        let Some(known) = snapshot.policy(tenant_id, policy_id) else {
            let (policy, tenant) = (shorten(policy_id), shorten(tenant_id));
            if let Some(reason) = snapshot.unreadable_reason(tenant_id, policy_id) {
                let message =
                    format!("Policy {policy} of tenant {tenant} is saved, but this router cannot read it: {reason}.");
                return Err(RequestError::new(ErrorCode::PolicyNotFound, message));
            }
            let message =
                format!("Tenant {tenant} has no policy {policy}; create it with `beamline-router policy put`.");
            return Err(RequestError::new(ErrorCode::PolicyNotFound, message));
        };
        let policy: &Policy = &known.policy;
        if policy.pipeline_length() > limits.max_extensions {
            let (length, most) = (policy.pipeline_length(), limits.max_extensions);
            let message =
                format!("Policy {policy_id} has {length} extensions in its pipeline; at most {most} are allowed.");
            return Err(RequestError::invalid(IntakeCode::SchemaValidationFailed, "/policy_id", message));
        }
        let planner = Planner { snapshot, limits };
        Ok(Self {
            policy_id: policy_id.to_owned(),
            policy_version: policy.version.clone(),
            revision: snapshot.revision(),
            pre: planner.processors(&policy.pre, Kind::Pre)?,
            validators: planner.validators(policy)?,
            providers: planner.providers(policy),
            post: planner.processors(&policy.post, Kind::Post)?,
        })
    }
}

struct Planner<'a> {
    snapshot: &'a Snapshot,
    limits: &'a PlanLimits,
}

impl Planner<'_> {
    fn processors(&self, processors: &[Processor], kind: Kind) -> Result<Vec<Vec<Arc<PlannedCall>>>, RequestError> {
        let mut planned = Vec::new();
        for wave in waves(processors).unwrap_or_default() {
            let entries = wave.into_iter().filter_map(|index| processors.get(index));
            let calls = entries.map(|p| self.required(&p.id, kind, Rule::Processor(p.mode), &p.config));
            planned.push(calls.collect::<Result<_, _>>()?);
        }
        Ok(planned)
    }

    fn validators(&self, policy: &Policy) -> Result<Vec<Arc<PlannedCall>>, RequestError> {
        let plan =
            |v: &super::policy::Validator| self.required(&v.id, Kind::Validator, Rule::Validator(v.on_fail), &v.config);
        policy.validators.iter().map(plan).collect()
    }

    fn providers(&self, policy: &Policy) -> Vec<Candidate> {
        let plan = |provider: &super::policy::Provider| Candidate {
            name: provider.name.clone(),
            weight: provider.weight,
            choice: self.call(&provider.name, Kind::Provider, Rule::Provider, &provider.config),
        };
        policy.providers.iter().map(plan).collect()
    }

    /// A guardrail that the policy names must be there: without it the policy cannot be kept.
    fn required(&self, id: &str, kind: Kind, rule: Rule, config: &Fields) -> Result<Arc<PlannedCall>, RequestError> {
        self.call(id, kind, rule, config).map_err(|exclusion| {
            let message = format!("The policy names the {} {id}, which is {}.", kind.as_str(), exclusion.as_str());
            RequestError::new(ErrorCode::ExtensionNotFound, message).with("extension_id", id)
        })
    }

    fn call(&self, id: &str, kind: Kind, rule: Rule, config: &Fields) -> Result<Arc<PlannedCall>, Exclusion> {
        let extension = self.snapshot.extension(id).filter(|e| e.kind == kind).ok_or(Exclusion::Unknown)?;
        if !extension.enabled {
            return Err(Exclusion::Disabled);
        }
        let mut merged = extension.config.clone();
        merged.overlay(config);
        let target = target(extension, &self.limits.subject_prefix);
        Ok(Arc::new(PlannedCall { extension: Arc::clone(extension), rule, target, config: merged }))
    }
}

/// The version and instance that take the call. One place, so that routing rules and instances have where to go.
fn target(extension: &Extension, prefix: &str) -> Target {
    Target {
        version: extension.version.clone(),
        subject: extension.effective_subject(prefix).into(),
        timeout: Duration::from_millis(extension.timeout_ms),
        retry: extension.retry,
    }
}

/// Groups processors into waves: all of one wave may run at the same time, and a wave starts when the one before it is
/// done. `None` when the dependencies go in a circle. Each wave lists its entries by their position in the policy.
pub fn waves(processors: &[Processor]) -> Option<Vec<Vec<usize>>> {
    let positions: HashMap<&str, usize> = processors.iter().enumerate().map(|(i, p)| (p.id.as_str(), i)).collect();
    let mut levels: Vec<usize> = vec![0; processors.len()];
    // Without a circle the longest chain has one level for each entry, so that many rounds settle everything; entries in
    // their usual order need one round, and another that sees no change.
    for _ in 0..=processors.len() {
        if !raise(processors, &positions, &mut levels) {
            let count = levels.iter().max().map_or(0, |top| top + 1);
            let members = |wave| (0..levels.len()).filter(|i| levels.get(*i) == Some(&wave)).collect();
            return Some((0..count).map(members).collect());
        }
    }
    None
}

/// Puts every entry one level above what must finish before it; false when all were there already.
fn raise(processors: &[Processor], positions: &HashMap<&str, usize>, levels: &mut [usize]) -> bool {
    let (mut changed, mut all_before) = (false, 0);
    for (index, processor) in processors.iter().enumerate() {
        let after = |name: &String| positions.get(name.as_str()).and_then(|i| levels.get(*i)).map(|level| level + 1);
        let level = match &processor.depends_on {
            Some(names) => names.iter().filter_map(after).max().unwrap_or(0),
            None => all_before,
        };
        all_before = all_before.max(level + 1);
        if let Some(known) = levels.get_mut(index).filter(|known| **known != level) {
            *known = level;
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fields::Fields;
    use crate::domain::policy::Mode;

    fn entry(id: &str, depends_on: Option<&[&str]>) -> Processor {
        let depends_on = depends_on.map(|names| names.iter().map(ToString::to_string).collect());
        Processor { id: id.into(), mode: Mode::Optional, config: Fields::default(), depends_on }
    }

    #[test]
    fn entries_run_in_order_unless_they_say_otherwise() {
        assert_eq!(waves(&[]), Some(vec![]));
        assert_eq!(waves(&[entry("a", None), entry("b", None)]), Some(vec![vec![0], vec![1]]));
        assert_eq!(
            waves(&[entry("a", Some(&[])), entry("b", Some(&[])), entry("c", None)]),
            Some(vec![vec![0, 1], vec![2]])
        );
        let list =
            [entry("a", None), entry("b", Some(&["a"])), entry("c", Some(&["a"])), entry("d", Some(&["b", "c"]))];
        assert_eq!(waves(&list), Some(vec![vec![0], vec![1, 2], vec![3]]));
        assert_eq!(waves(&[entry("a", Some(&["a"]))]), None);
    }
}
