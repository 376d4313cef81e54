//! Gathers what several tasks send over one connection.
//!
//! The client writes as soon as it is given a message, because the scheduler runs a task that was
//! woken last next. Messages that could leave together then cost a system call each, a read each at
//! the server, and a write each to whoever gets them.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::at_once;

type Sending = BoxFuture<'static, ()>;

/// What waits until those tasks have run that were ready before it. All clones share it.
#[derive(Clone)]
pub struct Outbox {
    waiting: Arc<Mutex<Vec<Sending>>>,
    runtime: Handle,
}

impl Outbox {
    /// Sends on this runtime, wherever it is asked to.
    pub fn on(runtime: Handle) -> Self {
        Self {
            waiting: Arc::default(),
            runtime,
        }
    }

    /// Sends this with what others send in the same moment. `sending` hands a message to the
    /// client; where that has no room for it, a task of its own waits for that. Order is not kept.
    /// Dropped unsent when the runtime has ended.
    pub fn put(&self, sending: impl Future<Output = ()> + Send + 'static) {
        let mut waiting = self.waiting.lock();
        waiting.push(Box::pin(sending));
        let is_first = waiting.len() == 1;
        drop(waiting);
        if is_first {
            // Dropped with its runtime, it drops what waits.
            let gathered = Gathered {
                outbox: self.clone(),
                is_taken: false,
            };
            self.runtime.spawn(async move {
                after_others().await;
                gathered.send();
            });
        }
    }

    fn take(&self) -> Vec<Sending> {
        let mut waiting = self.waiting.lock();
        let room = Vec::with_capacity(waiting.len());
        mem::replace(&mut *waiting, room)
    }
}

/// Whoever hands over what waits.
struct Gathered {
    outbox: Outbox,
    /// What is put from here on is somebody else's.
    is_taken: bool,
}

impl Gathered {
    fn send(mut self) {
        self.is_taken = true;
        for mut sending in self.outbox.take() {
            // One that panics takes none of the others along.
            let sent = catch_unwind(AssertUnwindSafe(|| at_once(sending.as_mut())));
            if let Ok(None) = sent {
                self.outbox.runtime.spawn(sending);
            }
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        if !self.is_taken {
            drop(self.outbox.take());
        }
    }
}

/// Once through the queue of ready tasks. Not `yield_now`, which waits until a thread has nothing
/// else to do, and where no other thread can take it over.
async fn after_others() {
    let mut has_waited = false;
    poll_fn(|context| {
        if mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl fmt::Debug for Outbox {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Outbox")
            .field("waiting", &self.waiting.lock().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::{Notify, oneshot};
    use tokio::task::JoinSet;

    type Log = Arc<Mutex<Vec<&'static str>>>;

    fn note(log: &Log, what: &'static str) -> impl Future<Output = ()> + use<> {
        let log = Arc::clone(log);
        async move { log.lock().push(what) }
    }

    /// Resolves when something that is put now is sent.
    async fn a_turn(outbox: &Outbox) {
        let (tell, told) = oneshot::channel();
        outbox.put(async move {
            let _ = tell.send(());
        });
        told.await.expect("its turn");
    }

    /// On one thread that runs first what was woken last, as a router's threads do.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_several_tasks_send_in_one_moment_leaves_together() {
        let outbox = Outbox::on(Handle::current());
        let log = Log::default();
        let putting = {
            let outbox = outbox.clone();
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut tasks = JoinSet::new();
                for _ in 0..3 {
                    let outbox = outbox.clone();
                    let log = Arc::clone(&log);
                    tasks.spawn(async move {
                        log.lock().push("put");
                        outbox.put(note(&log, "sent"));
                    });
                }
                tasks.join_all().await;
                a_turn(&outbox).await;
            })
        };
        putting.await.expect("put");
        assert_eq!(*log.lock(), ["put", "put", "put", "sent", "sent", "sent"]);
    }

    #[tokio::test]
    async fn what_has_to_wait_holds_up_nothing() {
        let outbox = Outbox::on(Handle::current());
        let log = Log::default();
        let late = note(&log, "late");
        let room = Arc::new(Notify::new());
        let has_room = Arc::clone(&room);
        let (tell, told) = oneshot::channel();
        outbox.put(async move {
            has_room.notified().await;
            late.await;
            let _ = tell.send(());
        });
        outbox.put(note(&log, "sent"));
        a_turn(&outbox).await;
        assert_eq!(*log.lock(), ["sent"]);
        room.notify_one();
        told.await.expect("sent when there was room");
        assert_eq!(*log.lock(), ["sent", "late"]);
    }

    #[tokio::test]
    async fn one_that_panics_takes_none_of_the_others_along() {
        let outbox = Outbox::on(Handle::current());
        let log = Log::default();
        outbox.put(async { panic!("on purpose") });
        outbox.put(note(&log, "sent"));
        a_turn(&outbox).await;
        assert_eq!(*log.lock(), ["sent"]);
    }

    #[test]
    fn what_is_put_after_the_runtime_is_dropped_and_held_by_nobody() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let outbox = Outbox::on(runtime.handle().clone());
        drop(runtime);
        let log = Log::default();
        for _ in 0..2 {
            outbox.put(note(&log, "sent"));
        }
        assert!(outbox.waiting.lock().is_empty());
        assert_eq!(Arc::strong_count(&log), 1);
    }
}
