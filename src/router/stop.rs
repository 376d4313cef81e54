//! The steps of a stop, each with its limit, and what became of the requests.

use std::time::Duration;

use beamline_actors::tree::Root;
use tokio::time::timeout;

use super::Router;
use super::parts::Parts;

/// Part of the drain time for leaving the queue group; requests in flight run on meanwhile.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// For what the administration has begun, after the requests in flight.
pub(super) const ADMINISTRATION_LIMIT: Duration = Duration::from_secs(5);
/// For HTTP requests in hand.
const HTTP_LIMIT: Duration = Duration::from_secs(5);
pub(super) const ANSWERS_LIMIT: Duration = Duration::from_secs(5);
const TREE_LIMIT: Duration = Duration::from_secs(10);

/// What happened to the requests of a router that stopped.
#[derive(Debug, Clone, Copy)]
pub struct StopReport {
    pub received: u64,
    pub answered: u64,
    /// Of those answered, the ones that were turned away at the door.
    pub shed: u64,
    /// Requests that were still open at the limit and got `shutting_down`, those of the
    /// administration too.
    pub cut: usize,
    /// Every answer was written to the connection.
    pub flushed: bool,
    pub seconds: f64,
}

impl StopReport {
    /// Every request got the answer that it would have got without the stop.
    pub fn clean(&self) -> bool {
        self.cut == 0 && self.flushed
    }

    pub(super) fn log(&self) {
        let Self {
            received,
            answered,
            shed,
            cut,
            flushed,
            seconds,
        } = *self;
        tracing::info!(received, answered, shed, cut, flushed, seconds, "stopped");
    }
}

impl Router {
    /// For the requests in flight. After the end of the tree nobody works on them: they are
    /// answered at once.
    pub(super) fn patience(&self) -> Duration {
        if self.gave_up {
            Duration::ZERO
        } else {
            self.drain_timeout
        }
    }

    /// Says that it is not ready any more.
    pub(super) fn announce(&self) {
        self.parts.phase.drains();
        tracing::info!(in_flight = self.parts.door.in_flight(), "draining");
    }

    pub(super) async fn leave_queue_group(&self) -> bool {
        let limit = LEAVE_LIMIT.min(self.drain_timeout);
        self.parts.intake.drain(limit).await
    }

    /// Answers how many could not be waited for.
    pub(super) async fn finish_requests(&self, limit: Duration) -> usize {
        let door = &self.parts.door;
        if door.is_idle_within(limit).await {
            0
        } else {
            door.cut()
        }
    }

    pub(super) async fn finish_http(&self) {
        if !self.parts.http.drain(HTTP_LIMIT).await {
            tracing::warn!("HTTP requests were cut off");
        }
    }
}

pub(super) async fn stop_tree(root: Root) {
    if !root.stop(TREE_LIMIT).await {
        tracing::warn!("the supervision tree did not stop in time");
    }
}

impl Parts {
    /// Closes what is open; false when answers may not have been written.
    pub(super) async fn close(&self) -> bool {
        let flushed = self.connections.close().await;
        self.audit.flush().await;
        let _ = timeout(ANSWERS_LIMIT, self.store.close()).await;
        flushed
    }

    pub(super) fn report(&self, cut: usize, flushed: bool, took: Duration) -> StopReport {
        let received = self.metrics.requests_received.get();
        StopReport {
            received,
            answered: received.saturating_sub(self.door.in_flight() as u64),
            shed: self.door.turned_away(),
            cut,
            flushed,
            seconds: took.as_secs_f64(),
        }
    }
}
