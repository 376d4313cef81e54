//! Starts, finds and replaces one invoker for each extension in use, and makes the calls.
//!
//! A call runs in its caller's task: it asks the breaker, sends, waits within its limits, retries as registered, and
//! tells the invoker how it went. No call passes through a mailbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::domain::breaker::Outcome;
use crate::domain::call::{self, CallFailure, Reply};
use crate::domain::fields::Fields;
use crate::domain::run::{CallResult, Order};
use crate::invoker::{CallPermit, Finished, Invoker, InvokerActor, InvokerMsg};
use crate::metrics::{Metrics, NodeLabel};
use crate::ports::{Call, Transport, TransportError};
use crate::registry::Registry;
use crate::supervision::{Address, Intensity, Node, NodeKind, OwnedTask, RestartLog, Verdict};

/// The way to all invokers; all clones share it.
#[derive(Debug, Clone)]
pub struct Invokers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    transport: Arc<dyn Transport>,
    registry: Registry,
    metrics: Metrics,
    table: RwLock<HashMap<String, Arc<Invoker>>>,
    address: Address<InvokersMsg>,
}

impl Shared {
    fn holds(&self, invoker: &Arc<Invoker>) -> bool {
        self.table.read().get(&invoker.id).is_some_and(|known| Arc::ptr_eq(known, invoker))
    }
}

/// What all calls of one request have in common.
#[derive(Debug, Clone)]
pub struct CallScope {
    pub trace_id: Arc<str>,
    pub traceparent: Arc<str>,
    pub tenant_id: Arc<str>,
    /// No call runs beyond this; some time to answer is kept back already.
    pub deadline: Instant,
}

/// More restarts than this, and the supervisor itself starts anew. A child that fails at once every time gets here in
/// about 6 s: the doubling waits would keep it from ever reaching ten in ten seconds.
const INTENSITY: Intensity = Intensity { restarts: 7, within: Duration::from_secs(10) };
/// The first call of an extension waits for its invoker no longer than this; it can go without.
const START_WITHIN: Duration = Duration::from_millis(100);
/// Invokers that the tree shows; an answer over NATS has an end.
const SHOWN: usize = 500;
/// With less time than this left, a call is not made.
const LEAST_TIME: Duration = Duration::from_millis(1);
/// How far the outer limit of a call lies behind the transport's.
const TRANSPORT_SLACK: Duration = Duration::from_millis(20);
/// Full jitter: a retry waits a random part of this, doubled with each further one.
const RETRY_BASE: Duration = Duration::from_millis(25);
const RETRY_CAP: Duration = Duration::from_secs(1);

impl Invokers {
    pub fn new(transport: Arc<dyn Transport>, registry: Registry, metrics: Metrics) -> Self {
        let node = Node::new("invokers", NodeKind::Supervisor);
        let address = Address::new(Arc::clone(&node));
        let shared = Arc::new(Shared { transport, registry, metrics, table: RwLock::default(), address });
        let shown = Arc::downgrade(&shared);
        node.describe(move |view| {
            let Some(shared) = shown.upgrade() else { return };
            let mut invokers: Vec<Arc<Invoker>> = shared.table.read().values().cloned().collect();
            invokers.sort_by(|a, b| a.id.cmp(&b.id));
            view.omitted_children = invokers.len().saturating_sub(SHOWN) as u64;
            view.children = invokers.iter().take(SHOWN).map(|invoker| invoker.address.node().view()).collect();
        });
        Self { shared }
    }

