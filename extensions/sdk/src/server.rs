//! The subscription loop: a permit before a task, an answer at once when there is none, and the order of stopping.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};
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
}

/// Serves until `stop`, then drains. The order matters: first no new work, then the work in hand, then the flush; a
/// connection that is drained first would lose the answers in flight.
pub(crate) async fn run(
    server: Arc<Server>,
    subscription: Subscriber,
    max_in_flight: usize,
    stop: CancellationToken,
) -> Summary {
    let tasks = TaskTracker::new();
    let stopped_at = take_in(&server, subscription, max_in_flight, &stop, &tasks).await;
    let limit = stopped_at.unwrap_or_else(Instant::now) + DRAIN_LIMIT;

    tasks.close();
    let drained = tokio::time::timeout_at(limit.into(), tasks.wait()).await.is_ok();
    if !drained {
        warn!(extension_id = server.id, in_flight = tasks.len(), "the drain limit passed: running calls are cut");
        server.cut.cancel();
        let _ = timeout(FAREWELL_LIMIT, tasks.wait()).await;
    }
    let flushed = matches!(timeout(FAREWELL_LIMIT, server.client.flush()).await, Ok(Ok(())));
    let summary = Summary { counts: server.stats.counts(), drained, flushed, asked: stopped_at.is_some() };
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
    mut subscription: Subscriber,
    max_in_flight: usize,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Option<Instant> {
    let permits = Arc::new(Semaphore::new(max_in_flight));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            message = subscription.next() => admit(server, message?, &permits, tasks),
        }
    }
    let stopped_at = Instant::now();
    let limit = stopped_at + DRAIN_LIMIT;
    let rest = async {
        // What the server sent before it learned of the drain is still served.
        subscription.drain().await.ok()?;
        while let Some(message) = subscription.next().await {
            admit(server, message, &permits, tasks);
        }
        Some(())
    };
    tokio::select! {
        _ = rest => {}
        () = sleep_until(limit.into()) => debug!(extension_id = server.id, "the subscription did not drain in time"),
    }
    Some(stopped_at)
}

fn admit(server: &Arc<Server>, message: Message, permits: &Arc<Semaphore>, tasks: &TaskTracker) {
    let received = Instant::now();
    let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
        refuse(server, message);
        return;
    };
    let server = Arc::clone(server);
    tasks.spawn(async move {
        call::serve(&server, message, received).await;
        drop(permit);
    });
}

/// Never waits: when even the outgoing queue is full, the refusal is lost rather than the loop stopped. Unconstrained,
/// because a spent scheduling budget would look like a full queue.
fn refuse(server: &Server, message: Message) {
    server.stats.overloaded();
    debug!(extension_id = server.id, "overloaded");
    if let Some(reply) = message.reply {
        let publish = server.client.publish(reply, Failure::overloaded().to_payload());
        let _ = tokio::task::unconstrained(publish).now_or_never();
    }
}
