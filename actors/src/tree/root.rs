//! The root supervisor: its children, in the order in which they start, and what happens when each ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::node::{Node, NodeKind, NodeView};
use super::restarts::{Intensity, RestartLog, Verdict};
use super::task::OwnedTask;
use crate::metrics::{Metrics, NodeLabel};

/// More restarts of essential children than this, and the process is better started anew by its platform.
const INTENSITY: Intensity = Intensity {
    restarts: 3,
    within: Duration::from_secs(30),
};
/// A child that has not stopped by then is killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A child of the root.
pub struct Child {
    pub node: Arc<Node>,
    /// Starts it, linked to the supervisor that is given.
    pub start:
        Box<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>,
    /// Whether its repeated failure ends the router. The administration's does not: traffic goes on without it.
    pub essential: bool,
}

impl fmt::Debug for Child {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Child")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Child {
    pub fn new<A>(
        node: &Arc<Node>,
        essential: bool,
        actor: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Self
    where
        A: Actor,
    {
        let start =
            move |supervisor: ActorCell| -> BoxFuture<'static, Result<ActorCell, SpawnErr>> {
                let (actor, arguments) = actor();
                Box::pin(async move {
                    let (started, _) =
                        Actor::spawn_linked(None, actor, arguments, supervisor).await?;
                    Ok(started.get_cell())
                })
            };
        Self {
            node: Arc::clone(node),
            start: Box::new(start),
            essential,
        }
    }
}

/// A running tree.
#[derive(Debug)]
pub struct Root {
    actor: ActorRef<RootMsg>,
    ended: JoinHandle<()>,
    node: Arc<Node>,
}

impl Root {
    /// The node of the root, with the children's below it.
    pub fn node_above(children: &[Child]) -> Arc<Node> {
        let node = Node::new("root", NodeKind::Supervisor);
        let below: Vec<Arc<Node>> = children
            .iter()
            .map(|child| Arc::clone(&child.node))
            .collect();
        node.describe(move |view| view.children = below.iter().map(|child| child.view()).collect());
        node
    }

    /// Starts the children one after the other.
    pub async fn start(
        node: Arc<Node>,
        children: Vec<Child>,
        metrics: Metrics,
    ) -> Result<Self, SpawnErr> {
        let arguments = (Arc::clone(&node), children, metrics);
        let (actor, ended) = Actor::spawn(None, RootActor, arguments).await?;
        Ok(Self { actor, ended, node })
    }

    pub fn tree(&self) -> NodeView {
        self.node.view()
    }

    /// Resolves when the tree has ended; true when it gave up rather than was stopped.
    pub async fn ended(&mut self) -> bool {
        let _ = (&mut self.ended).await;
        self.node.view().last_exit.is_some()
    }

    /// Stops the children in the reverse order of their start; false if that took longer than `limit`.
    pub async fn stop(mut self, limit: Duration) -> bool {
        if self.actor.send_message(RootMsg::Stop).is_err() {
            return true;
        }
        let in_time = timeout(limit, &mut self.ended).await.is_ok();
        if !in_time {
            self.actor.kill();
        }
        in_time
    }
}

#[derive(Debug)]
enum RootMsg {
    Restart(usize),
    /// Stop everything, last started first.
    Stop,
    /// The child has had its time to stop.
    StopOverdue(usize),
}

#[derive(Debug)]
struct RootActor;

#[derive(Debug)]
struct RootState {
    node: Arc<Node>,
    children: Vec<Place>,
    essential: RestartLog,
    metrics: Metrics,
    stopping: bool,
    overdue: Option<OwnedTask>,
}

/// A child and the actor that fills its place now.
#[derive(Debug)]
struct Place {
    child: Child,
    actor: Option<ActorCell>,
    /// Restarts in a row, for the wait of a child that may fail without end.
    failures: u32,
    running_since: Instant,
}

/// A child that ran for so long starts with a short wait again.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

impl Actor for RootActor {
    type Msg = RootMsg;
    type State = RootState;
    type Arguments = (Arc<Node>, Vec<Child>, Metrics);

