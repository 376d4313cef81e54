//! Starts, finds and replaces one invoker for each extension in use. Calls are made beside them, in `call.rs`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{broadcast, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::call_limits::{CallLimit, CallLimits, InUse};
use crate::invoker::{Invoker, InvokerActor};
use crate::metrics::{Metrics, NodeLabel};
use crate::ports::Transport;
use crate::registry::Registry;
use crate::retry_budgets::RetryBudgets;
use crate::targets::{Peers, Transition};
use crate::tree::{
    Address, BreakerView, Intensity, Node, NodeKind, NodeView, OwnedTask, RestartLog, Verdict,
};
use crate::watch::{self, HealthLog};
use beamline_contract::record::{ExtensionRecord, Isolation};
use beamline_domain::record;
use beamline_domain::target::breaker::Mode;
use beamline_domain::target::selection::EndpointState;

#[cfg(test)]
mod tests;

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
    retries: RetryBudgets,
    limits: CallLimits,
    /// The threads of this process are late.
    local_lag: AtomicBool,
    table: RwLock<HashMap<String, Arc<Invoker>>>,
    health_log: OnceLock<HealthLog>,
    peers: Arc<Peers>,
    open_copy: OnceLock<PathBuf>,
    /// When their supervisor last fell.
    fell: Mutex<Option<Instant>>,
    address: Address<InvokersMsg>,
}

impl Shared {
    fn all(&self) -> Vec<Arc<Invoker>> {
        self.table.read().values().cloned().collect()
    }

    fn holds(&self, invoker: &Arc<Invoker>) -> bool {
        self.table
            .read()
            .get(&*invoker.id)
            .is_some_and(|known| Arc::ptr_eq(known, invoker))
    }

    /// The invoker of an extension, made when there is none.
    fn insert(&self, id: &str) -> Arc<Invoker> {
        let mut table = self.table.write();
        if let Some(invoker) = table.get(id) {
            return Arc::clone(invoker);
        }
        let invoker = Invoker::among(Arc::clone(&self.peers), id);
        if let Some(extension) = self.registry.snapshot().extension(id) {
            // It has nothing yet that could be closed.
            invoker.follow_resets(extension.breaker_resets());
        }
        table.insert(id.to_owned(), Arc::clone(&invoker));
        invoker
    }

    /// What an operator has decided about an extension's breakers, and whether tenants have their own.
    fn mode(&self, extension_id: &str) -> (Mode, bool) {
        let snapshot = self.registry.snapshot();
        let Some(extension) = snapshot.extension(extension_id) else {
            return (Mode::Normal, false);
        };
        let mode = Mode::of(extension.breaker_operator.as_ref(), SystemTime::now());
        (mode, extension.breaker.isolation == Some(Isolation::Tenant))
    }

    fn view(&self, invoker: &Invoker) -> NodeView {
        let mut view = invoker.address.node().view();
        self.limits.describe(&invoker.id, &mut view);
        let (measured, (mode, _)) = (invoker.breaker().state, self.mode(&invoker.id));
        let measured_state = (mode != Mode::Normal).then_some(measured.as_str());
        view.breaker = Some(BreakerView {
            state: mode.effective(measured),
            measured_state,
        });
        view
    }
}

/// More restarts than this, and the supervisor itself starts anew. A child that fails at once every time gets here in
/// about 6 s: the doubling waits would keep it from ever reaching ten in ten seconds.
const INTENSITY: Intensity = Intensity {
    restarts: 7,
    within: Duration::from_secs(10),
};
/// An invoker that keeps failing is not started for this long, and takes its supervisor down no sooner again: however many of
/// them fail, they hold figures and log lines only, and the root shall not fall with them.
const REST: Duration = Duration::from_secs(60);
/// The first call of an extension waits for its invoker no longer than this; it can go without.
const START_WITHIN: Duration = Duration::from_millis(100);
/// Invokers that the tree shows; an answer over NATS has an end.
const SHOWN: usize = 500;

