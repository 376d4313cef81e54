//! One extension: its targets with their breakers, and the figures of how its calls went.
//!
//! Callers share the breakers and never wait for this actor. It gets the outcome of every finished
//! call and turns them into figures, metrics and log lines.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::time::Instant;

mod counted;
mod failures;
mod log;

use self::counted::Counted;
use self::failures::Failures;
use crate::fail_points;
use crate::metrics::Metrics;
use crate::targets::{Peers, TargetState};
use crate::tree::{Address, Node, NodeKind};
use beamline_contract::record::{ExtensionRecord, Kind};
use beamline_domain::record;
use beamline_domain::target::breaker::{Breaker, BreakerReading, Mode, State};
use beamline_domain::target::health::{Figures, Health};
use beamline_domain::target::selection::EndpointState;

/// What an extension's callers and its actor share. It outlives the actor, so that a restart keeps
/// the breakers.
#[derive(Debug)]
pub struct Invoker {
    pub id: Arc<str>,
    /// By subject. Made when they are first called.
    targets: RwLock<HashMap<Arc<str>, Arc<TargetState>>>,
    figures: ArcSwap<Figures>,
    health: Mutex<Health>,
    alive: Mutex<Option<bool>>,
    /// It has answered a ping, so that silence tells something.
    answers_pings: AtomicBool,
    /// It failed too often: its actor is not started for a while.
    rests: AtomicBool,
    /// The operators' resets that its breakers have been through.
    resets: AtomicU64,
    peers: Arc<Peers>,
    pub address: Arc<Address<InvokerMsg>>,
    /// The supervisor that has started its actor.
    supervisor: Mutex<Option<ActorId>>,
}

/// A target without calls for this long says nothing about the extension's state.
const IN_USE_FOR: Duration = Duration::from_secs(600);
/// The versions that calls asked for within this time are those that the next one may meet.
const ASKED_FOR: Duration = Duration::from_secs(60);

/// The breakers of an extension by version.
#[derive(Debug)]
pub struct VersionBreakers {
    /// What the next call meets; the worst of what it may meet.
    pub whole: BreakerReading,
    /// The version at which it meets that, unless it is closed.
    pub at: Option<String>,
    /// Those that were called.
    pub versions: BTreeMap<String, BreakerReading>,
}

/// The breakers of some targets as one; those that are in use, if any is.
fn in_use(targets: &[Arc<TargetState>]) -> BreakerReading {
    let readings = |least: Duration| {
        let used = targets
            .iter()
            .filter(move |target| target.unused_for() < least);
        used.map(|target| target.breaker())
    };
    if readings(IN_USE_FOR).next().is_some() {
        BreakerReading::over(readings(IN_USE_FOR))
    } else {
        BreakerReading::over(readings(Duration::MAX))
    }
}

impl Invoker {
    /// One that talks to no other replica.
    pub fn new(id: &str) -> Arc<Self> {
        Self::among(Arc::default(), id)
    }

    pub(crate) fn among(peers: Arc<Peers>, id: &str) -> Arc<Self> {
        let node = Node::new(format!("invoker:{id}"), NodeKind::Worker);
        let invoker = Arc::new(Self {
            id: id.into(),
            targets: RwLock::default(),
            figures: ArcSwap::default(),
            health: Mutex::default(),
            alive: Mutex::default(),
            answers_pings: AtomicBool::new(false),
            rests: AtomicBool::new(false),
            resets: AtomicU64::new(0),
            peers,
            address: Arc::new(Address::new(Arc::clone(&node))),
            supervisor: Mutex::default(),
        });
        let shown = Arc::downgrade(&invoker);
        node.describe(move |view| {
            let Some(invoker) = shown.upgrade() else {
                return;
            };
            view.success_rate = invoker.figures().success_rate;
        });
        invoker
    }

    /// Whether its actor is left alone for now.
    pub(crate) fn rests(&self) -> bool {
        self.rests.load(Ordering::Relaxed)
    }

    pub(crate) fn set_rests(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }

    /// Whether its actor was started by this supervisor.
    pub(crate) fn is_child_of(&self, supervisor: ActorId) -> bool {
        *self.supervisor.lock() == Some(supervisor)
    }

    pub(crate) fn becomes_child_of(&self, supervisor: ActorId) {
        *self.supervisor.lock() = Some(supervisor);
    }

    /// Closes its breakers and forgets the waits that it asked for, if operators have reset it
    /// another number of times than it knows of; true if so. Fewer, when the extension was deleted
    /// and registered anew before anybody looked.
    pub fn follow_resets(&self, count: u64) -> bool {
        let is_new = self.resets.swap(count, Ordering::Relaxed) != count;
        if is_new {
            self.targets().iter().for_each(|target| target.reset());
        }
        is_new
    }