    /// The invoker of an extension, if it was ever called.
    pub fn find(&self, id: &str) -> Option<Arc<Invoker>> {
        self.shared.table.read().get(id).cloned()
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    pub fn crash(&self) {
        let _ = self.shared.address.send(InvokersMsg::Crash);
    }

    /// Makes one call with all its attempts.
    pub async fn call(&self, order: &Order, scope: &CallScope) -> CallResult {
        let (begun, invoker) = (Instant::now(), self.invoker(&order.call.extension.id).await);
        let kind = order.call.extension.kind;
        let mut telling = Telling::new(&invoker, order, scope);
        let mut attempts = 0;
        let mut last: Option<Attempt> = None;
        let end = loop {
            let attempt = self.attempt(&invoker, order, scope, attempts + 1).await;
            // A retry that was not even sent says less than the failure before it.
            if let (false, Some(before)) = (attempt.sent, last.take()) {
                break before;
            }
            attempts += u32::from(attempt.sent);
            let Err(failure) = &attempt.result else { break attempt };
            let wait = failure.asked_to_wait().unwrap_or_else(|| backoff(attempts));
            let fits = Instant::now() + wait + LEAST_TIME < scope.deadline;
            if attempts > order.call.target.retry || !failure.retryable(kind) || !fits {
                break attempt;
            }
            last = Some(attempt);
            sleep(wait).await;
        };
        telling.ended(&end, begun.elapsed());
        CallResult { outcome: end.result, latency: begun.elapsed(), attempts }
    }

    async fn attempt(&self, invoker: &Arc<Invoker>, order: &Order, scope: &CallScope, number: u32) -> Attempt {
        let left = scope.deadline.saturating_duration_since(Instant::now());
        let permit = match self.permit(invoker, order, left) {
            Ok(permit) => permit,
            Err(failure) => return Attempt::not_sent(failure),
        };
        let own = order.call.target.timeout;
        let limit = own.min(left);
        let call = Call {
            subject: Arc::clone(&order.call.target.subject),
            body: order.body.clone(),
            traceparent: scope.traceparent.to_string(),
            trace_id: Arc::clone(&scope.trace_id),
            tenant_id: Arc::clone(&scope.tenant_id),
            timeout: limit,
            attempt: number,
        };
        let begun = Instant::now();
        // The transport's own limit comes first: it can tell a silent extension from a bus that is gone.
        let answer = timeout(limit + TRANSPORT_SLACK, self.shared.transport.call(call)).await;
        let result = match answer.unwrap_or(Err(TransportError::Timeout)) {
            Ok(answer) => match call::read(order.call.extension.kind, &answer) {
                // It kept to the time that it was given, and said so just before that was over.
                Err(failure) if failure.is_out_of_time() && own > left => Err(CallFailure::Deadline),
                Err(failure) if failure.is_out_of_time() => Err(CallFailure::Timeout),
                read => read,
            },
            // Not the extension's time was over, the request's was.
            Err(TransportError::Timeout) if own > left => Err(CallFailure::Deadline),
            Err(error) => Err(CallFailure::from(error)),
        };
        let outcome = match &result {
            Ok(_) => Outcome::Success,
            // With half its time it should have answered; with less, a caller in a hurry would open it for everybody.
            Err(CallFailure::Deadline) if limit >= own / 2 => Outcome::Failure,
            Err(failure) => failure.outcome(),
        };
        permit.finish(outcome);
        Attempt { result, outcome, took: begun.elapsed(), sent: true }
    }

    /// What can be known before anything is sent.
    fn permit(&self, invoker: &Arc<Invoker>, order: &Order, left: Duration) -> Result<CallPermit, CallFailure> {
        let transport = &self.shared.transport;
        if left < LEAST_TIME {
            return Err(CallFailure::Deadline);
        }
        if !transport.is_connected() {
            return Err(CallFailure::BusUnavailable);
        }
        if order.body.len() > transport.max_body() {
            return Err(CallFailure::TooLarge { size: order.body.len(), limit: transport.max_body() });
        }
        invoker.permit().map_err(|retry_after| CallFailure::CircuitOpen { retry_after })
    }

    async fn invoker(&self, id: &str) -> Arc<Invoker> {
        if let Some(invoker) = self.find(id) {
            return invoker;
        }
        let invoker = Arc::clone(self.shared.table.write().entry(id.to_owned()).or_insert_with(|| Invoker::new(id)));
        let (started, wait) = oneshot::channel();
        if self.shared.address.send(InvokersMsg::Start(Arc::clone(&invoker), Some(started))).is_ok() {
            let _ = timeout(START_WITHIN, wait).await;
        }
        invoker
    }
}

/// Uniform in zero to 25 ms, doubled with each attempt.
fn backoff(attempt: u32) -> Duration {
    let most = RETRY_BASE.saturating_mul(1 << attempt.min(10)).min(RETRY_CAP);
    most.mul_f64(fastrand::f64())
}

/// One try of a call.
#[derive(Debug)]
struct Attempt {
    result: Result<Reply, CallFailure>,
    /// What it says about the extension.
    outcome: Outcome,
    took: Duration,
    sent: bool,
}

impl Attempt {
    fn not_sent(failure: CallFailure) -> Self {
        Self { result: Err(failure), outcome: Outcome::Ignored, took: Duration::ZERO, sent: false }
    }
}

/// Tells the invoker how a call went, also when the task that makes it is cut off in the middle.
struct Telling<'c> {
    invoker: &'c Invoker,
    order: &'c Order,
    scope: &'c CallScope,
    begun: Instant,
    told: bool,
}

