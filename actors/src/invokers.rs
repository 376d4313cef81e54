//! Starts, finds and replaces one invoker for each extension in use. Calls are made beside them, in
//! `call.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{broadcast, oneshot};
use tokio::time::{Instant, timeout};

use crate::call_limits::{CallLimit, CallLimits, InUse};
use crate::invoker::Invoker;
use crate::metrics::Metrics;
use crate::ports::Transport;
use crate::registry::Registry;
use crate::retry_budgets::RetryBudgets;
use crate::targets::{Peers, Transition};
use crate::tree::{Address, Node, NodeBreaker, NodeKind, TreeNode};
use beamline_contract::record::Isolation;
use beamline_domain::record;
use beamline_domain::request::reply::Strictness;
use beamline_domain::target::breaker::{Mode, State};
use beamline_domain::target::selection::EndpointState;

mod supervisor;
#[cfg(test)]
mod tests;

pub use supervisor::{InvokersActor, InvokersMsg};

/// The way to all invokers; all clones share it.
#[derive(Debug, Clone)]
pub struct Invokers {
    shared: Arc<SharedInvokers>,
}

#[derive(Debug)]
struct SharedInvokers {
    transport: Arc<dyn Transport>,
    registry: Registry,
    metrics: Metrics,
    retries: RetryBudgets,
    limits: CallLimits,
    /// The threads of this process are late.
    local_lag: AtomicBool,
    /// Answers are taken as the release before took them.
    tolerates: AtomicBool,
    table: RwLock<HashMap<String, Arc<Invoker>>>,
    peers: Arc<Peers>,
    /// When their supervisor last fell.
    fell: Mutex<Option<Instant>>,
    address: Arc<Address<InvokersMsg>>,
}

impl SharedInvokers {
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

    /// What an operator has decided about an extension's breakers, and whether tenants have their
    /// own.
    fn mode(&self, extension_id: &str) -> (Mode, bool) {
        let snapshot = self.registry.snapshot();
        let Some(extension) = snapshot.extension(extension_id) else {
            return (Mode::Normal, false);
        };
        let mode = Mode::of(extension.breaker_operator.as_ref(), SystemTime::now());
        (mode, extension.breaker.isolation == Some(Isolation::Tenant))
    }

    /// Ends the invokers of extensions that the registry no longer has, forgets the targets of
    /// versions and instances that it no longer has, and closes the breakers that an operator has
    /// closed.
    fn prune(&self) {
        let snapshot = self.registry.snapshot();
        self.retries.retain(|id| snapshot.extension(id).is_some());
        self.limits.retain(|id| {
            snapshot
                .extension(id)
                .map(|extension| extension.max_in_flight)
        });
        let gone: Vec<_> = self
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
        self.metrics
            .retain_extensions(|id| snapshot.extension(id).is_some());
        // Every call looks into the table: it is not held for what takes a while.
        for invoker in self.all() {
            if let Some(extension) = snapshot.extension(&invoker.id) {
                invoker.retain_targets(|subject| record::listener(extension, subject).is_some());
                if invoker.follow_resets(extension.breaker_resets()) {
                    self.limits.reset(&invoker.id);
                }
            }
        }
    }

    fn view(&self, invoker: &Invoker) -> TreeNode {
        let mut view = invoker.address.node().view();
        self.limits.describe(&invoker.id, &mut view);
        let snapshot = self.registry.snapshot();
        let met = snapshot
            .extension(&invoker.id)
            .map(|extension| invoker.breakers(extension));
        let measured = met.as_ref().map_or(State::Closed, |met| met.whole.state);
        let (mode, _) = self.mode(&invoker.id);
        let is_normal = mode == Mode::Normal;
        view.breaker = Some(NodeBreaker {
            state: mode.effective(measured).into(),
            version: met.and_then(|met| met.at).filter(|_| is_normal),
            measured_state: (!is_normal).then(|| measured.as_str().into()),
        });
        view
    }
}

/// The first call of an extension waits for its invoker no longer than this; it can go without.
const START_WITHIN: Duration = Duration::from_millis(100);
/// Invokers that the tree shows; an answer over NATS has an end.
const SHOWN: usize = 500;

impl Invokers {
    pub fn new(transport: Arc<dyn Transport>, registry: Registry, metrics: Metrics) -> Self {
        let node = Node::new("invokers", NodeKind::Supervisor);
        let address = Arc::new(Address::new(Arc::clone(&node)));
        let retries = RetryBudgets::new(metrics.clone());
        let limits = CallLimits::new(metrics.clone());
        let peers = Arc::new(Peers::new(metrics.clone()));
        let shared = Arc::new(SharedInvokers {
            transport,
            registry,
            metrics,
            retries,
            limits,
            local_lag: AtomicBool::new(false),
            tolerates: AtomicBool::new(false),
            table: RwLock::default(),
            peers,
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

    /// Such that at most `max_in_flight` calls of one extension ever run at the same time.
    pub fn limited_to(
        max_in_flight: u32,
        transport: Arc<dyn Transport>,
        registry: Registry,
        metrics: Metrics,
    ) -> Self {
        let invokers = Self::new(transport, registry, metrics);
        invokers.shared.limits.set(max_in_flight);
        invokers
    }

    /// For tests: another limit for the extensions that are called for the first time after this.
    #[cfg(any(test, feature = "testing"))]
    pub fn limit_calls(&self, max_in_flight: u32) {
        self.shared.limits.set(max_in_flight);
    }

    /// While the threads of this process are late, a timeout says nothing of an extension.
    pub fn lags(&self, late: bool) {
        self.shared.local_lag.store(late, Ordering::Relaxed);
    }

    /// Answers that the contract does not know are taken as the release before took them.
    pub fn tolerate(&self) {
        self.shared.tolerates.store(true, Ordering::Relaxed);
    }

    /// How many calls of an extension run, wait and may run; `None` before its first one.
    pub fn in_use(&self, id: &str) -> Option<InUse> {
        self.shared.limits.in_use(id)
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

    /// Forgets what the registry no longer has, and follows what operators have decided.
    pub(crate) fn prune(&self) {
        let _ = self.shared.address.send(InvokersMsg::Prune);
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

    /// Another replica's breaker for this target is open for so long. True when the target is
    /// known, and so some note was taken of it; it opens nothing here.
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

    /// What a choice between places goes by: asked at every choice, so it takes no message and
    /// copies nothing.
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
            .map(|invoker| EndpointState {
                failing: !invoker.figures().answers(Instant::now().into_std()),
                ..read(invoker, mode, isolated)
            })
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

    pub(crate) fn strictness(&self) -> Strictness {
        if self.shared.tolerates.load(Ordering::Relaxed) {
            Strictness::Warn
        } else {
            Strictness::Refuse
        }
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
