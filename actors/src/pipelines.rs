//! Admits requests, and starts and restarts one pipeline actor for each.
//!
//! A permit exists before an actor does, so load beyond the limit is refused at the door. What a request has reached is
//! kept outside its actor: after a panic another actor goes on from the last finished step, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ractor::actor::actor_cell::ACTIVE_STATES;
use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::invokers::Invokers;
use crate::metrics::{Metrics, NodeLabel, OutcomeLabel};
use crate::pipeline::Pipeline;
use crate::registry::Registry;
use crate::reply::{Outgoing, Reply};
use crate::sessions::Sessions;
use crate::tree::{
    Address, Intensity, Node, NodeKind, NodeView, OnDrop, OwnedTask, RestartLog, Verdict,
};
use beamline_domain::admission::{AdmissionSettings, Claim, Pressure, Shed, Usage};
use beamline_domain::request::error::RequestError;
use beamline_domain::request::plan::PlanLimits;
use beamline_domain::request::{RequestHeaders, RequestKind, RequestLimits};

mod door;
mod in_flight;
mod refusal;
mod work;

use door::{Door, Due, Entry, Permit};
pub(crate) use in_flight::InFlight;
use refusal::{refusal, restarting};

/// How a deployment runs its pipelines.
#[derive(Debug, Clone)]
pub struct PipelineSettings {
    pub admission: AdmissionSettings,
    /// The name of the environment, which extensions and routing rules see.
    pub environment: String,
    pub requests: RequestLimits,
    pub plans: PlanLimits,
    /// Retries and fallbacks that one request may make in all.
    pub extra_attempts: u32,
}

/// The way to the pipelines; all clones share it.
#[derive(Debug, Clone)]
pub struct Pipelines {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: PipelineSettings,
    pub(crate) registry: Registry,
    pub(crate) invokers: Invokers,
    pub(crate) sessions: Sessions,
    metrics: Metrics,
    door: Arc<Door>,
    /// Requests in flight by the actor that carries them.
    table: Mutex<HashMap<ActorId, Arc<InFlight>>>,
    /// Requests taken in and not answered, those that wait for a place among them.
    unanswered: watch::Sender<usize>,
    /// Requests that the door turned away.
    turned_away: AtomicU64,
    address: Address<PipelinesMsg>,
}

/// A request as it came in.
#[derive(Debug)]
pub struct Incoming {
    pub kind: RequestKind,
    pub headers: RequestHeaders,
    pub body: Bytes,
    pub received: Instant,
    pub reply: Reply,
}

/// The supervisor of a pipeline was replaced while the pipeline started: nobody would hear of its end.
#[derive(Debug, thiserror::Error)]
#[error("the supervisor was replaced meanwhile")]
pub(crate) struct Orphaned;

/// Panics within this are too many: what panics then is answered `internal` without another try.
const INTENSITY: Intensity = Intensity {
    restarts: 10,
    within: Duration::from_secs(10),
};
/// Requests in flight that the tree shows.
const SHOWN: usize = 50;

impl Pipelines {
    pub fn new(
        settings: PipelineSettings,
        registry: Registry,
        invokers: Invokers,
        sessions: Sessions,
        metrics: Metrics,
    ) -> Self {
        let node = Node::new("pipelines", NodeKind::Supervisor);
        let shared = Arc::new(Shared {
            door: Door::new(settings.admission, metrics.clone()),
            settings,
            registry,
            invokers,
            sessions,
            metrics,
            table: Mutex::default(),
            unanswered: watch::Sender::new(0),
            turned_away: AtomicU64::new(0),
            address: Address::new(Arc::clone(&node)),
        });
        let shown = Arc::downgrade(&shared);
        node.describe(move |view| {
            let Some(shared) = shown.upgrade() else {
                return;
            };
            shared.describe(view);
        });
        Self { shared }
    }

