//! What a supervisor needs to know of a child: its node, how to start it, and what its end means.

use std::fmt;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorId, SpawnErr};

use super::guarded_task::{GuardedTask, Outcome, Task};
use super::node::Node;
use super::start::start_linked;

type Start = Arc<dyn Fn(ActorCell, NotStarted) -> Result<ActorCell, SpawnErr> + Send + Sync>;

/// A child of a supervisor.
#[derive(Clone)]
pub struct Child {
    pub(super) node: Arc<Node>,
    pub(super) restart: Restart,
    start: Start,
    /// Asks its actor to stop.
    stop: fn(&ActorCell),
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

/// Hears that a child could not start, and why.
pub(super) type NotStarted = Box<dyn FnOnce(ActorId, String) + Send>;

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

    /// A task that goes on for as long as the router lives. Made anew when it panics or fails, and
    /// also when it returns.
    pub fn task<T: Future<Output: Outcome> + Send + 'static>(
        node: &Arc<Node>,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self::task_from(node, Restart::Lasting, Task::new(make))
    }

    /// Such a task which has started when `ready` resolves: the children after it wait for that.
    /// `ready` has a limit.
    pub fn task_with_start<T, R>(
        node: &Arc<Node>,
        make: impl Fn() -> T + Send + Sync + 'static,
        ready: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self
    where
        T: Future<Output: Outcome> + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::task_from(node, Restart::Lasting, Task::new(make).with_start(ready))
    }

    /// A task that returns when it has done its work. Made anew when it panics or fails.
    pub fn task_until_done<T: Future<Output: Outcome> + Send + 'static>(
        node: &Arc<Node>,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self::task_from(node, Restart::UntilDone, Task::new(make))
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
        let start = move |supervisor: ActorCell, not_started: NotStarted| {
            let (actor, arguments) = actor();
            let actor = start_linked(actor, arguments, supervisor, not_started)?;
            Ok(actor.get_cell())
        };
        Self {
            node: Arc::clone(node),
            restart,
            start: Arc::new(start),
            stop: |actor| actor.stop(None),
        }
    }

    /// One that has its own way to stop.
    pub(super) fn stopped_by(self, stop: fn(&ActorCell)) -> Self {
        Self { stop, ..self }
    }

    /// Starts it without waiting for it.
    pub(super) fn start(
        &self,
        supervisor: ActorCell,
        not_started: NotStarted,
    ) -> Result<ActorCell, SpawnErr> {
        (self.start)(supervisor, not_started)
    }

    /// Asks its actor to stop, without waiting for it.
    pub(super) fn stop(&self, actor: &ActorCell) {
        (self.stop)(actor);
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

/// The nodes of these children, in their order.
pub(super) fn nodes(children: &[Child]) -> Vec<Arc<Node>> {
    let nodes = children.iter().map(|child| Arc::clone(&child.node));
    nodes.collect()
}
