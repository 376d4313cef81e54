//! The supervision tree, and the router whose tree it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use beamline_contract::admin::{RouterStatus, SupervisionTree, SupervisionTreeAnswer};
use beamline_contract::time::milliseconds;

use super::caller::Caller;
use super::operation::{Perform, WaitsFor};
use super::refusal::Refusal;
use super::surroundings::Surroundings;

impl Perform for SupervisionTree {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        _: &Caller,
    ) -> Result<SupervisionTreeAnswer, Refusal> {
        Ok(SupervisionTreeAnswer {
            ok: true,
            router: status(all),
            tree: Some(all.tree.view()),
        })
    }
}

fn status(all: &Surroundings) -> RouterStatus {
    let freshness = all.registry.freshness();
    let is_draining = all.draining.load(Ordering::Relaxed);
    let uptime = all.identity.started.elapsed();
    let lag = Duration::from_secs_f64(all.metrics.lag.get().max(0.0));
    RouterStatus {
        instance_id: all.identity.instance_id.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        environment: all.identity.environment.clone(),
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        status: if is_draining { "draining" } else { "running" }.into(),
        revision: freshness.revision,
        registry_source: freshness.source.into(),
        stale_seconds: freshness.stale_seconds,
        pressure: all.door.pressure().as_str().into(),
        lag_ms: milliseconds(lag),
        memory_used: all.metrics.memory_used.get(),
    }
}
