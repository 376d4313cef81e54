//! A request in flight: what its pipeline works on, and the one right to answer it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use beamline_domain::request::answer;
use beamline_domain::request::error::RequestError;
use beamline_domain::request::run::Run;
use beamline_domain::request::{Request, RequestHeaders, RequestKind};
use bytes::Bytes;
use parking_lot::Mutex;
use ractor::ActorId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::entrance::{DoorPermit, Steps};
use crate::incoming::Incoming;
use crate::metrics::{Metrics, OutcomeLabel};
use crate::responder::{About, Outgoing, Responder};
use crate::story::{Ended, Observer, RunTold, Story, Who};
use crate::tree::{Node, NodeKind, TreeNode};

/// A request in flight, and what must survive the actor that carries it.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// Where it came in.
    pub(crate) edge: &'static str,
    pub(crate) kind: RequestKind,
    pub(crate) headers: RequestHeaders,
    pub(crate) body: Bytes,
    pub(crate) received: Instant,
    /// The request once it was read.
    pub(crate) request: OnceLock<Arc<Request>>,
    /// The run after its last finished step.
    pub(crate) checkpoint: Mutex<Option<Run>>,
    pub(crate) steps: Arc<Steps>,
    pub(crate) restarted: AtomicBool,
    /// Who watches over the actor that carries it.
    pub(crate) supervisor: Mutex<ActorId>,
    /// The answer and the place at the door go together.
    responder: Mutex<Option<(Responder, DoorPermit)>>,
    pub(crate) story: Arc<Story>,
    ledger: Arc<Ledger>,
}

impl InFlight {
    pub(crate) fn new(
        incoming: Incoming,
        permit: DoorPermit,
        ledger: Arc<Ledger>,
        supervisor: ActorId,
    ) -> Arc<Self> {
        Arc::new(Self {
            edge: incoming.edge,
            kind: incoming.kind,
            headers: incoming.headers,
            body: incoming.body,
            received: incoming.received,
            request: OnceLock::new(),
            checkpoint: Mutex::new(None),
            steps: permit.steps(),
            restarted: AtomicBool::new(false),
            supervisor: Mutex::new(supervisor),
            responder: Mutex::new(Some((incoming.responder, permit))),
            story: Arc::default(),
            ledger,
        })
    }

    /// Sends the one answer; false when it was sent already. Nothing is written in vain: `write` is
    /// asked only while there is somebody to answer.
    pub(crate) fn answer(&self, write: impl FnOnce() -> Outgoing) -> bool {
        self.answer_with(|| (write(), None))
    }

    fn answer_with(&self, write: impl FnOnce() -> (Outgoing, Option<RunTold>)) -> bool {
        let Some(mut right) = self.right_to_answer() else {
            return false;
        };
        let (outgoing, run) = write();
        if let Some((responder, permit)) = right.held.take() {
            let ended = self.ended(&outgoing, run);
            self.ledger.answered(self.edge, self.kind, ended.outcome);
            responder.answer(outgoing);
            drop(permit);
            self.ledger.gone();
            self.ledger.observer.ended(ended);
        }
        true
    }

    fn ended(&self, outgoing: &Outgoing, run: Option<RunTold>) -> Ended {
        let Who {
            request_id,
            trace_id,
            tenant_id,
            policy_id,
        } = match &outgoing.about {
            About::Request(request) => Who::from(&**request),
            About::Unread(known, _) => Who::from(known),
        };
        Ended {
            edge: self.edge,
            kind: self.kind,
            outcome: outgoing.outcome,
            request_id,
            trace_id,
            tenant_id,
            policy_id,
            received: self.received,
            took: self.received.elapsed(),
            run,
            story: Arc::clone(&self.story),
        }
    }

    /// Answers a run as it stands.
    pub(crate) fn answer_run(&self, run: &Run) -> bool {
        self.answer_with(|| (self.outgoing(run), Some(RunTold::of(run))))
    }

    /// Answers an error, with what the request had reached.
    pub(crate) fn fail(&self, error: &RequestError) -> bool {
        self.answer_with(|| {
            let reached = self.checkpoint.lock().clone();
            match reached {
                Some(mut run) => {
                    run.fail(error.clone());
                    (self.outgoing(&run), Some(RunTold::of(&run)))
                }
                None => {
                    let correlation = self.headers.correlation(|| fastrand::u64(..));
                    (Outgoing::error(error, &correlation), None)
                }
            }
        })
    }

    /// What its stages made of the message takes so many bytes besides what came in.
    pub(crate) fn holds(&self, more: usize) {
        if let Some((_, permit)) = &mut *self.responder.lock() {
            permit.holds(self.body.len().saturating_add(more));
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.responder.lock().is_none()
    }

    /// When the answer must be on its way; `longest` is what a request may have that was not read.
    pub(crate) fn deadline(&self, longest: Duration) -> Instant {
        let known = self.request.get().map(|request| request.timeout);
        self.received + known.unwrap_or(longest)
    }

    pub(crate) fn view(&self) -> TreeNode {
        let id = self
            .request
            .get()
            .map_or("?", |request| &request.request_id);
        let node = Node::new(format!("pipeline:{id}"), NodeKind::Worker);
        let mut view = node.view();
        view.status = "running".into();
        view.uptime_ms = u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX);
        view.restarts = u64::from(self.restarted.load(Ordering::Relaxed));
        view
    }

