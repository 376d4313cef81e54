//! The breakers: what they show. What an operator decides about them is in `operator`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_contract::admin::{
    BreakerStatesAnswer, ExtensionBreakers, GetCircuitBreakerStates, PartBreaker, ReplicaSeen,
    ShownBreaker, ShownDecision, TargetBreaker,
};
use beamline_contract::record::ExtensionRecord;
use beamline_contract::record::{self, Isolation};
use beamline_domain::target::breaker::{BreakerReading, Mode, Settings, State};
use beamline_domain::target::health::Figures;
use serde_json::{Value, json};

use super::caller::Caller;
use super::operation::{Perform, WaitsFor, apart};
use super::refusal::Refusal;
use super::surroundings::Surroundings;
use super::targets::{by_extension, called_targets, format_time, wall_time, wall_time_ahead};

mod operator;
mod replicas;
mod tenants;

impl Perform for GetCircuitBreakerStates {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<BreakerStatesAnswer, Refusal> {
        let here = Arc::clone(all);
        let id = self.id.clone();
        let largest_answer = caller.largest_answer;
        let mut states = apart(move || {
            let show = |extension: &ExtensionRecord| breakers_of(&here, extension);
            by_extension(&here, id.as_deref(), largest_answer, show)
        })
        .await?;
        for state in states.values_mut() {
            // Whom else it keeps back is not for one of them to know.
            state.tenants.retain(|tenant_id, _| caller.sees(tenant_id));
        }
        if self.fleet != Some(true) {
            return Ok(BreakerStatesAnswer {
                ok: true,
                states,
                replicas: None,
            });
        }
        let replicas = all.replicas.breakers(self.id.as_deref()).await;
        replicas::count(&mut states, &replicas);
        let seen = replicas.into_iter().map(|replica| ReplicaSeen {
            replica_id: replica.replica_id,
            revision: replica.revision,
        });
        Ok(BreakerStatesAnswer {
            ok: true,
            states,
            replicas: Some(seen.collect()),
        })
    }
}

fn breakers_of(all: &Surroundings, extension: &ExtensionRecord) -> ExtensionBreakers {
    let invoker = all.invokers.find(&extension.id);
    let invoker = invoker.as_deref();
    let breakers = invoker.map(|invoker| invoker.breakers(extension));
    let whole = breakers
        .as_ref()
        .map_or_else(|| BreakerReading::over([]), |breakers| breakers.whole);
    let figures = invoker.map(|invoker| *invoker.figures());
    let operator = extension
        .breaker_operator
        .as_ref()
        .filter(|operator| operator.left(SystemTime::now()).is_some());
    let targets = called_targets(extension, invoker);
    let mode = Mode::of(operator, SystemTime::now());
    let versions = breakers.into_iter().flat_map(|breakers| breakers.versions);
    let versions = versions.map(|(version, reading)| (version, part(&reading, mode)));
    let tenants = tenants::whole(targets.iter().flat_map(|target| target.state.tenants()));
    let is_isolated = extension.breaker.isolation == Some(Isolation::Tenant);
    let mut targets: Vec<TargetBreaker> = targets
        .into_iter()
        .map(|target| TargetBreaker {
            breaker: shown(&target.state.breaker(), &target.state.figures(), operator),
            version: target.version,
            instance: target.instance,
            subject: target.subject,
        })
        .collect();
    // A single one says nothing that the extension does not.
    if targets.len() < 2 {
        targets.clear();
    }
    ExtensionBreakers {
        breaker: shown(&whole, &figures.unwrap_or_default(), operator),
        settings: settings_of(extension),
        versions: versions.collect(),
        tenants: tenants::worst(&tenants, mode),
        tenants_counted: is_isolated.then(|| tenants::counted(&tenants)),
        targets,
        fleet: None,
    }
}

fn part(breaker: &BreakerReading, mode: Mode) -> PartBreaker {
    PartBreaker {
        state: mode.effective(breaker.state).into(),
        failure_count: breaker.failures.into(),
        reason: breaker.last.map(|last| last.reason.to_string()),
        class: class(breaker),
        until: until(breaker.state),
    }
}

fn class(breaker: &BreakerReading) -> Option<Cow<'static, str>> {
    Some(breaker.last?.class?.as_str().into())
}

fn until(state: State) -> Option<String> {
    match state {
        State::Open { until } => Some(wall_time_ahead(until)),
        State::Closed | State::HalfOpen => None,
    }
}

fn shown(
    breaker: &BreakerReading,
    figures: &Figures,
    operator: Option<&record::OperatorDecision>,
) -> ShownBreaker {
    let mode = Mode::of(operator, SystemTime::now());
    ShownBreaker {
        state: mode.effective(breaker.state).into(),
        opened_at: breaker.opened_at.map(wall_time),
        failure_count: breaker.failures.into(),
        error_rate: figures.success_rate.map_or(0.0, |rate| 1.0 - rate),
        until: until(breaker.state),
        reason: breaker.last.map(|last| last.reason.to_string()),
        reason_code: breaker.last.map(|last| last.reason.as_str().into()),
        class: class(breaker),
        last_opened_at: breaker.last.map(|last| wall_time(last.at)),
        suspect_until: breaker.suspect_until.map(wall_time_ahead),
        operator: operator.map(decision),
        measured_state: operator.map(|_| breaker.state.as_str().into()),
    }
}

fn decision(operator: &record::OperatorDecision) -> ShownDecision {
    ShownDecision {
        state: operator.state.as_str().into(),
        until: format_time(operator.until),
        reason: operator.reason.clone(),
    }
}

/// What the extension's record makes of the defaults; a policy may say otherwise for its own calls.
fn settings_of(extension: &ExtensionRecord) -> BTreeMap<String, Value> {
    let timeout = Duration::from_millis(extension.timeout_ms);
    let settings = Settings::new(extension.kind, timeout, &extension.breaker);
    let mut named: BTreeMap<String, Value> = settings
        .shown()
        .into_iter()
        .map(|(name, number)| (name.to_owned(), number.into()))
        .collect();
    named.insert("isolation".to_owned(), json!(settings.isolation));
    named
}