impl Invokers {
    pub fn new(transport: Arc<dyn Transport>, registry: Registry, metrics: Metrics) -> Self {
        let node = Node::new("invokers", NodeKind::Supervisor);
        let address = Address::new(Arc::clone(&node));
        let retries = RetryBudgets::new(metrics.clone());
        let limits = CallLimits::new(metrics.clone());
        let (table, health_log, open_copy) = (RwLock::default(), OnceLock::new(), OnceLock::new());
        let peers = Arc::default();
        let local_lag = AtomicBool::new(false);
        let shared = Arc::new(Shared {
            transport,
            registry,
            metrics,
            retries,
            limits,
            local_lag,
            table,
            health_log,
            peers,
            open_copy,
            fell: Mutex::default(),
            address,
        });
        let shown = Arc::downgrade(&shared);
        node.describe(move |view| {
            let Some(shared) = shown.upgrade() else {
                return;
            };
            let mut invokers: Vec<Arc<Invoker>> = shared.all();
            invokers.sort_by(|a, b| a.id.cmp(&b.id));
            view.omitted_children = invokers.len().saturating_sub(SHOWN) as u64;
            view.children = invokers
                .iter()
                .take(SHOWN)
                .map(|invoker| shared.view(invoker))
                .collect();
        });
        Self { shared }
    }

    /// The most calls of one extension that may ever run at the same time; for those that are called for the first time
    /// after this.
    pub fn limit_calls(&self, max_in_flight: u32) {
        self.shared.limits.set(max_in_flight);
    }

    /// While the threads of this process are late, a timeout says nothing of an extension.
    pub fn lags(&self, late: bool) {
        self.shared.local_lag.store(late, Ordering::Relaxed);
    }

    /// Writes down how the extensions do, from the next start of the supervisor on.
    pub fn log_health(&self, log: HealthLog) {
        let _ = self.shared.health_log.set(log);
    }

    /// How many calls of an extension run, wait and may run; `None` before its first one.
    pub fn in_use(&self, id: &str) -> Option<InUse> {
        self.shared.limits.in_use(id)
    }

    /// Keeps in a file which breakers are open, from the next start of the supervisor on, and opens at once what the file says is
    /// still open.
    pub fn keep_open_breakers(&self, path: PathBuf) {
        watch::reopen_breakers(self, &path);
        let _ = self.shared.open_copy.set(path);
    }

    /// The invoker of an extension, if it was ever called.
    pub fn find(&self, id: &str) -> Option<Arc<Invoker>> {
        self.shared.table.read().get(id).cloned()
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    /// Every invoker, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Invoker>> {
        self.shared.all()
    }

    /// The invoker of an extension, made when there is none.
    pub(crate) fn insert(&self, id: &str) -> Arc<Invoker> {
        self.shared.insert(id)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        self.shared.transport.as_ref()
    }

    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    pub fn crash(&self) {
        let _ = self.shared.address.send(InvokersMsg::Crash);
    }

    /// Every change of a breaker of this replica from now on.
    pub fn transitions(&self) -> broadcast::Receiver<Transition> {
        self.shared.peers.transitions()
    }

    #[cfg(test)]
    pub(crate) fn peers(&self) -> &Arc<Peers> {
        &self.shared.peers
    }

    /// Another replica's breaker for this target is open for so long. True when the target is known, and so some note was
    /// taken of it; it opens nothing here.
    pub fn heard_open(&self, extension_id: &str, subject: &str, left: Duration) -> bool {
        let snapshot = self.shared.registry.snapshot();
        let Some(extension) = snapshot.extension(extension_id) else {
            return false;
        };
        if left.is_zero() || record::listener(extension, subject).is_none() {
            return false;
        }
        let until = Peers::until(left);
        // Nobody has called it here yet: remembered without making anything of it.
        if !self
            .find(extension_id)
            .is_some_and(|invoker| invoker.suspect(subject, until))
        {
            self.shared.peers.remember(subject, until);
        }
        true
    }

    /// What a choice between places goes by: asked at every choice, so it takes no message and copies nothing.
    pub fn endpoint_state(&self, extension_id: &str, subject: &str) -> EndpointState {
        self.endpoint_state_of(extension_id, |invoker, mode, _| {
            invoker.endpoint_state(subject, mode)
        })
    }

    /// The same for the calls of one tenant.
    pub fn endpoint_state_for(
        &self,
        tenant_id: &str,
        extension_id: &str,
        subject: &str,
    ) -> EndpointState {
        self.endpoint_state_of(extension_id, |invoker, mode, isolated| {
            invoker.endpoint_state_for(tenant_id, subject, mode, isolated)
        })
    }

