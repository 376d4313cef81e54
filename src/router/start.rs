//! What a router waits for before it starts.

use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::first_snapshot::{self, FirstSnapshot};
use super::listening::Listening;
use super::settings::DISK_COPY;
use super::start_error::StartError;
use super::state_lock::StateLock;
use crate::config::Config;
use crate::edge::nats::{self, Connections, NatsTransport};
use crate::own_files;
use crate::store::{self, OpenStore};

const CONFIRM_LIMIT: Duration = Duration::from_secs(5);
const DENIALS_COME: Duration = Duration::from_millis(50);

/// Database and NATS answer; nobody sends anything here yet. May be dropped, and so may its making.
#[derive(Debug)]
pub struct Prepared {
    pub(super) config: Config,
    pub(super) state_lock: StateLock,
    pub(super) listening: Listening,
    pub(super) store: OpenStore,
    pub(super) start_with: FirstSnapshot,
    pub(super) connections: Connections,
    pub(super) transport: NatsTransport,
}

impl Prepared {
    /// Waits for the database and for NATS, each within its startup timeout.
    pub async fn new(config: Config) -> Result<Self, StartError> {
        let state_dir = config.router.state_dir.clone();
        claim(&state_dir)?;
        let state_lock = StateLock::take(&state_dir).await?;
        // Before the long waits: a router that waits for its database is alive, and not ready.
        let listening = Listening::open(&config.http)?;
        let store = store::open(&config.database)
            .await
            .map_err(|error| StartError::Failed(error.to_string()))?;
        let start_with =
            first_snapshot::load(&store.store, &config, &state_dir.join(DISK_COPY)).await?;

        let name = format!("beamline-router {}", config.router.environment);
        let connections = Connections::open(&config.nats, &name)
            .await
            .map_err(nats_error)?;
        let transport = NatsTransport::new(&connections)
            .await
            .map_err(|error| StartError::Unreachable(error.to_string()))?;
        Ok(Self {
            config,
            state_lock,
            listening,
            store,
            start_with,
            connections,
            transport,
        })
    }
}

fn nats_error(error: nats::ConnectError) -> StartError {
    let sentence = error.to_string();
    if matches!(error, nats::ConnectError::Unreachable { .. }) {
        StartError::Unreachable(sentence)
    } else {
        StartError::Failed(sentence)
    }
}

/// What is kept there is read again at the next start, so that nobody else may write it.
fn claim(state_dir: &Path) -> Result<(), StartError> {
    let place = state_dir.display();
    let open = own_files::given_folder(state_dir).map_err(|refusal| {
        StartError::Failed(format!(
            "{place} cannot be used: {refusal}. Choose another router.state_dir, which belongs to the user of this router."
        ))
    })?;
    if open {
        tracing::warn!(path = %place, "everybody may write to the state directory: give the router one of its own");
    }
    Ok(())
}

/// Subscriptions travel on the same connection as a message to ourselves: when it is back, they
/// have arrived too.
pub(super) async fn confirm_subscriptions(connections: &Connections) -> Result<(), StartError> {
    let confirmed = timeout(CONFIRM_LIMIT, connections.confirm()).await.is_ok();
    // What the server denies, it says before the message to ourselves; the client tells it a moment
    // later.
    sleep(DENIALS_COME).await;
    let missing = connections.missing_permissions();
    if !missing.is_empty() {
        return Err(StartError::Failed(format!(
            "NATS does not let this router {}. Grant that to its user (docs/security.md has a tested set-up), then start \
             it again.",
            missing.join(", ")
        )));
    }
    if confirmed {
        return Ok(());
    }
    Err(StartError::Unreachable(
        "NATS took the subscriptions and then went silent; start again.".into(),
    ))
}
