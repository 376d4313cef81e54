//! What will run for a request, decided before the first call, so that a run, a dry run and an
//! explanation show the same thing.

use std::sync::Arc;
use std::time::Duration;

use crate::conditions::Facts;
use crate::document::shorten;
use crate::policy::waves::waves;
use crate::policy::{EntryWhen, Policy, Processor, Provider, Terms, Validator};
use crate::record::Route;
use crate::request::error::RequestError;
use crate::request::failure::FailureClass;
use crate::snapshot::{KnownExtension, Snapshot};
use crate::target::breaker;
use crate::target::selection::{self, ChoiceContext};
use beamline_contract::details::EXTENSION_ID;
use beamline_contract::error::{ErrorCode, IntakeCode};
use beamline_contract::failure::FailureKind;
use beamline_contract::fields::Fields;
use beamline_contract::policy::{Mode, OnFail};
use beamline_contract::record::{ExtensionInstance, ExtensionRecord, Kind};

/// Everything that may be called for a request under one policy at one revision of the registry.
#[derive(Debug)]
pub struct Plan {
    pub policy: Arc<Policy>,
    pub policy_id: Arc<str>,
    pub revision: u64,
    /// Waves of pre-processors; those of one wave run side by side.
    pub pre: Vec<Vec<Arc<PlannedCall>>>,
    pub validators: Vec<Arc<PlannedCall>>,
    /// The policy's providers, and after them those that only a fallback rule names.
    pub providers: Vec<Candidate>,
    pub post: Vec<Vec<Arc<PlannedCall>>>,
    /// They judge what the post-processors left.
    pub output_validators: Vec<Arc<PlannedCall>>,
}

/// One extension as it will be called.
#[derive(Debug, Clone)]
pub struct PlannedCall {
    pub extension: Arc<ExtensionRecord>,
    pub rule: Rule,
    pub target: Target,
    /// The version that a routing rule chose; `None`: the extension's own.
    pub route: Option<Arc<Route>>,
    /// The registry's config overlaid by the version's, overlaid by the policy's.
    pub config: Arc<Fields>,
    /// The requests that it is called for; `None`: all.
    pub when: Option<EntryWhen>,
}

/// What a policy says of one extension that it names.
struct Named<'p> {
    id: &'p str,
    kind: Kind,
    rule: Rule,
    config: &'p Fields,
    terms: Terms,
}

const MIB: f64 = 1024.0 * 1024.0;

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
    pub version: Arc<str>,
    /// The first takes the call, the others its retries; never empty.
    pub endpoints: Vec<Endpoint>,
    /// Instances, at the end of `endpoints`, that were avoided because they are unhealthy.
    pub avoided: usize,
    pub timeout: Duration,
    /// What an attempt may take besides, for each MiB of its body.
    pub per_mib: Duration,
    pub retry: u32,
    /// What its breaker goes by.
    pub breaker: breaker::Settings,
}

/// Where a version, or one instance of it, listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub subject: Arc<str>,
    /// The instance, when the extension has several.
    pub instance: Option<Arc<str>>,
}

/// A provider that the policy names.
#[derive(Debug)]
pub struct Candidate {
    pub name: String,
    pub weight: f64,
    /// False when only a fallback rule names it.
    pub listed: bool,
    pub choice: Result<Arc<PlannedCall>, Exclusion>,
}

impl Candidate {
    /// Whose program it is a face of, where it can be called.
    pub fn program_id(&self) -> Option<&str> {
        let call = self.choice.as_ref().ok()?;
        Some(call.extension.program_id())
    }
}

/// Why a provider cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    Unknown,
    Disabled,
    /// For this long, because of failures of this kind where that is known.
    CircuitOpen(Duration, Option<FailureKind>),
    /// It asked to be left alone for this long.
    AskedToWait(Duration),
    /// The time left is less than its answers usually take.
    TooSlow(Duration),
}

