//! "Look again": a counter that changes with each notification of Postgres, with each write of this
//! process, and with each restored connection, because notifications may have been missed
//! meanwhile.

use std::sync::Arc;
use std::time::Duration;

use beamline_domain::backoff::{Exponential, jitter};
use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The channel that every write is announced on; its payload is the new revision.
pub(super) const CHANNEL: &str = "beamline_registry";

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// After so much silence the connection is tried: a peer that has vanished looks just like it.
const SILENCE: Duration = Duration::from_secs(15);
const RECONNECT: Exponential =
    Exponential::doubling(Duration::from_millis(100), Duration::from_secs(5));
/// Replicas that lost the same server do not come back in step.
const RECONNECT_JITTER: f64 = 0.5;

#[derive(Debug)]
pub(super) struct Listener {
    hints: Arc<watch::Sender<u64>>,
    /// Ends the task when the store is closed or dropped.
    end: CancellationToken,
    _end_on_drop: DropGuard,
}

impl Listener {
    /// For a database that tells nobody: only writes of this process are seen.
    pub(super) fn none() -> Self {
        let end = CancellationToken::new();
        Self {
            hints: Arc::new(watch::Sender::new(0)),
            _end_on_drop: end.clone().drop_guard(),
            end,
        }
    }

    /// Listens for as long as the store is open, on a connection of its own.
    pub(super) fn postgres(options: PgConnectOptions) -> Self {
        let listener = Self::none();
        let hints = Arc::clone(&listener.hints);
        let end = listener.end.clone();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_LIMIT)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options.application_name("beamline-router listener"));
        tokio::spawn(async move { end.run_until_cancelled(listen_forever(pool, &hints)).await });
        listener
    }

    pub(super) fn hints(&self) -> watch::Receiver<u64> {
        self.hints.subscribe()
    }

    pub(super) fn changed_here(&self) {
        look_again(&self.hints);
    }

    pub(super) fn close(&self) {
        self.end.cancel();
    }
}

fn look_again(hints: &watch::Sender<u64>) {
    hints.send_modify(|counter| *counter = counter.wrapping_add(1));
}

/// Never returns: a lost connection is tried again, first soon and then less often.
async fn listen_forever(pool: PgPool, hints: &watch::Sender<u64>) {
    let mut failures = 0;
    loop {
        if let Some(listener) = connect(&pool).await {
            failures = 0;
            look_again(hints);
            listen(listener, hints).await;
            tracing::info!("no longer listening for changes of the registry; connecting again");
        }
        failures += 1;
        let wait = RECONNECT.wait(failures);
        sleep(jitter(wait, RECONNECT_JITTER, fastrand::f64())).await;
    }
}

async fn connect(pool: &PgPool) -> Option<PgListener> {
    match timeout(CONNECT_LIMIT, start_listening(pool)).await {
        Ok(Ok(listener)) => Some(listener),
        Ok(Err(error)) => {
            tracing::debug!(%error, "cannot listen for changes of the registry; the poll goes on");
            None
        }
        Err(_elapsed) => {
            tracing::debug!("cannot listen for changes of the registry in time; the poll goes on");
            None
        }
    }
}

async fn start_listening(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Returns when the connection is lost.
async fn listen(mut listener: PgListener, hints: &watch::Sender<u64>) {
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(_notification))) => look_again(hints),
            Ok(Ok(None) | Err(_)) => return,
            Err(_elapsed) if is_alive(&mut listener).await => {}
            Err(_elapsed) => return,
        }
    }
}

async fn is_alive(listener: &mut PgListener) -> bool {
    let answer = timeout(CONNECT_LIMIT, listener.execute("SELECT 1")).await;
    matches!(answer, Ok(Ok(_)))
}