    async fn pre_start(
        &self,
        myself: ActorRef<RootMsg>,
        (node, children, metrics): Self::Arguments,
    ) -> Result<RootState, ActorProcessingErr> {
        node.started(myself.get_cell());
        let mut places = Vec::with_capacity(children.len());
        for child in children {
            let actor = (child.start)(myself.get_cell()).await?;
            places.push(Place {
                child,
                actor: Some(actor),
                failures: 0,
                running_since: Instant::now(),
            });
        }
        Ok(RootState {
            node,
            children: places,
            essential: RestartLog::new(INTENSITY),
            metrics,
            stopping: false,
            overdue: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMsg>,
        message: RootMsg,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        state.node.count_handled();
        match message {
            RootMsg::Restart(index) => return state.restart(index, &myself).await,
            RootMsg::Stop => {
                state.stopping = true;
                state.stop_last(&myself);
            }
            RootMsg::StopOverdue(index) => {
                if let Some(actor) = state
                    .children
                    .get(index)
                    .and_then(|place| place.actor.as_ref())
                {
                    actor.kill();
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        state.node.count_handled();
        let (cell, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell, reason.unwrap_or_else(|| "stopped".to_owned()))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {
                return Ok(());
            }
        };
        let is_it = |place: &Place| {
            place
                .actor
                .as_ref()
                .is_some_and(|actor| actor.get_id() == cell.get_id())
        };
        let Some(index) = state.children.iter().position(is_it) else {
            return Ok(());
        };
        if let Some(place) = state.children.get_mut(index) {
            place.actor = None;
        }
        if state.stopping {
            state.stop_last(&myself);
            return Ok(());
        }
        state.child_ended(index, &reason, &myself)
    }
}

impl RootState {
    /// Every child of the root is permanent: however it ended, it starts again.
    fn child_ended(
        &mut self,
        index: usize,
        reason: &str,
        myself: &ActorRef<RootMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(place) = self.children.get_mut(index) else {
            return Ok(());
        };
        let name = place.child.node.name().to_owned();
        place.failures = if place.running_since.elapsed() > SETTLED_AFTER {
            1
        } else {
            place.failures + 1
        };
        let verdict = if place.child.essential {
            self.essential.record(Instant::now(), fastrand::f64())
        } else {
            Verdict::RestartAfter(
                Duration::from_millis(50).saturating_mul(1 << place.failures.min(6)),
            )
        };
        let Verdict::RestartAfter(wait) = verdict else {
            place.child.node.ended(reason, false);
            let why = format!("{name} ended too often, at last with: {reason}");
            tracing::error!(
                node = name,
                error = reason,
                "too many restarts; the router gives up"
            );
            self.node.ended(&why, false);
            return Err(why.into());
        };
        tracing::warn!(
            node = name,
            error = reason,
            wait_ms = wait.as_millis(),
            "a part of the router ended; restarting it"
        );
        let node = metric_name(&name);
        self.metrics
            .restarts
            .get_or_create(&NodeLabel { node })
            .inc();
        place.child.node.ended(reason, true);
        myself.send_after(wait, move || RootMsg::Restart(index));
        Ok(())
    }

    async fn restart(
        &mut self,
        index: usize,
        myself: &ActorRef<RootMsg>,
    ) -> Result<(), ActorProcessingErr> {
        if self.stopping {
            return Ok(());
        }
        let Some(place) = self.children.get_mut(index) else {
            return Ok(());
        };
        match (place.child.start)(myself.get_cell()).await {
            Ok(actor) => {
                place.actor = Some(actor);
                place.running_since = Instant::now();
            }
            Err(error) => return self.child_ended(index, &error.to_string(), myself),
        }
        Ok(())
    }

    /// Stops the last child that still runs; its end brings the next one's turn. After the first, the root ends.
    fn stop_last(&mut self, myself: &ActorRef<RootMsg>) {
        self.overdue = None;
        let last = self
            .children
            .iter()
            .enumerate()
            .rev()
            .find_map(|(i, place)| Some((i, place.actor.as_ref()?)));
        let Some((index, actor)) = last else {
            return myself.stop(None);
        };
        actor.stop(None);
        let myself = myself.clone();
        self.overdue = Some(OwnedTask::spawn(async move {
            tokio::time::sleep(STOP_WITHIN).await;
            let _ = myself.send_message(RootMsg::StopOverdue(index));
        }));
    }
}

/// Label values are a fixed set.
fn metric_name(name: &str) -> &'static str {
    [
        "registry",
        "invokers",
        "pipelines",
        "intake",
        "fleet",
        "admin",
    ]
    .into_iter()
    .find(|known| *known == name)
    .unwrap_or("other")
}
