//! Gathers what several tasks send over one connection.
//!
//! The client writes as soon as it is given something, and the scheduler runs it right after
//! whoever gave. So messages that could leave together each cost a system call here, a read at the
//! server, and a write there to whoever gets them.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::yield_now;

use crate::at_once;

type Sending = BoxFuture<'static, ()>;

/// What waits until the tasks that can run now have run. All clones share it.
#[derive(Clone, Default)]
pub struct Outbox {
    waiting: Arc<Mutex<Vec<Sending>>>,
}

impl Outbox {
    /// Sends this with what others send in the same moment. `sending` hands a message to the
    /// client; where that has no room for it, a task of its own waits for that. In no order.
    pub fn put(&self, sending: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else {
            // It ends; nobody comes after this.
            at_once(sending);
            return;
        };
        let mut waiting = self.waiting.lock();
        waiting.push(Box::pin(sending));
        let is_first = waiting.len() == 1;
        drop(waiting);
        if is_first {
            let outbox = self.clone();
            runtime.spawn(async move {
                yield_now().await;
                outbox.send();
            });
        }
    }

    fn send(&self) {
        let mut waiting = self.waiting.lock();
        let room = Vec::with_capacity(waiting.len());
        let gathered = mem::replace(&mut *waiting, room);
        drop(waiting);
        for mut sending in gathered {
            // One that panics takes none of the others along.
            let sent = catch_unwind(AssertUnwindSafe(|| at_once(sending.as_mut())));
            if let Ok(None) = sent {
                tokio::spawn(sending);
            }
        }
    }
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

    #[tokio::test]
    async fn what_several_tasks_send_in_one_moment_leaves_together() {
        let outbox = Outbox::default();
        let log = Log::default();
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
        assert_eq!(*log.lock(), ["put", "put", "put", "sent", "sent", "sent"]);
    }

    #[tokio::test]
    async fn what_has_to_wait_holds_up_nothing() {
        let outbox = Outbox::default();
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
        let outbox = Outbox::default();
        let log = Log::default();
        outbox.put(async { panic!("on purpose") });
        outbox.put(note(&log, "sent"));
        a_turn(&outbox).await;
        assert_eq!(*log.lock(), ["sent"]);
    }

    #[test]
    fn what_is_sent_after_the_runtime_is_sent_at_once() {
        let log = Log::default();
        Outbox::default().put(note(&log, "sent"));
        assert_eq!(*log.lock(), ["sent"]);
    }
}
