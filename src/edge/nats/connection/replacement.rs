//! Another client, when one has ended or its server is about to end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use beamline_actors::fail_points;
use beamline_actors::tree::OnDrop;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::client::{ATTEMPT_LIMIT, NewClient};
use super::{FLUSH_LIMIT, Shared, backoff};
use crate::edge::nats::events::Report;
use crate::edge::nats::options::{addresses, cause_of, place};

/// Routers that hear together that their server is about to end do not all come to the next one
/// together.
const MOVE_JITTER: Duration = Duration::from_secs(2);

/// Keeps a client in the connection until it is closed. Whatever it is made anew in the middle of,
/// it sees from the client of the moment what is to be done.
pub(super) async fn keep(shared: Arc<Shared>) {
    while !shared.closing.is_cancelled() {
        let ended = shared.hold.lock().ended.clone();
        tokio::select! {
            () = ended.cancelled() => replace(&shared).await,
            () = shared.events.lame_duck.notified() => leave(&shared, &ended).await,
            () = shared.closing.cancelled() => {}
        }
    }
}

async fn replace(shared: &Shared) {
    let client = Arc::clone(&shared.client.borrow());
    // Fails when its queue is gone too: what is sent after the loss is told is refused, and not
    // swallowed.
    let _ = timeout(FLUSH_LIMIT, client.flush()).await;
    drop(client);
    shared.events.lost();
    if shared.closing.is_cancelled() {
        return;
    }
    warn!(
        "the NATS client has ended, as it does on a header that it cannot read: connecting another"
    );
    fail_points::reached(shared.node.name());
    tokio::select! {
        new = next(shared) => shared.put(new),
        () = shared.closing.cancelled() => {}
    }
}

/// Connects a client, however long the server is away.
async fn next(shared: &Shared) -> NewClient {
    let Shared {
        config,
        name,
        events,
        ..
    } = shared;
    let servers = addresses(&config.url).len();
    let limit = ATTEMPT_LIMIT.saturating_mul(u32::try_from(servers).unwrap_or(u32::MAX));
    let mut report = Report::default();
    let mut attempt = 0_u32;
    loop {
        attempt = attempt.saturating_add(1);
        // Before the first attempt too: who sends such headers in a row does not get a connection
        // for each.
        sleep(backoff(attempt)).await;
        let failure = match timeout(limit, NewClient::connect(config, name, events)).await {
            Ok(Ok(Ok(new))) => return new,
            Ok(Ok(Err(error))) => cause_of(&error).to_string(),
            Ok(Err(unreadable)) => unreadable.to_string(),
            Err(_elapsed) => "it accepts no connection".to_owned(),
        };
        if report.is_due() {
            warn!(
                server = place(&config.url),
                error = failure,
                "no connection to NATS yet, trying again"
            );
        }
    }
}

/// Leaves a server that is about to end, unless the client ends before.
async fn leave(shared: &Shared, ended: &CancellationToken) {
    // The server says it once. A panic on the way must not make it forgotten.
    let again = OnDrop::new(|| shared.events.lame_duck.notify_one());
    let _ = ended.run_until_cancelled(move_over(shared)).await;
    again.disarm();
}

/// Connects to another server while the one that is about to end still serves. Without another one
/// the client stays: it looks for one by itself when it is turned out.
async fn move_over(shared: &Shared) {
    sleep(MOVE_JITTER.mul_f64(fastrand::f64())).await;
    fail_points::reached(shared.node.name());
    for attempt in 1.. {
        let client = Arc::clone(&shared.client.borrow());
        if shared.closing.is_cancelled() || client.connection_state() != State::Connected {
            return;
        }
        // Also servers that only the cluster has told of. The lame duck itself takes no new
        // connections.
        let Ok(Ok(pool)) = timeout(ATTEMPT_LIMIT, client.server_pool()).await else {
            return;
        };
        let servers: Vec<_> = pool.into_iter().map(|server| server.addr).collect();
        match timeout(
            ATTEMPT_LIMIT,
            NewClient::connect_to(servers, &shared.config, &shared.name, &shared.events),
        )
        .await
        {
            Ok(Ok(Ok(new))) => {
                shared.events.moves.store(true, Ordering::Relaxed);
                shared.put(new);
                info!("moved to another NATS server before the last one ends");
                return;
            }
            Ok(Ok(Err(error))) => debug!(error = %cause_of(&error), "no other NATS server yet"),
            Ok(Err(error)) => debug!(%error, "no other NATS server yet"),
            Err(_elapsed) => debug!("no other NATS server answers yet"),
        }
        drop(client);
        sleep(backoff(attempt)).await;
    }
}

#[cfg(test)]
mod tests {
    use beamline_test_support::Nats;
    use futures_util::FutureExt;

    use super::*;
    use crate::edge::nats::testing::{config, connect};

    #[tokio::test]
    async fn what_a_server_has_announced_is_not_forgotten_with_the_task() {
        let server = Nats::start().await;
        let connection = connect(&config(server.url()), "test").await.unwrap();
        let shared = &connection.shared;
        shared.events.lame_duck.notify_one();
        let mut moving = Box::pin(keep(Arc::clone(shared)));
        assert!(moving.as_mut().now_or_never().is_none());
        assert!(shared.events.lame_duck.notified().now_or_never().is_none());
        drop(moving);
        assert!(shared.events.lame_duck.notified().now_or_never().is_some());
    }
}