impl Exclusion {
    /// How a rule sees a provider that is kept back for what it did before; `None`: it is left out
    /// for another reason.
    pub fn class(self) -> Option<FailureClass> {
        match self {
            Self::CircuitOpen(_, kind) => Some(FailureClass::kept_back_by(kind, true)),
            Self::AskedToWait(_) => Some(FailureClass::left_alone()),
            Self::Unknown | Self::Disabled | Self::TooSlow(_) => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "not registered",
            Self::Disabled => "disabled",
            Self::CircuitOpen(..) => "circuit open",
            Self::AskedToWait(_) => "asked to be left alone for a while",
            Self::TooSlow(_) => "deadline too short for its usual latency",
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

impl<'p> Named<'p> {
    fn provider(name: &'p str, config: &'p Fields, timeout: Option<Duration>) -> Self {
        Self {
            id: name,
            kind: Kind::Provider,
            rule: Rule::Provider,
            config,
            terms: Terms {
                when: None,
                timeout,
            },
        }
    }
}

impl Target {
    /// Endpoints take turns: a retry goes elsewhere where there is a choice.
    pub fn endpoint(&self, turn: usize) -> Option<&Endpoint> {
        self.endpoints.get(turn.checked_rem(self.endpoints.len())?)
    }
}

impl PlannedCall {
    pub fn id(&self) -> &str {
        &self.extension.id
    }

    /// The instance at the endpoint of this position, when the extension has several.
    pub fn instance(&self, endpoint: usize) -> Option<&str> {
        self.target.endpoints.get(endpoint)?.instance.as_deref()
    }
}

impl Plan {
    /// Plans the tenant's stored policy.
    pub fn new(
        facts: &Facts<'_>,
        snapshot: &Snapshot,
        limits: &PlanLimits,
        choice: &mut ChoiceContext<'_>,
    ) -> Result<Self, RequestError> {
        let Some(known) = snapshot.policy(facts.tenant_id, facts.policy_id) else {
            return Err(no_policy(facts, snapshot));
        };
        Self::of_policy(Arc::clone(&known.policy), facts, snapshot, limits, choice)
    }

    /// Plans a policy that need not be stored.
    pub fn of_policy(
        policy: Arc<Policy>,
        facts: &Facts<'_>,
        snapshot: &Snapshot,
        limits: &PlanLimits,
        choice: &mut ChoiceContext<'_>,
    ) -> Result<Self, RequestError> {
        let length = policy.pipeline_length();
        let most = limits.max_extensions;
        let policy_id = facts.policy_id;
        if length > most {
            let message = format!(
                "Policy {policy_id} has {length} extensions in its pipeline; at most {most} are allowed."
            );
            return Err(RequestError::invalid(
                IntakeCode::SchemaValidationFailed,
                "/policy_id",
                message,
            ));
        }
        let mut planner = Planner {
            snapshot,
            limits,
            facts,
            policy: &policy,
            choice,
        };
        let pre = planner.processors(&policy.pre, Kind::Pre)?;
        let validators = planner.validators(&policy.validators)?;
        let providers = planner.providers();
        let post = planner.processors(&policy.post, Kind::Post)?;
        let output_validators = planner.validators(&policy.output_validators)?;
        let policy_id = policy_id.into();
        let revision = snapshot.revision();
        Ok(Self {
            policy_id,
            revision,
            pre,
            validators,
            providers,
            post,
            output_validators,
            policy,
        })
    }

    /// Every guardrail in the order of its stage.
    pub fn guardrails(&self) -> impl Iterator<Item = &Arc<PlannedCall>> {
        self.before_provider().chain(self.after_provider())
    }

    /// Pre-processors and validators.
    pub fn before_provider(&self) -> impl Iterator<Item = &Arc<PlannedCall>> {
        self.pre.iter().flatten().chain(&self.validators)
    }

    /// Post-processors and the validators of the output.
    pub fn after_provider(&self) -> impl Iterator<Item = &Arc<PlannedCall>> {
        self.post.iter().flatten().chain(&self.output_validators)
    }
}

fn no_policy(facts: &Facts<'_>, snapshot: &Snapshot) -> RequestError {
    let policy = shorten(facts.policy_id);
    let tenant = shorten(facts.tenant_id);
    let message = match snapshot.unreadable_reason(facts.tenant_id, facts.policy_id) {
        Some(reason) => {
            format!(
                "Policy {policy} of tenant {tenant} is saved, but this router cannot read it: {reason}."
            )
        }
        None => format!(
            "Tenant {tenant} has no policy {policy}; create it with `beamline-router policy put`."
        ),
    };
    RequestError::new(ErrorCode::PolicyNotFound, message)
}

struct Planner<'a, 'o> {
    snapshot: &'a Snapshot,
    limits: &'a PlanLimits,
    facts: &'a Facts<'a>,
    policy: &'a Policy,
    choice: &'a mut ChoiceContext<'o>,
}

impl Planner<'_, '_> {
    fn processors(
        &mut self,
        processors: &[Processor],
        kind: Kind,
    ) -> Result<Vec<Vec<Arc<PlannedCall>>>, RequestError> {
        let mut planned = Vec::new();
        for wave in waves(processors).unwrap_or_default() {
            let entries = wave.into_iter().filter_map(|index| processors.get(index));
            let calls = entries.map(|entry| {
                self.required(Named {
                    id: &entry.id,
                    kind,
                    rule: Rule::Processor(entry.mode),
                    config: &entry.config,
                    terms: entry.terms.clone(),
                })
            });
            planned.push(calls.collect::<Result<_, _>>()?);
        }
        Ok(planned)
    }

    fn validators(
        &mut self,
        validators: &[Validator],
    ) -> Result<Vec<Arc<PlannedCall>>, RequestError> {
        let plan = |entry: &Validator| {
            self.required(Named {
                id: &entry.id,
                kind: Kind::Validator,
                rule: Rule::Validator(entry.on_fail),
                config: &entry.config,
                terms: entry.terms.clone(),
            })
        };
        validators.iter().map(plan).collect()
    }

    fn providers(&mut self) -> Vec<Candidate> {
        let policy = self.policy;
        let mut candidates: Vec<Candidate> = Vec::with_capacity(policy.providers.len());
        for Provider {
            name,
            weight,
            config,
            timeout,
        } in &policy.providers
        {
            let choice = self.call(Named::provider(name, config, *timeout));
            candidates.push(Candidate {
                name: name.clone(),
                weight: *weight,
                listed: true,
                choice,
            });
        }
        for name in policy.fallbacks.iter().filter_map(|rule| rule.to.as_ref()) {
            if candidates.iter().all(|known| known.name != *name) {
                let choice = self.call(Named::provider(name, &Fields::default(), None));
                candidates.push(Candidate {
                    name: name.clone(),
                    weight: 0.0,
                    listed: false,
                    choice,
                });
            }
        }
        candidates
    }

    /// A guardrail that the policy names must be there: without it the policy cannot be kept.
    fn required(&mut self, named: Named<'_>) -> Result<Arc<PlannedCall>, RequestError> {
        let id = named.id;
        let kind = named.kind;
        self.call(named).map_err(|exclusion| {
            let message = format!(
                "The policy names the {} {id}, which is {}.",
                kind.as_str(),
                exclusion.as_str()
            );
            RequestError::new(ErrorCode::ExtensionNotFound, message).with(EXTENSION_ID, id)
        })
    }

    fn call(&mut self, named: Named<'_>) -> Result<Arc<PlannedCall>, Exclusion> {
        let id = named.id;
        let known = self
            .snapshot
            .known(id)
            .filter(|known| known.record.kind == named.kind)
            .ok_or(Exclusion::Unknown)?;
        if !known.record.enabled {
            return Err(Exclusion::Disabled);
        }
        let session_key = self
            .policy
            .sticky
            .as_ref()
            .map(|sticky| sticky.session_key.as_str());
        let route = known
            .routes
            .iter()
            .find(|route| route.takes(id, self.facts, session_key))
            .cloned();
        let mut target = match &route {
            Some(route) => self.target_of(route, &known.record),
            None => self.own_target(known),
        };
        let own_time = target.timeout;
        if let Some(shorter) = named.terms.timeout {
            // The policy means it whatever comes: its message has no more time either.
            target.timeout = shorter.min(own_time);
            target.per_mib = Duration::ZERO;
        }
        let merged = config_for(
            route.as_ref().map_or(&known.config, |route| &route.config),
            named.config,
        );
        Ok(Arc::new(PlannedCall {
            extension: Arc::clone(&known.record),
            rule: named.rule,
            target,
            route,
            config: merged,
            when: named.terms.when,
        }))
    }

    fn target_of(&self, route: &Route, extension: &ExtensionRecord) -> Target {
        let subject = route.subject.clone();
        let derived = || {
            extension
                .derived_subject(&route.version, &self.limits.subject_prefix)
                .into()
        };
        Target {
            version: Arc::clone(&route.version),
            endpoints: vec![Endpoint {
                subject: subject.unwrap_or_else(derived),
                instance: None,
            }],
            avoided: 0,
            timeout: route.timeout,
            per_mib: per_mib(extension),
            retry: route.retry,
            breaker: self.breaker(extension, route.timeout),
        }
    }

    fn own_target(&mut self, known: &KnownExtension) -> Target {
        let extension = &known.record;
        let (mut endpoints, avoided) = self.instances(extension);
        if endpoints.is_empty() {
            // No instances, or none of them switched on: whoever listens on the extension's own
            // subject.
            let subject = extension
                .effective_subject(&self.limits.subject_prefix)
                .into();
            endpoints.push(Endpoint {
                subject,
                instance: None,
            });
        }
        Target {
            version: Arc::clone(&known.version),
            endpoints,
            avoided,
            timeout: Duration::from_millis(extension.timeout_ms),
            per_mib: per_mib(extension),
            retry: extension.retry,
            breaker: self.breaker(extension, Duration::from_millis(extension.timeout_ms)),
        }
    }

    /// The instances in the order in which a call tries them, and how many of them are avoided.
    fn instances(&mut self, extension: &ExtensionRecord) -> (Vec<Endpoint>, usize) {
        let places = extension.places();
        if places.is_empty() {
            return (Vec::new(), 0);
        }
        let weigh =
            |instance: &ExtensionInstance| if instance.enabled { instance.weight } else { 0 };
        let weights: Vec<u32> = places.iter().map(weigh).collect();
        let sick = |instance: &ExtensionInstance| {
            (self.choice.endpoint_state)(&extension.id, &instance.subject).unhealthy
        };
        let unhealthy: Vec<bool> = places.iter().map(sick).collect();
        let turns = selection::instances(&weights, &unhealthy, (self.choice.roll)());
        let endpoint = |instance: &ExtensionInstance| Endpoint {
            subject: instance.subject.as_str().into(),
            instance: Some(instance.instance_id.as_str().into()),
        };
        let endpoints = turns
            .order
            .iter()
            .filter_map(|index| places.get(*index))
            .map(endpoint)
            .collect();
        (endpoints, turns.avoided)
    }

    /// A policy has a say in the breakers of its providers only: guardrails are there for
    /// everybody.
    fn breaker(&self, extension: &ExtensionRecord, timeout: Duration) -> breaker::Settings {
        let written = match extension.kind {
            Kind::Provider => extension.breaker.overlaid(&self.policy.circuit_breaker),
            Kind::Pre | Kind::Validator | Kind::Post => extension.breaker,
        };
        breaker::Settings::new(extension.kind, timeout, &written)
    }
}

fn per_mib(extension: &ExtensionRecord) -> Duration {
    Duration::from_millis(extension.timeout_per_mib_ms.unwrap_or_default())
}

impl Target {
    /// What an attempt may take besides its timeout, because its body has so many bytes.
    pub fn extra_time(&self, bytes: usize) -> Duration {
        if self.per_mib.is_zero() {
            return Duration::ZERO;
        }
        self.per_mib.mul_f64(bytes as f64 / MIB)
    }
}

/// Shared with all other plans as long as the policy adds nothing of its own.
fn config_for(registered: &Arc<Fields>, own: &Fields) -> Arc<Fields> {
    if own.is_empty() {
        return Arc::clone(registered);
    }
    let mut merged = Fields::clone(registered);
    merged.overlay(own);
    Arc::new(merged)
}
