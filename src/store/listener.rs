//! "Look again": a counter that changes with each notification of Postgres, with each write of this
//! process, and with each restored connection, because notifications may have been missed
//! meanwhile.

use std::sync::Arc;
use std::time::Duration;

use beamline_actors::fail_points;
use beamline_actors::tree::{Child, Node, NodeKind};
use beamline_domain::backoff::{Exponential, jitter};
use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::address_file::AddressFile;

/// The channel that every write is announced on; its payload is the new revision.
pub(super) const CHANNEL: &str = "beamline_registry";

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// After so much silence the connection is tried: a peer that has vanished looks just like it.
const SILENCE: Duration = Duration::from_secs(15);
const RECONNECT: Exponential =
    Exponential::doubling(Duration::from_millis(100), Duration::from_secs(5));
/// Replicas that lost the same server do not come back in step.
const RECONNECT_JITTER: f64 = 0.5;

/// The counter. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Hints(Arc<watch::Sender<u64>>);

impl Hints {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    pub(super) fn look_again(&self) {
        self.0
            .send_modify(|counter| *counter = counter.wrapping_add(1));
    }
}

/// Hears from Postgres of what others write, on a connection of its own.
#[derive(Debug)]
pub struct Listener {
    options: PgConnectOptions,
    hints: Hints,
    address: AddressFile,
}

impl Listener {
    pub(super) fn new(options: PgConnectOptions, hints: Hints, address: &AddressFile) -> Self {
        Self {
            options: named(options),
            hints,
            address: address.clone(),
        }
    }

    /// Its place in the tree. Until it runs, only the poll sees what others write.
    pub fn child(self) -> Child {
        let node = Node::new("registry_listener", NodeKind::Worker);
        Child::task(&node, move || {
            listen_forever(
                pool(&self.options),
                self.hints.clone(),
                self.address.afresh(),
            )
        })
    }
}

fn named(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("beamline-router listener")
}

fn pool(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_LIMIT)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options.clone())
}

/// Never returns: a lost connection is tried again, first soon and then less often.
async fn listen_forever(pool: PgPool, hints: Hints, address: AddressFile) {
    let mut failures = 0;
    loop {
        fail_points::reached("registry_listener");
        if let Some(listener) = connect(&pool).await {
            failures = 0;
            hints.look_again();
            listen(listener, &hints).await;
            tracing::info!("no longer listening for changes of the registry; connecting again");
        }
        failures += 1;
        let changed = address.changed().await;
        if let Some(Ok(Some(options))) = changed.map(|backend| backend.postgres()) {
            pool.set_connect_options(named(options));
        }
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
async fn listen(mut listener: PgListener, hints: &Hints) {
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(_notification))) => hints.look_again(),
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
