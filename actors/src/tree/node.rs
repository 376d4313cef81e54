//! The supervision tree as data: one node for each place that actors fill one after the other.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use beamline_contract::admin::{NodeKind, TreeNode};
use parking_lot::Mutex;
use ractor::{ActorCell, ActorStatus};
use tokio::time::Instant;

use super::guarded_task::DONE;

/// One place in the tree. It outlives the actors that fill it one after the other.
pub struct Node {
    name: Cow<'static, str>,
    kind: NodeKind,
    life: Mutex<Life>,
    /// Messages on their way to the actor of the moment.
    queue: ArcSwap<AtomicI64>,
    handled: AtomicU64,
    details: Mutex<Option<Details>>,
    /// Those below it that are always the same, as soon as they are known.
    below: OnceLock<Vec<Arc<Self>>>,
}

#[derive(Debug, Default)]
struct Life {
    cell: Option<ActorCell>,
    started: Option<Instant>,
    restarting: bool,
    gave_up: bool,
    restarts: VecDeque<Instant>,
    restarts_in_all: u64,
    last_exit: Option<String>,
}

type Details = Box<dyn Fn(&mut TreeNode) + Send + Sync>;

/// Restarts shown as "in the window".
const SHOWN_WINDOW: Duration = Duration::from_secs(60);

impl Node {
    pub fn new(name: impl Into<Cow<'static, str>>, kind: NodeKind) -> Arc<Self> {
        Arc::new(Self::with(name.into(), kind, OnceLock::new()))
    }

    /// The node of a whole tree. It is there before what stands below it, so that a part of the
    /// tree can show all of it.
    pub fn root() -> Arc<Self> {
        Self::new("root", NodeKind::Supervisor)
    }

    /// The node of a supervisor whose children are always the same.
    pub(super) fn above(name: &'static str, below: Vec<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self::with(name.into(), NodeKind::Supervisor, below.into()))
    }

    fn with(name: Cow<'static, str>, kind: NodeKind, below: OnceLock<Vec<Arc<Self>>>) -> Self {
        Self {
            name,
            kind,
            life: Mutex::default(),
            queue: ArcSwap::default(),
            handled: AtomicU64::new(0),
            details: Mutex::default(),
            below,
        }
    }

    /// What stands below the root, from the start of the tree on.
    pub(super) fn grow(&self, below: Vec<Arc<Self>>) {
        let _ = self.below.set(below);
    }

    /// Adds what only the owner of the node knows: children that come and go, its breaker, what is
    /// in flight.
    pub fn describe(&self, details: impl Fn(&mut TreeNode) + Send + Sync + 'static) {
        *self.details.lock() = Some(Box::new(details));
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name as the label of a metric, whose values are a fixed set: names that are made while
    /// it runs are not told apart.
    pub(super) fn label(&self) -> &'static str {
        match self.name {
            Cow::Borrowed(name) => name,
            Cow::Owned(_) => "other",
        }
    }

    /// An actor has taken this place. Answers the count of the messages on their way to it.
    pub fn started(&self, cell: ActorCell) -> Arc<AtomicI64> {
        let queue = Arc::new(AtomicI64::new(0));
        let mut life = self.life.lock();
        life.cell = Some(cell);
        life.started = Some(Instant::now());
        life.restarting = false;
        life.gave_up = false;
        self.queue.store(Arc::clone(&queue));
        queue
    }

    /// The actor is gone. `restarting` when another will take its place.
    pub fn ended(&self, reason: &str, restarting: bool) {
        let mut life = self.life.lock();
        life.last_exit = Some(reason.to_owned());
        life.restarting = restarting;
        life.gave_up = !restarting;
        if restarting {
            life.restarts_in_all += 1;
            life.restarts.push_back(Instant::now());
            if life.restarts.len() > 100 {
                life.restarts.pop_front();
            }
        }
    }

    /// The actor is gone, and has done what it was there for.
    pub(super) fn done(&self) {
        let mut life = self.life.lock();
        life.last_exit = Some(DONE.to_owned());
        life.restarting = false;
        life.gave_up = false;
    }

    /// Every handler calls this first, so that the queue depth and the count are true.
    pub fn handling(&self) {
        self.queue.load().fetch_sub(1, Ordering::Relaxed);
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// A message that the actor sent to itself: off the queue, and no work to count.
    pub fn timer_handled(&self) {
        self.queue.load().fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts work that no address has sent to the actor.
    pub fn count_handled(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    pub fn view(&self) -> TreeNode {
        let status = self.status();
        let now = Instant::now();
        let life = self.life.lock();
        let uptime = life
            .started
            .map_or(Duration::ZERO, |at| now.duration_since(at));
        let in_window = life
            .restarts
            .iter()
            .filter(|at| now.duration_since(**at) <= SHOWN_WINDOW)
            .count();
        let mut view = TreeNode {
            name: self.name.to_string(),
            kind: self.kind.into(),
            status: status.into(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            restarts: life.restarts_in_all,
            restarts_in_window: in_window as u64,
            last_exit: life.last_exit.clone(),
            queue_depth: u64::try_from(self.queue.load().load(Ordering::Relaxed))
                .unwrap_or_default(),
            in_flight: None,
            limit: None,
            ceiling: None,
            waiting: None,
            handled: self.handled.load(Ordering::Relaxed),
            breaker: None,
            success_rate: None,
            security_events: None,
            omitted_children: 0,
            children: self.below().map(|node| node.view()).collect(),
        };
        drop(life);
        if let Some(details) = &*self.details.lock() {
            details(&mut view);
        }
        view
    }

    /// For tests of the supervision: the node of this name, itself or one of those that are always
    /// below it.
    #[cfg(any(test, feature = "testing"))]
    pub fn find(self: &Arc<Self>, name: &str) -> Option<Arc<Self>> {
        if self.name == name {
            return Some(Arc::clone(self));
        }
        self.below().find_map(|node| node.find(name))
    }

    /// For tests of the supervision: kills the actor.
    #[cfg(any(test, feature = "testing"))]
    pub fn kill(&self) {
        if let Some(cell) = &self.life.lock().cell {
            cell.kill();
        }
    }

    fn below(&self) -> impl Iterator<Item = &Arc<Self>> {
        self.below.get().into_iter().flatten()
    }

    fn status(&self) -> &'static str {
        let life = self.life.lock();
        match life.cell.as_ref().map(ActorCell::get_status) {
            _ if life.restarting => "restarting",
            None | Some(ActorStatus::Unstarted | ActorStatus::Starting) => "starting",
            Some(ActorStatus::Running | ActorStatus::Upgrading) => "running",
            Some(ActorStatus::Draining | ActorStatus::Stopping) => "draining",
            Some(ActorStatus::Stopped) if life.gave_up => "failed",
            Some(ActorStatus::Stopped) => "stopped",
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Node")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
