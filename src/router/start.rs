//! What a router waits for before it starts, and why it may not start.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::first_snapshot::{self, FirstSnapshot};
use super::settings::DISK_COPY;
use crate::config::Config;
use crate::edge::nats::{self, Connections, NatsTransport};
use crate::store::{self, OpenStore};

const CONFIRM_LIMIT: Duration = Duration::from_secs(5);

/// Why a router did not start, as a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// NATS or the database did not answer in time.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Failed(String),
}

impl StartError {
    pub fn unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// Database and NATS answer; nobody sends anything here yet. May be dropped, and so may its making.
#[derive(Debug)]
pub struct Prepared {
    pub(super) config: Config,
    pub(super) store: OpenStore,
    pub(super) start_with: FirstSnapshot,
    pub(super) connections: Connections,
    pub(super) transport: NatsTransport,
}

impl Prepared {
    /// Waits for the database and for NATS, each within its startup timeout.
    pub async fn new(config: Config) -> Result<Self, StartError> {
        let state_dir = config.router.state_dir.clone();
        std::fs::create_dir_all(&state_dir).map_err(|error| failed(&state_dir, &error))?;
        // Tried before the long waits, and given back: a port that is open but not served would
        // hang every probe.
        drop(listen(config.http.listen)?);
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

pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listening = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listening.map_err(|error| {
        StartError::Failed(format!(
            "Cannot listen on {address}: {error}. Choose another http.listen."
        ))
    })
}

pub(super) fn address_of(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    let address = listener.local_addr();
    address.map_err(|error| StartError::Failed(error.to_string()))
}

fn failed(path: &Path, error: &std::io::Error) -> StartError {
    StartError::Failed(format!(
        "{} cannot be created: {error}. Choose another router.state_dir.",
        path.display()
    ))
}

/// Subscriptions travel on the same connection as a message to ourselves: when it is back, they
/// have arrived too.
pub(super) async fn confirm_subscriptions(connections: &Connections) -> Result<(), StartError> {
    if timeout(CONFIRM_LIMIT, connections.confirm()).await.is_ok() {
        return Ok(());
    }
    let missing = connections.missing_permissions();
    if !missing.is_empty() {
        return Err(StartError::Failed(format!(
            "NATS does not let this router {}. Grant that to its user (docs/security.md has a tested set-up), then start \
             it again.",
            missing.join(", ")
        )));
    }
    Err(StartError::Unreachable(
        "NATS took the subscriptions and then went silent; start again.".into(),
    ))
}
