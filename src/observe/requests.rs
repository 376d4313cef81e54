//! What is made of every request that was answered: its metrics, its line in the log, and its
//! story among the last ones. All are written from the same facts, once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_actors::metrics::{
    EdgeLabel, Metrics, SessionLabel, StageLabel, TenantOutcome, TraceLabel,
};
use beamline_actors::story::{Ended, Observer};
use beamline_actors::tree::{Child, Node, NodeKind};
use beamline_contract::admin::{
    GetRequest, GetStats, REMEMBERED_REQUESTS, ReplicaStats, RequestStory,
};
use beamline_contract::record::Kind;
use beamline_contract::time::since_1970;
use beamline_domain::request::run::Stage;
use prometheus_client::metrics::histogram::Histogram;

mod line;
mod refusals;
mod ring;
mod steps;
mod told;

use refusals::Refusals;
use ring::Ring;
use steps::Steps;
use told::Stages;

/// All clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    replica_id: String,
    metrics: Metrics,
    /// Tenants are labels.
    by_tenant: bool,
    stages: [(Stage, Histogram); Stage::ALL.len()],
    last: Ring,
    /// Those that were turned away are many at once; they push nothing else out.
    refused: Ring,
    refusals: Refusals,
    steps: Steps,
}

/// A request that was answered, and when it was read by the time of day.
#[derive(Debug)]
struct Past {
    received_at: SystemTime,
    ended: Ended,
}

/// Of those that were turned away.
const REFUSED: usize = 500;
/// What they may take of the memory together.
const LAST_BYTES: usize = 16 * 1024 * 1024;
const REFUSED_BYTES: usize = 512 * 1024;
/// At most so many are told at once.
const MOST_TOLD: u32 = 100;

impl Requests {
    pub(crate) fn new(replica_id: &str, metrics: Metrics, by_tenant: bool) -> Self {
        let stages = Stage::ALL.map(|stage| {
            let label = StageLabel {
                stage: stage.as_str(),
            };
            (stage, metrics.stage_duration.get_or_create_owned(&label))
        });
        Self {
            shared: Arc::new(Shared {
                replica_id: replica_id.to_owned(),
                metrics,
                by_tenant,
                stages,
                last: Ring::new(REMEMBERED_REQUESTS, LAST_BYTES),
                refused: Ring::new(REFUSED, REFUSED_BYTES),
                refusals: Refusals::default(),
                steps: Steps::default(),
            }),
        }
    }

    /// The stories of this replica that a question asks for, the newest first.
    pub(crate) fn find(&self, question: &GetRequest) -> Vec<RequestStory> {
        let fits = |past: &Past| fits(past, question);
        let limit = question.limit.unwrap_or(1).clamp(1, MOST_TOLD) as usize;
        let mut found = self.shared.last.newest(limit, fits);
        // Where there are very many, they leave room for those that ran.
        let room = limit.saturating_sub(found.len());
        found.extend(self.shared.refused.newest(room, fits));
        found.sort_by_key(|past| std::cmp::Reverse(past.received_at));
        found.truncate(limit);
        let replica_id = &self.shared.replica_id;
        found
            .iter()
            .map(|past| told::story(past, replica_id))
            .collect()
    }

    /// Tells of those that were turned away and not told of yet.
    pub(crate) fn child(&self) -> Child {
        let shared = Arc::clone(&self.shared);
        let node = Node::new("requests", NodeKind::Worker);
        Child::task(&node, move || {
            let shared = Arc::clone(&shared);
            async move {
                shared.refusals.watch().await;
                Ok::<_, Infallible>(())
            }
        })
    }

    /// What this replica served lately.
    pub(crate) fn stats(&self, question: &GetStats) -> ReplicaStats {
        let (step, steps) = self.shared.steps.read(question, SystemTime::now());
        ReplicaStats {
            replica_id: self.shared.replica_id.clone(),
            step_ms: u64::try_from(step.as_millis()).unwrap_or(u64::MAX),
            steps,
        }
    }
}

impl Observer for Requests {
    fn ended(&self, ended: Ended) {
        let shared = &self.shared;
        let now = SystemTime::now();
        let stages = told::stages(&ended);
        shared.count(&ended, &stages);
        line::write(&ended, &stages);
        shared.steps.count(&ended, now);
        shared.last.keep(Past::new(ended, now));
    }

