//! A request in flight: what its pipeline works on, and the one right to answer it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;
use ractor::ActorId;
use tokio::time::Instant;

use super::door::Permit;
use super::work::Steps;
use super::{Incoming, Shared};
use crate::reply::{Outgoing, Reply};
use crate::tree::{Node, NodeKind, NodeView};
use beamline_domain::request::answer;
use beamline_domain::request::error::RequestError;
use beamline_domain::request::run::Run;
use beamline_domain::request::{RequestHeaders, RequestKind};

/// A request in flight, and what must survive the actor that carries it.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) kind: RequestKind,
    pub(crate) headers: RequestHeaders,
    pub(crate) body: Bytes,
    pub(crate) received: Instant,
    pub(crate) shared: Arc<Shared>,
    /// The run after its last finished step.
    pub(crate) checkpoint: Mutex<Option<Run>>,
    pub(crate) steps: Arc<Steps>,
    pub(super) restarted: AtomicBool,
    /// The answer and the place at the door go together.
    reply: Mutex<Option<(Reply, Permit)>>,
    /// Who watches over the actor that carries it.
    pub(super) supervisor: Mutex<ActorId>,
}

impl InFlight {
    pub(super) fn new(
        shared: &Arc<Shared>,
        incoming: Incoming,
        permit: Permit,
        supervisor: ActorId,
    ) -> Arc<Self> {
        Arc::new(Self {
            kind: incoming.kind,
            headers: incoming.headers,
            body: incoming.body,
            received: incoming.received,
            shared: Arc::clone(shared),
            checkpoint: Mutex::new(None),
            steps: shared.door.steps(),
            restarted: AtomicBool::new(false),
            reply: Mutex::new(Some((incoming.reply, permit))),
            supervisor: Mutex::new(supervisor),
        })
    }

    /// Sends the one answer; false when it was sent already.
    pub(crate) fn answer(&self, outgoing: Outgoing) -> bool {
        let Some((reply, permit)) = self.reply.lock().take() else {
            return false;
        };
        self.shared.count_answer(outgoing.outcome);
        reply.send(outgoing);
        drop(permit);
        self.shared.count_gone();
        true
    }

    /// Answers a run as it stands.
    pub(crate) fn answer_run(&self, run: &Run) -> bool {
        let outcome = run
            .failure
            .as_ref()
            .map_or("ok", |failure| failure.code.as_str());
        self.answer(Outgoing {
            body: answer::of_run(run, SystemTime::now()),
            outcome,
            trace_id: run.request.trace.trace_id.clone(),
            traceparent: Some(run.request.trace.traceparent().to_owned()),
            tenant_id: Some(run.request.tenant_id.to_string()),
            request_id: Some(run.request.request_id.to_string()),
            timeout_clamped: run.request.clamped.then_some(run.request.timeout),
            deadline: Some(self.received + run.request.timeout),
        })
    }

    /// Answers an error, with what the request had reached.
    pub(crate) fn fail(&self, error: &RequestError) -> bool {
        let reached = self.checkpoint.lock().clone();
        match reached {
            Some(mut run) => {
                run.fail(error.clone());
                self.answer_run(&run)
            }
            None => self.answer(Outgoing::error(
                error,
                &self.headers.correlation(|| fastrand::u64(..)),
            )),
        }
    }

    /// When the answer must be on its way.
    pub(crate) fn deadline(&self) -> Instant {
        let limits = &self.shared.settings.requests;
        let known = self
            .checkpoint
            .lock()
            .as_ref()
            .map(|run| run.request.timeout);
        self.received + known.unwrap_or(limits.max_timeout)
    }

    pub(super) fn view(&self) -> NodeView {
        let name = self
            .checkpoint
            .lock()
            .as_ref()
            .map(|run| run.request.request_id.to_string());
        let node = Node::new(
            format!("pipeline:{}", name.as_deref().unwrap_or("?")),
            NodeKind::Worker,
        );
        let mut view = node.view();
        view.status = "running";
        view.uptime_ms = u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX);
        view.restarts = u64::from(self.restarted.load(Ordering::Relaxed));
        view
    }
}

/// A request that nobody carries any more is answered all the same.
impl Drop for InFlight {
    fn drop(&mut self) {
        self.fail(&RequestError::internal());
    }
}
