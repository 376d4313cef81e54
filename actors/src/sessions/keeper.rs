//! The task that opens the store of sessions and follows its changes.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use beamline_domain::backoff::Exponential;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{sleep, timeout};

use super::OPEN_LIMIT;
use super::shared::{SharedSessions, Sharing};
use crate::ports::SessionChange;

/// Waits before the store is opened again. They grow while it was never there: each attempt costs a
/// line in the server's log, and nobody may miss it. One that was there is missed.
pub(super) const REOPEN: Exponential =
    Exponential::doubling(Duration::from_secs(2), Duration::from_secs(30));

/// Opens the store and follows its changes, without end.
pub(super) async fn keep(sessions: Arc<SharedSessions>) {
    let mut failures = 0;
    let mut was_open = false;
    loop {
        if sessions.store.reachable().now_or_never().is_none() {
            sessions.store.reachable().await;
            failures = 0;
        }
        let epoch = sessions.cache.lock().epoch();
        match timeout(OPEN_LIMIT, sessions.store.open()).await {
            Ok(Ok(changes)) => {
                let epoch = sessions.gain();
                was_open = true;
                let in_step = InStep {
                    sessions: &sessions,
                    epoch,
                };
                follow(&sessions, changes).await;
                in_step.end("its changes cannot be followed any more");
            }
            Ok(Err(reason)) => sessions.lose(epoch, &reason.to_string()),
            Err(_elapsed) => {
                let reason = format!(
                    "the store of sessions could not be opened within {} s",
                    OPEN_LIMIT.as_secs()
                );
                sessions.lose(epoch, &reason);
            }
        }
        failures = if was_open { 1 } else { failures + 1 };
        sleep(REOPEN.wait(failures)).await;
    }
}

/// Returns when changes may be missed, or when a request found that the store does not answer.
async fn follow(sessions: &SharedSessions, mut changes: BoxStream<'static, SessionChange>) {
    let mut sharing = sessions.sharing.subscribe();
    let following = async {
        while let Some(SessionChange { key, stored }) = changes.next().await {
            sessions.cache.lock().follow(&key, stored);
        }
    };
    tokio::select! {
        () = following => {}
        _ = sharing.wait_for(|now| *now != Sharing::On) => {}
    }
}

/// While it lives, the memory of this replica is in step with the store. The end of the task ends
/// that at once: nobody follows the changes until it is made anew.
struct InStep<'a> {
    sessions: &'a SharedSessions,
    epoch: u64,
}

impl InStep<'_> {
    fn end(self, reason: &str) {
        self.sessions.lose(self.epoch, reason);
    }
}

/// Does nothing when the epoch has ended already.
impl Drop for InStep<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let reason = "the task that follows its changes panicked";
            self.sessions.lose(self.epoch, reason);
        } else {
            // Killed, or stopped with everything: that is nothing to warn of.
            self.sessions.unshare(self.epoch);
        }
    }
}
