//! A supervisor of named children: it starts them in order, restarts those that end, and stops them
//! in the reverse order.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::child::{Child, Restart, nodes};
use super::guarded_task::DONE;
use super::node::Node;
use super::restarts::{Intensity, Patience, RestartLog, Verdict};
use super::task::OwnedTask;
use crate::metrics::{Metrics, NodeLabel};

/// More restarts of essential children than this, and the process is better started anew by its
/// platform.
const INTENSITY: Intensity = Intensity {
    restarts: 3,
    within: Duration::from_secs(30),
};
/// A child that has not stopped by then is killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Tells when all children have started, or which one could not.
pub(super) type Ready = oneshot::Sender<Result<(), String>>;

/// What a supervisor is made of.
#[derive(Debug)]
pub(super) struct Supervised {
    pub(super) node: Arc<Node>,
    pub(super) children: Vec<Child>,
    pub(super) metrics: Metrics,
    /// Whoever waits for the first start of all; it fails if one of them cannot start.
    pub(super) ready: Option<Ready>,
}

impl Supervised {
    /// The same for a restart: nobody waits for that.
    pub(super) fn again(&self) -> Self {
        Self {
            node: Arc::clone(&self.node),
            children: self.children.clone(),
            metrics: self.metrics.clone(),
            ready: None,
        }
    }
}

impl Child {
    /// A supervisor of further children, which the others can do without. None of its children is
    /// essential.
    pub fn supervisor(name: &'static str, children: Vec<Self>, metrics: &Metrics) -> Self {
        let node = Node::above(name, nodes(&children));
        let supervised = Supervised {
            node: Arc::clone(&node),
            children,
            metrics: metrics.clone(),
            ready: None,
        };
        let child = Self::lasting(&node, move || (Supervisor, supervised.again()));
        // ractor would end all below it at once.
        child.stopped_by(|actor| {
            let _ = actor.send_message(SupervisorMsg::Stop);
        })
    }
}

#[derive(Debug)]
pub(super) enum SupervisorMsg {
    /// A child could not start; nothing was linked yet, so ractor tells nobody.
    NotStarted {
        child: ActorId,
        reason: String,
    },
    Restart(usize),
    /// Stop everything, last started first.
    Stop,
    /// The child has had its time to stop.
    StopOverdue(usize),
}

#[derive(Debug)]
pub(super) struct Supervisor;

#[derive(Debug)]
pub(super) struct SupervisorState {
    node: Arc<Node>,
    children: Vec<Slot>,
    /// The restarts of essential children.
    restarts: RestartLog,
    metrics: Metrics,
    phase: Phase,
    /// Kills the child that is to stop, when its time is over.
    overdue: Option<OwnedTask>,
}

#[derive(Debug)]
enum Phase {
    /// The children before this one have started.
    Starting(usize, Option<Ready>),
    Running,
    Stopping,
}

