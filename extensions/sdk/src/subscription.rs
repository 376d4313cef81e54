//! The subscription loop: a permit before a task, an answer at once when there is none, and the
//! order of stopping.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Message;
use async_nats::connection::State;
use beamline_bus::{Intake, at_once};
use tokio::sync::{Semaphore, watch};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::call;
use crate::failure::Failure;
use crate::server::Server;
use crate::summary::Summary;

/// How long running handlers get after a stop was asked for.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Answering the callers of aborted handlers, and the last flush.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Serves until `stop`, then drains. The order matters: first no new work, then the work in hand,
/// then the flush; a connection that is drained first would lose the answers in flight.
pub(crate) async fn run(
    server: Arc<Server>,
    intake: Intake,
    max_in_flight: usize,
    lost: Option<watch::Receiver<()>>,
    stop: CancellationToken,
) -> Summary {
    let stopped_at = receive(&server, intake, max_in_flight, lost, &stop).await;
    let limit = stopped_at.unwrap_or_else(Instant::now) + DRAIN_LIMIT;
    let drained = drain(&server, limit).await;
    let flushed = flush(&server).await;
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

/// Ends when the subscription does: `Some` with the time of the stop, or `None` when the connection
/// closed by itself.
async fn receive(
    server: &Arc<Server>,
    mut intake: Intake,
    max_in_flight: usize,
    mut lost: Option<watch::Receiver<()>>,
    stop: &CancellationToken,
) -> Option<Instant> {
    let permits = Arc::new(Semaphore::new(max_in_flight));
    loop {
        tokio::select! {
            // A loss first, because the client is soon back.
            biased;
            () = stop.cancelled() => break,
            () = told(&mut lost) => intake.connection_lost(),
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
    let limit = stopped_at + DRAIN_LIMIT;
    if timeout_at(limit.into(), rest).await.is_err() {
        debug!(
            extension_id = server.id,
            "the subscription did not end in time"
        );
    }
    Some(stopped_at)
}

/// Resolves when the connection is lost; never for one that is not our own.
async fn told(lost: &mut Option<watch::Receiver<()>>) {
    if let Some(lost) = lost
        && lost.changed().await.is_ok()
    {
        return;
    }
    pending().await
}

/// Whether all running calls ended by themselves; those that did not are aborted.
async fn drain(server: &Server, limit: Instant) -> bool {
    server.tasks.close();
    if timeout_at(limit.into(), server.tasks.wait()).await.is_ok() {
        return true;
    }
    warn!(
        extension_id = server.id,
        in_flight = server.tasks.len(),
        "the drain limit passed: running calls are cut"
    );
    server.abort.cancel();
    let _ = timeout(FLUSH_LIMIT, server.tasks.wait()).await;
    false
}

/// Whether the last answers went out.
async fn flush(server: &Server) -> bool {
    if server.client.connection_state() == State::Pending {
        return false;
    }
    let flushed = timeout(FLUSH_LIMIT, server.client.flush()).await;
    matches!(flushed, Ok(Ok(())))
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

/// Never waits: when even the outgoing queue is full, the refusal is lost rather than the loop
/// stopped.
fn refuse(server: &Server, message: Message) {
    server.stats.overloaded();
    debug!(extension_id = server.id, "overloaded");
    if let Some(reply) = message.reply {
        let payload = Failure::overloaded().to_payload();
        let _ = at_once(server.client.publish(reply, payload));
    }
}