    fn endpoint_state_of(
        &self,
        extension_id: &str,
        read: impl FnOnce(&Invoker, Mode, bool) -> EndpointState,
    ) -> EndpointState {
        let (mode, isolated) = self.shared.mode(extension_id);
        if let Mode::ForcedOpen(left) = mode {
            // Also where nobody has called it yet.
            return EndpointState {
                held_back: Some(left),
                unhealthy: true,
                ..EndpointState::default()
            };
        }
        self.shared
            .table
            .read()
            .get(extension_id)
            .map(|invoker| read(invoker, mode, isolated))
            .unwrap_or_default()
    }

    /// The ceiling that an extension has of its own.
    fn max_in_flight(&self, extension_id: &str) -> Option<u32> {
        self.shared
            .registry
            .snapshot()
            .extension(extension_id)?
            .max_in_flight
    }

    /// How long an extension's answers usually take (median), whichever of its targets gives them.
    pub fn latency(&self, extension_id: &str) -> Option<Duration> {
        self.shared.table.read().get(extension_id)?.figures().p50
    }

    /// Where every other attempt than a first one is paid for.
    pub fn retry_budgets(&self) -> &RetryBudgets {
        &self.shared.retries
    }

    /// How many calls of an extension may run.
    pub(crate) fn call_limit(&self, id: &Arc<str>) -> Arc<CallLimit> {
        self.shared.limits.of(id, |id| self.max_in_flight(id))
    }

    /// Whether the threads of this process are late.
    pub(crate) fn is_late(&self) -> bool {
        self.shared.local_lag.load(Ordering::Relaxed)
    }