    fn outgoing(&self, run: &Run) -> Outgoing {
        Outgoing {
            body: answer::of_run(run, SystemTime::now()),
            outcome: run
                .failure
                .as_ref()
                .map_or("ok", |error| error.code.as_str()),
            about: About::Request(Arc::clone(&run.request)),
            deadline: Some(self.received + run.request.timeout),
        }
    }

    fn right_to_answer(&self) -> Option<RightToAnswer<'_>> {
        let held = self.responder.lock().take()?;
        Some(RightToAnswer {
            of: self,
            held: Some(held),
        })
    }
}

/// A request that nobody carries any more is answered all the same.
impl Drop for InFlight {
    fn drop(&mut self) {
        self.fail(&RequestError::internal());
    }
}

/// Held while an answer is written. A panic meanwhile gives it back, so that the request is
/// answered by whoever notices.
struct RightToAnswer<'r> {
    of: &'r InFlight,
    held: Option<(Responder, DoorPermit)>,
}

impl Drop for RightToAnswer<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            *self.of.responder.lock() = Some(held);
        }
    }
}

/// Counts the requests that were taken in and those that were answered.
#[derive(Debug)]
pub(crate) struct Ledger {
    metrics: Metrics,
    pub(crate) observer: Arc<dyn Observer>,
    /// Requests taken in and not answered, those that wait for a place among them.
    unanswered: watch::Sender<usize>,
}

impl Ledger {
    pub(crate) fn new(metrics: Metrics, observer: Arc<dyn Observer>) -> Self {
        Self {
            metrics,
            observer,
            unanswered: watch::Sender::new(0),
        }
    }

    pub(crate) fn received(&self) {
        self.metrics.requests_received.inc();
    }

    pub(crate) fn taken(&self) {
        self.metrics.requests_in_flight.inc();
        // Who watches it waits for zero; to wake anybody for each request would cost a refusal more
        // than its answer.
        self.unanswered.send_if_modified(|count| {
            *count += 1;
            false
        });
    }

    pub(crate) fn answered(&self, edge: &'static str, kind: RequestKind, outcome: &'static str) {
        let kind = kind.as_str();
        let label = OutcomeLabel {
            edge,
            kind,
            outcome,
        };
        self.metrics.requests_answered.get_or_create(&label).inc();
    }

    pub(crate) fn gone(&self) {
        self.metrics.requests_in_flight.dec();
        self.unanswered.send_if_modified(|count| {
            *count -= 1;
            *count == 0
        });
    }

    pub(crate) fn unanswered(&self) -> usize {
        *self.unanswered.borrow()
    }

    /// Waits until everything is answered, at most `limit`; false when something still is not.
    pub(crate) async fn is_idle_within(&self, limit: Duration) -> bool {
        let mut unanswered = self.unanswered.subscribe();
        let idle = unanswered.wait_for(|count| *count == 0);
        timeout(limit, idle).await.is_ok()
    }
}

/// The requests in flight, by the actor that carries each.
#[derive(Debug, Default)]
pub(crate) struct FlightTable(Mutex<Flights>);

#[derive(Debug, Default)]
struct Flights {
    supervisor: Option<ActorId>,
    carried: HashMap<ActorId, Arc<InFlight>>,
}

/// The supervisor of a pipeline was replaced while the pipeline started: nobody would hear of its
/// end.
#[derive(Debug, thiserror::Error)]
#[error("the supervisor was replaced meanwhile")]
pub(crate) struct Orphaned;

impl FlightTable {
    /// Another supervisor begins; answers what its predecessor left: nobody else would.
    pub(crate) fn begin(&self, supervisor: ActorId) {
        let mut flights = self.0.lock();
        flights.supervisor = Some(supervisor);
        let orphans = std::mem::take(&mut flights.carried);
        drop(flights);
        answer_orphans(orphans);
    }

    /// Answers all requests whose pipelines went with their supervisor.
    pub(crate) fn answer_all(&self) {
        let orphans = std::mem::take(&mut self.0.lock().carried);
        answer_orphans(orphans);
    }

    /// Takes note of the actor that carries a request. Checked under the lock that a new supervisor
    /// takes to sweep up what its predecessor left: a request is entered before the sweep, or
    /// refused after it.
    pub(crate) fn carried_by(
        &self,
        actor: ActorId,
        request: &Arc<InFlight>,
    ) -> Result<(), Orphaned> {
        let mut flights = self.0.lock();
        if flights.supervisor != Some(*request.supervisor.lock()) {
            return Err(Orphaned);
        }
        flights.carried.insert(actor, Arc::clone(request));
        Ok(())
    }

    pub(crate) fn remove(&self, actor: ActorId) -> Option<Arc<InFlight>> {
        self.0.lock().carried.remove(&actor)
    }

    pub(crate) fn all(&self) -> Vec<Arc<InFlight>> {
        self.0.lock().carried.values().cloned().collect()
    }
}

fn answer_orphans(orphans: HashMap<ActorId, Arc<InFlight>>) {
    for orphan in orphans.values() {
        orphan.fail(&RequestError::internal());
    }
}