    fn refused(&self, refused: Ended) {
        let shared = &self.shared;
        let now = SystemTime::now();
        shared.count_tenant(&refused);
        shared.refusals.tell(&refused);
        shared.steps.count(&refused, now);
        shared.refused.keep(Past::new(refused, now));
    }
}

impl Past {
    fn new(ended: Ended, now: SystemTime) -> Self {
        Self {
            received_at: now.checked_sub(ended.took).unwrap_or(now),
            ended,
        }
    }

    fn answered_at(&self) -> SystemTime {
        self.received_at + self.ended.took
    }

    /// About what it takes of the memory. No id is longer than 256 bytes.
    fn bytes(&self) -> usize {
        const EACH: usize = 2048;
        const A_CALL: usize = 512;
        const A_NAME: usize = 128;
        let run = self.ended.run.as_ref();
        let names = run.map_or(0, |run| run.excluded.len() + run.degraded.len());
        let calls = self.ended.story.read(|told| {
            let attempts = told.calls.iter().map(|call| call.attempts.len());
            attempts.sum::<usize>().max(told.calls.len())
        });
        EACH + calls * A_CALL + names * A_NAME
    }
}

fn fits(past: &Past, question: &GetRequest) -> bool {
    let ended = &past.ended;
    let tenant_id = ended.tenant_id.as_deref();
    let run = ended.run.as_ref();
    let policy_id = run.map_or(ended.policy_id.as_deref(), |run| Some(&*run.policy_id));
    let is_it = |id: &str| ended.request_id.as_deref() == Some(id) || *ended.trace_id == *id;
    let called = |id: &str| {
        ended
            .story
            .read(|told| told.calls.iter().any(|call| &*call.extension_id == id))
    };
    let asked =
        |field: &Option<String>, fits: &dyn Fn(&str) -> bool| field.as_deref().is_none_or(fits);
    let least = question.least_ms.map(Duration::from_millis);
    // The cheap ones first.
    (question.failed != Some(true) || ended.outcome != "ok")
        && least.is_none_or(|least| ended.took >= least)
        && question
            .after_ms
            .is_none_or(|after| since_1970(past.answered_at()) > after)
        && asked(&question.outcome, &|outcome| ended.outcome == outcome)
        && asked(&question.tenant_id, &|asked| tenant_id == Some(asked))
        && asked(&question.policy_id, &|asked| policy_id == Some(asked))
        && asked(&question.id, &is_it)
        && asked(&question.extension_id, &called)
}

impl Shared {
    fn count(&self, ended: &Ended, stages: &Stages) {
        let metrics = &self.metrics;
        let label = EdgeLabel {
            edge: ended.edge,
            kind: ended.kind.as_str(),
        };
        let trace = TraceLabel::of(&ended.trace_id);
        let took = ended.took.as_secs_f64();
        metrics
            .request_duration
            .get_or_create(&label)
            .observe(took, trace, None);
        self.count_tenant(ended);
        for (stage, _, took) in stages {
            if let Some((_, histogram)) = self.stages.iter().find(|(known, _)| known == stage) {
                histogram.observe(took.as_secs_f64());
            }
        }
        if let Some(result) = ended.run.as_ref().and_then(|run| run.session) {
            metrics
                .sessions
                .get_or_create(&SessionLabel { result })
                .inc();
        }
        self.count_fallbacks(ended);
    }

    /// Only a tenant with a policy has a name of its own: others can be made up.
    fn count_tenant(&self, ended: &Ended) {
        let Some(tenant_id) = ended.tenant_id.as_deref().filter(|_| self.by_tenant) else {
            return;
        };
        let tenants = &self.metrics.tenants;
        let tenant_id = if ended.run.is_some() {
            tenants.label(tenant_id)
        } else {
            tenants.known(tenant_id)
        };
        let outcome = ended.outcome;
        let label = TenantOutcome { tenant_id, outcome };
        self.metrics.tenant_requests.get_or_create(&label).inc();
    }

    fn count_fallbacks(&self, ended: &Ended) {
        ended.story.read(|told| {
            let providers = told.calls.iter().filter(|call| call.kind == Kind::Provider);
            let mut before: Option<&str> = None;
            for call in providers {
                let id = &*call.extension_id;
                if let Some(from) = before.filter(|from| *from != id) {
                    self.metrics.fell_back(from, id);
                }
                before = Some(id);
            }
        });
    }
}
