//! The line of one request in the log.

use std::time::Duration;

use beamline_actors::story::{CallTold, Ended};
use beamline_contract::record::Kind;
use beamline_contract::time::milliseconds;
use beamline_domain::request::run::Stage;

use super::told::Stages;

/// The module in the log, for filters.
pub(super) const REQUEST: &str = "beamline_router::request";

pub(super) fn write(ended: &Ended, stages: &Stages) {
    if !tracing::enabled!(target: REQUEST, tracing::Level::INFO) {
        return;
    }
    let mut took = [None; Stage::ALL.len()];
    for (stage, _, time) in stages {
        if let Some(slot) = took.get_mut(*stage as usize) {
            *slot = Some(slot.unwrap_or(Duration::ZERO) + *time);
        }
    }
    let [pre, validate, provider, post, output] = took.map(|time| time.map(milliseconds));
    let run = ended.run.as_ref();
    let chosen = run.and_then(|run| run.chosen.as_ref());
    let calls = ended.story.read(|told| Calls::of(&told.calls));
    tracing::info!(
        target: REQUEST,
        parent: None,
        tenant_id = ended.tenant_id.as_deref(),
        policy_id = run.map_or(ended.policy_id.as_deref(), |run| Some(&*run.policy_id)),
        request_id = ended.request_id.as_deref(),
        trace_id = &*ended.trace_id,
        edge = ended.edge,
        kind = ended.kind.as_str(),
        outcome = ended.outcome,
        latency_ms = milliseconds(ended.took),
        provider_id = chosen.map(|chosen| chosen.id.as_str()),
        provider_reason = chosen.map(|chosen| chosen.reason.as_str()),
        pre_ms = pre,
        validate_ms = validate,
        provider_ms = provider,
        post_ms = post,
        output_ms = output,
        calls = calls.made,
        attempts = calls.attempts,
        provider_attempts = calls.provider_attempts,
        degraded = run.map(|run| run.degraded.len()).filter(|many| *many > 0),
        "request answered"
    );
}

#[derive(Debug, Default)]
struct Calls {
    made: usize,
    /// That were sent.
    attempts: usize,
    provider_attempts: usize,
}

impl Calls {
    fn of(calls: &[CallTold]) -> Self {
        let mut all = Self::default();
        for call in calls {
            let sent = call.attempts.iter().filter(|attempt| attempt.sent).count();
            all.made += 1;
            all.attempts += sent;
            if call.kind == Kind::Provider {
                all.provider_attempts += sent;
            }
        }
        all
    }
}