    /// The operators' resets that it has followed.
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// The target with this subject, made when there is none.
    pub fn target(&self, subject: &Arc<str>) -> Arc<TargetState> {
        if let Some(target) = self.targets.read().get(subject) {
            return Arc::clone(target);
        }
        let mut targets = self.targets.write();
        let target = targets
            .entry(Arc::clone(subject))
            .or_insert_with(|| TargetState::new(&self.id, subject, &self.peers));
        Arc::clone(target)
    }

    /// A target whose breaker was open before a restart of the process.
    pub(crate) fn reopen(&self, subject: &Arc<str>, breaker: Breaker) {
        let target = TargetState::with(breaker, &self.id, subject, &self.peers);
        self.targets.write().insert(Arc::clone(subject), target);
    }

    /// Another replica's breaker for a target is open until then. False when nobody has called that
    /// target here.
    pub(crate) fn suspect(&self, subject: &str, until: std::time::Instant) -> bool {
        let target = self.targets.read().get(subject).cloned();
        target.inspect(|target| target.suspect(until)).is_some()
    }

    /// All targets that were called, by subject.
    pub fn targets(&self) -> Vec<Arc<TargetState>> {
        let mut targets: Vec<_> = self.targets.read().values().cloned().collect();
        targets.sort_by(|a, b| a.subject.cmp(&b.subject));
        targets
    }

    /// What is known of a target; nothing before its first call. `mode` is what an operator has
    /// decided.
    pub fn endpoint_state(&self, subject: &str, mode: Mode) -> EndpointState {
        self.targets
            .read()
            .get(subject)
            .map(|target| target.endpoint_state(mode))
            .unwrap_or_default()
    }

    /// The same for a call of one tenant, which may have a breaker of its own.
    pub fn endpoint_state_for(
        &self,
        tenant_id: &str,
        subject: &str,
        mode: Mode,
        isolated: bool,
    ) -> EndpointState {
        self.targets
            .read()
            .get(subject)
            .map(|target| target.endpoint_state_for(tenant_id, mode, isolated))
            .unwrap_or_default()
    }

    /// The breakers of all targets in use as one.
    pub fn breaker(&self) -> BreakerReading {
        in_use(&self.targets())
    }

    /// What the next call meets, and at which version.
    pub fn breakers(&self, extension: &ExtensionRecord) -> VersionBreakers {
        let mut by_version: BTreeMap<String, Vec<Arc<TargetState>>> = BTreeMap::new();
        for target in self.targets() {
            if let Some(listener) = record::listener(extension, &target.subject) {
                by_version.entry(listener.version).or_default().push(target);
            }
        }
        let live = record::live_versions(extension);
        let mut live_ones: Vec<(Duration, String, BreakerReading)> = Vec::new();
        let mut versions = BTreeMap::new();
        for (version, targets) in by_version {
            let reading = in_use(&targets);
            let asked = targets.iter().map(|target| target.unused_for()).min();
            if live.contains(&version) {
                let asked = asked.unwrap_or(Duration::MAX);
                live_ones.push((asked, version.clone(), reading));
            }
            versions.insert(version, reading);
        }
        let latest = live_ones.iter().map(|(asked, ..)| *asked).min();
        let within = ASKED_FOR.max(latest.unwrap_or_default());
        live_ones.retain(|(asked, ..)| *asked <= within);
        let whole = BreakerReading::worst(live_ones.iter().map(|(_, _, reading)| *reading));
        let mut met = live_ones.into_iter();
        let at = met.find(|(_, _, reading)| reading.state == whole.state);
        VersionBreakers {
            whole,
            at: at
                .filter(|_| whole.state != State::Closed)
                .map(|(_, version, _)| version),
            versions,
        }
    }

    /// The figures of all calls, whichever target took them.
    pub fn figures(&self) -> Arc<Figures> {
        self.figures.load_full()
    }

    pub(crate) fn record(&self, success: bool, took: Duration) {
        self.health
            .lock()
            .record(success, took, Instant::now().into_std());
    }

    /// Brings the figures up to date.
    pub(crate) fn publish(&self) {
        let figures = self.health.lock().figures();
        self.figures.store(Arc::new(figures));
        for target in self.targets() {
            target.publish();
        }
    }

    /// Whether any of its processes answered the last ping; `None` while its traffic tells more, or
    /// nothing is known.
    pub fn alive(&self) -> Option<bool> {
        *self.alive.lock()
    }