    pub(crate) async fn invoker(&self, id: &str) -> Arc<Invoker> {
        if let Some(invoker) = self.find(id) {
            return invoker;
        }
        let invoker = self.shared.insert(id);
        let (started, wait) = oneshot::channel();
        if self
            .shared
            .address
            .send(InvokersMsg::Start(Arc::clone(&invoker), Some(started)))
            .is_ok()
        {
            let _ = timeout(START_WITHIN, wait).await;
        }
        invoker
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
    _liveness: OwnedTask,
    _health_log: Option<OwnedTask>,
    _open_copy: Option<OwnedTask>,
    _idle: OwnedTask,
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
        for invoker in shared.all().into_iter().filter(|invoker| !invoker.rests()) {
            let _ = shared.address.send(InvokersMsg::Start(invoker, None));
        }
        let _ = shared.address.send(InvokersMsg::Prune);
        let all = Invokers {
            shared: Arc::clone(&shared),
        };
        let lasting = all.clone();
        let watch = OwnedTask::lasting(move || prune_on_change(Arc::clone(&lasting.shared)));
        let lasting = all.clone();
        let liveness = OwnedTask::lasting(move || watch::ping_silent_extensions(lasting.clone()));
        let lasting = all.clone();
        let idle = OwnedTask::lasting(move || watch::forget_idle_targets(lasting.clone()));
        let lasting = all.clone();
        let open_copy = shared.open_copy.get().cloned().map(|path| {
            OwnedTask::lasting(move || watch::keep_open_breakers(lasting.clone(), path.clone()))
        });
        let health_log = shared.health_log.get().cloned().map(|log| {
            OwnedTask::lasting(move || watch::write_health_rows(all.clone(), log.clone()))
        });
        Ok(InvokersState {
            shared,
            log: RestartLog::new(INTENSITY),
            _watch: watch,
            _liveness: liveness,
            _health_log: health_log,
            _open_copy: open_copy,
            _idle: idle,
        })
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
                state.start(invoker, myself.get_cell()).await?;
                if let Some(started) = started {
                    let _ = started.send(());
                }
            }
            // Pruned while it waited for its restart: nobody would find it.
            InvokersMsg::Restart(invoker) if !state.shared.holds(&invoker) => {}
            InvokersMsg::Restart(invoker) => state.start(invoker, myself.get_cell()).await?,
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
        let is_it = |invoker: &Arc<Invoker>| {
            invoker
                .address
                .cell()
                .is_some_and(|own| own.get_id() == cell.get_id())
        };
        let Some(invoker) = self.shared.all().into_iter().find(is_it) else {
            return Ok(());
        };
        self.restart_later(invoker, reason)
    }

    /// A start that fails counts like a failure afterwards.
    async fn start(
        &mut self,
        invoker: Arc<Invoker>,
        supervisor: ActorCell,
    ) -> Result<(), ActorProcessingErr> {
        match start(&invoker, &self.shared.metrics, supervisor).await {
            Ok(()) => {
                invoker.set_rests(false);
                Ok(())
            }
            Err(error) => self.restart_later(invoker, &error.to_string()),
        }
    }

    fn restart_later(
        &mut self,
        invoker: Arc<Invoker>,
        reason: &str,
    ) -> Result<(), ActorProcessingErr> {
        match self.log.record(Instant::now(), fastrand::f64()) {
            Verdict::RestartAfter(wait) => {
                tracing::warn!(
                    extension_id = &*invoker.id,
                    error = reason,
                    "an invoker failed; restarting it"
                );
                self.shared
                    .metrics
                    .restarts
                    .get_or_create(&NodeLabel { node: "invokers" })
                    .inc();
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
                self.rest(&invoker);
                if self.fell_lately() {
                    tracing::warn!(
                        extension_id = &*invoker.id,
                        error = reason,
                        "an invoker fails too often; it rests"
                    );
                    return Ok(());
                }
                Err(format!(
                    "too many restarts of invokers, the last one {}: {reason}",
                    invoker.id
                )
                .into())
            }
        }
    }

    /// Whether the supervisor has fallen within the last minute; if not, it does now.
    fn fell_lately(&self) -> bool {
        let (now, mut fell) = (Instant::now(), self.shared.fell.lock());
        let lately = fell.is_some_and(|at| now.duration_since(at) < REST);
        if !lately {
            *fell = Some(now);
        }
        lately
    }

    /// Leaves an invoker alone for a while, so that it takes its supervisor down once and not without end. Its calls go on:
    /// the breaker is its callers', only figures and log lines are missing meanwhile.
    fn rest(&self, invoker: &Arc<Invoker>) {
        invoker.set_rests(true);
        let (shared, invoker) = (Arc::clone(&self.shared), Arc::clone(invoker));
        tokio::spawn(async move {
            sleep(REST).await;
            let _ = shared.address.send(InvokersMsg::Restart(invoker));
        });
    }

    /// Ends the invokers of extensions that the registry no longer has, forgets the targets of versions and instances that
    /// it no longer has, and closes the breakers that an operator has closed.
    fn prune(&self) {
        let snapshot = self.shared.registry.snapshot();
        self.shared
            .retries
            .retain(|id| snapshot.extension(id).is_some());
        self.shared.limits.retain(|id| {
            snapshot
                .extension(id)
                .map(|extension| extension.max_in_flight)
        });
        let gone: Vec<_> = self
            .shared
            .table
            .write()
            .extract_if(|id, _| snapshot.extension(id).is_none())
            .collect();
        for cell in gone
            .iter()
            .filter_map(|(_, invoker)| invoker.address.cell())
        {
            cell.stop(Some("the extension was deleted".to_owned()));
        }
        // Every call looks into the table: it is not held for what takes a while.
        for invoker in self.shared.all() {
            if let Some(extension) = snapshot.extension(&invoker.id) {
                retain_targets(&invoker, extension);
                if invoker.follow_resets(extension.breaker_resets()) {
                    self.shared.limits.reset(&invoker.id);
                }
            }
        }
    }
}

fn retain_targets(invoker: &Invoker, extension: &ExtensionRecord) {
    invoker.retain_targets(|subject| record::listener(extension, subject).is_some());
}

/// Starts an invoker's actor unless one runs already.
async fn start(
    invoker: &Arc<Invoker>,
    metrics: &Metrics,
    supervisor: ActorCell,
) -> Result<(), ActorProcessingErr> {
    let runs = invoker
        .address
        .cell()
        .is_some_and(|cell| ractor::actor::actor_cell::ACTIVE_STATES.contains(&cell.get_status()));
    if !runs {
        Actor::spawn_linked(
            None,
            InvokerActor,
            (Arc::clone(invoker), metrics.clone()),
            supervisor,
        )
        .await?;
    }
    Ok(())
}

async fn prune_on_change(shared: Arc<Shared>) {
    let mut served = shared.registry.served();
    while served.changed().await.is_ok() {
        let _ = shared.address.send(InvokersMsg::Prune);
    }
}
