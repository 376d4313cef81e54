//! The subscription loop: a permit before a task, an answer at once when there is none, and the order of stopping.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, Message};
use beamline_bus::Intake;
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::call;
use crate::failure::Failure;
use crate::handler::Handler;
use crate::running::Summary;
use crate::stats::Stats;

/// How long running handlers get after a stop was asked for.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Telling the callers of cut handlers, and the last flush.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

/// What all calls of one extension share.
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) client: Client,
    pub(crate) handler: Handler,
    pub(crate) stats: Stats,
    /// Cancelled when the drain limit has passed: handlers end, and their callers are told.
    pub(crate) cut: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("id", &self.id)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// Serves until `stop`, then drains. The order matters: first no new work, then the work in hand, then the flush; a
/// connection that is drained first would lose the answers in flight.
pub(crate) async fn run(
    server: Arc<Server>,
    intake: Intake,
    max_in_flight: usize,
    stop: CancellationToken,
) -> Summary {
    let stopped_at = take_in(&server, intake, max_in_flight, &stop).await;
    let limit = stopped_at.unwrap_or_else(Instant::now) + DRAIN_LIMIT;

    server.tasks.close();
    let drained = tokio::time::timeout_at(limit.into(), server.tasks.wait())
        .await
        .is_ok();
    if !drained {
        warn!(
            extension_id = server.id,
            in_flight = server.tasks.len(),
            "the drain limit passed: running calls are cut"
        );
        server.cut.cancel();
        let _ = timeout(FAREWELL_LIMIT, server.tasks.wait()).await;
    }
    let was_connected = server.client.connection_state() != State::Pending;
    let flushed = was_connected
        && matches!(
            timeout(FAREWELL_LIMIT, server.client.flush()).await,
            Ok(Ok(()))
        );
    let summary = Summary {
        counts: server.stats.counts(),
        drained,
        flushed,
        asked: stopped_at.is_some(),
    };
    info!(
        extension_id = server.id,
        requests = summary.counts.requests,
        errors = summary.counts.errors,
        expired = summary.counts.expired,
        overloaded = summary.counts.overloaded,
        drained,
        flushed,
        "stopped"
    );
    summary
}

/// Ends when the subscription does: `Some` with the time of the stop, or `None` when the connection closed by itself.
async fn take_in(
    server: &Arc<Server>,
    mut intake: Intake,
    max_in_flight: usize,
    stop: &CancellationToken,
) -> Option<Instant> {
    let permits = Arc::new(Semaphore::new(max_in_flight));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            message = intake.next() => admit(server, message?, &permits),
        }
    }
    let stopped_at = Instant::now();
    let rest = async {
        intake.leave().await?;
        while let Some(message) = intake.next().await {
            admit(server, message, &permits);
        }
        Some(())
    };
    if tokio::time::timeout_at((stopped_at + DRAIN_LIMIT).into(), rest)
        .await
        .is_err()
    {
        debug!(
            extension_id = server.id,
            "the subscription did not end in time"
        );
    }
    Some(stopped_at)
}

fn admit(server: &Arc<Server>, message: Message, permits: &Arc<Semaphore>) {
    let received = Instant::now();
    let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
        refuse(server, message);
        return;
    };
    let shared = Arc::clone(server);
    server.tasks.spawn(async move {
        call::serve(&shared, message, received).await;
        drop(permit);
    });
}

/// Never waits: when even the outgoing queue is full, the refusal is lost rather than the loop stopped. Unconstrained,
/// because a spent scheduling budget would look like a full queue.
fn refuse(server: &Server, message: Message) {
    server.stats.overloaded();
    debug!(extension_id = server.id, "overloaded");
    if let Some(reply) = message.reply {
        let publish = server
            .client
            .publish(reply, Failure::overloaded().to_payload());
        let _ = tokio::task::unconstrained(publish).now_or_never();
    }
}
