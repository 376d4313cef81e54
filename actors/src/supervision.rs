//! Restart intensity and backoff, and the supervision tree as data.
//!
//! ractor gives links and events; what a supervisor here adds is when to restart, when to give up, and what
//! `beamline-router tree` shows. Addresses outlive restarts: whoever holds one reaches the actor of the moment.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use ractor::{ActorCell, ActorRef, ActorStatus, Message};
use serde::Serialize;
use tokio::time::Instant;

/// How many restarts are too many.
#[derive(Debug, Clone, Copy)]
pub struct Intensity {
    pub restarts: usize,
    pub within: Duration,
}

/// First wait before a restart; it doubles with every restart in the window.
const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_CAP: Duration = Duration::from_secs(5);

/// The restarts of one supervisor.
#[derive(Debug)]
pub struct RestartLog {
    intensity: Intensity,
    recent: VecDeque<Instant>,
}

/// What to do about a child that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    RestartAfter(Duration),
    /// Too many restarts: the supervisor itself fails, and its own supervisor decides.
    GiveUp,
}

impl RestartLog {
    pub fn new(intensity: Intensity) -> Self {
        Self {
            intensity,
            recent: VecDeque::new(),
        }
    }

    /// Takes note of an end. `jitter` is uniform in `0.0..1.0` and moves the wait by up to a quarter either way.
    pub fn record(&mut self, now: Instant, jitter: f64) -> Verdict {
        self.forget(now);
        if self.recent.len() >= self.intensity.restarts {
            return Verdict::GiveUp;
        }
        let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX).min(16);
        self.recent.push_back(now);
        let wait = BACKOFF_BASE.saturating_mul(1 << doublings).min(BACKOFF_CAP);
        Verdict::RestartAfter(wait.mul_f64(0.75 + jitter / 2.0))
    }

    fn forget(&mut self, now: Instant) {
        while self
            .recent
            .front()
            .is_some_and(|at| now.duration_since(*at) > self.intensity.within)
        {
            self.recent.pop_front();
        }
    }
}

/// What a node of the tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    Supervisor,
    Worker,
}