    pub(crate) fn settings(&self) -> &PipelineSettings {
        &self.shared.settings
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    pub(crate) fn invokers(&self) -> &Invokers {
        &self.shared.invokers
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// Takes a request in. Never waits: when this returns, the request is in flight, in the queue, or refused.
    pub fn admit(&self, incoming: Incoming) {
        let shared = &self.shared;
        shared.metrics.requests_received.inc();
        shared.address.node().count_handled();
        let Some(supervisor) = shared.supervisor() else {
            return shared.refuse(incoming, &restarting());
        };
        let claim = Claim::read(&incoming.headers, &incoming.body, &shared.settings.requests);
        // Counted before: one that waits may be answered before this returns.
        shared.count_taken();
        match shared.door.enter(claim, incoming) {
            Entry::Started(incoming, permit) => shared.start(incoming, permit, supervisor),
            Entry::Queued { displaced } => displaced
                .into_iter()
                .for_each(|shed| shared.turn_away(shed)),
            Entry::Shed(shed) => shared.turn_away(shed),
        }
    }

    /// Refuses a request that is not to be read.
    pub fn refuse(&self, incoming: Incoming, error: &RequestError) {
        self.shared.metrics.requests_received.inc();
        self.shared.address.node().count_handled();
        self.shared.refuse(incoming, error);
    }

    /// Requests taken in and not answered.
    pub fn in_flight(&self) -> usize {
        *self.shared.unanswered.borrow()
    }

    /// Requests that the door turned away so far.
    pub fn turned_away(&self) -> u64 {
        self.shared.turned_away.load(Ordering::Relaxed)
    }

    /// What is in use at the door.
    pub fn usage(&self) -> Usage {
        self.shared.door.usage()
    }

    /// Makes the door refuse more, or less again. Cheap, and may be called from any thread.
    pub fn press(&self, pressure: Pressure) {
        self.shared.door.press(pressure);
    }

    /// What a trip through the bus takes longer than usual at the moment: requests on it wait for this router as well.
    pub fn trips_take_longer(&self, excess: Duration) {
        self.shared.door.trips_take_longer(excess);
    }

    pub fn pressure(&self) -> Pressure {
        self.shared.door.pressure()
    }

    /// Waits until nothing is in flight, at most `limit`; false when something still is.
    pub async fn idle(&self, limit: Duration) -> bool {
        let mut in_flight = self.shared.unanswered.subscribe();
        timeout(limit, in_flight.wait_for(|count| *count == 0))
            .await
            .is_ok()
    }

    /// Answers `shutting_down` to everything in flight and waiting; says how many that were.
    pub fn cut(&self) -> usize {
        let waiting = self.shared.answer_queue(&RequestError::shutting_down());
        let all: Vec<Arc<InFlight>> = self.shared.table.lock().values().cloned().collect();
        waiting
            + all
                .iter()
                .filter(|request| request.fail(&RequestError::shutting_down()))
                .count()
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    pub fn crash(&self) {
        let _ = self.shared.address.send(PipelinesMsg::Crash);
    }
}

impl Shared {
    /// The supervisor of the moment, if it is at work.
    fn supervisor(&self) -> Option<ActorCell> {
        self.address
            .cell()
            .filter(|cell| ACTIVE_STATES.contains(&cell.get_status()))
    }

    fn start(self: &Arc<Self>, incoming: Incoming, permit: Permit, supervisor: ActorCell) {
        let in_flight = InFlight::new(self, incoming, permit, supervisor.get_id());
        // An actor that cannot start drops the request, and a dropped request is answered.
        let _ =
            ActorRuntime::<Pipeline>::spawn_linked_instant(None, Pipeline, in_flight, supervisor);
    }

    /// Does what is due for those who wait.
    fn serve(self: &Arc<Self>, due: Due) {
        for shed in due.shed {
            self.turn_away(shed);
        }
        for (incoming, permit) in due.started {
            match self.supervisor() {
                Some(supervisor) => self.start(incoming, permit, supervisor),
                None => {
                    self.refuse(incoming, &restarting());
                    self.count_gone();
                }
            }
        }
    }

    /// Answers one that the door turned away.
    fn turn_away(&self, shed: Shed<Incoming>) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        self.refuse(shed.item, &refusal(shed.reason));
        self.count_gone();
    }

    /// Answers everybody who waits; says how many that were.
    fn answer_queue(&self, error: &RequestError) -> usize {
        let waiting = self.door.drain();
        let count = waiting.len();
        for incoming in waiting {
            self.refuse(incoming, error);
            self.count_gone();
        }
        count
    }

    /// Answers the requests whose pipelines went with their supervisor: nobody else would.
    fn answer_orphans(&self) {
        let orphans: Vec<Arc<InFlight>> = self
            .table
            .lock()
            .drain()
            .map(|(_, request)| request)
            .collect();
        for orphan in orphans {
            orphan.fail(&RequestError::internal());
        }
    }

    fn refuse(&self, incoming: Incoming, error: &RequestError) {
        let correlation = incoming.headers.correlation(|| fastrand::u64(..));
        self.count_answer(error.code.as_str());
        incoming.reply.send(Outgoing::error(error, &correlation));
    }

    fn count_taken(&self) {
        self.metrics.requests_in_flight.inc();
        // Who watches it waits for zero; to wake anybody for each request would cost a refusal more than its answer.
        self.unanswered.send_if_modified(|count| {
            *count += 1;
            false
        });
    }

    fn count_gone(&self) {
        self.metrics.requests_in_flight.dec();
        self.unanswered.send_if_modified(|count| {
            *count -= 1;
            *count == 0
        });
    }

    fn count_answer(&self, outcome: &'static str) {
        self.metrics
            .requests_answered
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    /// Takes note of the actor that carries a request. Checked under the lock that a new supervisor takes to sweep up what
    /// its predecessor left: a request is entered before the sweep, or refused after it.
    pub(crate) fn carried_by(
        &self,
        actor: ActorId,
        request: &Arc<InFlight>,
    ) -> Result<(), Orphaned> {
        let mut table = self.table.lock();
        if self.address.cell().map(|cell| cell.get_id()) != Some(*request.supervisor.lock()) {
            return Err(Orphaned);
        }
        table.insert(actor, Arc::clone(request));
        Ok(())
    }

    fn describe(&self, view: &mut NodeView) {
        let all: Vec<Arc<InFlight>> = self.table.lock().values().cloned().collect();
        let usage = self.door.usage();
        view.in_flight = Some(usage.in_flight as u64);
        view.limit = Some(usage.limit as u64);
        view.ceiling = Some(usage.ceiling as u64);
        view.waiting = Some(usage.queued as u64);
        view.omitted_children = all.len().saturating_sub(SHOWN) as u64;
        view.children = all
            .iter()
            .take(SHOWN)
            .map(|request| request.view())
            .collect();
    }
}

/// Lets in who waits as places come free, and turns away who has waited long enough, as long as it is not dropped.
async fn serve_queue(shared: Arc<Shared>, ended: impl FnOnce()) {
    let for_waiting = Arc::clone(&shared);
    // Nobody else would serve those who wait.
    let _ended = OnDrop::new(move || {
        for_waiting.answer_queue(&restarting());
        ended();
    });
    loop {
        let due = shared.door.due();
        let again = due.again;
        shared.serve(due);
        match again {
            Some(at) => tokio::select! {
                () = shared.door.changed() => {}
                () = sleep_until(at) => {}
            },
            None => shared.door.changed().await,
        }
    }
}

#[derive(Debug)]
pub enum PipelinesMsg {
    /// The task that serves the queue is gone.
    QueueUnserved,
    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    Crash,
}

/// The supervisor of all pipelines.
#[derive(Debug)]
pub struct PipelinesActor;

#[derive(Debug)]
pub struct PipelinesState {
    shared: Arc<Shared>,
    log: RestartLog,
    _queue: OwnedTask,
}

impl Actor for PipelinesActor {
    type Msg = PipelinesMsg;
    type State = PipelinesState;
    type Arguments = Pipelines;

    async fn pre_start(
        &self,
        myself: ActorRef<PipelinesMsg>,
        pipelines: Pipelines,
    ) -> Result<PipelinesState, ActorProcessingErr> {
        let shared = pipelines.shared;
        shared.address.filled_by(&myself);
        // What came into the table while nobody was here.
        shared.answer_orphans();
        let queue = OwnedTask::spawn(serve_queue(Arc::clone(&shared), move || {
            let _ = myself.send_message(PipelinesMsg::QueueUnserved);
        }));
        Ok(PipelinesState {
            shared,
            log: RestartLog::new(INTENSITY),
            _queue: queue,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<PipelinesMsg>,
        message: PipelinesMsg,
        state: &mut PipelinesState,
    ) -> Result<(), ActorProcessingErr> {
        state.shared.address.node().handling();
        match message {
            PipelinesMsg::QueueUnserved => Err("the task that serves the queue was lost".into()),
            #[cfg(any(test, feature = "testing"))]
            PipelinesMsg::Crash => Err("crashed by a test".into()),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<PipelinesMsg>,
        event: SupervisionEvent,
        state: &mut PipelinesState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => {
                if let Some(request) = state.forget(cell.get_id()) {
                    request.fail(&RequestError::internal());
                }
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                if let Some(request) = state.forget(cell.get_id()) {
                    state.failed(request, &error.to_string(), &myself);
                }
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

/// Its children end with it, and their requests may not have the time to wait for its successor.
impl Drop for PipelinesState {
    fn drop(&mut self) {
        self.shared.answer_orphans();
    }
}

impl PipelinesState {
    fn forget(&self, actor: ActorId) -> Option<Arc<InFlight>> {
        self.shared.table.lock().remove(&actor)
    }

    /// Another actor goes on from the last finished step, once, and only while there is time. A request that makes its
    /// pipeline panic again harms itself alone: it is answered `internal`, and the supervisor stays.
    fn failed(&mut self, request: Arc<InFlight>, reason: &str, myself: &ActorRef<PipelinesMsg>) {
        let again = request.restarted.swap(true, Ordering::Relaxed);
        let late = Instant::now() >= request.deadline();
        let verdict = self.log.record(Instant::now(), 0.5);
        if again || late || verdict == Verdict::GiveUp {
            tracing::error!(
                error = reason,
                "a pipeline failed; its request is answered with an internal error"
            );
            request.fail(&RequestError::internal());
            return;
        }
        tracing::warn!(
            error = reason,
            "a pipeline failed; going on from its last finished step"
        );
        self.shared
            .metrics
            .restarts
            .get_or_create(&NodeLabel { node: "pipelines" })
            .inc();
        *request.supervisor.lock() = myself.get_id();
        let _ = ActorRuntime::<Pipeline>::spawn_linked_instant(
            None,
            Pipeline,
            request,
            myself.get_cell(),
        );
    }
}
