//! The story of a request, as it is told.

use std::time::Duration;

use beamline_actors::story::{AttemptTold, CallTold, Ended, RunTold};
use beamline_contract::admin::{
    CalledInRequest, NotChosen, RequestAttempt, RequestProvider, RequestStage, RequestStory,
};
use beamline_contract::time::{milliseconds, since_1970};
use beamline_domain::request::run::Stage;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::Past;

/// Each stage that a request came to: when, since it was read, and how long it was there.
pub(super) type Stages = SmallVec<[(Stage, Duration, Duration); 5]>;

pub(super) fn stages(ended: &Ended) -> Stages {
    let end = ended.received + ended.took;
    ended.story.read(|told| {
        let next = told.stages.iter().skip(1).map(|(_, began)| *began);
        let ends = next.chain([end]);
        let spans = told.stages.iter().zip(ends);
        spans
            .map(|((stage, began), ends)| {
                (
                    *stage,
                    since(ended, *began),
                    ends.saturating_duration_since(*began),
                )
            })
            .collect()
    })
}

pub(super) fn story(past: &Past, replica_id: &str) -> RequestStory {
    let ended = &past.ended;
    let mut story = RequestStory {
        replica_id: replica_id.to_owned(),
        request_id: ended.request_id.as_deref().map(str::to_owned),
        trace_id: ended.trace_id.to_string(),
        tenant_id: ended.tenant_id.as_deref().map(str::to_owned),
        policy_id: ended.policy_id.as_deref().map(str::to_owned),
        edge: ended.edge.into(),
        kind: ended.kind.as_str().into(),
        outcome: ended.outcome.into(),
        received_at: humantime::format_rfc3339_millis(past.received_at).to_string(),
        answered_ms: since_1970(past.answered_at()),
        duration_ms: milliseconds(ended.took),
        ..RequestStory::default()
    };
    if let Some(run) = &ended.run {
        tell_run(run, &mut story);
    }
    story.stages = stages(ended)
        .into_iter()
        .map(|(stage, began, took)| RequestStage {
            name: stage.as_str().into(),
            began_ms: milliseconds(began),
            took_ms: milliseconds(took),
        })
        .collect();
    story.calls = ended.story.read(|told| {
        let tenant_id = ended.tenant_id.as_deref().unwrap_or_default();
        let calls = told.calls.iter();
        calls.map(|made| call(ended, made, tenant_id)).collect()
    });
    story
        .calls
        .sort_by(|one, other| one.began_ms.total_cmp(&other.began_ms));
    story
}

fn tell_run(run: &RunTold, story: &mut RequestStory) {
    story.policy_id = Some(run.policy_id.to_string());
    story.policy_version = Some(run.policy_version.clone());
    story.revision = Some(run.revision);
    story.timeout_ms = Some(milliseconds(run.timeout));
    story.session = run.session.map(Into::into);
    story.degraded = run
        .degraded
        .iter()
        .map(|missing| NotChosen {
            id: missing.id.clone(),
            reason: missing.reason.clone(),
        })
        .collect();
    story.provider = run.chosen.as_ref().map(|chosen| RequestProvider {
        id: chosen.id.clone(),
        reason: chosen.reason.as_str().into(),
    });
    story.not_chosen = run
        .excluded
        .iter()
        .map(|(id, why)| NotChosen {
            id: id.clone(),
            reason: why.as_str().to_owned(),
        })
        .collect();
}

fn call(ended: &Ended, made: &CallTold, tenant_id: &str) -> CalledInRequest {
    let route = made.route.as_ref();
    CalledInRequest {
        stage: made.stage.as_str().into(),
        extension_id: made.extension_id.to_string(),
        version: made.version.to_string(),
        version_rule: route.map(|route| route.rules.visible_to(tenant_id).to_string()),
        began_ms: milliseconds(since(ended, made.began)),
        took_ms: milliseconds(made.took),
        status: made.status.as_str().into(),
        failure: made.failure.as_ref().map(|failure| failure.label.clone()),
        attempts: made
            .attempts
            .iter()
            .map(|tried| attempt(ended, tried))
            .collect(),
    }
}

fn attempt(ended: &Ended, tried: &AttemptTold) -> RequestAttempt {
    RequestAttempt {
        instance: tried.instance.as_deref().map(str::to_owned),
        subject: tried.subject.to_string(),
        began_ms: milliseconds(since(ended, tried.began)),
        waited_ms: milliseconds(tried.waited),
        took_ms: milliseconds(tried.took),
        sent: tried.sent,
        failure: tried.failure.as_ref().map(|failure| failure.label.clone()),
    }
}

fn since(ended: &Ended, moment: Instant) -> Duration {
    moment.saturating_duration_since(ended.received)
}
