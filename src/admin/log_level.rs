//! What the replicas log.

use std::sync::Arc;

use beamline_contract::admin::{LogLevel, LogLevelAnswer};
use beamline_contract::control::LogLevelQuestion;
use beamline_contract::limits::LOG_LEVEL_MS;

use super::caller::Caller;
use super::operation::{Perform, WaitsFor};
use super::refusal::Refusal;
use super::surroundings::Surroundings;
use crate::config::log_filter_problem;

impl Perform for LogLevel {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<LogLevelAnswer, Refusal> {
        if let Some(problem) = self.filter.as_deref().and_then(log_filter_problem) {
            return Err(Refusal::invalid(format!("/filter {problem}.")));
        }
        if self
            .for_ms
            .is_some_and(|time| !LOG_LEVEL_MS.contains(&time))
        {
            return Err(Refusal::invalid("/for_ms must be from a second to a day."));
        }
        let question = LogLevelQuestion {
            level: self,
            by: caller.key_id.clone().unwrap_or_default(),
        };
        let replicas = all.replicas.log_level(question).await;
        Ok(LogLevelAnswer { ok: true, replicas })
    }
}
