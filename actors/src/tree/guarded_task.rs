//! A task as a node of the tree: its panic is the end of an actor, and a supervisor starts it
//! again.

use std::any::Any;
use std::fmt::{self, Display};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::node::Node;
use super::task::OwnedTask;

/// What a task returns: nothing, or why it could not go on.
pub trait Outcome {
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

type Make<T> = Arc<dyn Fn() -> BoxFuture<'static, T> + Send + Sync>;

/// How a task is made, again after each of its ends.
#[derive(Clone)]
pub(super) struct Task {
    /// What comes of it is why it failed, if it did.
    make: Make<Option<String>>,
    /// What the task has to reach before it counts as started.
    ready: Option<Make<()>>,
}

impl Task {
    pub(super) fn new<T: Future<Output: Outcome> + Send + 'static>(
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self {
            make: Arc::new(move || make().map(Outcome::failure).boxed()),
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

/// What the actor of a task says at its end when the task has done its work.
pub(super) const DONE: &str = "done";

/// The actor that stands for a task.
#[derive(Debug)]
pub(super) struct GuardedTask;

/// The task has ended, and this is why, if it has not done its work.
#[derive(Debug)]
pub(super) struct TaskEnded(Option<String>);

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
            let failure = end.unwrap_or_else(|panic| {
                let message = panic_message(panic.as_ref());
                Some(format!("the task panicked: {message}"))
            });
            let _ = myself.send_message(TaskEnded(failure));
        });
        if let Some(ready) = task.ready {
            ready().await;
        }
        Ok(running)
    }

    async fn handle(
        &self,
        myself: ActorRef<TaskEnded>,
        TaskEnded(failure): TaskEnded,
        _: &mut OwnedTask,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        myself.stop(Some(DONE.to_owned()));
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
