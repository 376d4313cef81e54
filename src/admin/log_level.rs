//! What the replicas log.

use std::sync::Arc;

use beamline_contract::admin::{LogLevel, LogLevelAnswer};
use beamline_contract::control::LogLevelQuestion;

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
        let question = LogLevelQuestion {
            level: self,
            by: caller.key_id.clone().unwrap_or_default(),
        };
        let replicas = all.replicas.log_level(question).await;
        Ok(LogLevelAnswer { ok: true, replicas })
    }
}