/// One place in the tree. It outlives the actors that fill it one after the other.
pub struct Node {
    name: String,
    kind: NodeKind,
    life: Mutex<Life>,
    queue: AtomicI64,
    handled: AtomicU64,
    details: Mutex<Option<Details>>,
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

type Details = Box<dyn Fn(&mut NodeView) + Send + Sync>;

/// Restarts shown as "in the window".
const SHOWN_WINDOW: Duration = Duration::from_secs(60);

/// A node as `admin.supervision_tree` answers it.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: NodeKind,
    pub status: &'static str,
    pub uptime_ms: u64,
    pub restarts: u64,
    pub restarts_in_window: u64,
    pub last_exit: Option<String>,
    /// Messages sent to the actor that it has not begun to handle.
    pub queue_depth: u64,
    pub in_flight: Option<u64>,
    /// How many may be in flight.
    pub limit: Option<u64>,
    /// What the limit may be at most, where it follows what comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<u64>,
    /// Those that wait for a place.
    pub waiting: Option<u64>,
    pub handled: u64,
    pub breaker: Option<BreakerView>,
    pub success_rate: Option<f64>,
    /// Children beyond those listed.
    pub omitted_children: u64,
    pub children: Vec<NodeView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct BreakerView {
    /// What the next call meets.
    pub state: &'static str,
    /// What it would meet, had no operator decided otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_state: Option<&'static str>,
}

impl Node {
    pub fn new(name: impl Into<String>, kind: NodeKind) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            kind,
            life: Mutex::default(),
            queue: AtomicI64::new(0),
            handled: AtomicU64::new(0),
            details: Mutex::default(),
        })
    }

    /// Adds what only the owner of the node knows: its children, its breaker, what is in flight.
    pub fn describe(&self, details: impl Fn(&mut NodeView) + Send + Sync + 'static) {
        *self.details.lock() = Some(Box::new(details));
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// An actor has taken this place.
    pub fn started(&self, cell: ActorCell) {
        let mut life = self.life.lock();
        life.cell = Some(cell);
        life.started = Some(Instant::now());
        life.restarting = false;
        life.gave_up = false;
        self.queue.store(0, Ordering::Relaxed);
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

    /// Every handler calls this first, so that the queue depth and the count are true.
    pub fn handling(&self) {
        self.queue.fetch_sub(1, Ordering::Relaxed);
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// A message that the actor sent to itself: off the queue, and no work to count.
    pub fn timer_handled(&self) {
        self.queue.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts work that reached the actor by another way than its mailbox.
    pub fn count_handled(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    pub fn view(&self) -> NodeView {
        let (status, now) = (self.status(), Instant::now());
        let life = self.life.lock();
        let uptime = life
            .started
            .map_or(Duration::ZERO, |at| now.duration_since(at));
        let in_window = life
            .restarts
            .iter()
            .filter(|at| now.duration_since(**at) <= SHOWN_WINDOW)
            .count();
        let mut view = NodeView {
            name: self.name.clone(),
            kind: self.kind,
            status,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            restarts: life.restarts_in_all,
            restarts_in_window: in_window as u64,
            last_exit: life.last_exit.clone(),
            queue_depth: u64::try_from(self.queue.load(Ordering::Relaxed)).unwrap_or_default(),
            in_flight: None,
            limit: None,
            ceiling: None,
            waiting: None,
            handled: self.handled.load(Ordering::Relaxed),
            breaker: None,
            success_rate: None,
            omitted_children: 0,
            children: Vec::new(),
        };
        drop(life);
        if let Some(details) = &*self.details.lock() {
            details(&mut view);
        }
        view
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

/// Where messages for one place of the tree go, whichever actor fills it.
#[derive(Debug)]
pub struct Address<M> {
    actor: ArcSwapOption<ActorRef<M>>,
    node: Arc<Node>,
}

/// Nobody fills the place at the moment: its supervisor is about to restart it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the actor is being restarted")]
pub struct Vacant;

impl<M: Message> Address<M> {
    pub fn new(node: Arc<Node>) -> Self {
        Self {
            actor: ArcSwapOption::empty(),
            node,
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub fn send(&self, message: M) -> Result<(), Vacant> {
        let actor = self.actor.load();
        let Some(actor) = actor.as_ref() else {
            return Err(Vacant);
        };
        // Counted before it is sent, so that the actor never counts it down first.
        self.node.queue.fetch_add(1, Ordering::Relaxed);
        actor.send_message(message).map_err(|_| {
            self.node.queue.fetch_sub(1, Ordering::Relaxed);
            Vacant
        })
    }

    /// Sends after a while; lost if nobody fills the place by then.
    pub fn send_after(self: &Arc<Self>, wait: Duration, message: M)
    where
        M: Sync,
    {
        let address = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = address.send(message);
        });
    }

    /// An actor takes the place; called from its `pre_start`.
    pub fn filled_by(&self, actor: &ActorRef<M>) {
        self.node.started(actor.get_cell());
        self.actor.store(Some(Arc::new(actor.clone())));
    }

    pub fn cell(&self) -> Option<ActorCell> {
        self.actor.load().as_ref().map(|actor| actor.get_cell())
    }
}

/// Between a panic and the next try, so that one that panics at once takes little and says little.
const LASTING_REST: Duration = Duration::from_secs(1);

/// A task that ends with its owner.
#[derive(Debug)]
pub struct OwnedTask(tokio::task::JoinHandle<()>);

impl OwnedTask {
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    /// One that is made anew after each panic: for work beside the requests, whose end nobody would notice.
    pub fn lasting<T: Future<Output = ()> + Send + 'static>(
        make: impl Fn() -> T + Send + 'static,
    ) -> Self {
        Self::spawn(async move {
            while (&mut Self::spawn(make()).0)
                .await
                .is_err_and(|end| end.is_panic())
            {
                tokio::time::sleep(LASTING_REST).await;
            }
        })
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Does something when it is dropped, unless it was disarmed: for a task whose owner must hear of its end even if that
/// was a panic.
pub struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub fn new(act: F) -> Self {
        Self(Some(act))
    }

    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

impl<F: FnOnce()> fmt::Debug for OnDrop<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OnDrop")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_longer_with_every_restart_and_gives_up_at_the_limit() {
        let mut log = RestartLog::new(Intensity {
            restarts: 3,
            within: Duration::from_secs(10),
        });
        let verdicts: Vec<Verdict> = (0..4).map(|_| log.record(Instant::now(), 0.5)).collect();
        let after = |ms| Verdict::RestartAfter(Duration::from_millis(ms));
        assert_eq!(
            verdicts,
            [after(50), after(100), after(200), Verdict::GiveUp]
        );
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(
            log.record(Instant::now(), 0.5),
            after(50),
            "old restarts are forgotten"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_task_is_made_anew_after_a_panic_and_goes_with_its_owner() {
        let made = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&made);
        let task = OwnedTask::lasting(move || {
            let counted = Arc::clone(&counted);
            async move {
                assert!(
                    counted.fetch_add(1, Ordering::Relaxed) >= 2,
                    "the first two panic"
                );
                std::future::pending().await
            }
        });
        tokio::time::sleep(LASTING_REST * 10).await;
        assert_eq!(made.load(Ordering::Relaxed), 3);
        drop(task);
        tokio::time::sleep(LASTING_REST).await;
        assert_eq!(Arc::strong_count(&made), 1, "nothing is left of it");
    }
}