impl<'c> Telling<'c> {
    fn new(invoker: &'c Invoker, order: &'c Order, scope: &'c CallScope) -> Self {
        Self { invoker, order, scope, begun: Instant::now(), told: false }
    }

    fn ended(&mut self, attempt: &Attempt, latency: Duration) {
        let (status, failure) = match &attempt.result {
            Ok(Reply::Reject { .. }) => ("rejected", None),
            Ok(_) => ("success", None),
            Err(failure) => (failure.status(), Some((failure.reason(), failure.sentence(&self.invoker.id)))),
        };
        let tokens = match &attempt.result {
            Ok(Reply::Completion { usage: Some(usage), .. }) => {
                Fields::parse(usage.get()).ok().and_then(|u| u.number("total_tokens"))
            }
            Ok(_) | Err(_) => None,
        };
        self.tell(Finished {
            kind: self.order.call.extension.kind,
            latency,
            status,
            failure,
            evidence: (attempt.outcome != Outcome::Ignored)
                .then_some((attempt.outcome == Outcome::Success, attempt.took)),
            tokens: tokens.filter(|t| t.is_finite() && *t >= 0.0),
            trace_id: Arc::clone(&self.scope.trace_id),
            tenant_id: Arc::clone(&self.scope.tenant_id),
        });
    }

    fn tell(&mut self, finished: Finished) {
        self.told = true;
        let _ = self.invoker.address.send(InvokerMsg::Finished(finished));
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.told {
            let cut = Attempt::not_sent(CallFailure::Deadline);
            self.ended(&cut, self.begun.elapsed());
        }
    }
}

#[derive(Debug)]
pub enum InvokersMsg {
    /// Start the actor of an invoker unless it runs; tells when it does.
    Start(Arc<Invoker>, Option<oneshot::Sender<()>>),
    Restart(Arc<Invoker>),
    /// The registry serves another revision: extensions may be gone.
    Prune,
    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    Crash,
}

/// The supervisor of all invokers.
#[derive(Debug)]
pub struct InvokersActor;

#[derive(Debug)]
pub struct InvokersState {
    shared: Arc<Shared>,
    log: RestartLog,
    _watch: OwnedTask,
}

impl Actor for InvokersActor {
    type Msg = InvokersMsg;
    type State = InvokersState;
    type Arguments = Invokers;

    async fn pre_start(
        &self,
        myself: ActorRef<InvokersMsg>,
        invokers: Invokers,
    ) -> Result<InvokersState, ActorProcessingErr> {
        let shared = invokers.shared;
        shared.address.filled_by(&myself);
        // After a restart of this supervisor its children are gone; their breakers are not.
        for invoker in invokers_of(&shared) {
            let _ = shared.address.send(InvokersMsg::Start(invoker, None));
        }
        let _ = shared.address.send(InvokersMsg::Prune);
        let watch = OwnedTask::spawn(prune_on_change(Arc::clone(&shared)));
        Ok(InvokersState { shared, log: RestartLog::new(INTENSITY), _watch: watch })
    }