    pub(crate) fn set_alive(&self, alive: Option<bool>) {
        *self.alive.lock() = alive;
        if alive == Some(true) {
            self.answers_pings.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it has ever answered a ping.
    pub(crate) fn answers_pings(&self) -> bool {
        self.answers_pings.load(Ordering::Relaxed)
    }

    /// Forgets the targets that nobody has called for a while, unless there is something to
    /// remember.
    pub(crate) fn forget_idle(&self) {
        let is_idle = |target: &Arc<TargetState>| {
            // A permit, or somebody who is about to ask for one, has it too.
            Arc::strong_count(target) == 1
                && target.unused_for() >= IN_USE_FOR
                && target.is_closed()
        };
        self.targets.write().retain(|_, target| !is_idle(target));
        self.targets()
            .iter()
            .for_each(|target| target.forget_idle_tenants(IN_USE_FOR));
    }

    /// Forgets the targets whose subjects the registry no longer has.
    pub fn retain_targets(&self, belongs: impl Fn(&str) -> bool) {
        self.targets.write().retain(|subject, _| belongs(subject));
    }
}

#[derive(Debug)]
pub enum InvokerMsg {
    Finished(Finished),
    /// Time to publish the figures again.
    Publish,
    /// Time to tell how many calls failed since the last line about them.
    Tell,
    /// For tests of the supervision: fails the actor.
    #[cfg(any(test, feature = "testing"))]
    Crash,
}

/// A call with all its attempts, after the fact.
#[derive(Debug)]
pub struct Finished {
    pub kind: Kind,
    pub latency: Duration,
    pub status: &'static str,
    /// Reason and sentence of a failure.
    pub failure: Option<(&'static str, String)>,
    /// Whether the extension did its work, and how long its last attempt took; `None` when the call
    /// says nothing about it: that is logged and counted, but not held against it. Targets have
    /// heard of each attempt already.
    pub evidence: Option<(bool, Duration)>,
    /// Why its answer would be refused, were it not for `router.strict_answers`.
    pub tolerated: Option<&'static str>,
    pub tokens: Option<f64>,
    pub trace_id: Arc<str>,
    pub tenant_id: Arc<str>,
}

/// The figures are computed at most this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// One extension's odd answers are told of at most this often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The actor of one extension.
#[derive(Debug)]
pub struct InvokerActor;

#[derive(Debug)]
pub struct InvokerState {
    invoker: Arc<Invoker>,
    counted: Counted,
    publishing: bool,
    published: Instant,
    /// When an answer was last told of that will be refused one day, and how many came since.
    told: Option<(Instant, u64)>,
    failures: Failures,
    telling: bool,
}

impl Actor for InvokerActor {
    type Msg = InvokerMsg;
    type State = InvokerState;
    /// Who asked for it hears when it has started.
    type Arguments = (Arc<Invoker>, Metrics, Option<oneshot::Sender<()>>);

    async fn pre_start(
        &self,
        _: ActorRef<InvokerMsg>,
        (invoker, metrics, started): Self::Arguments,
    ) -> Result<InvokerState, ActorProcessingErr> {
        fail_points::reached(&invoker.id);
        if let Some(started) = started {
            let _ = started.send(());
        }
        // The first outcome is published at once.
        let published = Instant::now()
            .checked_sub(PUBLISH_EVERY)
            .unwrap_or_else(Instant::now);
        Ok(InvokerState {
            counted: Counted::new(&invoker.id, metrics),
            invoker,
            publishing: false,
            published,
            told: None,
            failures: Failures::default(),
            telling: false,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<InvokerMsg>,
        message: InvokerMsg,
        state: &mut InvokerState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.invoker.address.node();
        match message {
            InvokerMsg::Finished(finished) => {
                node.handling();
                state.finished(finished);
            }
            InvokerMsg::Publish => {
                node.timer_handled();
                state.publishing = false;
                state.publish();
            }
            InvokerMsg::Tell => {
                node.timer_handled();
                state.tell();
            }
            #[cfg(any(test, feature = "testing"))]
            InvokerMsg::Crash => return Err("crashed by a test".into()),
        }
        Ok(())
    }
}

impl InvokerState {
    fn finished(&mut self, finished: Finished) {
        self.counted.count(&finished);
        self.log(&finished);
        if let Some(problem) = finished.tolerated {
            self.warn_of(problem);
        }
        if let Some((success, took)) = finished.evidence {
            self.invoker.record(success, took);
        }
        if self.published.elapsed() >= PUBLISH_EVERY {
            self.publish();
        } else if !self.publishing {
            self.publishing = true;
            self.invoker
                .address
                .send_after(PUBLISH_EVERY, InvokerMsg::Publish);
        }
    }

    /// Says once a minute what will be refused.
    fn warn_of(&mut self, problem: &'static str) {
        self.counted.tolerated();
        if let Some((at, more)) = &mut self.told
            && at.elapsed() < WARN_EVERY
        {
            *more += 1;
            return;
        }
        let more = self.told.map_or(0, |(_, more)| more);
        self.told = Some((Instant::now(), 0));
        tracing::warn!(
            extension_id = &*self.invoker.id,
            problem,
            more,
            "an answer is taken that will be refused without router.strict_answers = \"warn\""
        );
    }

    fn publish(&mut self) {
        self.published = Instant::now();
        self.invoker.publish();
    }
}
