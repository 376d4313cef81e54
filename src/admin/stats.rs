//! Figures over time, of all replicas.

use std::sync::Arc;

use beamline_contract::admin::{GetStats, StatsAnswer};

use super::caller::Caller;
use super::operation::{Perform, WaitsFor};
use super::refusal::Refusal;
use super::surroundings::Surroundings;

impl Perform for GetStats {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(
        mut self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<StatsAnswer, Refusal> {
        if let Some(own) = &caller.tenant_id {
            // What extensions do for others is not for one of them to know.
            self.tenant_id = Some(own.clone());
        }
        let replicas = all.replicas.stats(self).await;
        Ok(StatsAnswer { ok: true, replicas })
    }
}