    async fn handle(
        &self,
        myself: ActorRef<InvokersMsg>,
        message: InvokersMsg,
        state: &mut InvokersState,
    ) -> Result<(), ActorProcessingErr> {
        state.shared.address.node().handling();
        match message {
            InvokersMsg::Start(invoker, started) => {
                start(&invoker, &state.shared.metrics, myself.get_cell()).await?;
                if let Some(started) = started {
                    let _ = started.send(());
                }
            }
            // Pruned while it waited for its restart: nobody would find it.
            InvokersMsg::Restart(invoker) if !state.shared.holds(&invoker) => {}
            InvokersMsg::Restart(invoker) => start(&invoker, &state.shared.metrics, myself.get_cell()).await?,
            InvokersMsg::Prune => state.prune(),
            #[cfg(any(test, feature = "testing"))]
            InvokersMsg::Crash => return Err("crashed by a test".into()),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<InvokersMsg>,
        event: SupervisionEvent,
        state: &mut InvokersState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => state.failed(&cell, &error.to_string()),
            // Pruned, or stopped together with everything.
            SupervisionEvent::ActorTerminated(..) => Ok(()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

impl InvokersState {
    fn failed(&mut self, cell: &ActorCell, reason: &str) -> Result<(), ActorProcessingErr> {
        let is_it = |invoker: &Arc<Invoker>| invoker.address.cell().is_some_and(|own| own.get_id() == cell.get_id());
        let Some(invoker) = invokers_of(&self.shared).into_iter().find(is_it) else { return Ok(()) };
        match self.log.record(Instant::now(), fastrand::f64()) {
            Verdict::RestartAfter(wait) => {
                tracing::warn!(extension_id = invoker.id, error = reason, "an invoker failed; restarting it");
                self.shared.metrics.restarts.get_or_create(&NodeLabel { node: "invokers" }).inc();
                invoker.address.node().ended(reason, true);
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move {
                    sleep(wait).await;
                    let _ = shared.address.send(InvokersMsg::Restart(invoker));
                });
                Ok(())
            }
            Verdict::GiveUp => {
                invoker.address.node().ended(reason, false);
                Err(format!("too many restarts of invokers, the last one {}: {reason}", invoker.id).into())
            }
        }
    }

    /// Ends the invokers of extensions that the registry no longer has.
    fn prune(&self) {
        let snapshot = self.shared.registry.snapshot();
        self.shared.table.write().retain(|id, invoker| {
            let keep = snapshot.extension(id).is_some();
            if let (false, Some(cell)) = (keep, invoker.address.cell()) {
                cell.stop(Some("the extension was deleted".to_owned()));
            }
            keep
        });
    }
}

fn invokers_of(shared: &Shared) -> Vec<Arc<Invoker>> {
    shared.table.read().values().cloned().collect()
}

/// Starts an invoker's actor unless one runs already.
async fn start(invoker: &Arc<Invoker>, metrics: &Metrics, supervisor: ActorCell) -> Result<(), ActorProcessingErr> {
    let runs = invoker
        .address
        .cell()
        .is_some_and(|cell| ractor::actor::actor_cell::ACTIVE_STATES.contains(&cell.get_status()));
    if !runs {
        Actor::spawn_linked(None, InvokerActor, (Arc::clone(invoker), metrics.clone()), supervisor).await?;
    }
    Ok(())
}

async fn prune_on_change(shared: Arc<Shared>) {
    let mut served = shared.registry.served();
    while served.changed().await.is_ok() {
        let _ = shared.address.send(InvokersMsg::Prune);
    }
}
