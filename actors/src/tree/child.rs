//! What a supervisor needs to know of a child: its node, how to start it, and what its end means.

use std::fmt;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorRuntime, SpawnErr};
use tokio::task::JoinHandle;

use super::guarded_task::{GuardedTask, Task};
use super::node::{Node, NodeKind, NodeView};
use super::supervisor::{Supervised, Supervisor};
use crate::metrics::Metrics;

/// A child of a supervisor.
#[derive(Clone)]
pub struct Child {
    pub(super) node: Arc<Node>,
    pub(super) restart: Restart,
    start: Arc<dyn Fn(ActorCell) -> Result<Starting, SpawnErr> + Send + Sync>,
}

/// What the end of a child means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    /// It starts again; too many such ends are the end of the supervisor.
    Essential,
    /// It starts again without end, and takes nobody down.
    Lasting,
    /// It starts again unless it has done its work.
    UntilDone,
}

/// A child on its way: it takes messages already, and says when it has started, or why it could not.
pub(super) struct Starting {
    pub(super) actor: ActorCell,
    pub(super) started: JoinHandle<Result<JoinHandle<()>, SpawnErr>>,
}

impl Child {
    /// A child whose repeated failure ends its supervisor.
    pub fn essential<A: Actor>(
        node: &Arc<Node>,
        actor: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Self {
        Self::new(node, Restart::Essential, actor)
    }

    /// A child that the others can do without.
    pub fn lasting<A: Actor>(
        node: &Arc<Node>,
        actor: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Self {
        Self::new(node, Restart::Lasting, actor)
    }

    /// A task that goes on for as long as the router lives. Made anew when it panics, and also when it returns.
    pub fn task<T: Future<Output = ()> + Send + 'static>(
        node: &Arc<Node>,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self::task_from(node, Restart::Lasting, Task::new(make))
    }

    /// Such a task which has started when `ready` resolves: the children after it wait for that. `ready` has a limit.
    pub fn task_with_start<T, R>(
        node: &Arc<Node>,
        make: impl Fn() -> T + Send + Sync + 'static,
        ready: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self
    where
        T: Future<Output = ()> + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::task_from(node, Restart::Lasting, Task::new(make).with_start(ready))
    }

    /// A task that returns when it has done its work. Made anew when it panics.
    pub fn task_until_done<T: Future<Output = ()> + Send + 'static>(
        node: &Arc<Node>,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self::task_from(node, Restart::UntilDone, Task::new(make))
    }

    /// A supervisor of further children, which the others can do without. None of its children is essential.
    pub fn supervisor(name: &'static str, children: Vec<Self>, metrics: &Metrics) -> Self {
        let node = node_above(name, &children);
        let supervised = Supervised {
            node: Arc::clone(&node),
            children,
            metrics: metrics.clone(),
            ready: None,
        };
        let supervised = Arc::new(supervised);
        Self::lasting(&node, move || (Supervisor, supervised.again()))
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn task_from(node: &Arc<Node>, restart: Restart, task: Task) -> Self {
        let for_task = Arc::clone(node);
        Self::new(node, restart, move || {
            (GuardedTask, (Arc::clone(&for_task), task.clone()))
        })
    }

    fn new<A: Actor>(
        node: &Arc<Node>,
        restart: Restart,
        actor: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Self {
        let start = move |supervisor: ActorCell| {
            let (actor, arguments) = actor();
            // Not waited for: the supervisor has others to look after meanwhile.
            let (actor, started) =
                ActorRuntime::spawn_linked_instant(None, actor, arguments, supervisor)?;
            Ok(Starting {
                actor: actor.get_cell(),
                started,
            })
        };
        Self {
            node: Arc::clone(node),
            restart,
            start: Arc::new(start),
        }
    }

    /// Starts it, linked to `supervisor` as soon as it has started.
    pub(super) fn start(&self, supervisor: ActorCell) -> Result<Starting, SpawnErr> {
        (self.start)(supervisor)
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Child")
            .field("node", &self.node)
            .field("restart", &self.restart)
            .finish_non_exhaustive()
    }
}

/// The node of a supervisor, with those of its children below it.
pub(super) fn node_above(name: &'static str, children: &[Child]) -> Arc<Node> {
    let node = Node::new(name, NodeKind::Supervisor);
    let below: Vec<Arc<Node>> = children
        .iter()
        .map(|child| Arc::clone(&child.node))
        .collect();
    node.describe(move |view: &mut NodeView| {
        view.children = below.iter().map(|child| child.view()).collect();
    });
    node
}