/// A child and the actor that stands for it now.
#[derive(Debug)]
struct Slot {
    child: Child,
    actor: Option<ActorCell>,
    running_since: Instant,
    patience: Patience,
}

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = Supervised;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        supervised: Supervised,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        supervised.node.started(myself.get_cell());
        let children = supervised.children.into_iter().map(Slot::new).collect();
        Ok(SupervisorState {
            node: supervised.node,
            children,
            restarts: RestartLog::new(INTENSITY),
            metrics: supervised.metrics,
            phase: Phase::Starting(0, supervised.ready),
            overdue: None,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        state.start_next(&myself)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        state.node.count_handled();
        match message {
            SupervisorMsg::NotStarted { child, reason } => {
                state.not_started(child, &reason, &myself)
            }
            SupervisorMsg::Restart(index) => state.start(index, &myself),
            SupervisorMsg::Stop => {
                state.stop_last(&myself);
                Ok(())
            }
            SupervisorMsg::StopOverdue(index) => {
                state.kill(index);
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        state.node.count_handled();
        match event {
            SupervisionEvent::ActorStarted(cell) => state.started(cell.get_id(), &myself),
            SupervisionEvent::ActorFailed(cell, error) => {
                state.ended(cell.get_id(), &End::Failed(error.to_string()), &myself)
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                let reason = reason.unwrap_or_else(|| "stopped".to_owned());
                state.ended(cell.get_id(), &End::Stopped(reason), &myself)
            }
            SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

/// How a child came to its end.
enum End {
    Stopped(String),
    Failed(String),
}

impl End {
    fn reason(&self) -> &str {
        match self {
            Self::Stopped(reason) | Self::Failed(reason) => reason,
        }
    }
}

impl SupervisorState {
    /// What the end of a child means.
    fn ended(
        &mut self,
        actor: ActorId,
        end: &End,
        myself: &ActorRef<SupervisorMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(index) = self.position(actor) else {
            return Ok(());
        };
        let Some(slot) = self.children.get_mut(index) else {
            return Ok(());
        };
        slot.actor = None;
        if matches!(self.phase, Phase::Stopping) {
            self.stop_last(myself);
            return Ok(());
        }
        match (slot.child.restart, end) {
            (Restart::UntilDone, End::Stopped(reason)) if reason == DONE => slot.child.node.done(),
            // One that was killed has not done its work.
            (Restart::Lasting | Restart::UntilDone, _) => {
                let ran = slot.running_since.elapsed();
                let wait = slot.patience.record(ran, fastrand::f64());
                self.restart_after(wait, index, end.reason(), myself);
            }
            (Restart::Essential, _) => {
                match self.restarts.record(Instant::now(), fastrand::f64()) {
                    Verdict::RestartAfter(wait) => {
                        self.restart_after(wait, index, end.reason(), myself);
                    }
                    Verdict::GiveUp => return self.give_up(index, end.reason()),
                }
            }
        }
        Ok(())
    }

    fn restart_after(
        &mut self,
        wait: Duration,
        index: usize,
        reason: &str,
        myself: &ActorRef<SupervisorMsg>,
    ) {
        let Some(slot) = self.children.get(index) else {
            return;
        };
        let node = &slot.child.node;
        tracing::warn!(
            node = node.name(),
            error = reason,
            wait_ms = wait.as_millis(),
            "a part of the router ended; restarting it"
        );
        let label = NodeLabel { node: node.label() };
        self.metrics.restarts.get_or_create(&label).inc();
        node.ended(reason, true);
        myself.send_after(wait, move || SupervisorMsg::Restart(index));
    }

    fn give_up(&self, index: usize, reason: &str) -> Result<(), ActorProcessingErr> {
        let Some(slot) = self.children.get(index) else {
            return Ok(());
        };
        let node = &slot.child.node;
        node.ended(reason, false);
        let why = format!("{} ended too often, at last with: {reason}", node.name());
        tracing::error!(
            node = node.name(),
            error = reason,
            "too many restarts; the router gives up"
        );
        self.node.ended(&why, false);
        Err(why.into())
    }

    /// Starts a child and goes on; that it has started, or could not, comes as a message.
    fn start(
        &mut self,
        index: usize,
        myself: &ActorRef<SupervisorMsg>,
    ) -> Result<(), ActorProcessingErr> {
        if matches!(self.phase, Phase::Stopping) {
            return Ok(());
        }
        let Some(slot) = self.children.get_mut(index) else {
            return Ok(());
        };
        let supervisor = myself.clone();
        let not_started = Box::new(move |child, reason| {
            let _ = supervisor.send_message(SupervisorMsg::NotStarted { child, reason });
        });
        // Fails here only for names that are taken, and no child has one.
        slot.actor = Some(slot.child.start(myself.get_cell(), not_started)?);
        slot.running_since = Instant::now();
        Ok(())
    }

    /// Starts the first child that was not started yet.
    fn start_next(&mut self, myself: &ActorRef<SupervisorMsg>) -> Result<(), ActorProcessingErr> {
        let Phase::Starting(next, ready) = &mut self.phase else {
            return Ok(());
        };
        let index = *next;
        *next += 1;
        if index < self.children.len() {
            return self.start(index, myself);
        }
        if let Some(ready) = ready.take() {
            let _ = ready.send(Ok(()));
        }
        self.phase = Phase::Running;
        Ok(())
    }

    fn started(
        &mut self,
        actor: ActorId,
        myself: &ActorRef<SupervisorMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(index) = self.position(actor) else {
            return Ok(());
        };
        if let Some(slot) = self.children.get_mut(index) {
            slot.running_since = Instant::now();
        }
        if self.is_awaited(index) {
            return self.start_next(myself);
        }
        Ok(())
    }

    /// A start that fails counts like a failure afterwards, but for the first start of all: then
    /// there is no router.
    fn not_started(
        &mut self,
        actor: ActorId,
        reason: &str,
        myself: &ActorRef<SupervisorMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(index) = self.position(actor) else {
            return Ok(());
        };
        let is_awaited = self.is_awaited(index);
        if let Phase::Starting(_, ready) = &mut self.phase
            && let Some(ready) = ready.take_if(|_| is_awaited)
        {
            let _ = ready.send(Err(reason.to_owned()));
            return Err(reason.into());
        }
        self.ended(actor, &End::Failed(reason.to_owned()), myself)?;
        if is_awaited {
            return self.start_next(myself);
        }
        Ok(())
    }

    /// Whether the next child waits for the start of this one.
    fn is_awaited(&self, index: usize) -> bool {
        matches!(self.phase, Phase::Starting(next, _) if index + 1 == next)
    }

    /// Stops the last child that still runs; its end brings the next one's turn. After the first,
    /// the supervisor ends.
    fn stop_last(&mut self, myself: &ActorRef<SupervisorMsg>) {
        self.phase = Phase::Stopping;
        self.overdue = None;
        let last = self
            .children
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, slot)| Some((index, &slot.child, slot.actor.as_ref()?)));
        let Some((index, child, actor)) = last else {
            return myself.stop(None);
        };
        child.stop(actor);
        let myself = myself.clone();
        self.overdue = Some(OwnedTask::spawn(async move {
            tokio::time::sleep(STOP_WITHIN).await;
            let _ = myself.send_message(SupervisorMsg::StopOverdue(index));
        }));
    }

    fn kill(&self, index: usize) {
        let slot = self.children.get(index);
        if let Some(actor) = slot.and_then(|slot| slot.actor.as_ref()) {
            actor.kill();
        }
    }

    fn position(&self, actor: ActorId) -> Option<usize> {
        self.children
            .iter()
            .position(|slot| slot.actor.as_ref().is_some_and(|own| own.get_id() == actor))
    }
}

impl Slot {
    fn new(child: Child) -> Self {
        Self {
            child,
            actor: None,
            running_since: Instant::now(),
            patience: Patience::default(),
        }
    }
}
