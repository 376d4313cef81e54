//! How extensions have done lately.

use std::sync::Arc;

use beamline_contract::admin::{
    CallPlaces, ExtensionHealth, GetExtensionHealth, HealthAnswer, HealthFigures, TargetHealth,
};
use beamline_contract::record::ExtensionRecord;
use beamline_contract::time::milliseconds;
use beamline_domain::target::health::Figures;

use super::caller::Caller;
use super::operation::{Perform, WaitsFor, apart};
use super::refusal::Refusal;
use super::surroundings::Surroundings;
use super::targets::{CalledTarget, by_extension, called_targets};

impl Perform for GetExtensionHealth {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<HealthAnswer, Refusal> {
        let all = Arc::clone(all);
        let largest_answer = caller.largest_answer;
        apart(move || {
            let show = |extension: &ExtensionRecord| health_of(&all, extension);
            let health = by_extension(&all, self.id.as_deref(), largest_answer, show)?;
            Ok(HealthAnswer { ok: true, health })
        })
        .await
    }
}

fn health_of(all: &Surroundings, extension: &ExtensionRecord) -> ExtensionHealth {
    let invoker = all.invokers.find(&extension.id);
    let invoker = invoker.as_deref();
    let figures = invoker.map(|invoker| *invoker.figures());
    let places = all.invokers.in_use(&extension.id).map(|in_use| CallPlaces {
        in_flight: in_use.in_flight,
        waiting: in_use.waiting,
        limit: in_use.limit,
        ceiling: in_use.ceiling,
    });
    ExtensionHealth {
        figures: figures_of(&figures.unwrap_or_default()),
        alive: invoker.and_then(|invoker| invoker.alive()),
        places,
        targets: called_targets(extension, invoker)
            .into_iter()
            .map(target_health)
            .collect(),
    }
}

fn target_health(target: CalledTarget) -> TargetHealth {
    TargetHealth {
        version: target.version,
        instance: target.instance,
        subject: target.subject,
        figures: figures_of(&target.state.figures()),
    }
}

fn figures_of(figures: &Figures) -> HealthFigures {
    HealthFigures {
        status: figures.status().into(),
        success_rate: figures.success_rate,
        requests: figures.requests,
        latency_p50_ms: figures.p50.map(milliseconds),
        latency_p95_ms: figures.p95.map(milliseconds),
        latency_p99_ms: figures.p99.map(milliseconds),
    }
}
