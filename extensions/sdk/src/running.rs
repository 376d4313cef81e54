//! Starting an extension inside a process, and the handle that stops it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event};
use beamline_bus::Intake;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::discovery::{self, Service};
use crate::extension::Extension;
use crate::server::{self, Server};
use crate::settings::Settings;
use crate::stats::{Counts, Stats};

/// A frozen server is noticed after three unanswered pings.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const READY_POLL: Duration = Duration::from_millis(20);
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Why an extension could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error("{what} \"{name}\" must be 1 to 64 letters, digits, \"_\" or \"-\"")]
    InvalidName { what: &'static str, name: String },
    #[error("credentials file {path}: {source}")]
    Credentials {
        path: String,
        source: std::io::Error,
    },
    #[error("cannot connect to NATS: {0}")]
    Connect(#[from] async_nats::ConnectError),
    #[error("cannot subscribe: {0}")]
    Subscribe(#[from] async_nats::SubscribeError),
}

/// An extension that answers requests. Dropping it stops it too, without waiting for the drain.
#[derive(Debug)]
pub struct Running {
    subject: String,
    queue_group: String,
    probe: String,
    server: Arc<Server>,
    _stop_on_drop: DropGuard,
    stop: CancellationToken,
    task: JoinHandle<Summary>,
}

/// What a stopped extension leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    pub counts: Counts,
    /// Every running call ended by itself within the limit.
    pub drained: bool,
    /// The last answers were written to the server's socket.
    pub flushed: bool,
    /// False when the connection ended without a stop.
    pub asked: bool,
}

impl Running {
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Calls being served at this moment.
    pub fn in_flight(&self) -> usize {
        self.server.tasks.len()
    }

    pub fn counts(&self) -> Counts {
        self.server.stats.counts()
    }

    /// Takes no more work, finishes the work in hand (at most 10 s), flushes, and closes its own connection.
    pub async fn stop(mut self) -> Summary {
        self.ask_to_stop();
        self.ended().await
    }

    /// Waits until the server passes requests on to this extension.
    ///
    /// A flush only reaches the socket. An answer to our own ping proves that the server has processed the
    /// subscriptions, because it handles one connection's commands in order.
    pub(crate) async fn ready(&self) {
        let client = &self.server.client;
        let mut told = false;
        loop {
            if client.connection_state() == State::Connected {
                if let Ok(Ok(_)) =
                    timeout(PROBE_LIMIT, client.request(self.probe.clone(), "".into())).await
                {
                    info!(
                        subject = self.subject,
                        queue_group = self.queue_group,
                        "serving"
                    );
                    return;
                }
            } else if !told {
                told = true;
                info!("waiting for the NATS server");
            }
            sleep(READY_POLL).await;
        }
    }

    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end, which comes by [`Running::stop`] or when the connection is closed for good.
    pub async fn ended(&mut self) -> Summary {
        (&mut self.task).await.unwrap_or_default()
    }
}

pub(crate) async fn serve(
    extension: Extension,
    settings: &Settings,
) -> Result<Running, StartError> {
    let running = launch(extension, settings).await?;
    running.ready().await;
    Ok(running)
}

pub(crate) async fn serve_on(
    extension: Extension,
    client: Client,
    settings: &Settings,
) -> Result<Running, StartError> {
    let running = start(extension, client, settings, false).await?;
    running.ready().await;
    Ok(running)
}

/// Starts without waiting for the server. From here on calls may come in, so it must be stopped and not just dropped.
pub(crate) async fn launch(
    extension: Extension,
    settings: &Settings,
) -> Result<Running, StartError> {
    // Before the connection, so that a typo is reported even while the server is away.
    settings.subject_for(extension.kind, &extension.id)?;
    settings.queue_group_for(&extension.id)?;
    let client = connect(&extension.id, settings).await?;
    start(extension, client, settings, true).await
}

async fn connect(id: &str, settings: &Settings) -> Result<Client, StartError> {
    let options = match &settings.creds_file {
        None => ConnectOptions::new(),
        Some(path) => ConnectOptions::with_credentials_file(path)
            .await
            .map_err(|source| StartError::Credentials {
                path: path.display().to_string(),
                source,
            })?,
    };
    let options = options
        .name(format!("beamline-extension {id}"))
        .ping_interval(PING_INTERVAL)
        .retry_on_initial_connect()
        .event_callback(|event| async move { log_event(&event) });
    let servers: Vec<&str> = settings.nats_url.split(',').map(str::trim).collect();
    Ok(options.connect(servers).await?)
}

fn log_event(event: &Event) {
    match event {
        Event::Connected | Event::Draining | Event::Closed => info!(%event, "nats"),
        Event::Disconnected
        | Event::LameDuckMode
        | Event::SlowConsumer(_)
        | Event::ServerError(_)
        | Event::ClientError(_) => warn!(%event, "nats"),
    }
}

async fn start(
    extension: Extension,
    client: Client,
    settings: &Settings,
    own_connection: bool,
) -> Result<Running, StartError> {
    let subject = settings.subject_for(extension.kind, &extension.id)?;
    let queue_group = settings.queue_group_for(&extension.id)?;
    let intake = Intake::subscribe(&client, &subject, &queue_group).await?;
    let service = Service::new(&extension, settings, &subject, &queue_group, &client);
    let probe = service.own_ping_subject();
    let server = Arc::new(Server {
        id: extension.id,
        client: client.clone(),
        handler: extension.handler,
        stats: Stats::default(),
        cut: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let stop = CancellationToken::new();
    let discovery = tokio::spawn(discovery::run(
        service.subscribe().await?,
        Arc::clone(&server),
    ));
    let max_in_flight = settings.max_in_flight.get();
    let task = tokio::spawn({
        let (server, stop) = (Arc::clone(&server), stop.clone());
        async move {
            let summary = server::run(server, intake, max_in_flight, stop).await;
            discovery.abort();
            if own_connection {
                let _ = client.drain().await;
            }
            summary
        }
    });
    Ok(Running {
        subject,
        queue_group,
        probe,
        server,
        _stop_on_drop: stop.clone().drop_guard(),
        stop,
        task,
    })
}
