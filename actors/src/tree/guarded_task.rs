//! A task as a node of the tree: its panic is the end of an actor, and a supervisor starts it again.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::node::Node;
use super::task::OwnedTask;

type Make = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// How a task is made, again after each of its ends.
#[derive(Clone)]
pub(super) struct Task {
    make: Make,
    /// What the task has to reach before it counts as started.
    ready: Option<Make>,
}

impl Task {
    pub(super) fn new<T: Future<Output = ()> + Send + 'static>(
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self {
            make: Arc::new(move || make().boxed()),
            ready: None,
        }
    }

    pub(super) fn with_start<R: Future<Output = ()> + Send + 'static>(
        self,
        ready: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        Self {
            ready: Some(Arc::new(move || ready().boxed())),
            ..self
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Task")
    }
}

/// The actor that stands for a task.
#[derive(Debug)]
pub(super) struct GuardedTask;

/// The task has ended, with a panic or without.
#[derive(Debug)]
pub(super) struct TaskEnded(Result<(), String>);

impl Actor for GuardedTask {
    type Msg = TaskEnded;
    type State = OwnedTask;
    type Arguments = (Arc<Node>, Task);

    async fn pre_start(
        &self,
        myself: ActorRef<TaskEnded>,
        (node, task): Self::Arguments,
    ) -> Result<OwnedTask, ActorProcessingErr> {
        node.started(myself.get_cell());
        let work = (task.make)();
        let running = OwnedTask::spawn(async move {
            let end = AssertUnwindSafe(work).catch_unwind().await;
            let end = end.map_err(|panic| panic_message(panic.as_ref()));
            let _ = myself.send_message(TaskEnded(end));
        });
        if let Some(ready) = task.ready {
            ready().await;
        }
        Ok(running)
    }

    async fn handle(
        &self,
        myself: ActorRef<TaskEnded>,
        TaskEnded(end): TaskEnded,
        _: &mut OwnedTask,
    ) -> Result<(), ActorProcessingErr> {
        end.map_err(|panic| format!("the task panicked: {panic}"))?;
        myself.stop(Some("done".to_owned()));
        Ok(())
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "without a message".to_owned()
    }
}
